//! From bytes to the types that handlers take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::Name;
use bytes::Bytes;
use gate::Error;
use secret::Zeroizing;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

/// What a handler takes from the captures of its path.
pub trait FromPath: Sized + Send {
    /// How many captures it takes.
    const CAPTURES: usize;

    /// Made from the captures in the order of the pattern.
    fn from_path(captures: &[String]) -> Result<Self, Error>;
}

impl FromPath for () {
    const CAPTURES: usize = 0;

    fn from_path(_: &[String]) -> Result<Self, Error> {
        Ok(())
    }
}

impl FromPath for Name {
    const CAPTURES: usize = 1;

    fn from_path(captures: &[String]) -> Result<Self, Error> {
        let text = captures.first().map(String::as_str).unwrap_or_default();
        Name::new(text).ok_or_else(|| {
            Error::invalid(
                "invalid name in path: use letters, digits, '_', '.' and '-', beginning and ending with a letter, digit or '_'",
            )
        })
    }
}

impl FromPath for String {
    const CAPTURES: usize = 1;

    fn from_path(captures: &[String]) -> Result<Self, Error> {
        Ok(captures.first().cloned().unwrap_or_default())
    }
}

impl<A: FromPath, B: FromPath> FromPath for (A, B) {
    const CAPTURES: usize = A::CAPTURES + B::CAPTURES;

    fn from_path(captures: &[String]) -> Result<Self, Error> {
        let (first, second) = captures.split_at_checked(A::CAPTURES).unwrap_or((captures, &[]));
        Ok((A::from_path(first)?, B::from_path(second)?))
    }
}

/// Reads a JSON object (or nothing, for the empty object) into `T`. Also gives the names of top-level fields that `T`
/// does not know. Errors name the field and never quote a value.
pub fn parse_body<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<(T, BTreeSet<String>), Error> {
    read(body).map_err(|(_, error)| error)
}

/// As [`parse_body`], for input that is described by fields: one that is null counts as left out where its type has no
/// use for null, because clients send null for what they do not set.
pub fn parse_input<T: DeserializeOwned>(body: &[u8]) -> Result<(T, BTreeSet<String>), Error> {
    let mut kept: Option<Zeroizing<Vec<u8>>> = None;
    loop {
        let body = kept.as_ref().map_or(body, |kept| kept.as_slice());
        let (field, error) = match read(body) {
            Ok(parsed) => return Ok(parsed),
            Err(fault) => fault,
        };
        kept = Some(without_null(body, &field).ok_or(error)?);
    }
}

/// The object without a field that is null; `None` if it is not.
fn without_null(body: &[u8], field: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut object: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    object.remove(field).filter(|value| value.get() == "null")?;
    // It gets shorter, so the buffer never moves and leaves a copy behind.
    let mut kept = Zeroizing::new(Vec::with_capacity(body.len() + 2));
    serde_json::to_writer(&mut *kept, &object).ok()?;
    Some(kept)
}

/// What was read, or the top-level field at fault and the error.
fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<(T, BTreeSet<String>), (String, Error)> {
    let outside = |text: &str| (String::new(), Error::invalid(format!("failed to parse JSON input: {text}")));
    let body = match body.trim_ascii_start() {
        [] => b"{}".as_slice(),
        object @ [b'{', ..] => object,
        // A struct would be read from an array, too.
        _ => return Err(outside("the body must be an object")),
    };
    let mut unknown = BTreeSet::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut note = |path: serde_ignored::Path<'_>| {
        // What may be left out is shown as a step of its own.
        unknown.insert(path.to_string().replace("?.", ""));
    };
    let noted = serde_ignored::Deserializer::new(&mut json, &mut note);
    let parsed = serde_path_to_error::deserialize(noted).map_err(|error| {
        // Only the field itself: what lies below it may be named by the caller.
        let field = match error.path().iter().next() {
            Some(serde_path_to_error::Segment::Map { key }) => key.clone(),
            _ => String::new(),
        };
        let why = without_values(&error.into_inner().to_string());
        let text = match field.as_str() {
            "" => format!("invalid request body: {why}"),
            field => format!("error converting input for field \"{field}\": {why}"),
        };
        (field, Error::invalid(text))
    })?;
    json.end().map_err(|_| outside("there is text behind the object"))?;
    Ok((parsed, unknown))
}

/// The role that the body of a login names in the usual field.
pub(crate) fn role(body: &[u8]) -> Result<String, Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        role: String,
    }
    Ok(parse_input::<Named>(body)?.0.role)
}

/// Query parameters as the JSON object that a handler's input is read from: one value is a text, several are a list.
pub fn query_body(query: &[(String, String)]) -> Result<Bytes, Error> {
    let mut object = Map::new();
    for (key, value) in query {
        if matches!(key.as_str(), "help" | "list" | "scan") {
            continue;
        }
        match object.get_mut(key) {
            None => {
                object.insert(key.clone(), Value::String(value.clone()));
            }
            Some(Value::Array(values)) => values.push(Value::String(value.clone())),
            Some(first) => *first = Value::Array(vec![first.take(), Value::String(value.clone())]),
        }
    }
    let json = serde_json::to_vec(&object).map_err(|_| Error::internal("a query cannot be written as JSON"))?;
    Ok(json.into())
}

/// The warning about unknown fields, as Vault words it.
pub(crate) fn unknown_warning(unknown: &BTreeSet<String>) -> Option<String> {
    if unknown.is_empty() {
        return None;
    }
    let names = unknown.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    Some(format!("Endpoint ignored these unrecognized parameters: [{names}]"))
}

/// An error text of the JSON reader without the value it may quote and without its position.
fn without_values(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or(text);
    for start in ["invalid type: ", "invalid value: "] {
        if text.starts_with(start) {
            let expected = text.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
            return format!("expected {expected}");
        }
    }
    for start in ["unknown variant ", "unknown field "] {
        if text.starts_with(start) {
            let expected = text.split_once(", expected ").map_or("something else", |(_, expected)| expected);
            return format!("expected {expected}");
        }
    }
    text.to_owned()
}

/// Splits a path by a pattern; the captures, or `None` if it does not fit.
pub(crate) fn fit(pattern: &str, path: &str) -> Option<Arc<[String]>> {
    let mut captures = Vec::new();
    let mut rest = Some(path);
    for part in pattern.split('/') {
        if part.ends_with("...}") {
            captures.push(rest.unwrap_or_default().to_owned());
            return Some(captures.into());
        }
        let here = rest?;
        let (segment, tail) = match here.split_once('/') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (here, None),
        };
        match part.starts_with('{') {
            true if segment.is_empty() => return None,
            true => captures.push(segment.to_owned()),
            false if segment == part => {}
            false => return None,
        }
        rest = tail;
    }
    rest.is_none().then(|| captures.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_paths() {
        let fits = |pattern, path| fit(pattern, path).map(|captures| captures.to_vec());
        assert_eq!(fits("creds/{name}", "creds/app"), Some(vec!["app".to_owned()]));
        assert_eq!(fits("creds/{name}", "creds/"), None);
        assert_eq!(fits("creds/{name}", "creds"), None);
        assert_eq!(fits("creds/{name}", "creds/a/b"), None);
        assert_eq!(fits("data/{path...}", "data/a/b/"), Some(vec!["a/b/".to_owned()]));
        assert_eq!(fits("metadata/{path...}", "metadata"), Some(vec![String::new()]));
        assert_eq!(fits("{path...}", ""), Some(vec![String::new()]));
        assert_eq!(fits("role/{role}/secret-id", "role/a/secret-id"), Some(vec!["a".to_owned()]));
        assert_eq!(fits("config", "config"), Some(vec![]));
    }

    #[derive(Debug, serde::Deserialize)]
    struct Input {
        #[serde(default)]
        ttl: api::Ttl,
    }

    #[test]
    fn null_is_as_good_as_nothing_where_it_means_nothing() {
        #[derive(Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(default)]
        struct Input {
            name: String,
            count: api::Count,
            inner: Inner,
            maybe: Option<api::Flag>,
        }
        #[derive(Debug, Default, PartialEq, serde::Deserialize)]
        struct Inner {
            a: u8,
        }
        let body = br#"{"name": null, "count": null, "inner": null, "maybe": null, "more": null}"#;
        let (input, unknown) = parse_input::<Input>(body).unwrap();
        assert_eq!(input, Input::default());
        assert_eq!(unknown.len(), 1);
        let (input, _) = parse_input::<Input>(br#"{"name": null, "count": "3", "inner": {"a": 1}}"#).unwrap();
        assert_eq!((input.count, input.inner.a), (api::Count(3), 1));
        let error = parse_input::<Input>(br#"{"name": null, "count": [], "inner": null}"#).unwrap_err().to_string();
        assert!(error.contains("\"count\""), "{error}");
        assert!(parse_input::<Input>(br#"{"inner": {"a": null}}"#).is_err());
    }

    #[test]
    fn errors_name_the_field_and_never_quote_the_value() {
        let error = parse_body::<Input>(br#"{"ttl": ["hunter2"]}"#).unwrap_err().to_string();
        assert!(error.contains("\"ttl\"") && !error.contains("hunter2"), "{error}");
        #[derive(Debug, serde::Deserialize)]
        struct Nested {
            #[allow(dead_code, reason = "only its errors matter")]
            options: api::Pairs,
        }
        let error = parse_body::<Nested>(br#"{"options": {"hunter2": []}}"#).unwrap_err().to_string();
        assert!(error.contains("\"options\"") && !error.contains("hunter2"), "{error}");
        let error = parse_body::<Input>(br#"["hunter2"]"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let (input, unknown) = parse_body::<Input>(br#"{"ttl": "1h", "more": 1}"#).unwrap();
        assert_eq!(input.ttl, api::Ttl::seconds(3600));
        assert_eq!(unknown_warning(&unknown).unwrap(), "Endpoint ignored these unrecognized parameters: [more]");
    }
}
