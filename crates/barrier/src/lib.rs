//! The barrier: an encrypted [`storage::Store`] over a store.
//!
//! What passes it is sealed with AES-256-GCM and bound to its path; below it lie nothing but ciphertexts, keys of
//! entries and three records of its own. The data keys form a keyring of numbered terms, stored under the root key.
//!
//! [`Sealed`] knows the store and no key. [`Sealed::open`] turns the root key into an [`Unsealed`], which is a store
//! until it is closed or dropped. A bounded cache of decrypted entries spares most reads the way down.

mod cache;
mod envelope;
mod error;
mod keyring;
mod rotation;
mod sealed;
mod store;
mod unsealed;
mod witness;

pub use crate::{
    cache::DEFAULT_CACHE,
    envelope::OVERHEAD,
    error::Error,
    keyring::{KeyStatus, RotationConfig},
    rotation::SealsOutside,
    sealed::Sealed,
    unsealed::Unsealed,
    witness::Witness,
};

/// The store's key of the keyring, under the root key.
pub const KEYRING: &str = "core/keyring";
/// The store's key of the root key under the active data key, by which running nodes follow a rekey.
pub const ROOT_KEY: &str = "core/root-key";

/// The store's key of the version of the stored form.
pub const FORMAT: &str = "core/format";

/// Whether this key of the store is not of the data: it is neither shown nor written through the barrier. The last two are
/// there while a snapshot is being put back, or the store copied.
fn is_reserved(key: &str) -> bool {
    matches!(key, KEYRING | ROOT_KEY | FORMAT | seal::STORED_AT | "core/restore" | "core/migration")
}

/// How many keys are reserved.
const RESERVED: usize = 6;

#[cfg(test)]
mod tests;
