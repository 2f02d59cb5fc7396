//! How new values are made.

use std::collections::{BTreeMap, BTreeSet};

use api::Count;
use engine::{Error, Scope};
use secret::Zeroizing;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{json::quoted, v2::Kv2};

/// Draws characters, or asks a password policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Generator {
    /// So many characters, each as likely as the others.
    Charset { length: usize, charset: String },
    /// As the named policy says.
    PasswordPolicy(String),
}

impl Default for Generator {
    fn default() -> Self {
        Self::Charset { length: DEFAULT_LENGTH, charset: LETTERS_AND_DIGITS.to_owned() }
    }
}

impl Generator {
    /// A generator out of what was said; refuses values that could be guessed.
    pub(super) fn new(
        length: Option<Count>,
        charset: Option<String>,
        password_policy: Option<String>,
    ) -> Result<Self, Error> {
        if let Some(policy) = password_policy.filter(|policy| !policy.is_empty()) {
            if length.is_some() || charset.is_some() {
                return Err(Error::invalid("generator: password_policy excludes length and charset"));
            }
            return Ok(Self::PasswordPolicy(policy));
        }
        let length = length.map_or(DEFAULT_LENGTH, |length| usize::try_from(length.0).unwrap_or(usize::MAX));
        if length > MAX_LENGTH {
            return Err(Error::invalid(format!("generator.length: at most {MAX_LENGTH} characters")));
        }
        let charset = charset.filter(|charset| !charset.is_empty()).unwrap_or_else(|| LETTERS_AND_DIGITS.to_owned());
        let letters: BTreeSet<char> = charset.chars().collect();
        if letters.len() > MAX_CHARSET || letters.iter().any(|letter| letter.is_control()) {
            return Err(Error::invalid(format!(
                "generator.charset: use at most {MAX_CHARSET} characters and no control characters"
            )));
        }
        let charset: String = letters.iter().collect();
        if (letters.len() as f64).log2() * (length as f64) < MIN_BITS {
            return Err(Error::invalid(format!(
                "generator: {length} of {} characters can be guessed; at least {MIN_BITS} bits are needed",
                letters.len()
            )));
        }
        Ok(Self::Charset { length, charset })
    }

    /// A new value, as a JSON text.
    pub(super) async fn make(&self, cx: &Scope<Kv2>) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::PasswordPolicy(policy) => {
                let password = cx.password(policy).await?;
                // EXPOSE: it becomes part of the secret's value.
                Ok(quoted(password.expose()))
            }
            Self::Charset { length, charset } => {
                let letters: Vec<char> = charset.chars().collect();
                let mut drawn = Zeroizing::new(String::with_capacity(length * 4));
                for _ in 0..*length {
                    let at = usize::try_from(crypto::random::below(letters.len() as u64)).unwrap_or_default();
                    drawn.extend(letters.get(at));
                }
                Ok(quoted(&drawn))
            }
        }
    }

    pub(super) fn show(&self) -> BTreeMap<&'static str, Value> {
        match self {
            Self::Charset { length, charset } => {
                BTreeMap::from([("length", json!(length)), ("charset", json!(charset))])
            }
            Self::PasswordPolicy(policy) => BTreeMap::from([("password_policy", json!(policy))]),
        }
    }
}

const DEFAULT_LENGTH: usize = 32;
const MAX_LENGTH: usize = 4096;
const MAX_CHARSET: usize = 1024;
/// What cannot be tried out.
const MIN_BITS: f64 = 64.0;
const LETTERS_AND_DIGITS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    fn new(length: Option<u64>, charset: Option<&str>) -> Result<Generator, Error> {
        Generator::new(length.map(Count), charset.map(str::to_owned), None)
    }

    #[test]
    fn what_could_be_guessed_is_refused() {
        assert_eq!(new(None, None).unwrap(), Generator::default());
        assert!(new(Some(64), Some("01")).is_ok());
        assert!(new(Some(63), Some("01")).is_err());
        assert!(new(Some(4096), Some("0")).is_err(), "one character is no choice");
        assert!(new(Some(100), Some("0000")).is_err(), "the same character counts once");
        assert!(new(Some(0), None).is_err());
        assert!(new(Some(4097), None).is_err());
        assert!(new(Some(32), Some("ab\n")).is_err());
        assert!(Generator::new(Some(Count(20)), None, Some("p".to_owned())).is_err());
    }
}
