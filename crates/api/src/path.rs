//! Request paths, parsed once into a type that holds no way around routing and policy.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// The path of a request below `/v1/`: percent-decoded once, with no empty, `.` or `..` segment, no control
/// character, no leading slash. A trailing slash is kept apart, in [`ReqPath::is_folder`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReqPath {
    text: String,
}

/// Why a text is no request path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// A `.` or `..` segment.
    #[error("path must not contain '.' or '..' segments")]
    Relative,
    /// Two slashes in a row.
    #[error("path must not contain empty segments ('//')")]
    Empty,
    /// A control character or other character that cannot be printed.
    #[error("path must not contain unprintable characters")]
    Unprintable,
    /// Not UTF-8 after percent-decoding.
    #[error("path must be valid UTF-8")]
    NotUtf8,
    /// A `%` without two hexadecimal digits.
    #[error("path contains an incomplete percent escape")]
    Escape,
    /// Longer than the limit.
    #[error("path is longer than {} bytes", ReqPath::MAX)]
    TooLong,
}

impl ReqPath {
    /// The greatest length of a path in bytes, decoded.
    pub const MAX: usize = 4096;

    /// Decodes percent escapes (once) and checks the result.
    pub fn decode(raw: &str) -> Result<Self, InvalidPath> {
        if !raw.contains('%') {
            return Self::new(raw);
        }
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let digit =
                |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(InvalidPath::Escape);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| InvalidPath::Escape)?);
        }
        Self::new(&String::from_utf8(bytes).map_err(|_| InvalidPath::NotUtf8)?)
    }

    /// Checks an already decoded path. One leading slash is dropped.
    pub fn new(text: &str) -> Result<Self, InvalidPath> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.len() > Self::MAX {
            return Err(InvalidPath::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}' || c == '\u{FFFD}') {
            return Err(InvalidPath::Unprintable);
        }
        let body = text.strip_suffix('/').unwrap_or(text);
        for segment in body.split('/') {
            match segment {
                "." | ".." => return Err(InvalidPath::Relative),
                "" if !text.is_empty() => return Err(InvalidPath::Empty),
                _ => {}
            }
        }
        Ok(Self { text: text.to_owned() })
    }

    /// The path, with its trailing slash if it had one.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path ends in a slash (or is empty).
    pub fn is_folder(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('/')
    }
}

impl fmt::Display for ReqPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ReqPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReqPath({})", self.text)
    }
}

/// The name of a role, key, policy or the like: letters, digits, `_`, `.` and `-`, beginning and ending with a letter,
/// digit or `_`; at most 512 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Name(String);

impl Name {
    /// Checks a name; `None` if it is not one.
    pub fn new(text: &str) -> Option<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let inner = text.chars().all(|c| word(c) || c == '.' || c == '-');
        let ends = text.starts_with(word) && text.ends_with(word);
        (inner && ends && text.len() <= 512).then(|| Self(text.to_owned()))
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower case, for kinds whose names do not depend on case.
    pub fn to_lowercase(&self) -> Self {
        Self(self.0.to_ascii_lowercase())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "invalid name: use letters, digits, '_', '.' and '-', beginning and ending with a letter, digit or '_'",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_mean_something_else_are_refused() {
        let refused = [
            ("secret/../sys", InvalidPath::Relative),
            ("secret/%2e%2e/sys", InvalidPath::Relative),
            ("./secret", InvalidPath::Relative),
            ("secret//a", InvalidPath::Empty),
            ("//secret", InvalidPath::Empty),
            ("secret/a\0b", InvalidPath::Unprintable),
            ("secret/%00", InvalidPath::Unprintable),
            ("secret/%ff", InvalidPath::NotUtf8),
            ("secret/%4", InvalidPath::Escape),
            ("secret/%zz", InvalidPath::Escape),
        ];
        for (text, why) in refused {
            assert_eq!(ReqPath::decode(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(ReqPath::decode("/secret/a%20b").unwrap().as_str(), "secret/a b");
        assert_eq!(ReqPath::decode("secret/%2561").unwrap().as_str(), "secret/%61");
        assert_eq!(ReqPath::decode("secret/%2e%2e%2e").unwrap().as_str(), "secret/...");
        assert!(ReqPath::decode("secret/a/").unwrap().is_folder());
    }

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "app_1", "web.prod-eu", "_x"] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a/b", "é", "a\n"] {
            assert!(Name::new(bad).is_none(), "{bad:?}");
        }
    }
}
