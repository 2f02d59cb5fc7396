//! Opens the seal, share by share.

use secret::SecretString;
use serde::Serialize;

use crate::{Error, RootKey, Stored, ballot::Ballot};

/// The shares given so far to open the seal.
#[derive(Debug, Default)]
pub struct Unseal {
    nonce: String,
    ballot: Ballot,
}

/// How far the unsealing is. The field names are those of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnsealStatus {
    /// How many shares are needed.
    pub t: u8,
    /// How many shares there are.
    pub n: u8,
    /// How many were given.
    pub progress: usize,
    /// Names the attempt; empty before the first share.
    pub nonce: String,
}

impl Unseal {
    /// Takes a share in hex or base64. With the last one needed it gives the root key; then, and if the shares turn
    /// out wrong, they are forgotten. A share that is refused for itself leaves the others as they are.
    pub fn submit(&mut self, stored: &Stored, share: &SecretString) -> Result<Option<RootKey>, Error> {
        let outcome = self.ballot.add(stored, share);
        match self.ballot.progress() {
            0 => self.nonce.clear(),
            1 if self.nonce.is_empty() => self.nonce = crypto::random::uuid(),
            _ => {}
        }
        outcome
    }

    /// Forgets the shares given so far.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How far the unsealing is.
    pub fn status(&self, stored: &Stored) -> UnsealStatus {
        let config = stored.config();
        let (t, n) = (config.secret_threshold, config.secret_shares);
        UnsealStatus { t, n, progress: self.ballot.progress(), nonce: self.nonce.clone() }
    }
}
