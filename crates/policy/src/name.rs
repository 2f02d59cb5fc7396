//! Policy names and the one rule that makes two spellings the same name.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use crate::builtin::ROOT_NAME;

/// The name of a policy in its only spelling: surrounding blanks dropped, ASCII letters in lower case.
///
/// Every place that takes a policy name from outside (tokens, roles, entities, groups, routes) must make a `PolicyName` of
/// it, so that no two of them can disagree on whether ` ROOT` is `root`. Names are therefore plain ASCII: Unicode case
/// rules and look-alikes leave room for such disagreement.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyName(Arc<str>);

/// Why a text is no policy name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicyName {
    /// A character that is not allowed.
    #[error("policy name must consist of printable ASCII characters without ',', '\"' and '\\'")]
    Character,
    /// Nothing but blanks.
    #[error("policy name must not be empty")]
    Empty,
    /// A `.`, `..` or empty segment.
    #[error("policy name must not begin or end with '/', nor contain '//', '.' or '..' segments")]
    Segment,
    /// Longer than the limit.
    #[error("policy name is longer than {} bytes", PolicyName::MAX)]
    TooLong,
}

impl PolicyName {
    /// The greatest length in bytes.
    pub const MAX: usize = 512;

    /// Brings a name into its only spelling, or says why it is none.
    pub fn new(text: &str) -> Result<Self, InvalidPolicyName> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(InvalidPolicyName::Empty);
        }
        if trimmed.len() > Self::MAX {
            return Err(InvalidPolicyName::TooLong);
        }
        let allowed = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'"' | b'\\');
        if !trimmed.bytes().all(allowed) {
            return Err(InvalidPolicyName::Character);
        }
        if trimmed.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(InvalidPolicyName::Segment);
        }
        Ok(Self(trimmed.to_ascii_lowercase().into()))
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the policy that allows everything.
    pub fn is_root(&self) -> bool {
        &*self.0 == ROOT_NAME
    }

    /// For the names that are written in this crate.
    pub(crate) fn built_in(name: &'static str) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for PolicyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for PolicyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyName({})", self.0)
    }
}

impl Serialize for PolicyName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PolicyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Names were once folded to lower case in one place and compared as written in another, so a group that was given
    // the policy "Root" or " root" made its members all-powerful (the class of CVE-2025-5999). Here there is one rule.
    #[test]
    fn every_spelling_of_a_name_is_the_same_name() {
        for spelling in ["root", "ROOT", "Root", " root", "root\t", "\nrOOt \u{2003}"] {
            let name = PolicyName::new(spelling).unwrap();
            assert!(name.is_root(), "{spelling:?}");
            assert_eq!(PolicyName::new(name.as_str()).unwrap(), name);
        }
        // Letters that look alike, fold oddly or hide are no letters of a name.
        for other in ["rооt", "ſudo", "ro\u{200b}ot", "ＲＯＯＴ", "roo\u{0}t", "\u{212a}", "root,default", "a\"b"]
        {
            assert_eq!(PolicyName::new(other), Err(InvalidPolicyName::Character), "{other:?}");
        }
    }

    #[test]
    fn names_that_a_path_cannot_carry_are_refused() {
        for name in ["/a", "a/", "a//b", "..", "a/../b", "."] {
            assert_eq!(PolicyName::new(name), Err(InvalidPolicyName::Segment), "{name:?}");
        }
        for name in ["team/app", "a b", "web-1.prod_x", "a*"] {
            assert_eq!(PolicyName::new(name).unwrap().as_str(), name);
        }
        assert_eq!(PolicyName::new("  "), Err(InvalidPolicyName::Empty));
        assert_eq!(PolicyName::new(&"a".repeat(513)), Err(InvalidPolicyName::TooLong));
    }
}
