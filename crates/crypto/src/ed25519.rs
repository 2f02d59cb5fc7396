//! Signatures: Ed25519 (RFC 8032).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use secret::Zeroizing;

use crate::random;

/// The length of a seed, in bytes.
pub const SEED: usize = 32;
/// The length of a public key, in bytes.
pub const PUBLIC: usize = 32;
/// The length of a signature, in bytes.
pub const SIGNATURE: usize = 64;

/// A private key with its public key.
pub struct KeyPair {
    seed: Zeroizing<[u8; SEED]>,
    pair: Ed25519KeyPair,
}

impl KeyPair {
    /// A new random key.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; SEED]);
        random::fill(&mut *seed);
        Self::from_seed(&seed)
    }

    /// The key that `seed` stands for.
    #[allow(clippy::expect_used, reason = "the backend refuses only seeds of a wrong length")]
    pub fn from_seed(seed: &[u8; SEED]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes");
        Self { seed: Zeroizing::new(*seed), pair }
    }

    /// The seed, to be stored encrypted.
    pub fn seed(&self) -> &Zeroizing<[u8; SEED]> {
        &self.seed
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; PUBLIC] {
        let mut out = [0; PUBLIC];
        out.copy_from_slice(self.pair.public_key().as_ref());
        out
    }

    /// The signature of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        let mut out = [0; SIGNATURE];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

/// Whether `signature` is a signature of `message` by the holder of the key `public`. Keys and signatures of a wrong
/// length verify nothing.
pub fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn the_published_vectors_hold() {
        let blocks = vectors::read(include_str!("../../../vectors/crypto/ed25519.txt"));
        assert_eq!(blocks.len(), 3);
        for block in blocks {
            let pair = KeyPair::from_seed(&block.array("seed"));
            let message = block.bytes("message");
            assert_eq!(pair.public_key().to_vec(), block.bytes("public"));
            assert_eq!(pair.sign(&message).to_vec(), block.bytes("signature"));
            assert!(verify(&pair.public_key(), &message, &block.bytes("signature")));
        }
    }

    #[test]
    fn a_signature_is_good_for_its_key_and_message_alone() {
        let (pair, other) = (KeyPair::generate(), KeyPair::generate());
        let signature = pair.sign(b"message");
        assert!(verify(&KeyPair::from_seed(pair.seed()).public_key(), b"message", &signature));
        assert!(!verify(&other.public_key(), b"message", &signature));
        assert!(!verify(&pair.public_key(), b"messagE", &signature));
        assert!(!verify(&pair.public_key()[..31], b"message", &signature));
        assert!(!verify(&pair.public_key(), b"message", &signature[..63]));
    }
}
