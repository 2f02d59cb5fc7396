//! Whether the server has what a file asks for, whichever way it spells it.

use std::collections::BTreeMap;

use secret::SecretString;
use serde_json::Value as Json;

use super::wanted::Value;
use crate::failure::Failure;

/// A field that is to be changed.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// The field, with those it lies in.
    pub(super) field: String,
    /// What the server has; `None` if nothing, or a secret.
    pub(super) from: Option<String>,
    /// What it is to have.
    pub(super) to: String,
}

impl Change {
    /// As a line: `field: from -> to`.
    pub(super) fn line(&self) -> String {
        match &self.from {
            Some(from) => format!("{}: {from} -> {}", self.field, self.to),
            None => format!("{}: {}", self.field, self.to),
        }
    }
}

/// The comparison of one object.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// What differs.
    pub(super) changes: Vec<Change>,
    /// Fields that the server does not show.
    pub(super) unseen: Vec<String>,
}

/// Compares an object with what the server shows. Values by reference are compared, and never shown.
pub(super) fn compare(wanted: &BTreeMap<String, Value>, held: &Json) -> Result<Compared, Failure> {
    let mut compared = Compared::default();
    fields("", wanted, held, &mut compared)?;
    Ok(compared)
}

/// The changes of an object that is not there yet.
pub(super) fn all_new(wanted: &BTreeMap<String, Value>) -> Vec<Change> {
    wanted.iter().map(|(name, value)| Change { field: name.clone(), from: None, to: shown(value) }).collect()
}

fn fields(above: &str, wanted: &BTreeMap<String, Value>, held: &Json, compared: &mut Compared) -> Result<(), Failure> {
    for (name, value) in wanted {
        let field = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        // Connections of the database engine show what was written in a place of its own.
        let nested = || held.get("connection_details").and_then(|details| details.get(name));
        let Some(found) = held.get(name).or_else(nested).filter(|found| !found.is_null()) else {
            if !is_nothing(value) {
                compared.unseen.push(field);
            }
            continue;
        };
        match (value, found) {
            (Value::Map(entries), Json::Object(_)) => fields(&field, entries, found, compared)?,
            (Value::Reference(reference), found) if !same_secret(&reference.resolve()?, found) => {
                compared.changes.push(Change { field, from: None, to: reference.shown() });
            }
            (Value::Reference(_), _) => {}
            (value, found) if !same(value, found)? => {
                compared.changes.push(Change { field, from: Some(text(found)), to: shown(value) });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a value is the one that stands for "not set".
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Plain(Json::String(text)) => text.is_empty(),
        Value::Plain(Json::Bool(flag)) => !flag,
        Value::Plain(Json::Number(number)) => number.as_f64() == Some(0.0),
        Value::Plain(_) | Value::Reference(_) => false,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

fn same_secret(wanted: &SecretString, held: &Json) -> bool {
    match held {
        Json::String(held) => wanted.matches(held) || wanted.matches(held.trim_end_matches('\n')),
        Json::Array(items) => match items.as_slice() {
            [Json::String(held)] => wanted.matches(held) || wanted.matches(held.trim_end_matches('\n')),
            _ => false,
        },
        other => wanted.matches(other.to_string()),
    }
}

fn same(wanted: &Value, held: &Json) -> Result<bool, Failure> {
    Ok(match (wanted, held) {
        (Value::Plain(wanted), Json::Array(held)) => {
            let Some(text) = wanted.as_str() else { return Ok(false) };
            let whole = matches!(held.as_slice(), [Json::String(only)] if only == text);
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            whole || same_words(words.map(str::to_owned).collect(), held)
        }
        (Value::List(items), Json::Array(held)) => {
            let word = |item: &Value| match item {
                Value::Plain(plain) => Ok(text(plain)),
                // EXPOSE: compared with what the server shows, and dropped.
                Value::Reference(reference) => reference.resolve().map(|value| value.expose().clone()),
                Value::List(_) | Value::Map(_) => Ok(shown(item)),
            };
            same_words(items.iter().map(word).collect::<Result<_, _>>()?, held)
        }
        (Value::Plain(wanted), held) => same_scalar(wanted, held),
        (Value::List(items), held) => match items.as_slice() {
            [only] => same(only, held)?,
            _ => false,
        },
        (Value::Map(_) | Value::Reference(_), _) => false,
    })
}

/// The same words in any order.
fn same_words(mut wanted: Vec<String>, held: &[Json]) -> bool {
    let mut held: Vec<String> = held.iter().map(text).collect();
    wanted.sort();
    held.sort();
    wanted == held
}

fn same_scalar(wanted: &Json, held: &Json) -> bool {
    if text(wanted) == text(held) {
        return true;
    }
    let seconds = |value: &Json| match value {
        Json::Number(number) => number.as_u64(),
        Json::String(text) => api::parse_duration(text).ok().map(|span| span.as_secs()),
        _ => None,
    };
    // A duration is told by the one that is a number: two texts that differ are different.
    let timed = wanted.is_number() || held.is_number() || text(wanted).ends_with(|c: char| c.is_ascii_alphabetic());
    timed && seconds(wanted).is_some_and(|wanted| seconds(held) == Some(wanted))
}

/// A value as the plan shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Plain(value) => text(value),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry = |(name, value): (&String, &Value)| format!("{name} = {}", shown(value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Reference(reference) => reference.shown(),
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(value: Json) -> Value {
        match value {
            Json::Array(items) => Value::List(items.into_iter().map(plain).collect()),
            Json::Object(entries) => {
                Value::Map(entries.into_iter().map(|(name, value)| (name, plain(value))).collect())
            }
            other => Value::Plain(other),
        }
    }

    #[test]
    fn every_spelling_of_a_value_is_the_same_value() {
        let table = [
            (json!("1h"), json!(3600), true),
            (json!(3600), json!("3600"), true),
            (json!("60m"), json!("1h"), true),
            (json!("1h"), json!(60), false),
            (json!("a,b"), json!(["b", "a"]), true),
            (json!(["a", "b"]), json!(["b", "a"]), true),
            (json!(["a"]), json!("a"), true),
            (json!(["a"]), json!(["a", "b"]), false),
            (json!("CREATE ROLE a, b;"), json!(["CREATE ROLE a, b;"]), true),
            (json!(true), json!("true"), true),
            (json!(true), json!(false), false),
            (json!("2"), json!(2), true),
            (json!({ "a": { "b": "1h" } }), json!({ "a": { "b": 3600, "c": 1 } }), true),
            (json!({ "a": { "b": 1 } }), json!({ "a": { "b": 2 } }), false),
        ];
        for (wanted, held, expected) in table {
            let wanted_map = BTreeMap::from([("x".to_owned(), plain(wanted.clone()))]);
            let compared = compare(&wanted_map, &json!({ "x": held })).unwrap();
            assert_eq!(compared.changes.is_empty(), expected, "{wanted} {held}: {compared:?}");
        }
    }

    #[test]
    fn what_is_not_shown_is_not_compared() {
        let wanted = BTreeMap::from([
            ("a".to_owned(), Value::Plain(json!("x"))),
            ("b".to_owned(), Value::Plain(json!(""))),
            ("c".to_owned(), Value::Plain(json!("y"))),
        ]);
        let compared = compare(&wanted, &json!({ "a": null, "connection_details": { "c": "z" } })).unwrap();
        assert_eq!(compared.unseen, ["a"]);
        let line = Change { field: "c".to_owned(), from: Some("z".to_owned()), to: "y".to_owned() };
        assert_eq!(compared.changes, [line]);
    }
}
