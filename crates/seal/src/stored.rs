//! What is stored of the seal, readable before the barrier is open.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::{Config, Copy, Error, RootKey, SealKey};

/// The key of the store, below the barrier, where [`Stored`] belongs.
pub const STORED_AT: &str = "core/seal";

/// The stored record: the shape of the set of shares, and the root key wrapped by the key they stand for and for every seal
/// that opens by itself. One record, so that a rekey replaces all or nothing. It may be read by anybody: without the shares or
/// a seal it tells nothing.
///
/// Where seals open by themselves the shares authorise what their holders order, and open only if that was asked for; if
/// not, they wrap random bytes, by which it is known that they are right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    version: u8,
    #[serde(rename = "type")]
    kind: String,
    config: Config,
    root_key: String,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub(crate) shares_open: bool,
    #[serde(default, rename = "seals", skip_serializing_if = "Vec::is_empty")]
    pub(crate) copies: Vec<Copy>,
}

impl Stored {
    /// Wraps `root_key` under `key`.
    pub(crate) fn wrap(config: Config, key: &SealKey, root_key: &RootKey) -> Self {
        // EXPOSE: encrypted on the spot.
        let wrapped = key.cipher().seal(&purpose(&config), root_key.expose());
        let root_key = BASE64.encode(&wrapped);
        Self { version: SHARES, kind: KIND.to_owned(), config, root_key, shares_open: true, copies: Vec::new() }
    }

    /// Shares that open nothing: `key` wraps random bytes, by which it is known again.
    pub(crate) fn authorise(config: Config, key: &SealKey) -> Self {
        let mut proof = [0; 32];
        crypto::random::fill(&mut proof);
        let root_key = BASE64.encode(&key.cipher().seal(&proof_purpose(&config), &proof));
        Self { version: KEPT, kind: KIND.to_owned(), config, root_key, shares_open: false, copies: Vec::new() }
    }

    /// With the type and the version that go with the copies.
    pub(crate) fn sorted(mut self) -> Self {
        match self.copies.first() {
            Some(first) => (self.version, self.kind) = (KEPT, first.kind().to_owned()),
            None => (self.version, self.kind) = (SHARES, KIND.to_owned()),
        }
        self
    }

    /// Whether `key` is the right one, where it opens nothing.
    pub(crate) fn prove(&self, key: &SealKey) -> Result<(), Error> {
        let damaged = Error::Damaged("the proof of the shares cannot be read");
        let wrapped = BASE64.decode(self.root_key.as_bytes()).map_err(|_| damaged.clone())?;
        key.cipher().open(&proof_purpose(&self.config), &wrapped).map(drop).map_err(|error| match error {
            crypto::Error::TooShort => damaged,
            _ => Error::SharesMixed,
        })
    }

    /// The same set of shares, with these copies of the root key.
    #[must_use]
    pub fn with_copies(&self, copies: Vec<Copy>) -> Self {
        Self { copies, ..self.clone() }.sorted()
    }

    /// The root key for whoever holds the key of the shares; an error if they cannot open.
    pub(crate) fn opened_by(&self, key: &SealKey) -> Result<Option<RootKey>, Error> {
        match self.shares_open {
            true => self.unwrap(key).map(Some),
            false => self.prove(key).map(|()| None),
        }
    }

    /// The kind of seal: `shamir`, or that of the first seal that opens by itself.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether seals open it by themselves.
    pub fn is_kept(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Whether enough shares open it.
    pub fn shares_open(&self) -> bool {
        self.shares_open
    }

    /// The root key as it is wrapped for seals that open by themselves.
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// What opens a server with this record, in words for its operator.
    pub fn keys_needed(&self) -> String {
        let Config { secret_shares, secret_threshold, nonce } = &self.config;
        let shares = format!("{secret_threshold} of the {secret_shares} key shares of set {nonce}");
        if !self.is_kept() {
            return format!("{shares} are needed to unseal it");
        }
        let seals: Vec<_> = self.copies.iter().map(|copy| format!("{} ({})", copy.name(), copy.kind())).collect();
        let seals = format!("the seal {} opens it", seals.join(" or "));
        match self.shares_open {
            true => format!("{seals}, and so do {shares}"),
            false => format!("{seals}; its recovery shares cannot"),
        }
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
        match (stored.version, stored.is_kept()) {
            (SHARES, false) if stored.kind != KIND => return Err(Error::Damaged("it is of another type of seal")),
            (SHARES, false) | (KEPT, true) => {}
            (SHARES | KEPT, _) => return Err(Error::Damaged("its seals and its version do not go together")),
            _ => return Err(Error::Damaged("it was written by a newer version: install a newer strongroom")),
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

fn proof_purpose(config: &Config) -> Vec<u8> {
    let Config { secret_shares, secret_threshold, nonce } = config;
    format!("strongroom seal 2: proof, {secret_threshold} of {secret_shares}, set {nonce}").into_bytes()
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// The version of a record whose shares alone open it.
const SHARES: u8 = 1;
/// The version of a record with seals that open by themselves.
const KEPT: u8 = 2;
const KIND: &str = "shamir";
