//! Names of users: one spelling for each, whatever was typed.

use engine::{Error, FromPath};

/// A user's name in lower case: the form in which it is stored, looked up, counted and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Username(String);

impl Username {
    /// The name of this spelling; `None` if it is not one.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let inner = text.chars().all(|c| word(c) || matches!(c, '.' | '-' | '@' | '+'));
        let ends = text.starts_with(word) && text.ends_with(word);
        (inner && ends && text.len() <= LONGEST).then(|| Self(text.to_ascii_lowercase()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromPath for Username {
    const CAPTURES: usize = 1;

    fn from_path(captures: &[String]) -> Result<Self, Error> {
        let text = captures.first().map(String::as_str).unwrap_or_default();
        Self::new(text).ok_or_else(|| {
            Error::invalid(
                "invalid username: use letters, digits, '_', '.', '-', '@' and '+', beginning and ending with a letter, digit or '_'",
            )
        })
    }
}

const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_one_name_or_none() {
        for spelling in ["alice", "ALICE", "aLiCe"] {
            assert_eq!(Username::new(spelling).unwrap().as_str(), "alice");
        }
        assert_eq!(Username::new("Alice.B+x@Example.org").unwrap().as_str(), "alice.b+x@example.org");
        let long = "x".repeat(LONGEST + 1);
        // Spaces, another alphabet, what looks like a path, letters whose lower case is another's.
        for wrong in
            ["", " alice", "alice ", "al ice", "alice.", "@alice", "älice", "a/b", "\u{212a}elvin", "alice\0", &long]
        {
            assert!(Username::new(wrong).is_none(), "{wrong:?}");
        }
    }
}
