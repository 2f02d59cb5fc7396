//! Collects shares until there are enough, then shows that they are the right ones.

use secret::SecretString;

use crate::{Error, KeyShare, RootKey, SealKey, Stored};

/// What enough of the right shares give.
pub(crate) struct Opened {
    pub(crate) key: SealKey,
    /// `None` if the shares only authorise.
    pub(crate) root_key: Option<RootKey>,
}

/// The shares given so far for one operation.
#[derive(Debug, Default)]
pub(crate) struct Ballot {
    /// Which set the shares were counted for.
    set: String,
    shares: Vec<KeyShare>,
}

impl Ballot {
    /// How many shares were given.
    pub(crate) fn progress(&self) -> usize {
        self.shares.len()
    }

    /// Takes a share. With the last one needed it gives the key that the shares stand for, and the root key if they open it.
    /// Whatever comes of that, the shares are forgotten.
    pub(crate) fn add(&mut self, stored: &Stored, text: &SecretString) -> Result<Option<Opened>, Error> {
        let config = stored.config();
        if self.set != config.nonce {
            // The shares were replaced meanwhile, perhaps through another node: the old ones are of no use.
            *self = Self { set: config.nonce.clone(), shares: Vec::new() };
        }
        let share = KeyShare::parse(text, config.share_length())?;
        if self.shares.iter().any(|other| other.matches(&share)) {
            return Err(Error::ShareRepeated);
        }
        self.shares.push(share);
        if self.shares.len() < usize::from(config.secret_threshold) {
            return Ok(None);
        }
        let shares = std::mem::take(&mut self.shares);
        let key = combine(&shares)?;
        let root_key = stored.opened_by(&key)?;
        Ok(Some(Opened { key, root_key }))
    }
}

fn combine(shares: &[KeyShare]) -> Result<SealKey, Error> {
    let restored = match shares {
        // EXPOSE: the only share is the key, the others are combined into it.
        [only] => SealKey::from_slice(only.expose()),
        _ => {
            let shares: Vec<&[u8]> = shares.iter().map(KeyShare::expose).collect();
            // Different shares with the same coordinate, or with none, are of different sets or of none.
            SealKey::from_slice(&crypto::shamir::combine(&shares).map_err(|_| Error::SharesMixed)?)
        }
    };
    restored.ok_or(Error::SharesMixed)
}
