//! Statements as operators write them: a list, one text, base64 of either, or a JSON array in a text.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, de};

/// The statements of a role, each a text that may itself hold several statements. Reads every form that
/// [the module](self) names; writes a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Statements(pub Vec<String>);

impl Statements {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl From<&[&str]> for Statements {
    fn from(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| (*text).to_owned()).collect())
    }
}

impl<'de> Deserialize<'de> for Statements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatementsVisitor)
    }
}

struct StatementsVisitor;

impl<'de> de::Visitor<'de> for StatementsVisitor {
    type Value = Statements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("statements, as a list of texts or one text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Statements, E> {
        unfold(text).map(Statements).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Statements, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            texts.extend(unfold(&text).map_err(de::Error::custom)?);
            if texts.len() > MAX_TEXTS {
                return Err(de::Error::custom(TOO_MANY));
            }
        }
        Ok(Statements(texts))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Statements, E> {
        Ok(Statements::default())
    }
}

/// One text in any of its forms. A blank text is no statement.
fn unfold(text: &str) -> Result<Vec<String>, &'static str> {
    if text.len() > MAX_BYTES {
        return Err("statements must not exceed 64 KiB");
    }
    if text.contains('\0') {
        return Err("statements must not have NUL characters");
    }
    let decoded = decode(text);
    let plain = decoded.as_deref().unwrap_or(text).trim();
    if plain.is_empty() {
        return Ok(Vec::new());
    }
    if plain.starts_with('[') {
        let list: Vec<String> =
            serde_json::from_str(plain).map_err(|_| "statements begin as a JSON array but are none")?;
        return match list.len() > MAX_TEXTS {
            true => Err(TOO_MANY),
            false if list.iter().any(|text| text.contains('\0')) => Err("statements must not have NUL characters"),
            false => Ok(list.into_iter().filter(|text| !text.trim().is_empty()).collect()),
        };
    }
    Ok(vec![plain.to_owned()])
}

/// The text behind base64. No statement of any database is one word without a space, and no base64 has a space in a
/// line, so the two cannot be mixed up.
fn decode(text: &str) -> Option<String> {
    let word: String = text.trim().lines().map(str::trim).collect();
    let long_enough = word.len() >= 8 && !word.contains(char::is_whitespace);
    let bytes = long_enough.then(|| STANDARD.decode(&word).ok()).flatten()?;
    let decoded = String::from_utf8(bytes).ok()?;
    let readable = decoded.chars().all(|c| !c.is_control() || c.is_ascii_whitespace());
    (readable && decoded.trim().contains([' ', '\n', '['])).then_some(decoded)
}

const MAX_TEXTS: usize = 256;
const MAX_BYTES: usize = 64 * 1024;
const TOO_MANY: &str = "there must be at most 256 statements";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<String>, String> {
        serde_json::from_str::<Statements>(json).map(|statements| statements.0).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_writing_statements_is_understood() {
        let one = vec!["CREATE ROLE \"{{name}}\"; GRANT a TO b".to_owned()];
        let two = vec!["DROP A".to_owned(), "DROP B".to_owned()];
        let text = r#"CREATE ROLE \"{{name}}\"; GRANT a TO b"#;
        let encoded = |text: &str| serde_json::to_string(&STANDARD.encode(text)).unwrap();
        let cases = [
            (format!("\"{text}\""), &one),
            (format!("[\"{text}\"]"), &one),
            (encoded(&one[0]), &one),
            (format!("[{}]", encoded(&one[0])), &one),
            (r#"["DROP A", "DROP B"]"#.to_owned(), &two),
            (r#""[\"DROP A\", \"DROP B\"]""#.to_owned(), &two),
            (encoded(r#"["DROP A", "DROP B"]"#), &two),
            (r#"["DROP A", "", "  ", "DROP B"]"#.to_owned(), &two),
            ("[]".to_owned(), &vec![]),
            ("\"\"".to_owned(), &vec![]),
            ("null".to_owned(), &vec![]),
        ];
        for (json, wanted) in cases {
            assert_eq!(&read(&json).unwrap(), wanted, "{json}");
        }
    }

    #[test]
    fn what_only_looks_like_another_form_stays_what_it_is() {
        assert_eq!(read("\"ROLLBACK\"").unwrap(), ["ROLLBACK"]);
        assert_eq!(read("\"abcdefgh\"").unwrap(), ["abcdefgh"]);
        assert!(read("\"[not json\"").is_err());
        assert!(read("7").is_err());
        assert!(read(r#""SELECT \u0000""#).is_err() && read(r#""[\"SELECT \\u0000\"]""#).is_err());
        assert!(read(&format!("\"{}\"", "a ".repeat(40_000))).is_err());
    }
}
