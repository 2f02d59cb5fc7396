//! Authenticated encryption: AES-256-GCM with random 96-bit nonces.
//!
//! A sealed message is nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes). With random nonces one key must seal no more
//! than 2^32 messages; whoever holds a key for long counts, as the barrier does.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use secret::Zeroizing;

use crate::{Error, random};

/// The length of a key, in bytes.
pub const KEY: usize = 32;
/// The length of a nonce, in bytes.
pub const NONCE: usize = 12;
/// The length of a tag, in bytes.
pub const TAG: usize = 16;
/// What a sealed message is longer than its plaintext, in bytes.
pub const OVERHEAD: usize = NONCE + TAG;

/// An expanded AES-256-GCM key, wiped by the backend when it is dropped.
pub struct Key(LessSafeKey);

impl Key {
    /// Expands `key`.
    #[allow(clippy::expect_used, reason = "the backend refuses only keys of a wrong length")]
    pub fn new(key: &[u8; KEY]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes")))
    }

    /// Seals `plain`; only an [`Key::open`] with the same `aad` will open it.
    pub fn seal(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        self.seal_into(aad, plain, &mut out);
        out
    }

    /// As [`Key::seal`], appended to `out`.
    pub fn seal_into(&self, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        self.seal_with(random::bytes(), aad, plain, out);
    }

    /// What was sealed. Wrong key, wrong `aad` and changed bytes are all [`Error::NotAuthentic`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(Error::TooShort)?;
        let (cipher, tag) = rest.split_last_chunk::<TAG>().ok_or(Error::TooShort)?;
        // Decrypted straight into the buffer that is handed out: no second copy to wipe.
        let mut plain = Zeroizing::new(vec![0; cipher.len()]);
        self.0
            .open_separate_gather(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), cipher, tag, &mut plain)
            .map_err(|_| Error::NotAuthentic)?;
        Ok(plain)
    }

    #[allow(clippy::expect_used, reason = "the backend refuses only messages beyond 64 GiB")]
    fn seal_with(&self, nonce: [u8; NONCE], aad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.resize(start + plain.len(), 0);
        let (_, cipher) = out.split_at_mut(start);
        let mut tag = [0; TAG];
        // Out of place: the plaintext is never copied into a buffer that nobody wipes.
        self.0
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plain,
                cipher,
                &[],
                &mut tag,
            )
            .expect("a message below 64 GiB");
        out.extend_from_slice(&tag);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn the_published_vectors_hold() {
        let blocks = vectors::read(include_str!("../../../vectors/crypto/aes256gcm.txt"));
        assert_eq!(blocks.len(), 4);
        for block in blocks {
            let key = Key::new(&block.array("key"));
            let sealed = [block.bytes("nonce"), block.bytes("cipher"), block.bytes("tag")].concat();
            let mut made = Vec::new();
            key.seal_with(block.array("nonce"), &block.bytes("aad"), &block.bytes("plain"), &mut made);
            assert_eq!(made, sealed);
            assert_eq!(*key.open(&block.bytes("aad"), &sealed).unwrap(), block.bytes("plain"));
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let key = Key::new(&[7; 32]);
        let sealed = key.seal(b"purpose", b"plain text");
        assert_eq!(sealed.len(), 10 + OVERHEAD);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"purpose", &changed).unwrap_err(), Error::NotAuthentic);
            assert!(key.open(b"purpose", &sealed[..at]).is_err());
        }
        assert_eq!(key.open(b"another purpose", &sealed).unwrap_err(), Error::NotAuthentic);
        assert_eq!(Key::new(&[8; 32]).open(b"purpose", &sealed).unwrap_err(), Error::NotAuthentic);
        assert_eq!(key.open(b"purpose", &sealed[..OVERHEAD - 1]).unwrap_err(), Error::TooShort);
    }

    #[test]
    fn the_same_message_is_sealed_differently_each_time_and_appended() {
        let key = Key::new(&[7; 32]);
        assert_ne!(key.seal(b"", b"x"), key.seal(b"", b"x"));
        let mut out = b"head".to_vec();
        key.seal_into(b"", b"x", &mut out);
        assert!(out.starts_with(b"head"));
        assert_eq!(*key.open(b"", &out[4..]).unwrap(), b"x");
    }
}
