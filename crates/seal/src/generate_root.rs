//! Lets the key holders together order a new root token, hidden from those between them and whoever asked for it.

use clock::Timestamp;
use data_encoding::{BASE64, BASE64_NOPAD};
use secret::{SecretString, Zeroizing};
use serde::Serialize;

use crate::{Error, Recipient, Stored, ballot::Ballot, rekey::check_nonce};

/// The length of a root token, and so of the one-time password that hides it.
pub const OTP_LENGTH: usize = 28;

/// The generation in progress, if there is one.
///
/// [`GenerateRoot::start`], then [`GenerateRoot::submit`] until it gives a [`Grant`], with which the caller makes a
/// token and encodes it.
#[derive(Debug, Default)]
pub struct GenerateRoot(Option<Attempt>);

/// How the token shall be hidden.
#[derive(Debug, Default)]
pub struct RootRequest {
    /// A one-time password of [`OTP_LENGTH`] characters. If there is neither this nor a PGP key, one is made.
    pub otp: Option<SecretString>,
    /// A PGP key, see [`Recipient::parse`].
    pub pgp_key: Option<String>,
}

/// What came of a share.
#[derive(Debug)]
#[non_exhaustive]
pub enum RootStep {
    /// More shares are needed.
    More(RootStatus),
    /// Enough of the right shares were given: make a root token and encode it with this.
    Granted(Grant),
}

/// The order of enough key holders to make one root token.
#[derive(Debug)]
pub struct Grant {
    cover: Cover,
    /// The status to answer with, once the token is encoded.
    pub status: RootStatus,
}

/// A root token that only the asker can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedToken {
    /// The token hidden by the one-time password, or a PGP message; in base64.
    pub text: String,
    /// The fingerprint of the PGP key; empty for a one-time password.
    pub pgp_fingerprint: String,
}

/// How far the generation is. The field names are those of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RootStatus {
    /// Names the generation; empty if there is none.
    pub nonce: String,
    /// Whether a generation is in progress.
    pub started: bool,
    /// How many shares were given.
    pub progress: usize,
    /// How many shares are needed.
    pub required: u8,
    /// Whether enough were given.
    pub complete: bool,
    /// The encoded token; filled in by the caller when complete.
    pub encoded_token: String,
    /// The same under its older name.
    pub encoded_root_token: String,
    /// The fingerprint of the PGP key; empty for a one-time password.
    pub pgp_fingerprint: String,
    /// The length a one-time password must have.
    pub otp_length: usize,
}

#[derive(Debug)]
struct Attempt {
    nonce: String,
    cover: Cover,
    ballot: Ballot,
}

#[derive(Debug)]
enum Cover {
    Otp(SecretString),
    Pgp(Box<Recipient>),
}

impl GenerateRoot {
    /// Begins a generation at the time `now`. If a one-time password was made it comes with the status; it is shown only here.
    pub fn start(
        &mut self,
        stored: &Stored,
        request: RootRequest,
        now: Timestamp,
    ) -> Result<(RootStatus, Option<SecretString>), Error> {
        if self.0.is_some() {
            return Err(Error::RootGenerationStarted);
        }
        let mut made = None;
        let cover = match (request.otp, request.pgp_key) {
            (Some(_), Some(_)) => return Err(Error::OtpAndPgp),
            (Some(otp), None) if otp.len() == OTP_LENGTH => Cover::Otp(otp),
            (Some(otp), None) => return Err(Error::OtpLength { got: otp.len(), expected: OTP_LENGTH }),
            (None, Some(key)) => {
                let recipient = Recipient::parse(&key, now).map_err(|reason| Error::PgpKey { position: 1, reason })?;
                Cover::Pgp(Box::new(recipient))
            }
            (None, None) => {
                let otp = crypto::random::base62(OTP_LENGTH);
                made = Some(SecretString::new(otp.to_string()));
                Cover::Otp(SecretString::new(otp.to_string()))
            }
        };
        self.0 = Some(Attempt { nonce: crypto::random::uuid(), cover, ballot: Ballot::default() });
        Ok((self.status(stored), made))
    }

    /// Takes a share. With the last one needed it gives the order to make a token.
    pub fn submit(&mut self, stored: &Stored, nonce: &str, share: &SecretString) -> Result<RootStep, Error> {
        let attempt = self.0.as_mut().ok_or(Error::NoRootGeneration)?;
        check_nonce("root generation", nonce, &attempt.nonce)?;
        // That it opened is the proof that the shares are right; what it opened is not needed itself.
        let Some(_proof) = attempt.ballot.add(stored, share)? else {
            return Ok(RootStep::More(self.status(stored)));
        };
        let mut status = self.status(stored);
        status.progress = usize::from(status.required);
        status.complete = true;
        let attempt = self.0.take().ok_or(Error::NoRootGeneration)?;
        Ok(RootStep::Granted(Grant { cover: attempt.cover, status }))
    }

    /// How far the generation is.
    pub fn status(&self, stored: &Stored) -> RootStatus {
        let empty =
            RootStatus { required: stored.config().secret_threshold, otp_length: OTP_LENGTH, ..RootStatus::default() };
        let Some(attempt) = &self.0 else {
            return empty;
        };
        RootStatus {
            nonce: attempt.nonce.clone(),
            started: true,
            progress: attempt.ballot.progress(),
            pgp_fingerprint: attempt.cover.fingerprint(),
            ..empty
        }
    }

    /// Ends the generation with this nonce. For callers who showed no right to end it, but know its nonce.
    pub fn cancel(&mut self, nonce: &str) -> Result<(), Error> {
        let attempt = self.0.as_ref().ok_or(Error::NoRootGeneration)?;
        check_nonce("root generation", nonce, &attempt.nonce)?;
        self.abandon();
        Ok(())
    }

    /// Ends the generation, if there is one. For callers who showed that they may.
    pub fn abandon(&mut self) {
        self.0 = None;
    }
}

impl Grant {
    /// Hides `token`. With a one-time password it must have [`OTP_LENGTH`] characters.
    pub fn encode(&self, token: &SecretString) -> Result<EncodedToken, Error> {
        let pgp_fingerprint = self.cover.fingerprint();
        let text = match &self.cover {
            Cover::Otp(otp) => {
                // EXPOSE: hidden on the spot.
                let hidden = xor(token.expose().as_bytes(), otp.expose().as_bytes()).ok_or(Error::TokenLength)?;
                BASE64_NOPAD.encode(&hidden)
            }
            Cover::Pgp(recipient) => {
                let message = recipient.encrypt(token).map_err(|reason| Error::PgpKey { position: 1, reason })?;
                BASE64.encode(&message)
            }
        };
        Ok(EncodedToken { text, pgp_fingerprint })
    }
}

impl Cover {
    fn fingerprint(&self) -> String {
        match self {
            Self::Otp(_) => String::new(),
            Self::Pgp(recipient) => recipient.fingerprint(),
        }
    }
}

/// The token that was hidden by `otp`.
pub fn decode_token(encoded: &str, otp: &SecretString) -> Result<SecretString, Error> {
    let encoded = encoded.trim().trim_end_matches('=');
    let hidden = BASE64_NOPAD.decode(encoded.as_bytes()).map_err(|_| Error::EncodedToken)?;
    // EXPOSE: the asker's own password, to read the asker's own token.
    let mut token = xor(&hidden, otp.expose().as_bytes()).ok_or(Error::EncodedToken)?;
    match std::str::from_utf8(&token) {
        Ok(text) if text.is_ascii() => {}
        _ => return Err(Error::EncodedToken),
    }
    String::from_utf8(std::mem::take(&mut *token)).map(SecretString::new).map_err(|_| Error::EncodedToken)
}

/// The bytes combined one by one; `None` if the lengths differ.
fn xor(a: &[u8], b: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    (a.len() == b.len()).then(|| Zeroizing::new(a.iter().zip(b).map(|(a, b)| a ^ b).collect()))
}
