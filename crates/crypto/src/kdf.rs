//! Keys from keys and keys from passwords.

use std::num::NonZeroU32;

use aws_lc_rs::{hkdf, pbkdf2};

/// HKDF-SHA-256 (RFC 5869): fills `out` with key material derived from `ikm`.
///
/// `ikm` must be a key, not a password. `info` names the purpose: other purposes give unrelated keys.
///
/// # Panics
/// If `out` is longer than 8160 bytes, the limit of the construction.
#[allow(clippy::expect_used, reason = "the length is the caller's, and fixed in the code of each")]
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm);
    prk.expand(&[info], Length(out.len())).and_then(|okm| okm.fill(out)).expect("at most 8160 bytes of key material");
}

/// PBKDF2-HMAC-SHA-256 (RFC 8018): fills `out` with key material derived from a password. Zero `rounds` count as one.
pub fn pbkdf2_sha256(password: &[u8], salt: &[u8], rounds: u32, out: &mut [u8]) {
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, out);
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn the_published_hkdf_vectors_hold() {
        let blocks = vectors::read(include_str!("../../../vectors/crypto/hkdf_sha256.txt"));
        assert_eq!(blocks.len(), 3);
        for block in blocks {
            let okm = block.bytes("okm");
            let mut out = vec![0; okm.len()];
            hkdf_sha256(&block.bytes("ikm"), &block.bytes("salt"), &block.bytes("info"), &mut out);
            assert_eq!(out, okm);
        }
    }

    #[test]
    fn the_published_pbkdf2_vectors_hold() {
        let blocks = vectors::read(include_str!("../../../vectors/crypto/pbkdf2_sha256.txt"));
        assert_eq!(blocks.len(), 3);
        for block in blocks {
            let key = block.bytes("key");
            let mut out = vec![0; key.len()];
            let rounds = block.text("rounds").parse().unwrap();
            pbkdf2_sha256(&block.bytes("password"), &block.bytes("salt"), rounds, &mut out);
            assert_eq!(out, key);
        }
    }
}
