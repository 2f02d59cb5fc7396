//! A JSON value as the server wrote it: numbers keep their digits, objects their order.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::value::RawValue;

/// A JSON value. Numbers are kept as text, so that none loses digits on its way through.
#[derive(Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    /// Parses one JSON value, nested at most 128 deep.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text)
            .map_err(|error| format!("the reply is not JSON (line {}, column {})", error.line(), error.column()))?;
        parse(raw.get(), 0)
    }

    /// The value under `name`, unless this is no object or the value is null.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => {
                pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value).filter(|v| **v != Self::Null)
            }
            _ => None,
        }
    }

    /// The text, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text under `name`, or the empty text.
    pub(crate) fn text_at(&self, name: &str) -> &str {
        self.get(name).and_then(Self::text).unwrap_or_default()
    }

    /// Whether the value under `name` is `true`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&Self::Bool(true))
    }

    /// The whole number, if this is one.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The whole number under `name`, or 0.
    pub(crate) fn integer_at(&self, name: &str) -> i64 {
        self.get(name).and_then(Self::integer).unwrap_or_default()
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of an object.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The same value with the keys of all objects in order.
    pub(crate) fn sorted(self) -> Self {
        match self {
            Self::List(items) => Self::List(items.into_iter().map(Self::sorted).collect()),
            Self::Map(mut entries) => {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Map(entries.into_iter().map(|(key, value)| (key, value.sorted())).collect())
            }
            other => other,
        }
    }

    /// As Vault's tables show a value: `[a b]`, `map[a:1 b:2]`, `<nil>`.
    pub(crate) fn plain(&self) -> String {
        match self {
            Self::Null => "<nil>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(digits) => digits.clone(),
            Self::Text(text) => text.clone(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::plain).collect::<Vec<_>>().join(" ")),
            Self::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}:{}", value.plain())).collect();
                format!("map[{}]", entries.join(" "))
            }
        }
    }

    /// JSON text, indented by two.
    pub(crate) fn pretty(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::List(items) if items.is_empty() => out.push_str("[]"),
            Self::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(out, index, depth + 1);
                    item.write(out, depth + 1);
                }
                separate(out, 0, depth);
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    separate(out, index, depth + 1);
                    // Writing to a String does not fail.
                    let _ = write!(out, "{}: ", quoted(key));
                    value.write(out, depth + 1);
                }
                separate(out, 0, depth);
                out.push('}');
            }
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string())
    }
}

/// For YAML; JSON goes through [`Json::pretty`].
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(digits) => match (digits.parse::<i64>(), digits.parse::<u64>(), digits.parse::<f64>()) {
                (Ok(number), _, _) => serializer.serialize_i64(number),
                (_, Ok(number), _) => serializer.serialize_u64(number),
                (_, _, Ok(number)) => serializer.serialize_f64(number),
                _ => serializer.serialize_str(digits),
            },
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// An object's entries in the order of the text.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> de::Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

const DEEPEST: usize = 128;

fn parse(text: &str, depth: usize) -> Result<Json, String> {
    let wrong = |_| "the reply is not JSON".to_owned();
    if depth > DEEPEST {
        return Err(format!("the reply is nested more than {DEEPEST} deep"));
    }
    match text.bytes().next() {
        Some(b'{') => {
            let Entries(entries) = serde_json::from_str(text).map_err(wrong)?;
            let entries = entries.into_iter().map(|(key, value)| Ok((key, parse(value.get(), depth + 1)?)));
            entries.collect::<Result<_, String>>().map(Json::Map)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            items.into_iter().map(|item| parse(item.get(), depth + 1)).collect::<Result<_, _>>().map(Json::List)
        }
        Some(b'"') => serde_json::from_str(text).map(Json::Text).map_err(wrong),
        Some(b't') => Ok(Json::Bool(true)),
        Some(b'f') => Ok(Json::Bool(false)),
        Some(b'n') => Ok(Json::Null),
        _ => Ok(Json::Number(text.to_owned())),
    }
}

fn quoted(text: &str) -> String {
    // Text always has a JSON form.
    serde_json::to_string(text).unwrap_or_default()
}

fn separate(out: &mut String, index: usize, depth: usize) {
    out.push_str(if index > 0 { ",\n" } else { "\n" });
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_order_survive() {
        let text = r#"{"z": 1.10, "a": 123456789012345678901234567890, "l": [1, {"b": null}], "e": {}, "f": []}"#;
        let json = Json::parse(text).unwrap_or(Json::Null);
        assert_eq!(
            json.pretty(),
            "{\n  \"z\": 1.10,\n  \"a\": 123456789012345678901234567890,\n  \"l\": [\n    1,\n    {\n      \"b\": null\n    }\n  ],\n  \"e\": {},\n  \"f\": []\n}"
        );
        assert_eq!(json.plain(), "map[a:123456789012345678901234567890 e:map[] f:[] l:[1 map[b:<nil>]] z:1.10]");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        assert!(Json::parse("{\"a\":").is_err());
        assert!(Json::parse("").is_err());
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(Json::parse(&deep).is_err());
    }
}
