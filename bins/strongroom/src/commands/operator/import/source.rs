//! The two servers.

use api::Verb;
use client::{Client, Config, Error};
use secret::SecretString;
use serde_json::{Map, Value};

use super::{Import, report::Report};
use crate::{
    failure::Failure,
    input,
    session::{Session, env},
};

/// The server that is read.
pub(super) struct Source {
    client: Client,
}

/// The server that is written to.
pub(super) struct Target<'s> {
    pub(super) session: &'s Session,
    pub(super) dry_run: bool,
}

impl Source {
    pub(super) fn connect(import: &Import) -> Result<Self, Failure> {
        let token = match &import.source_token_file {
            Some(path) => input::read_file(&path.to_string_lossy())?.trim().to_owned(),
            None => env("SOURCE_TOKEN").ok_or_else(|| {
                Failure::local("there is no token for the server to read: give -source-token-file, or set SOURCE_TOKEN")
            })?,
        };
        let config = Config {
            address: import.from_vault.clone(),
            token: Some(SecretString::new(token)),
            namespace: import.source_namespace.clone(),
            ca_cert: import.source_ca_cert.clone(),
            skip_verify: import.source_tls_skip_verify,
            ..Config::default()
        };
        Ok(Self { client: Client::new(config)? })
    }

    /// Whether the server answers, and the token is one of its own.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let asked = self.client.read("auth/token/lookup-self", &[]).await;
        asked.map(drop).map_err(|error| failed("asking the server to read who we are", error))
    }

    /// What is at a path; nothing if it is not there, or may not be seen, which is reported.
    pub(super) async fn read(&self, path: &str, report: &mut Report<'_>) -> Result<Option<Value>, Failure> {
        self.ask(Verb::Read, path, &[], report).await
    }

    /// A certain version of a secret.
    pub(super) async fn version(
        &self,
        path: &str,
        version: u64,
        report: &mut Report<'_>,
    ) -> Result<Option<Value>, Failure> {
        self.ask(Verb::Read, path, &[("version", &version.to_string())], report).await
    }

    /// The names below a path.
    pub(super) async fn list(&self, path: &str, report: &mut Report<'_>) -> Result<Vec<String>, Failure> {
        let found = self.ask(Verb::List, path, &[], report).await?;
        Ok(texts(found.as_ref().map(|found| &found["keys"])))
    }

    async fn ask(
        &self,
        verb: Verb,
        path: &str,
        query: &[(&str, &str)],
        report: &mut Report<'_>,
    ) -> Result<Option<Value>, Failure> {
        match self.client.request(verb, path, query, None).await {
            Ok(response) if response.status == 404 => Ok(None),
            Ok(response) => response.data::<Option<Value>>().map_err(|error| failed("reading", error)),
            Err(Error::Api { status: 404 | 405, .. }) => Ok(None),
            Err(Error::Api { status, errors, .. }) if (400..500).contains(&status) => {
                report.left(path, format!("the server to read answers {status}: {}", errors.join("; ")));
                Ok(None)
            }
            Err(error) => Err(failed(&format!("reading {path}"), error)),
        }
    }
}

impl Target<'_> {
    /// What is at a path here; nothing if it is not there.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Value>, Failure> {
        self.ask(Verb::Read, path, &[], None).await
    }

    /// A certain version of a secret here.
    pub(super) async fn version(&self, path: &str, version: u64) -> Result<Option<Value>, Failure> {
        self.ask(Verb::Read, path, &[("version", &version.to_string())], None).await
    }

    async fn ask(
        &self,
        verb: Verb,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Option<Value>, Failure> {
        match self.session.attempt(verb, path, query, body).await? {
            Ok(response) if response.status == 404 => Ok(None),
            Ok(response) => response.data::<Option<Value>>().map_err(|error| failed("reading", error)),
            Err(Error::Api { status: 404, .. }) => Ok(None),
            Err(error) => Err(failed(&format!("reading {path} here"), error)),
        }
    }

    /// Writes, unless it is only tried; what is refused is reported. Gives the answer if it was done.
    pub(super) async fn write(
        &self,
        path: &str,
        body: Value,
        what: &str,
        report: &mut Report<'_>,
    ) -> Result<Option<Value>, Failure> {
        if self.dry_run {
            return Ok(Some(Value::Null));
        }
        self.send(Verb::Write, path, body, what, report).await
    }

    async fn send(
        &self,
        verb: Verb,
        path: &str,
        body: Value,
        what: &str,
        report: &mut Report<'_>,
    ) -> Result<Option<Value>, Failure> {
        match self.session.attempt(verb, path, &[], Some(body)).await? {
            Ok(response) => Ok(Some(response.data::<Option<Value>>().ok().flatten().unwrap_or_default())),
            Err(Error::Api { status, errors, .. }) if (400..500).contains(&status) => {
                report.left(what, format!("it is refused here with {status}: {}", errors.join("; ")));
                Ok(None)
            }
            Err(error) => Err(failed(&format!("writing {path}"), error)),
        }
    }

    /// Writes what another server says of something, unless the same is here already. `brought` is its kind.
    pub(super) async fn settle(
        &self,
        path: &str,
        wanted: Map<String, Value>,
        (kind, name): (&'static str, &str),
        report: &mut Report<'_>,
    ) -> Result<bool, Failure> {
        if let Some(here) = self.read(path).await? {
            return Ok(match wanted.iter().all(|(key, value)| same(&here[key], value)) {
                true => {
                    report.there(kind);
                    true
                }
                false => {
                    report.left(format!("{kind} {name}"), "it is here already, and differs; it is left as it is");
                    false
                }
            });
        }
        let written = self.write(path, Value::Object(wanted), &format!("{kind} {name}"), report).await?;
        if written.is_some() {
            report.brought(kind, name);
        }
        Ok(written.is_some())
    }
}

/// Whether two servers say the same: what is left out is what is empty.
pub(super) fn same(here: &Value, wanted: &Value) -> bool {
    match (here, wanted) {
        (Value::Object(here), Value::Object(wanted)) => here
            .keys()
            .chain(wanted.keys())
            .all(|key| same(here.get(key).unwrap_or(&Value::Null), wanted.get(key).unwrap_or(&Value::Null))),
        (Value::Array(here), Value::Array(wanted)) => {
            here.len() == wanted.len() && here.iter().zip(wanted).all(|(here, wanted)| same(here, wanted))
        }
        (here, wanted) => here == wanted || is_empty(here) && is_empty(wanted),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
    }
}

pub(super) fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(super) fn failed(doing: &str, error: Error) -> Failure {
    Failure::Api { doing: doing.to_owned(), error: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_is_what_is_empty() {
        for (here, wanted) in [
            (json!({ "a": 1, "b": [] }), json!({ "a": 1 })),
            (json!({ "a": null }), json!({ "a": "" })),
            (json!({ "a": { "b": false } }), json!({})),
            (json!(["x"]), json!(["x"])),
        ] {
            assert!(same(&here, &wanted), "{here} {wanted}");
        }
        for (here, wanted) in
            [(json!({ "a": 1 }), json!({ "a": 2 })), (json!(["x"]), json!(["x", "y"])), (json!(1), json!("1"))]
        {
            assert!(!same(&here, &wanted), "{here} {wanted}");
        }
    }
}
