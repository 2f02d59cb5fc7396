//! What is stored of the seal, readable before the barrier is open.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::{Config, Error, RootKey, SealKey};

/// The key of the store, below the barrier, where [`Stored`] belongs.
pub const STORED_AT: &str = "core/seal";

/// The stored record: the shape of the set of shares, and the root key wrapped by the key they stand for. One record,
/// so that a rekey replaces both or neither. It may be read by anybody: without the shares it tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    version: u8,
    #[serde(rename = "type")]
    kind: String,
    config: Config,
    root_key: String,
}

impl Stored {
    /// Wraps `root_key` under `key`.
    pub(crate) fn wrap(config: Config, key: &SealKey, root_key: &RootKey) -> Self {
        // EXPOSE: encrypted on the spot.
        let wrapped = key.cipher().seal(&purpose(&config), root_key.expose());
        Self { version: VERSION, kind: KIND.to_owned(), config, root_key: BASE64.encode(&wrapped) }
    }

    /// The root key, if `key` is the right one.
    pub(crate) fn unwrap(&self, key: &SealKey) -> Result<RootKey, Error> {
        let damaged = Error::Damaged("the wrapped root key cannot be read");
        let wrapped = BASE64.decode(self.root_key.as_bytes()).map_err(|_| damaged.clone())?;
        let opened = key.cipher().open(&purpose(&self.config), &wrapped).map_err(|error| match error {
            crypto::Error::TooShort => damaged.clone(),
            _ => Error::SharesMixed,
        })?;
        opened.as_slice().try_into().map(RootKey::from_bytes).map_err(|_| damaged)
    }

    /// The shape of the set of shares.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The record as it is stored.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers alone: there is nothing that could fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The record from what was stored.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let stored: Self = serde_json::from_slice(json).map_err(|_| Error::Damaged("it is not the expected JSON"))?;
        if stored.version != VERSION {
            return Err(Error::Damaged("it was written by a newer version"));
        }
        if stored.kind != KIND {
            return Err(Error::Damaged("it is of another type of seal"));
        }
        stored.config.check().map_err(|_| Error::Damaged("its numbers of shares are impossible"))?;
        Ok(stored)
    }
}

/// Binds the wrapped root key to its purpose and to the set of shares.
fn purpose(config: &Config) -> Vec<u8> {
    let Config { secret_shares, secret_threshold, nonce } = config;
    format!("strongroom seal 1: root key, {secret_threshold} of {secret_shares}, set {nonce}").into_bytes()
}

const VERSION: u8 = 1;
const KIND: &str = "shamir";
