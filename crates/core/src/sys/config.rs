//! `sys/config`: origins of browsers, headers, what the server was started with.

use std::collections::BTreeMap;

use api::{CommaList, Flag};
use engine::{Answer, Data, Done, Keys};
use gate::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Cx, Routes, System, Verb, mounts::flat, running};
use crate::live::{AUDITED, Audited, CORS, Cors, UI_HEADERS};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "config/cors", "Show which origins may call from a browser.", read_cors)
        .sudo()
        .on(Verb::Write, "config/cors", "Let origins call from a browser.", write_cors)
        .sudo()
        .on(Verb::Delete, "config/cors", "Let no origin call from a browser.", delete_cors)
        .sudo()
        .on(Verb::Read, "config/auditing/request-headers", "List the headers that the audit log has.", list_audited)
        .sudo()
        .on(
            Verb::Read,
            "config/auditing/request-headers/{header}",
            "Show how the audit log has a header.",
            read_audited,
        )
        .sudo()
        .on(Verb::Write, "config/auditing/request-headers/{header}", "Have a header in the audit log.", write_audited)
        .sudo()
        .on(Verb::Delete, "config/auditing/request-headers/{header}", "Leave a header out again.", delete_audited)
        .sudo()
        .on(Verb::List, "config/ui/headers", "List the headers of pages for people.", list_ui)
        .sudo()
        .on(Verb::Read, "config/ui/headers/{header}", "Show a header of pages for people.", read_ui)
        .sudo()
        .on(Verb::Write, "config/ui/headers/{header}", "Set a header of pages for people.", write_ui)
        .sudo()
        .on(Verb::Delete, "config/ui/headers/{header}", "Remove a header of pages for people.", delete_ui)
        .sudo()
        .on(Verb::Read, "config/state/sanitized", "Show the configuration file without its secrets.", sanitized)
        .on(
            Verb::Write,
            "config/reload/{subsystem}",
            "Read a part of the configuration anew: audit or license.",
            reload,
        )
        .sudo()
}

#[derive(Serialize)]
struct ShownCors {
    enabled: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_origins: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_headers: Vec<String>,
}

async fn read_cors(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    let Cors { enabled, allowed_origins, allowed_headers } = running(&cx)?.live.load().cors.clone();
    flat(ShownCors { enabled, allowed_origins, allowed_headers })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CorsInput {
    enable: Option<Flag>,
    allowed_origins: CommaList,
    allowed_headers: CommaList,
}

async fn write_cors(cx: Cx<System>, (): (), input: CorsInput) -> Result<Done, Error> {
    let origins = &input.allowed_origins.0;
    if origins.is_empty() {
        return Err(Error::invalid("at least one origin or the wildcard must be provided"));
    }
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        return Err(Error::invalid("to allow all origins the '*' must be the only value for allowed_origins"));
    }
    if origins.iter().any(|origin| origin.is_empty() || !origin.chars().all(|c| c.is_ascii_graphic())) {
        return Err(Error::invalid("allowed_origins: an origin is printable ASCII, such as https://ui.example.com"));
    }
    for header in &input.allowed_headers.0 {
        header_name(header)?;
    }
    let mut headers: Vec<String> = STANDARD_HEADERS.iter().map(|header| (*header).to_owned()).collect();
    headers.extend(input.allowed_headers.0.iter().cloned());
    let enabled = input.enable.is_none_or(|flag| flag.0);
    let change = |cors: &mut Cors| {
        *cors = Cors { enabled, allowed_origins: origins.clone(), allowed_headers: headers.clone() };
        Ok(())
    };
    running(&cx)?.change_live(CORS, change).await?;
    Ok(Done)
}

/// What every origin that may call may send.
const STANDARD_HEADERS: &[&str] = &[
    "Content-Type",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Vault-Policy-Override",
    "Authorization",
    "X-Vault-Token",
    "X-Vault-Namespace",
];

async fn delete_cors(cx: Cx<System>, (): ()) -> Result<Done, Error> {
    let change = |cors: &mut Cors| {
        *cors = Cors::default();
        Ok(())
    };
    running(&cx)?.change_live(CORS, change).await?;
    Ok(Done)
}

/// The name of a header in lower case.
fn header_name(text: &str) -> Result<String, Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || text.len() > 256 || !text.chars().all(fits) {
        return Err(Error::invalid("header: a name has letters, digits and hyphens"));
    }
    Ok(text.to_ascii_lowercase())
}

async fn list_audited(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    flat(json!({ "headers": running(&cx)?.live.load().audited }))
}

async fn read_audited(cx: Cx<System>, header: String) -> Result<Answer, Error> {
    let name = header_name(&header)?;
    let audited = running(&cx)?.live.load().audited.get(&name).copied();
    let audited = audited.ok_or_else(|| Error::invalid("Could not find header in config"))?;
    flat(BTreeMap::from([(name, audited)]))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuditedInput {
    hmac: Flag,
}

async fn write_audited(cx: Cx<System>, header: String, input: AuditedInput) -> Result<Done, Error> {
    let name = header_name(&header)?;
    let change = |headers: &mut BTreeMap<String, Audited>| {
        headers.insert(name.clone(), Audited { hmac: input.hmac.0 });
        bounded(headers.len())
    };
    running(&cx)?.change_live(AUDITED, change).await?;
    Ok(Done)
}

async fn delete_audited(cx: Cx<System>, header: String) -> Result<Done, Error> {
    let name = header_name(&header)?;
    let change = |headers: &mut BTreeMap<String, Audited>| {
        headers.remove(&name);
        Ok(())
    };
    running(&cx)?.change_live(AUDITED, change).await?;
    Ok(Done)
}

/// How many headers can be set.
const MOST: usize = 1000;

fn bounded(count: usize) -> Result<(), Error> {
    match count {
        0..=MOST => Ok(()),
        _ => Err(Error::invalid(format!("header: there are {MOST} already; remove one first"))),
    }
}

async fn list_ui(cx: Cx<System>, (): ()) -> Result<Keys, Error> {
    Ok(running(&cx)?.live.load().ui_headers.keys().cloned().collect::<Vec<_>>().into())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UiQuery {
    multivalue: Flag,
}

async fn read_ui(cx: Cx<System>, header: String, wanted: UiQuery) -> Result<Option<Data<Value>>, Error> {
    let values = running(&cx)?.live.load().ui_headers.get(&header_name(&header)?).cloned();
    let show = |values: Vec<String>| match wanted.multivalue.0 {
        true => json!({ "values": values }),
        false => json!({ "value": values.first() }),
    };
    Ok(values.map(show).map(Data))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UiInput {
    values: CommaListOrText,
    #[serde(rename = "multivalue")]
    _multivalue: Flag,
}

/// A list, or one text that is taken whole: values of headers have commas in them.
#[derive(Debug, Default)]
struct CommaListOrText(Vec<String>);

impl<'de> Deserialize<'de> for CommaListOrText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            List(Vec<String>),
            Text(String),
        }
        let read =
            Either::deserialize(deserializer).map_err(|_| serde::de::Error::custom("expected a list of texts"))?;
        Ok(Self(match read {
            Either::List(values) => values,
            Either::Text(value) => vec![value],
        }))
    }
}

async fn write_ui(cx: Cx<System>, header: String, input: UiInput) -> Result<Done, Error> {
    let name = header_name(&header)?;
    if name.starts_with("x-vault-") {
        return Err(Error::invalid("X-Vault headers cannot be set"));
    }
    let values: Vec<_> = input.values.0.into_iter().filter(|value| !value.is_empty()).collect();
    if values.is_empty() {
        return Err(Error::invalid("values: give at least one value"));
    }
    if values.iter().any(|value| value.len() > 8192 || value.chars().any(|c| c.is_control() || !c.is_ascii())) {
        return Err(Error::invalid("values: a value is printable ASCII"));
    }
    let change = |headers: &mut BTreeMap<String, Vec<String>>| {
        headers.insert(name.clone(), values.clone());
        bounded(headers.len())
    };
    running(&cx)?.change_live(UI_HEADERS, change).await?;
    Ok(Done)
}

async fn delete_ui(cx: Cx<System>, header: String) -> Result<Done, Error> {
    let name = header_name(&header)?;
    let change = |headers: &mut BTreeMap<String, Vec<String>>| {
        headers.remove(&name);
        Ok(())
    };
    running(&cx)?.change_live(UI_HEADERS, change).await?;
    Ok(Done)
}

async fn sanitized(cx: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    Ok(Data(running(&cx)?.settings.sanitized.clone()))
}

/// Certificates are read anew on SIGHUP, which the listener minds.
async fn reload(cx: Cx<System>, subsystem: String) -> Result<Done, Error> {
    match subsystem.as_str() {
        // Without a licence there is none to read, so nothing is left to do.
        "license" => Ok(Done),
        "audit" => {
            let core = running(&cx)?.core.upgrade().ok_or(Error::Sealed)?;
            match core.reopen_audit().await.as_slice() {
                [] => Ok(Done),
                failed => Err(Error::Target(failed.join("; "))),
            }
        }
        _ => Err(Error::invalid("subsystem: use audit or license")),
    }
}
