//! The headers by which a request brings its login along.

use std::collections::BTreeMap;

use api::{ReqPath, Verb};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use gate::{Error, InlineLogin, Namespace};
use http::HeaderMap;
use secret::Zeroizing;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{ListenerConfig, json, request::within};

const PATH: &str = "x-vault-inline-auth-path";
const OPERATION: &str = "x-vault-inline-auth-operation";
const NAMESPACE: &str = "x-vault-inline-auth-namespace";
const PARAMETER: &str = "x-vault-inline-auth-parameter-";
/// What all of them begin with.
pub(crate) const PREFIX: &str = "x-vault-inline-auth-";
/// More parameters than any login takes.
const MOST: usize = 64;

/// The login that a request brings; `None` if it brings none. Of its parts, all are given once.
pub(crate) fn login(
    headers: &HeaderMap,
    namespace: &Namespace,
    config: &ListenerConfig,
) -> Result<Option<Box<InlineLogin>>, Error> {
    let Some(path) = once(headers, PATH)? else {
        let stray = headers.keys().find(|name| name.as_str().starts_with(PREFIX));
        return match stray {
            Some(name) => Err(Error::invalid(format!("{name}: it says nothing without X-Vault-Inline-Auth-Path"))),
            None => Ok(None),
        };
    };
    let path = path.trim_start_matches('/');
    if matches!(path, "" | "auth/") {
        return Err(Error::invalid("X-Vault-Inline-Auth-Path: name the path of a login, such as auth/jwt/login"));
    }
    let full = if path.starts_with("auth/") { path.to_owned() } else { format!("auth/{path}") };
    let path = ReqPath::new(&full).map_err(|why| Error::invalid(format!("X-Vault-Inline-Auth-Path: {why}")))?;
    let verb = match once(headers, OPERATION)?.unwrap_or("update") {
        "create" | "update" => Verb::Write,
        "read" => Verb::Read,
        _ => return Err(Error::invalid("X-Vault-Inline-Auth-Operation: use update, create or read")),
    };
    let namespace = match once(headers, NAMESPACE)? {
        None => namespace.clone(),
        Some(text) => {
            let path = ReqPath::new(text.trim_matches('/'));
            let path = path.map_err(|why| Error::invalid(format!("X-Vault-Inline-Auth-Namespace: {why}")))?;
            within(config.namespace.as_deref(), Namespace::asked(path.as_str()))
        }
    };
    Ok(Some(Box::new(InlineLogin { path, verb, namespace, body: parameters(headers, &config.json)? })))
}

/// The value of a header that may be there once.
fn once<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(format!("{name}: it is given twice")));
    }
    value.to_str().map(Some).map_err(|_| Error::invalid(format!("{name}: it must be ASCII")))
}

/// A parameter, in any order of its two fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameter<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// The parameters as one object. They may be secret, so what they pass through is wiped.
fn parameters(headers: &HeaderMap, limits: &json::Limits) -> Result<Bytes, Error> {
    let mut decoded: BTreeMap<String, Zeroizing<Vec<u8>>> = BTreeMap::new();
    for name in headers.keys().filter(|name| name.as_str().starts_with(PARAMETER)) {
        let wrong = |why: &str| Error::invalid(format!("{name}: {why}"));
        let text = once(headers, name.as_str())?.unwrap_or_default();
        let json = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let json = Zeroizing::new(json.map_err(|_| wrong("it is not base64 with the alphabet of URLs"))?);
        json::check(&json, limits).map_err(|fault| wrong(&fault.to_string()))?;
        let parameter: Parameter<'_> = serde_json::from_slice(&json)
            .map_err(|_| wrong("use an object with the fields \"key\" and \"value\", in JSON and then base64"))?;
        let value = Zeroizing::new(parameter.value.get().as_bytes().to_vec());
        if decoded.insert(parameter.key, value).is_some() {
            return Err(wrong("another header gives the same key"));
        }
        if decoded.len() > MOST {
            return Err(Error::invalid(format!("{PARAMETER}…: at most {MOST} of these headers are taken")));
        }
    }
    let mut body = Zeroizing::new(b"{".to_vec());
    for (at, (key, value)) in decoded.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        let key = serde_json::to_string(key).map_err(|_| Error::internal("a text cannot be written as JSON"))?;
        body.extend_from_slice(key.as_bytes());
        body.push(b':');
        body.extend_from_slice(value);
    }
    body.push(b'}');
    json::check(&body, limits).map_err(|fault| Error::invalid(format!("{PARAMETER}…: {fault}")))?;
    Ok(Bytes::from_owner(body))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Box<InlineLogin>>, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let config = ListenerConfig::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        login(&headers, &Namespace::root(), &config)
    }

    fn parameter(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    #[test]
    fn a_login_is_put_together_from_its_headers() {
        assert!(read(&[("x-vault-request", "true")]).unwrap().is_none());
        let role = parameter(r#"{"value": "app", "key": "role"}"#);
        let jwt = parameter(r#"{"key":"jwt","value":{"a":[1,"\u00e4"]}}"#);
        for path in ["jwt/login", "auth/jwt/login", "/auth/jwt/login"] {
            let login = read(&[
                ("x-vault-inline-auth-path", path),
                ("x-vault-inline-auth-parameter-2", &role),
                ("x-vault-inline-auth-parameter-jwt", &jwt),
            ]);
            let login = login.unwrap().unwrap();
            assert_eq!((login.path.as_str(), login.verb), ("auth/jwt/login", Verb::Write));
            assert_eq!(&login.body[..], br#"{"jwt":{"a":[1,"\u00e4"]},"role":"app"}"#);
        }
        let login = read(&[("x-vault-inline-auth-path", "a"), ("x-vault-inline-auth-operation", "read")]);
        let login = login.unwrap().unwrap();
        assert_eq!((login.verb, &login.body[..]), (Verb::Read, &b"{}"[..]));
    }

    #[test]
    fn what_cannot_be_a_login_is_refused_without_its_values() {
        let path = ("x-vault-inline-auth-path", "jwt/login");
        let (good, secret) =
            (parameter(r#"{"key":"a","value":1}"#), parameter(r#"{"key":"a","value":"hidden","x":1}"#));
        let (half, list) = (parameter(r#"{"key":"a"}"#), parameter(r#"["hidden"]"#));
        let deep = parameter(&format!(r#"{{"key":"a","value":{}{}}}"#, "[".repeat(600), "]".repeat(600)));
        for (pairs, text) in [
            (vec![("x-vault-inline-auth-operation", "read")], "without X-Vault-Inline-Auth-Path"),
            (vec![("x-vault-inline-auth-parameter-a", good.as_str())], "without X-Vault-Inline-Auth-Path"),
            (vec![path, path], "given twice"),
            (vec![("x-vault-inline-auth-path", "../sys/init")], "X-Vault-Inline-Auth-Path"),
            (vec![("x-vault-inline-auth-path", "")], "X-Vault-Inline-Auth-Path"),
            (vec![path, ("x-vault-inline-auth-operation", "renew")], "use update, create or read"),
            (vec![path, ("x-vault-inline-auth-operation", "delete")], "use update, create or read"),
            (vec![path, ("x-vault-inline-auth-namespace", "a//b")], "Namespace"),
            (vec![path, ("x-vault-inline-auth-parameter-a", "hidden!")], "not base64"),
            (vec![path, ("x-vault-inline-auth-parameter-a", &secret)], "fields \"key\" and \"value\""),
            (vec![path, ("x-vault-inline-auth-parameter-a", &half)], "fields \"key\" and \"value\""),
            (vec![path, ("x-vault-inline-auth-parameter-a", &list)], "fields \"key\" and \"value\""),
            (vec![path, ("x-vault-inline-auth-parameter-a", &deep)], "x-vault-inline-auth-parameter-a"),
            (
                vec![path, ("x-vault-inline-auth-parameter-a", &good), ("x-vault-inline-auth-parameter-b", &good)],
                "the same key",
            ),
        ] {
            let error = read(&pairs).unwrap_err().to_string();
            assert!(error.contains(text) && !error.contains("hidden"), "{pairs:?}: {error}");
        }
    }
}
