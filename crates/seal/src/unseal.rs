//! Opens the seal, share by share.

use secret::SecretString;
use serde::Serialize;

use crate::{
    Copy, Error, RootKey, Stored,
    ballot::{Ballot, Opened},
};

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
        if !stored.shares_open() {
            return Err(Error::SharesOnlyAuthorise);
        }
        Ok(self.add(stored, share)?.and_then(|opened| opened.root_key))
    }

    /// As [`Unseal::submit`], to move to another seal; shares that only authorise are enough for that.
    pub fn submit_to_move(&mut self, stored: &Stored, share: &SecretString) -> Result<Option<Moving>, Error> {
        let stored_before = stored.clone();
        Ok(self.add(stored, share)?.map(|opened| Moving { opened, stored: stored_before }))
    }

    fn add(&mut self, stored: &Stored, share: &SecretString) -> Result<Option<Opened>, Error> {
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

/// The order of enough key holders to move to another seal.
pub struct Moving {
    opened: Opened,
    stored: Stored,
}

impl std::fmt::Debug for Moving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Moving(..)")
    }
}

impl Moving {
    /// The root key, if the shares open it. Otherwise the seal that is left has to.
    pub fn take_root_key(&mut self) -> Option<RootKey> {
        self.opened.root_key.take()
    }

    /// The record with seals that open by themselves; the shares stay what they were.
    pub fn to_kept(&self, copies: Vec<Copy>) -> Stored {
        self.stored.with_copies(copies)
    }

    /// The record in which the shares alone open.
    pub fn to_shares(&self, root_key: &RootKey) -> Stored {
        Stored::wrap(self.stored.config().clone(), &self.opened.key, root_key)
    }
}
