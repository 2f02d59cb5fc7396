//! The only crate that names a cryptographic backend.
//!
//! Everything that encrypts, signs, hashes, derives a key, splits one into shares or needs randomness comes here and
//! says what it wants in the field's terms; which library does it stays inside. Keys and plaintexts handed out wipe
//! themselves.
//!
//! A backend that fails where it cannot (no randomness from the operating system, a key of the right length refused)
//! ends the program: there is no safe way on.

pub mod aead;
pub mod ed25519;
pub mod hash;
pub mod hmac;
pub mod jws;
pub mod kdf;
pub mod otp;
pub mod password;
pub mod random;
pub mod shamir;

#[cfg(test)]
mod vectors;

/// Why a cryptographic operation was refused. None of these tells anything about a key or a plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no key of this kind, or none can be made.
    #[error("the bytes are no key of this kind")]
    Key,
    /// The bytes were not sealed with this key for this purpose, or were changed since.
    #[error("the sealed bytes are not authentic under this key")]
    NotAuthentic,
    /// Two of the shares are the same, or have the same coordinate.
    #[error("two of the shares are the same")]
    ShareRepeated,
    /// The shares differ in length, so they cannot be from one split.
    #[error("the shares differ in length")]
    ShareLengths,
    /// A share has no bytes besides its coordinate.
    #[error("a share is too short")]
    ShareTooShort,
    /// A share has the coordinate zero, which no split makes.
    #[error("a share has the coordinate zero")]
    ShareZero,
    /// There is no secret to split.
    #[error("the secret to split is empty")]
    SecretEmpty,
    /// The threshold is below two, or above the number of shares.
    #[error("the threshold must be at least 2 and at most the number of shares")]
    Threshold,
    /// One share cannot restore anything.
    #[error("at least two shares are needed")]
    TooFewShares,
    /// The sealed bytes are shorter than a nonce and a tag.
    #[error("the sealed bytes are too short")]
    TooShort,
}
