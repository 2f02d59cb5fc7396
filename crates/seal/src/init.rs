//! Makes a root key and hands it out in shares.

use clock::Timestamp;
use data_encoding::{BASE64, HEXLOWER};
use secret::SecretString;

use crate::{Config, Copy, Error, KeyShare, Recipient, RootKey, SealKey, Stored};

/// The set of shares an operator asks for, at initialisation and at a rekey.
#[derive(Clone, Debug, Default)]
pub struct NewShares {
    /// How many shares to make.
    pub secret_shares: u64,
    /// How many of them shall be needed.
    pub secret_threshold: u64,
    /// A PGP public key for each share, or none; see [`Recipient::parse`].
    pub pgp_keys: Vec<String>,
}

/// Makes a new root key and splits the key that wraps it into shares. `stored` has to be stored at
/// [`crate::STORED_AT`] together with a barrier under `root_key`; the shares go to their holders and are kept nowhere.
/// PGP keys must be good at the time `now`.
pub fn init(new: &NewShares, now: Timestamp) -> Result<Issue, Error> {
    Checked::new(new, now)?.issue()
}

/// As [`init`], with seals that open by themselves: `copies` is the new `root_key`, wrapped for each of them. The shares are
/// recovery shares, which authorise; with `opening` they open, too, should every seal be lost.
pub fn init_kept(
    new: &NewShares,
    opening: bool,
    root_key: RootKey,
    copies: Vec<Copy>,
    now: Timestamp,
) -> Result<Issue, Error> {
    let checked = Checked::new(new, now)?;
    let (stored, shares) = checked.issue_for(opening.then_some(&root_key))?;
    Ok(Issue { stored: stored.with_copies(copies), root_key, shares })
}

/// What [`init`] makes.
#[derive(Debug)]
pub struct Issue {
    /// The record to store.
    pub stored: Stored,
    /// The key to open the barrier with.
    pub root_key: RootKey,
    /// The shares, to be handed out.
    pub shares: Vec<Issued>,
}

/// A share as it is handed out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Issued {
    /// For its holder to read.
    Clear(KeyShare),
    /// For the holder of a PGP key: the message holds the share in hexadecimal digits.
    Encrypted {
        /// The PGP message, not armored.
        message: Vec<u8>,
        /// The fingerprint of the primary key, in lower-case hexadecimal digits.
        fingerprint: String,
    },
}

impl Issued {
    /// The share or the message in hexadecimal digits.
    pub fn hex(&self) -> SecretString {
        match self {
            Self::Clear(share) => share.hex(),
            Self::Encrypted { message, .. } => SecretString::new(HEXLOWER.encode(message)),
        }
    }

    /// The share or the message in base64.
    pub fn base64(&self) -> SecretString {
        match self {
            Self::Clear(share) => share.base64(),
            Self::Encrypted { message, .. } => SecretString::new(BASE64.encode(message)),
        }
    }

    /// The fingerprint of the PGP key the share is encrypted to.
    pub fn fingerprint(&self) -> Option<&str> {
        match self {
            Self::Clear(_) => None,
            Self::Encrypted { fingerprint, .. } => Some(fingerprint),
        }
    }
}

/// A request that can be fulfilled: the numbers go together and the PGP keys can be encrypted to.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) config: Config,
    recipients: Vec<Recipient>,
}

impl Checked {
    pub(crate) fn new(new: &NewShares, now: Timestamp) -> Result<Self, Error> {
        let config = Config::new(new.secret_shares, new.secret_threshold)?;
        let keys = new.pgp_keys.len();
        if keys != 0 && keys != usize::from(config.secret_shares) {
            return Err(Error::PgpCount { keys, shares: config.secret_shares });
        }
        let recipients = new
            .pgp_keys
            .iter()
            .zip(1..)
            .map(|(key, position)| Recipient::parse(key, now).map_err(|reason| Error::PgpKey { position, reason }));
        Ok(Self { config, recipients: recipients.collect::<Result<_, _>>()? })
    }

    /// The fingerprints of the PGP keys; `None` if the shares will be in clear.
    pub(crate) fn fingerprints(&self) -> Option<Vec<String>> {
        (!self.recipients.is_empty()).then(|| self.recipients.iter().map(Recipient::fingerprint).collect())
    }

    pub(crate) fn issue(&self) -> Result<Issue, Error> {
        let root_key = RootKey::make();
        let (stored, shares) = self.issue_for(Some(&root_key))?;
        Ok(Issue { stored, root_key, shares })
    }

    /// New shares, which open `root_key` or, without one, only authorise.
    pub(crate) fn issue_for(&self, root_key: Option<&RootKey>) -> Result<(Stored, Vec<Issued>), Error> {
        let key = SealKey::make();
        let shares = self.split(&key)?;
        let shares = match self.recipients.as_slice() {
            [] => shares.into_iter().map(Issued::Clear).collect(),
            recipients => encrypt(shares, recipients)?,
        };
        let stored = match root_key {
            Some(root_key) => Stored::wrap(self.config.clone(), &key, root_key),
            None => Stored::authorise(self.config.clone(), &key),
        };
        Ok((stored, shares))
    }

    fn split(&self, key: &SealKey) -> Result<Vec<KeyShare>, Error> {
        let Config { secret_shares, secret_threshold, .. } = self.config;
        if secret_shares == 1 {
            return Ok(vec![KeyShare::new(key.0.to_vec())]);
        }
        let refused = |_| Error::Threshold { shares: secret_shares.into(), threshold: secret_threshold.into() };
        let shares = crypto::shamir::split(&*key.0, secret_shares, secret_threshold).map_err(refused)?;
        Ok(shares.into_iter().map(|mut share| KeyShare::new(std::mem::take(&mut *share))).collect())
    }
}

fn encrypt(shares: Vec<KeyShare>, recipients: &[Recipient]) -> Result<Vec<Issued>, Error> {
    let pairs = shares.iter().zip(recipients).zip(1..);
    let issue = |((share, recipient), position): ((&KeyShare, &Recipient), usize)| {
        let message = recipient.encrypt(&share.hex()).map_err(|reason| Error::PgpKey { position, reason })?;
        Ok(Issued::Encrypted { message, fingerprint: recipient.fingerprint() })
    };
    pairs.map(issue).collect()
}
