//! Replaces the root key and all shares, by order of the holders of the present ones.

use clock::Timestamp;
use secret::SecretString;
use serde::Serialize;

use crate::{Error, Issue, Issued, NewShares, RootKey, Stored, ballot::Ballot, init::Checked};

/// The rekey in progress, if there is one.
///
/// [`Rekey::start`], then [`Rekey::submit`] with present shares until it gives [`RekeyStep::Complete`]. If verification
/// was asked for it gives [`RekeyStep::Verify`] instead, and [`Rekey::verify`] with the new shares completes. Nothing
/// stored changes before the caller stores what the completion gives.
#[derive(Debug, Default)]
pub struct Rekey(Option<Attempt>);

/// What a rekey shall make.
#[derive(Clone, Debug, Default)]
pub struct RekeyRequest {
    /// The new set of shares.
    pub shares: NewShares,
    /// Whether the caller keeps a copy of the encrypted shares. Needs PGP keys.
    pub backup: bool,
    /// Whether the new shares must be shown before they count.
    pub require_verification: bool,
}

/// What came of a share.
#[derive(Debug)]
#[non_exhaustive]
pub enum RekeyStep {
    /// More shares are needed.
    More(RekeyStatus),
    /// The new shares are to be handed out, and shown to [`Rekey::verify`] before they count.
    Verify {
        /// The new shares.
        shares: Vec<Issued>,
        /// The status with the verification nonce.
        status: RekeyStatus,
    },
    /// The shares beside a seal that opens by itself were replaced: store it, then hand them out. The root key stays.
    Recovered {
        /// The record to store.
        stored: Stored,
        /// The new shares.
        shares: Vec<Issued>,
        /// The nonce of the rekey.
        nonce: String,
        /// Whether to keep a copy of the encrypted shares.
        backup: bool,
    },
    /// The rekey is done: store it, then hand out the shares.
    Complete {
        /// The new record, root key and shares.
        issue: Issue,
        /// The nonce of the rekey.
        nonce: String,
        /// Whether to keep a copy of the encrypted shares.
        backup: bool,
    },
}

/// What came of a new share.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verification {
    /// More shares are needed.
    More(VerificationStatus),
    /// The shares beside a seal that opens by itself are replaced: store it. The root key stays.
    Recovered {
        /// The record to store.
        stored: Stored,
        /// The nonce of the verification.
        nonce: String,
    },
    /// The rekey is done: store it.
    Complete {
        /// The record to store.
        stored: Stored,
        /// The key to put the barrier under.
        root_key: RootKey,
        /// The nonce of the verification.
        nonce: String,
    },
}

/// How far the rekey is. The field names are those of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RekeyStatus {
    /// Names the rekey; empty if there is none.
    pub nonce: String,
    /// Whether a rekey is in progress.
    pub started: bool,
    /// How many of the new shares will be needed.
    pub t: u8,
    /// How many new shares there will be.
    pub n: u8,
    /// How many present shares were given.
    pub progress: usize,
    /// How many present shares are needed.
    pub required: u8,
    /// The keys the new shares will be encrypted to.
    pub pgp_fingerprints: Option<Vec<String>>,
    /// Whether a copy of the encrypted shares will be kept.
    pub backup: bool,
    /// Whether the new shares must be shown before they count.
    pub verification_required: bool,
    /// Names the verification, once it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_nonce: Option<String>,
}

/// How far the verification is. The field names are those of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerificationStatus {
    /// Names the verification.
    pub nonce: String,
    /// Whether the verification has begun.
    pub started: bool,
    /// How many new shares are needed.
    pub t: u8,
    /// How many new shares there are.
    pub n: u8,
    /// How many new shares were given.
    pub progress: usize,
}

#[derive(Debug)]
struct Attempt {
    nonce: String,
    new: Checked,
    backup: bool,
    require_verification: bool,
    ballot: Ballot,
    pending: Option<Pending>,
}

/// A rekey that waits for its new shares to be shown.
#[derive(Debug)]
struct Pending {
    nonce: String,
    ballot: Ballot,
    stored: Stored,
}

impl Rekey {
    /// Begins a rekey at the time `now`.
    pub fn start(&mut self, stored: &Stored, request: &RekeyRequest, now: Timestamp) -> Result<RekeyStatus, Error> {
        if self.0.is_some() {
            return Err(Error::RekeyStarted);
        }
        if request.backup && request.shares.pgp_keys.is_empty() {
            return Err(Error::BackupInClear);
        }
        self.0 = Some(Attempt {
            nonce: crypto::random::uuid(),
            new: Checked::new(&request.shares, now)?,
            backup: request.backup,
            require_verification: request.require_verification,
            ballot: Ballot::default(),
            pending: None,
        });
        Ok(self.status(stored))
    }

    /// Takes a present share. With the last one needed the new root key and the new shares are made.
    pub fn submit(&mut self, stored: &Stored, nonce: &str, share: &SecretString) -> Result<RekeyStep, Error> {
        let attempt = self.0.as_mut().ok_or(Error::NoRekey)?;
        check_nonce("rekey", nonce, &attempt.nonce)?;
        if attempt.pending.is_some() {
            return Err(Error::VerificationAwaited);
        }
        // That it opened is the proof that the shares are right.
        let Some(opened) = attempt.ballot.add(stored, share)? else {
            return Ok(RekeyStep::More(self.status(stored)));
        };
        let (issue, recovered) = match stored.is_kept() {
            // Only the shares change: the seal has the root key, and shares that opened it go on to.
            true => {
                let (new, shares) = attempt.new.issue_for(opened.root_key.as_ref())?;
                (None, Some((new.with_copies(stored.copies().to_vec()), shares)))
            }
            false => (Some(attempt.new.issue()?), None),
        };
        if attempt.require_verification {
            let (new, shares) = match (issue, recovered) {
                (Some(Issue { stored, shares, .. }), _) | (None, Some((stored, shares))) => (stored, shares),
                (None, None) => return Err(Error::NoRekey),
            };
            attempt.pending = Some(Pending { nonce: crypto::random::uuid(), ballot: Ballot::default(), stored: new });
            return Ok(RekeyStep::Verify { shares, status: self.status(stored) });
        }
        let (nonce, backup) = (std::mem::take(&mut attempt.nonce), attempt.backup);
        self.0 = None;
        match (issue, recovered) {
            (Some(issue), _) => Ok(RekeyStep::Complete { issue, nonce, backup }),
            (None, Some((stored, shares))) => Ok(RekeyStep::Recovered { stored, shares, nonce, backup }),
            (None, None) => Err(Error::NoRekey),
        }
    }

    /// Takes a new share. With the last one needed the rekey is complete. Wrong shares lead to
    /// [`Error::SharesMixed`] and can be given again.
    pub fn verify(&mut self, nonce: &str, share: &SecretString) -> Result<Verification, Error> {
        let attempt = self.0.as_mut().ok_or(Error::NoRekey)?;
        let pending = attempt.pending.as_mut().ok_or(Error::NoVerification)?;
        check_nonce("rekey verification", nonce, &pending.nonce)?;
        let Some(opened) = pending.ballot.add(&pending.stored, share)? else {
            return Ok(Verification::More(self.verification()?));
        };
        let (stored, nonce) = (pending.stored.clone(), pending.nonce.clone());
        self.0 = None;
        match opened.root_key.filter(|_| !stored.is_kept()) {
            Some(root_key) => Ok(Verification::Complete { stored, root_key, nonce }),
            None => Ok(Verification::Recovered { stored, nonce }),
        }
    }

    /// How far the verification is.
    pub fn verification(&self) -> Result<VerificationStatus, Error> {
        let attempt = self.0.as_ref().ok_or(Error::NoRekey)?;
        let pending = attempt.pending.as_ref().ok_or(Error::NoVerification)?;
        let config = pending.stored.config();
        let (t, n) = (config.secret_threshold, config.secret_shares);
        let (nonce, progress) = (pending.nonce.clone(), pending.ballot.progress());
        Ok(VerificationStatus { nonce, started: true, t, n, progress })
    }

    /// Forgets the new shares given so far and renames the verification; the new shares stay as they are.
    pub fn restart_verification(&mut self) -> Result<VerificationStatus, Error> {
        let attempt = self.0.as_mut().ok_or(Error::NoRekey)?;
        let pending = attempt.pending.as_mut().ok_or(Error::NoVerification)?;
        pending.nonce = crypto::random::uuid();
        pending.ballot = Ballot::default();
        self.verification()
    }

    /// How far the rekey is.
    pub fn status(&self, stored: &Stored) -> RekeyStatus {
        let required = stored.config().secret_threshold;
        let Some(attempt) = &self.0 else {
            return RekeyStatus { required, ..RekeyStatus::default() };
        };
        RekeyStatus {
            nonce: attempt.nonce.clone(),
            started: true,
            t: attempt.new.config.secret_threshold,
            n: attempt.new.config.secret_shares,
            progress: attempt.ballot.progress(),
            required,
            pgp_fingerprints: attempt.new.fingerprints(),
            backup: attempt.backup,
            verification_required: attempt.require_verification,
            verification_nonce: attempt.pending.as_ref().map(|pending| pending.nonce.clone()),
        }
    }

    /// Ends the rekey with this nonce. For callers who showed no right to end it, but know its nonce.
    pub fn cancel(&mut self, nonce: &str) -> Result<(), Error> {
        let attempt = self.0.as_ref().ok_or(Error::NoRekey)?;
        check_nonce("rekey", nonce, &attempt.nonce)?;
        self.abandon();
        Ok(())
    }

    /// Ends the rekey, if there is one. For callers who showed that they may.
    pub fn abandon(&mut self) {
        self.0 = None;
    }
}

pub(crate) fn check_nonce(operation: &'static str, given: &str, expected: &str) -> Result<(), Error> {
    // Nonces are shown to whoever asks for the status; there is nothing to hide in the comparison.
    match given == expected {
        true => Ok(()),
        false => Err(Error::Nonce { operation, expected: expected.to_owned() }),
    }
}
