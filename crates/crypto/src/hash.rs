//! Hash functions: SHA-2 and SHA-3.

use aws_lc_rs::digest;

/// SHA-224 of `data`.
pub fn sha224(data: &[u8]) -> [u8; 28] {
    once(&digest::SHA224, data)
}

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    once(&digest::SHA256, data)
}

/// SHA-384 of `data`.
pub fn sha384(data: &[u8]) -> [u8; 48] {
    once(&digest::SHA384, data)
}

/// SHA-512 of `data`.
pub fn sha512(data: &[u8]) -> [u8; 64] {
    once(&digest::SHA512, data)
}

/// SHA-512/256 of `data`.
pub fn sha512_256(data: &[u8]) -> [u8; 32] {
    once(&digest::SHA512_256, data)
}

/// SHA3-256 of `data`.
pub fn sha3_256(data: &[u8]) -> [u8; 32] {
    once(&digest::SHA3_256, data)
}

/// SHA3-384 of `data`.
pub fn sha3_384(data: &[u8]) -> [u8; 48] {
    once(&digest::SHA3_384, data)
}

/// SHA3-512 of `data`.
pub fn sha3_512(data: &[u8]) -> [u8; 64] {
    once(&digest::SHA3_512, data)
}

/// SHA-256 of data that comes in pieces.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> [u8; 32] {
        array(self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(..)")
    }
}

fn once<const N: usize>(algorithm: &'static digest::Algorithm, data: &[u8]) -> [u8; N] {
    array(digest::digest(algorithm, data))
}

fn array<const N: usize>(digest: digest::Digest) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(digest.as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn the_published_vectors_hold() {
        let blocks = vectors::read(include_str!("../../../vectors/crypto/digests.txt"));
        assert_eq!(blocks.len(), 16);
        for block in blocks {
            let message = block.bytes("message");
            let made = match block.text("algorithm") {
                "sha224" => sha224(&message).to_vec(),
                "sha256" => sha256(&message).to_vec(),
                "sha384" => sha384(&message).to_vec(),
                "sha512" => sha512(&message).to_vec(),
                "sha512_256" => sha512_256(&message).to_vec(),
                "sha3_256" => sha3_256(&message).to_vec(),
                "sha3_384" => sha3_384(&message).to_vec(),
                "sha3_512" => sha3_512(&message).to_vec(),
                other => panic!("{other}"),
            };
            assert_eq!(made, block.bytes("digest"), "{}", block.text("algorithm"));
        }
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let mut hash = Sha256::default();
        hash.update(b"a");
        hash.update(b"bc");
        assert_eq!(hash.finish(), sha256(b"abc"));
    }
}
