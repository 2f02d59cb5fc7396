//! How many shares there are and how many are needed.

use serde::{Deserialize, Serialize};

use crate::Error;

/// The shape of a set of shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How many shares there are: 1 to 255.
    pub secret_shares: u8,
    /// How many of them are needed: 2 to `secret_shares`; 1 if there is one share.
    pub secret_threshold: u8,
    /// Tells this set of shares from those before it.
    pub nonce: String,
}

impl Config {
    /// A new set of `shares` shares of which `threshold` are needed.
    pub fn new(shares: u64, threshold: u64) -> Result<Self, Error> {
        let config = Self {
            secret_shares: u8::try_from(shares).map_err(|_| Error::SharesRange(shares))?,
            secret_threshold: u8::try_from(threshold).map_err(|_| Error::Threshold { shares, threshold })?,
            nonce: crypto::random::uuid(),
        };
        config.check()?;
        Ok(config)
    }

    /// Whether the numbers go together.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (shares, threshold) = (u64::from(self.secret_shares), u64::from(self.secret_threshold));
        match (shares, threshold) {
            (0, _) => Err(Error::SharesRange(shares)),
            (1, 1) => Ok(()),
            (2.., 2..) if threshold <= shares => Ok(()),
            _ => Err(Error::Threshold { shares, threshold }),
        }
    }

    /// The length of a share in bytes. A single share is the key itself; others carry their coordinate.
    pub(crate) fn share_length(&self) -> usize {
        if self.secret_shares == 1 { 32 } else { 33 }
    }
}
