//! `{{…}}` in the JSON of claims: what an identity token says of its holder.
//!
//! Each directive stands for a whole JSON value and is written as JSON, so no value can break out of its place. Of what an
//! identity lacks, an empty text, object or list is said.

use std::collections::BTreeMap;

use policy::{Subject, SubjectAlias};
use serde_json::{Map, Value, json};

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The result is no JSON object.
    #[error("must be a JSON object once its {{{{…}}}} are replaced")]
    NoObject,
    /// Braces that do not match.
    #[error("must be opened with '{{{{' and closed with '}}}}'")]
    Unbalanced,
    /// A directive that stands for nothing.
    #[error("{{{{{0}}}}} stands for nothing")]
    Unknown(String),
}

/// The claims that a template makes for a subject, at `now` in seconds since 1970.
pub fn render(template: &str, subject: &Subject, now: i64) -> Result<Map<String, Value>, Error> {
    let mut json = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("{{") {
        let (directive, after) = after.split_once("}}").ok_or(Error::Unbalanced)?;
        let directive = directive.trim();
        let value = value(directive, subject, now);
        let value = value.ok_or_else(|| Error::Unknown(directive.chars().take(64).collect()))?;
        json.push_str(text);
        json.push_str(&value.to_string());
        rest = after;
    }
    json.push_str(rest);
    // The cause is not told: it may quote a value.
    serde_json::from_str(&json).map_err(|_| Error::NoObject)
}

fn value(directive: &str, subject: &Subject, now: i64) -> Option<Value> {
    if let Some(time) = directive.strip_prefix("time.now") {
        return moment(time, now).map(Value::from);
    }
    let directive = directive.strip_prefix("identity.entity.")?;
    if let Some(rest) = directive.strip_prefix("aliases.") {
        let (accessor, field) = rest.split_once('.')?;
        let nobody = SubjectAlias::default();
        let alias = subject.aliases.get(accessor).unwrap_or(&nobody);
        return match field {
            "id" => Some(json!(alias.id)),
            "name" => Some(json!(alias.name)),
            field => match field.strip_prefix("custom_") {
                Some(field) => notes(field, &alias.custom_metadata),
                None => notes(field, &alias.metadata),
            },
        };
    }
    match directive {
        "id" => Some(json!(subject.id)),
        "name" => Some(json!(subject.name)),
        "groups.ids" => Some(subject.groups.iter().map(|group| group.id.as_str()).collect()),
        "groups.names" => Some(subject.groups.iter().map(|group| group.name.as_str()).collect()),
        field => notes(field, &subject.metadata),
    }
}

fn notes(field: &str, notes: &BTreeMap<String, String>) -> Option<Value> {
    if field == "metadata" {
        return Some(json!(notes));
    }
    let key = field.strip_prefix("metadata.").filter(|key| !key.is_empty())?;
    Some(json!(notes.get(key).map(String::as_str).unwrap_or_default()))
}

/// `""`, `.plus.1h` or `.minus.30s`.
fn moment(text: &str, now: i64) -> Option<i64> {
    let seconds = |text: &str| {
        let duration = api::parse_duration(text).ok().filter(|_| !text.is_empty())?;
        i64::try_from(duration.as_secs()).ok()
    };
    match text {
        "" => Some(now),
        text => match text.strip_prefix(".plus.") {
            Some(later) => now.checked_add(seconds(later)?),
            None => now.checked_sub(seconds(text.strip_prefix(".minus.")?)?),
        },
    }
}

#[cfg(test)]
mod tests {
    use policy::SubjectGroup;

    use super::*;

    fn subject() -> Subject {
        let notes = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let group = |id: &str, name: &str| SubjectGroup { id: id.into(), name: name.into(), metadata: BTreeMap::new() };
        let alias = SubjectAlias {
            id: "al".into(),
            name: "svc".into(),
            metadata: notes("role", "web"),
            custom_metadata: notes("tier", "gold"),
        };
        Subject {
            id: "en".into(),
            name: "b\"o\\b".into(),
            metadata: notes("team", "x\",\"admin\":\"yes"),
            aliases: [("auth_1".to_owned(), alias)].into(),
            groups: vec![group("g1", "one"), group("g2", "two")],
        }
    }

    #[test]
    fn every_directive_is_a_json_value() {
        let table = [
            ("identity.entity.id", json!("en")),
            (" identity.entity.name ", json!("b\"o\\b")),
            ("identity.entity.metadata", json!({ "team": "x\",\"admin\":\"yes" })),
            ("identity.entity.metadata.team", json!("x\",\"admin\":\"yes")),
            ("identity.entity.metadata.none", json!("")),
            ("identity.entity.groups.ids", json!(["g1", "g2"])),
            ("identity.entity.groups.names", json!(["one", "two"])),
            ("identity.entity.aliases.auth_1.name", json!("svc")),
            ("identity.entity.aliases.auth_1.id", json!("al")),
            ("identity.entity.aliases.auth_1.metadata", json!({ "role": "web" })),
            ("identity.entity.aliases.auth_1.custom_metadata.tier", json!("gold")),
            ("identity.entity.aliases.other.metadata", json!({})),
            ("time.now", json!(1000)),
            ("time.now.plus.1h", json!(4600)),
            ("time.now.minus.30s", json!(970)),
        ];
        for (directive, expected) in table {
            let claims = render(&format!("{{\"a\": {{{{{directive}}}}}, \"b\": 1}}"), &subject(), 1000).unwrap();
            assert_eq!(claims, json!({ "a": expected, "b": 1 }).as_object().unwrap().clone(), "{directive}");
        }
    }

    #[test]
    fn what_makes_no_claims_is_refused() {
        for directive in ["", "identity.entity", "identity.entity.secret", "time.now.plus.", "time.later", "entity.id"]
        {
            let claims = render(&format!("{{\"a\": {{{{{directive}}}}}}}"), &subject(), 0);
            assert_eq!(claims, Err(Error::Unknown(directive.to_owned())));
        }
        for text in ["[]", "{", "{\"a\": \"{{identity.entity.name}}\"}", ""] {
            assert_eq!(render(text, &subject(), 0), Err(Error::NoObject), "{text}");
        }
        assert_eq!(render("{\"a\": {{time.now}", &subject(), 0), Err(Error::Unbalanced));
    }
}
