//! What a reference names: `sr://MOUNT/PATH#FIELD`, with options between path and field.
//!
//! `sr://kv/apps/web#api_key`, `sr://kv/apps/web?version=3#api_key`, `sr://database/creds/app#connection_url`,
//! `sr://kv/tls?decode=base64#keystore`. Without a field it names the whole data, as a JSON object.

use std::{collections::BTreeMap, fmt};

use secret::{SecretBytes, SecretString};
use serde_json::value::RawValue;

/// What a value starts with if it is a reference.
pub const SCHEME: &str = "sr://";

/// One field of one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What to read. References with an equal source share one read, and so one lease.
    pub source: Source,
    /// The field of the data; `None` for all of it.
    pub field: Option<String>,
    /// Whether the field's text is base64 and the bytes in it are wanted.
    pub base64: bool,
}

/// What one read fetches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Mount and path, without a slash at either end.
    pub path: String,
    /// The version of a versioned secret; `None` for the latest.
    pub version: Option<u64>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.version.map_or(Ok(()), |version| write!(f, " version {version}"))
    }
}

/// Why a text is no reference.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It has an empty field after `#`.
    #[error("the field after `#` is empty")]
    EmptyField,
    /// An option that does not exist.
    #[error("`{0}` is no option of a reference; there are `version` and `decode`")]
    Option(String),
    /// An option with a value it cannot have.
    #[error("`{option}` must be {expected}")]
    OptionValue {
        /// The option.
        option: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The path has no mount and secret, or a part that is empty or `.` or `..`.
    #[error("the path must be MOUNT/PATH without empty parts, `.` or `..`")]
    Path,
    /// It does not start with `sr://`.
    #[error("a reference starts with `sr://`")]
    Scheme,
}

/// Why a read did not give the value that a reference names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// The field's text is not base64.
    #[error("field `{0}` is not base64")]
    Base64(String),
    /// There is no such field. Names are not secret; they help.
    #[error("there is no field `{field}`; there are: {present}")]
    Field {
        /// The field.
        field: String,
        /// Those that exist.
        present: String,
    },
    /// The field is null.
    #[error("field `{0}` is null")]
    Null(String),
}

impl Reference {
    /// Whether `text` means to be a reference.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Reads a reference. The text may not be repeated in an error: what looks like one may be a secret.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix(SCHEME).ok_or(Error::Scheme)?;
        let (rest, field) = match rest.split_once('#') {
            Some((_, "")) => return Err(Error::EmptyField),
            Some((rest, field)) => (rest, Some(field.to_owned())),
            None => (rest, None),
        };
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let odd = |part: &&str| part.is_empty() || *part == "." || *part == ".." || part.contains(char::is_control);
        if parts.len() < 2 || parts.iter().any(odd) {
            return Err(Error::Path);
        }
        let mut version = None;
        let mut base64 = false;
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=').unwrap_or((option, "")) {
                ("version", number) => {
                    let expected = "a version number from 1";
                    let number: u64 = number.parse().map_err(|_| Error::OptionValue { option: "version", expected })?;
                    if number == 0 {
                        return Err(Error::OptionValue { option: "version", expected });
                    }
                    version = Some(number);
                }
                ("decode", "base64") => base64 = true,
                ("decode", _) => return Err(Error::OptionValue { option: "decode", expected: "`base64`" }),
                (other, _) => return Err(Error::Option(other.to_owned())),
            }
        }
        Ok(Self { source: Source { path: path.to_owned(), version }, field, base64 })
    }

    /// Takes the value out of what was read. Text comes as it is, anything else as the JSON it was, digit by digit.
    pub fn select(&self, data: &Data) -> Result<SecretBytes, Missing> {
        let Some(field) = &self.field else {
            // EXPOSE: into the value that is delivered, which is a secret again.
            return Ok(SecretBytes::new(data.whole.expose().as_bytes().to_vec()));
        };
        let raw = data.fields.get(field).ok_or_else(|| {
            let present: Vec<&str> = data.fields.keys().map(String::as_str).collect();
            Missing::Field { field: field.clone(), present: present.join(", ") }
        })?;
        let value = text(raw).ok_or_else(|| Missing::Null(field.clone()))?;
        if !self.base64 {
            return Ok(value);
        }
        use base64::Engine as _;
        // EXPOSE: into the decoded value, which is a secret again.
        let decoded = base64::engine::general_purpose::STANDARD.decode(value.expose().trim_ascii());
        decoded.map(SecretBytes::new).map_err(|_| Missing::Base64(field.clone()))
    }
}

/// What one read gave: a JSON object whose values are kept as they were written.
#[derive(Debug)]
pub struct Data {
    whole: SecretString,
    fields: BTreeMap<String, SecretString>,
}

impl Data {
    /// Takes a JSON object apart; `None` if it is something else.
    pub fn new(object: &RawValue) -> Option<Self> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).ok()?;
        let keep = |(name, value): (String, &RawValue)| (name, SecretString::new(value.get().to_owned()));
        Some(Self { whole: SecretString::new(object.get().to_owned()), fields: fields.into_iter().map(keep).collect() })
    }

    /// Whether it is what `other` is, to the byte.
    pub fn is(&self, other: &Self) -> bool {
        // EXPOSE: for the comparison, which is constant-time.
        self.whole.matches(other.whole.expose())
    }

    /// One field's text, if there is such a field and it is not null.
    pub fn field(&self, name: &str) -> Option<SecretBytes> {
        self.fields.get(name).and_then(text)
    }
}

/// The text of a JSON string, or the JSON of anything else; `None` for null.
fn text(raw: &SecretString) -> Option<SecretBytes> {
    // EXPOSE: into a value that is a secret again.
    let json = raw.expose();
    match json.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => serde_json::from_str::<String>(json).ok().map(|text| SecretBytes::new(text.into_bytes())),
        _ => Some(SecretBytes::new(json.as_bytes().to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let reference = Reference::parse("sr://database/creds/app#connection_url").unwrap();
        assert_eq!(reference.source, Source { path: "database/creds/app".into(), version: None });
        assert_eq!(reference.field.as_deref(), Some("connection_url"));
        let reference = Reference::parse("sr://kv/a/b?version=3&decode=base64#x#y/z?").unwrap();
        assert_eq!(reference.source, Source { path: "kv/a/b".into(), version: Some(3) });
        assert_eq!(reference.field.as_deref(), Some("x#y/z?"));
        assert!(reference.base64);
        assert_eq!(Reference::parse("sr://kv/a").unwrap().field, None);
    }

    #[test]
    fn odd_references_are_refused() {
        let table = [
            ("http://kv/a#b", Error::Scheme),
            ("sr://", Error::Path),
            ("sr://kv", Error::Path),
            ("sr://kv/#a", Error::Path),
            ("sr:///kv/a#b", Error::Path),
            ("sr://kv//a#b", Error::Path),
            ("sr://kv/../sys/seal#b", Error::Path),
            ("sr://kv/a\n#b", Error::Path),
            ("sr://kv/a#", Error::EmptyField),
            ("sr://kv/a?verison=3#b", Error::Option("verison".into())),
            ("sr://kv/a?version=0#b", Error::OptionValue { option: "version", expected: "a version number from 1" }),
            ("sr://kv/a?version=#b", Error::OptionValue { option: "version", expected: "a version number from 1" }),
            ("sr://kv/a?decode=hex#b", Error::OptionValue { option: "decode", expected: "`base64`" }),
        ];
        for (text, error) in table {
            assert_eq!(Reference::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn values_are_selected() {
        let json = r#"{"text": "a \u0062", "number": 123456789012345678901.50, "list": [1,"x"], "nothing": null, "b": "aGk="}"#;
        let data = Data::new(&RawValue::from_string(json.to_owned()).unwrap()).unwrap();
        let get = |text: &str| Reference::parse(text).unwrap().select(&data).map(|v| v.expose().clone());
        assert_eq!(get("sr://kv/a#text").unwrap(), b"a b");
        assert_eq!(get("sr://kv/a#number").unwrap(), b"123456789012345678901.50");
        assert_eq!(get("sr://kv/a#list").unwrap(), b"[1,\"x\"]");
        assert_eq!(get("sr://kv/a?decode=base64#b").unwrap(), b"hi");
        assert!(get("sr://kv/a").unwrap().starts_with(b"{"));
        assert_eq!(get("sr://kv/a#nothing"), Err(Missing::Null("nothing".into())));
        assert_eq!(get("sr://kv/a?decode=base64#text"), Err(Missing::Base64("text".into())));
        let error = get("sr://kv/a#absent").unwrap_err().to_string();
        assert!(error.contains("absent") && error.contains("number") && !error.contains("a b"), "{error}");
    }
}
