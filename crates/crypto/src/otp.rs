//! One-time codes of a few digits: HOTP (RFC 4226), on which TOTP (RFC 6238) counts steps of time.

use aws_lc_rs::hmac;

/// The hash below a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// What every authenticator knows. A collision of SHA-1 does not help against HMAC.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The code of `digits` digits, at most 9, that `key` gives for `counter`.
pub fn code(hash: Hash, key: &[u8], counter: u64, digits: u32) -> u32 {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
    // The shortest tag has 20 bytes, so four bytes from at most the sixteenth on are there.
    let word = tag.get(offset..offset + 4).and_then(|word| word.try_into().ok()).unwrap_or_default();
    (u32::from_be_bytes(word) & 0x7fff_ffff) % 10_u32.pow(digits.min(9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn the_published_vectors_hold() {
        let blocks = vectors::read(include_str!("../../../vectors/crypto/totp.txt"));
        assert_eq!(blocks.len(), 18);
        for block in blocks {
            let hash = match block.text("algorithm") {
                "SHA1" => Hash::Sha1,
                "SHA256" => Hash::Sha256,
                _ => Hash::Sha512,
            };
            let step = block.text("seconds").parse::<u64>().unwrap() / 30;
            let made = code(hash, &block.bytes("key"), step, 8);
            assert_eq!(format!("{made:08}"), block.text("code"));
            assert_eq!(made % 1_000_000, code(hash, &block.bytes("key"), step, 6));
        }
    }
}
