//! Percent escapes (RFC 3986), as they are written; [`crate::ReqPath`] reads them.

use std::fmt::Write as _;

/// What stands for itself anywhere in a URL, besides letters and digits.
pub const UNRESERVED: &[u8] = b"-._~";

/// `text` with a percent escape for each byte that is no letter, no digit and not in `kept`.
pub fn percent_escape(text: &str, kept: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_escaped() {
        assert_eq!(percent_escape("aZ09-._~", UNRESERVED), "aZ09-._~");
        assert_eq!(percent_escape("a/b c%\u{e4}\0", UNRESERVED), "a%2Fb%20c%25%C3%A4%00");
        assert_eq!(percent_escape("a/b c", b"/"), "a/b%20c");
        assert_eq!(percent_escape("", UNRESERVED), "");
    }
}
