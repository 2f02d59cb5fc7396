//! How a sealed value is laid out: term (4 bytes, big-endian) ‖ version (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16).
//! The path of the entry is the associated data, so that a value cannot be moved to another path.

use secret::Zeroizing;

/// What a sealed value is longer than its plaintext, in bytes.
pub const OVERHEAD: usize = HEADER + crypto::aead::OVERHEAD;

/// The term of what is sealed with the root key. Data terms start at 1.
pub(crate) const ROOT_TERM: u32 = 0;

/// Seals `plain` for `path`.
pub(crate) fn seal(key: &crypto::aead::Key, term: u32, path: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
    out.extend_from_slice(&term.to_be_bytes());
    out.push(VERSION);
    key.seal_into(path.as_bytes(), plain, &mut out);
    out
}

/// The term a value was sealed in, and what only the key of that term opens. `None` if it is no sealed value.
pub(crate) fn split(sealed: &[u8]) -> Option<(u32, &[u8])> {
    let (term, rest) = sealed.split_first_chunk::<4>()?;
    let (version, rest) = rest.split_first()?;
    (*version == VERSION && rest.len() >= crypto::aead::OVERHEAD).then(|| (u32::from_be_bytes(*term), rest))
}

/// Opens what [`split`] left.
pub(crate) fn open(key: &crypto::aead::Key, path: &str, rest: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    key.open(path.as_bytes(), rest).ok()
}

const HEADER: usize = 5;
const VERSION: u8 = 1;
