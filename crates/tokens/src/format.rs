//! What tokens look like: prefixes that clients and leak scanners know, and a checksum that tells a token from noise.

use gate::namespace::{suffix_of, with_suffix};
use secret::Zeroizing;

/// The prefix of service tokens.
pub(crate) const SERVICE: &str = "hvs.";
/// The prefix of batch tokens.
pub(crate) const BATCH: &str = "hvb.";

/// Random characters of a service token; with the checksum they are 92, which leak scanners expect.
const BODY: usize = 86;
const CHECKSUM: usize = 6;

/// A service token: the prefix, random characters, and a checksum over them; then its namespace, if that is not the root
/// one.
pub(crate) fn make_service(namespace: &str) -> Zeroizing<String> {
    let body = crypto::random::base62(BODY);
    let sum = checksum(&body);
    Zeroizing::new(with_suffix(format!("{SERVICE}{}{sum}", *body), namespace))
}

/// A root token: 28 characters in all.
pub(crate) fn make_root() -> Zeroizing<String> {
    Zeroizing::new(format!("{SERVICE}{}", *crypto::random::base62(24)))
}

/// An accessor: 24 characters, and the namespace, if that is not the root one.
pub(crate) fn make_accessor(namespace: &str) -> String {
    with_suffix(crypto::random::base62(24).to_string(), namespace)
}

/// The namespace that a token's text names; empty for the root one. Whether there is such a token is another matter.
pub(crate) fn namespace_of(token: &str) -> &str {
    // The dot of the prefix is none that parts off a namespace.
    suffix_of(token.strip_prefix(SERVICE).unwrap_or(token))
}

/// The first six base-62 digits of the SHA-256 of the body.
fn checksum(body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash = crypto::hash::sha256(body.as_bytes());
    hash.iter().take(CHECKSUM).map(|byte| char::from(*DIGITS.get(usize::from(byte % 62)).unwrap_or(&b'0'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_forms_that_tools_know() {
        let service = make_service("");
        assert_eq!(service.len(), 4 + 92);
        let (body, sum) = service[4..].split_at(BODY);
        assert_eq!(checksum(body), sum);
        assert_eq!(make_root().len(), 28);
        assert!(make_root().starts_with("hvs."));
        assert_ne!(*make_service(""), *make_service(""));
        let inside = make_service("aB3dE6");
        assert_eq!((inside.len(), namespace_of(&inside)), (4 + 92 + 7, "aB3dE6"));
        assert_eq!(namespace_of(&make_root()), "");
        // A short token of the root namespace is not taken for one of a namespace of that name.
        assert_eq!(namespace_of("hvs.aB3dE6"), "");
        assert_eq!(namespace_of("mine.aB3dE6"), "aB3dE6");
    }
}
