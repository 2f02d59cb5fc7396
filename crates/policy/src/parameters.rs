//! What a rule says about the parameters of a request, and how it is checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

use crate::Reason;

/// Parameter names in lower case, each with its values; no values means any value.
pub(crate) type Limits = BTreeMap<String, Vec<Value>>;

/// The parameters of a request: its top-level names and values, nothing deeper.
///
/// Only looked at if the deciding rule restricts parameters, so an implementation should not parse before it is asked.
pub trait Parameters {
    /// Shows each parameter, under its name as sent; a name that was sent twice is shown twice.
    fn visit(&self, see: &mut dyn FnMut(&str, Given<'_>)) -> Result<(), Unreadable>;
}

/// The value of a parameter, in the form in which the request holds it.
#[derive(Clone, Copy)]
pub enum Given<'a> {
    /// JSON that is not parsed yet.
    Raw(&'a RawValue),
    /// Text, as from a query.
    Text(&'a str),
    /// Parsed JSON.
    Value(&'a Value),
}

/// The parameters could not be read, so that a rule that restricts them cannot be shown to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no JSON object")]
pub struct Unreadable;

impl Parameters for Map<String, Value> {
    fn visit(&self, see: &mut dyn FnMut(&str, Given<'_>)) -> Result<(), Unreadable> {
        self.iter().for_each(|(name, value)| see(name, Given::Value(value)));
        Ok(())
    }
}

/// The parameters of an HTTP request: the members of the JSON object in its body, and those of its query.
#[derive(Clone, Copy, Default)]
pub struct RequestParameters<'a> {
    /// The body; empty if there is none.
    pub body: &'a [u8],
    /// The query, decoded.
    pub query: &'a [(String, String)],
}

impl Parameters for RequestParameters<'_> {
    fn visit(&self, see: &mut dyn FnMut(&str, Given<'_>)) -> Result<(), Unreadable> {
        if !self.body.trim_ascii().is_empty() {
            let members: Members<'_> = serde_json::from_slice(self.body).map_err(|_| Unreadable)?;
            members.0.iter().for_each(|(name, value)| see(name, Given::Raw(value)));
        }
        self.query.iter().for_each(|(name, value)| see(name, Given::Text(value)));
        Ok(())
    }
}

// The values may be secrets.
impl fmt::Debug for RequestParameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestParameters(..)")
    }
}

/// The members of a JSON object with repetitions: a map would hide all but the last.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// What a rule allows, denies and requires.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Constraints {
    pub(crate) allowed: Limits,
    pub(crate) denied: Limits,
    /// Names in lower case.
    pub(crate) required: BTreeSet<String>,
}

impl Constraints {
    pub(crate) fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty()
    }

    /// Joins what another rule for the same path says.
    pub(crate) fn merge(&mut self, other: &Self) {
        merge(&mut self.allowed, &other.allowed);
        merge(&mut self.denied, &other.denied);
        self.required.extend(other.required.iter().cloned());
    }

    /// Whether a request with these parameters keeps to the constraints.
    pub(crate) fn check(&self, parameters: Option<&dyn Parameters>) -> Result<(), Reason> {
        if self.is_empty() {
            return Ok(());
        }
        let mut missing = self.required.clone();
        let mut fault = None;
        if let Some(parameters) = parameters {
            let visited = parameters.visit(&mut |name, given| {
                let lower = name.to_lowercase();
                missing.remove(&lower);
                if fault.is_none() {
                    fault = self.fault(&lower, given);
                }
            });
            visited.map_err(|Unreadable| Reason::UnreadableParameters)?;
        }
        if let Some(name) = missing.pop_first() {
            return Err(Reason::MissingParameter(name));
        }
        fault.map_or(Ok(()), Err)
    }

    fn fault(&self, name: &str, given: Given<'_>) -> Option<Reason> {
        if self.denied.contains_key(ANY) {
            return Some(Reason::ParameterDenied(name.to_owned()));
        }
        let (denied, allowed) = (self.denied.get(name), self.allowed.get(name));
        let admitted = self.allowed.is_empty() || allowed.is_some() || self.allowed.contains_key(ANY);
        if !admitted {
            return Some(Reason::ParameterNotAllowed(name.to_owned()));
        }
        // The value is looked at only if a rule speaks of values.
        if denied.is_some_and(Vec::is_empty) {
            return Some(Reason::ParameterDenied(name.to_owned()));
        }
        let (denied, allowed) = (denied.filter(|list| !list.is_empty()), allowed.filter(|list| !list.is_empty()));
        if denied.is_none() && allowed.is_none() {
            return None;
        }
        let Ok(value) = given.read() else { return Some(Reason::UnreadableParameters) };
        if denied.is_some_and(|list| touches(list, &value)) {
            return Some(Reason::ValueDenied(name.to_owned()));
        }
        let outside = allowed.is_some_and(|list| !covers(list, &value));
        outside.then(|| Reason::ValueNotAllowed(name.to_owned()))
    }
}

/// The name that stands for all parameters.
const ANY: &str = "*";

fn merge(into: &mut Limits, from: &Limits) {
    for (name, values) in from {
        match into.get_mut(name) {
            None => drop(into.insert(name.clone(), values.clone())),
            // No values means any, on either side.
            Some(own) if own.is_empty() || values.is_empty() => own.clear(),
            Some(own) => own.extend(values.iter().cloned()),
        }
    }
}

impl Given<'_> {
    fn read(self) -> Result<Value, Unreadable> {
        match self {
            Self::Raw(raw) => serde_json::from_str(raw.get()).map_err(|_| Unreadable),
            Self::Text(text) => Ok(Value::from(text)),
            Self::Value(value) => Ok(value.clone()),
        }
    }
}

/// Whether an allow-list admits a value: as a whole, or, for a list, in each of its elements.
fn covers(list: &[Value], value: &Value) -> bool {
    let elements = match value {
        Value::Array(elements) => elements.as_slice(),
        _ => &[],
    };
    list.iter().any(|listed| same(listed, value))
        || (!elements.is_empty() && elements.iter().all(|element| covers(list, element)))
}

/// Whether a deny-list meets a value: as a whole, or, for a list, in any of its elements.
fn touches(list: &[Value], value: &Value) -> bool {
    list.iter().any(|listed| same(listed, value))
        || matches!(value, Value::Array(elements) if elements.iter().any(|element| touches(list, element)))
}

/// Whether a value is the listed one. Scalars are compared as text, so that `3600` and `"3600"` are the same; the listed
/// text may have a `*` at either end.
fn same(listed: &Value, value: &Value) -> bool {
    if let (Value::Number(listed), Value::Number(value)) = (listed, value)
        && listed.as_f64() == value.as_f64()
        && !(listed.is_u64() && value.is_u64())
    {
        return true;
    }
    match (scalar(listed), scalar(value)) {
        (Some(listed), Some(value)) => glob(&listed, &value),
        _ => listed == value,
    }
}

fn scalar(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::Bool(flag) => Some(if *flag { "true" } else { "false" }.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::String(text) => Some(text.into()),
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}

/// A lone `*` is no wildcard, as in Vault: the way to allow or deny any value is the empty list.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    if pattern.len() < 2 {
        return pattern == text;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), Some(_)) => text.contains(end.strip_suffix('*').unwrap_or(end)),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_as_text_with_stars_at_the_ends() {
        let table = [
            (json!("a"), json!("a"), true),
            (json!("a"), json!("A"), false),
            (json!("a*"), json!("abc"), true),
            (json!("*c"), json!("abc"), true),
            (json!("*b*"), json!("abc"), true),
            (json!("a*c"), json!("abc"), false),
            (json!("a*c"), json!("a*c"), true),
            (json!("**"), json!("anything"), true),
            (json!("*"), json!("x"), false),
            (json!("*"), json!("*"), true),
            (json!(""), json!(""), true),
            (json!(3600), json!(3600), true),
            (json!(3600), json!("3600"), true),
            (json!("36*"), json!(3600), true),
            (json!(1), json!(1.0), true),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), false),
            (json!(true), json!("true"), true),
            (json!("true"), json!(true), true),
            (json!(null), json!(null), true),
            (json!("null"), json!(null), false),
            (json!(["a", "b"]), json!(["a", "b"]), true),
            (json!(["a", "b"]), json!(["b", "a"]), false),
            (json!({"k": 1}), json!({"k": 1}), true),
            (json!("*"), json!({}), false),
        ];
        for (listed, value, expected) in table {
            assert_eq!(same(&listed, &value), expected, "{listed} and {value}");
        }
    }

    #[test]
    fn a_member_sent_twice_is_seen_twice() {
        let body = br#" {"a": 1, "A": {"b": [2]}, "a": "3"} "#;
        let query = [("q".to_owned(), "x".to_owned())];
        let mut seen = Vec::new();
        let parameters = RequestParameters { body, query: &query };
        parameters.visit(&mut |name, given| seen.push((name.to_owned(), given.read().unwrap()))).unwrap();
        let expected = [("a", json!(1)), ("A", json!({"b": [2]})), ("a", json!("3")), ("q", json!("x"))];
        assert_eq!(seen, expected.map(|(name, value)| (name.to_owned(), value)));
        for body in ["[]", "1", "{", "{\"a\"}", "nonsense", "{} {}"] {
            let parameters = RequestParameters { body: body.as_bytes(), query: &[] };
            assert_eq!(parameters.visit(&mut |_, _| ()), Err(Unreadable), "{body}");
        }
        assert_eq!(format!("{parameters:?}"), "RequestParameters(..)");
    }
}
