//! Keyed hashing of values: `hmac-sha256:` and 64 hexadecimal digits.

use std::{fmt, sync::Arc};

use crypto::hmac;

/// What every keyed hash in a record begins with.
pub const PREFIX: &str = "hmac-sha256:";

/// A device's salt. Clones share it.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    key: hmac::Key,
    /// The hash of nothing, which records are full of.
    empty: Tag,
}

impl Hasher {
    /// A hasher with the device's salt: 32 random bytes, kept encrypted by the caller and never changed while the
    /// device lives, or else the hashes of old records can no longer be searched for.
    pub fn new(salt: &[u8]) -> Self {
        let key = hmac::Key::new(salt);
        let empty = Tag::new(&key.sign(b""));
        Self(Arc::new(Inner { key, empty }))
    }

    /// The keyed hash of `value`.
    pub fn tag(&self, value: &[u8]) -> Tag {
        if value.is_empty() { self.0.empty } else { Tag::new(&self.0.key.sign_secret(value)) }
    }

    /// The keyed hash of `value` as text, as it stands in records.
    pub fn hash(&self, value: &[u8]) -> String {
        self.tag(value).as_str().to_owned()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher(..)")
    }
}

/// A keyed hash as text.
#[derive(Clone, Copy)]
pub struct Tag([u8; TAG]);

impl Tag {
    fn new(hash: &[u8; 32]) -> Self {
        let mut text = [0; TAG];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        write_hex(hash, digits);
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Made of ASCII alone.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes `bytes` as lower-case hexadecimal; `out` is twice as long.
pub(crate) fn write_hex(bytes: &[u8], out: &mut [u8]) {
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (byte, pair) in bytes.iter().zip(pairs) {
        *pair = HEX.get(usize::from(*byte)).copied().unwrap_or_default();
    }
}

/// The two digits of every byte.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    #[allow(clippy::indexing_slicing, reason = "checked while compiling")]
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};

const TAG: usize = PREFIX.len() + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_salt_and_the_value() {
        let (a, b) = (Hasher::new(&[1; 32]), Hasher::new(&[2; 32]));
        let hash = a.hash(b"value");
        assert_eq!(hash.len(), 76);
        assert!(hash.starts_with("hmac-sha256:"));
        assert!(hash.bytes().skip(12).all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert_eq!(hash, a.hash(b"value"));
        assert_ne!(hash, b.hash(b"value"));
        assert_ne!(hash, a.hash(b"value "));
        assert_eq!(format!("{a:?}"), "Hasher(..)");
    }

    #[test]
    fn the_hash_is_plain_hmac_sha_256() {
        // RFC 4231, test case 2.
        let hash = Hasher::new(b"Jefe").hash(b"what do ya want for nothing?");
        assert_eq!(hash, "hmac-sha256:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
