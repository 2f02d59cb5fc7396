//! A seal wraps and unwraps the root key: the Shamir seal, and what seals that open by themselves have in common.
//!
//! The root key opens the barrier. It is stored wrapped by a key that exists nowhere but in the shares handed to the
//! key holders ([`init`]). [`Unseal`] collects shares until the root key can be unwrapped, [`Rekey`] replaces the root
//! key and all shares, [`GenerateRoot`] lets the holders together order a new root token.
//!
//! Nothing here does I/O or knows the time: the caller brings what is stored ([`Stored`]) and stores what is made.

mod ballot;
mod config;
mod error;
mod generate_root;
mod init;
mod keeper;
mod recipient;
mod rekey;
mod share;
mod stored;
mod unseal;

use secret::{Secret, Zeroizing};

pub use crate::{
    config::Config,
    error::Error,
    generate_root::{EncodedToken, GenerateRoot, Grant, OTP_LENGTH, RootRequest, RootStatus, RootStep, decode_token},
    init::{Issue, Issued, NewShares, init, init_kept},
    keeper::{Copy, Keeper, KeeperError, KeeperKind, Kept, Options, Wrapped, copies_anew, missing, open_by},
    recipient::Recipient,
    rekey::{Rekey, RekeyRequest, RekeyStatus, RekeyStep, Verification, VerificationStatus},
    share::KeyShare,
    stored::{STORED_AT, Stored},
    unseal::{Moving, Unseal, UnsealStatus},
};

/// The key that opens the barrier: 32 random bytes.
#[derive(Debug)]
pub struct RootKey(Secret<[u8; 32]>);

impl RootKey {
    /// A new random key.
    pub fn make() -> Self {
        Self(Secret::init_with(|key: &mut [u8; 32]| crypto::random::fill(key)))
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret::init_with(|key: &mut [u8; 32]| key.copy_from_slice(bytes)))
    }

    /// The bytes, to make a cipher of. Say why at the call: `// EXPOSE: …`.
    pub fn expose(&self) -> &[u8; 32] {
        // EXPOSE: handed on under the same rule.
        self.0.expose()
    }
}

/// The key the shares stand for. It wraps the root key and nothing else.
pub(crate) struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    fn make() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        crypto::random::fill(&mut *key);
        Self(key)
    }

    /// The key from restored bytes, if there are 32 of them.
    fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        (bytes.len() == key.len()).then(|| {
            key.copy_from_slice(bytes);
            Self(key)
        })
    }

    fn cipher(&self) -> crypto::aead::Key {
        crypto::aead::Key::new(&self.0)
    }
}

#[cfg(test)]
mod tests;
