//! `initialize "NAME" { request "NAME" { … } }`: what a new server is told, once.
//!
//! Secrets come by reference only. A value that is a block with `eval_source` is taken from the environment or a file, when
//! the request is made.

use std::{path::PathBuf, sync::Arc};

use api::Verb;
use hcl1::{Item, Value};
use secret::Zeroizing;
use serde::Serialize;
use strongroom_core::FirstRequest;

use super::section::Section;

/// What a value of the data is, or where it is taken from.
#[derive(Debug)]
enum Data {
    Flag(bool),
    Null,
    Number(serde_json::Number),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Reference(Reference),
}

#[derive(Debug)]
struct Reference {
    from: Source,
    kind: Kind,
}

#[derive(Debug)]
enum Source {
    /// A variable of the environment; whether it must be there.
    Env(String, bool),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Integer,
    Number,
    Flag,
    List,
    /// Whatever the text is as JSON.
    Json,
}

/// The requests in the order in which they are made.
pub(super) fn first_requests(top: &mut Section, warnings: &mut Vec<String>) -> Result<Vec<FirstRequest>, String> {
    let mut requests: Vec<FirstRequest> = Vec::new();
    for mut block in top.blocks("initialize")? {
        check_name(&block)?;
        let found = block.blocks("request")?;
        if found.is_empty() {
            return Err(block.says("it has no request block"));
        }
        for mut body in found {
            check_name(&body)?;
            let name = format!("{}/{}", block.label, body.label);
            if requests.iter().any(|known| known.name == name) {
                return Err(body.says(&format!("there is another request {name}")));
            }
            requests.push(request(name, &mut body)?);
            warnings.extend(body.unknown());
        }
        warnings.extend(block.unknown());
    }
    Ok(requests)
}

fn check_name(section: &Section) -> Result<(), String> {
    let mut chars = section.label.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    match begins && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        true => Ok(()),
        false => Err(section.says("its name begins with a letter and has letters, digits, dashes and underscores")),
    }
}

fn request(name: String, body: &mut Section) -> Result<FirstRequest, String> {
    if let Some(place) = body.pass_over("token") {
        return Err(body.wrong(
            &place,
            "token",
            "requests of the first start are made with a token of the server's own",
        ));
    }
    let operation = body.text("operation")?.ok_or_else(|| body.says("operation is missing: use create, update, …"))?;
    let verb = match operation.as_str() {
        "create" | "update" => Verb::Write,
        "read" => Verb::Read,
        "delete" => Verb::Delete,
        "list" => Verb::List,
        "patch" => Verb::Patch,
        _ => return Err(body.says("operation: use create, update, patch, read, list or delete")),
    };
    let path = body.text("path")?.ok_or_else(|| body.says("path is missing"))?;
    if KEY_HOLDERS.iter().any(|of| path.trim_matches('/').starts_with(of)) {
        return Err(body.says("path: what key holders do is not done at the first start"));
    }
    let allow_failure = body.flag("allow_failure")?.unwrap_or(false);
    let mut data = Vec::new();
    for (key, place, value) in body.pairs("data")? {
        let value = value_of(&key, value).map_err(|why| body.wrong(&place, "data", &why))?;
        data.push((key, value));
    }
    let data = Data::Object(data);
    let make = move || {
        let resolved = resolve(&data)?;
        let json = Zeroizing::new(serde_json::to_vec(&resolved).map_err(|_| "the data is no JSON".to_owned())?);
        Ok(json)
    };
    Ok(FirstRequest { name, verb, path, body: Arc::new(make), allow_failure })
}

/// What begins with these is for those who have key shares.
const KEY_HOLDERS: [&str; 8] = [
    "sys/generate-root",
    "sys/init",
    "sys/rekey",
    "sys/rotate/recovery",
    "sys/rotate/root",
    "sys/seal",
    "sys/step-down",
    "sys/unseal",
];
/// Names of fields whose values do not belong into a file that says how a server is set up.
const SECRET: [&str; 13] = [
    "bindpass",
    "client_secret",
    "credentials",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "secret_access_key",
    "secret_id",
    "secret_key",
    "token",
];

fn value_of(key: &str, value: Value) -> Result<Data, String> {
    let secret = SECRET.contains(&key.to_ascii_lowercase().as_str());
    Ok(match value {
        Value::Text(_) | Value::Number(_) if secret => {
            return Err(format!(
                "{key}: a secret does not stand here; write {key} = {{ eval_source = \"env\" env_var = \"NAME\" }} or \
                 {{ eval_source = \"file\" path = \"/…\" }}"
            ));
        }
        Value::Flag(flag) => Data::Flag(flag),
        Value::Null => Data::Null,
        Value::Number(number) => Data::Number(number),
        Value::Text(text) => Data::Text(text),
        Value::List(values) => {
            Data::List(values.into_iter().map(|value| value_of(key, value)).collect::<Result<_, _>>()?)
        }
        Value::Object(items) => {
            if items.iter().any(|item| name_of(item) == "eval_source") {
                return reference(key, items).map(Data::Reference);
            }
            let mut entries = Vec::new();
            for item in items {
                let name = name_of(&item).to_owned();
                if item.keys.len() != 1 || entries.iter().any(|(known, _)| *known == name) {
                    return Err(format!("{key}: {name:?} is given twice, or with a label"));
                }
                entries.push((name.clone(), value_of(&name, item.value)?));
            }
            Data::Object(entries)
        }
    })
}

fn name_of(item: &Item) -> &str {
    item.keys.first().map(|key| key.text.as_str()).unwrap_or_default()
}

fn reference(key: &str, items: Vec<Item>) -> Result<Reference, String> {
    let (mut source, mut kind, mut variable, mut path, mut required) = (None, None, None, None, true);
    for item in items {
        match (name_of(&item), &item.value) {
            ("eval_source", Value::Text(text)) => source = Some(text.clone()),
            ("eval_type", Value::Text(text)) => kind = Some(text.clone()),
            ("env_var", Value::Text(text)) => variable = Some(text.clone()),
            ("path", Value::Text(text)) => path = Some(PathBuf::from(text)),
            ("require_present", Value::Flag(flag)) => required = *flag,
            (name, _) => return Err(format!("{key}: {name:?} is not known here, or of another type")),
        }
    }
    let kind = match kind.as_deref() {
        None | Some("string") => Kind::Text,
        Some("int") => Kind::Integer,
        Some("float64") => Kind::Number,
        Some("bool") => Kind::Flag,
        Some("[]string") => Kind::List,
        Some("map" | "any") => Kind::Json,
        Some(_) => return Err(format!("{key}: eval_type: use string, int, float64, bool, []string, map or any")),
    };
    let from = match (source.as_deref(), variable, path) {
        (Some("env"), Some(name), None) => Source::Env(name, required),
        (Some("file"), None, Some(path)) => Source::File(path),
        (Some("env"), ..) => return Err(format!("{key}: eval_source \"env\" needs env_var and no path")),
        (Some("file"), ..) => return Err(format!("{key}: eval_source \"file\" needs path and no env_var")),
        _ => {
            return Err(format!(
                "{key}: eval_source: use env or file; what another request answered is not kept through an interruption"
            ));
        }
    };
    Ok(Reference { from, kind })
}

/// A value that may be secret: wiped with the allocator's help when it is dropped.
#[derive(Serialize)]
#[serde(untagged)]
enum Resolved<'d> {
    Flag(bool),
    Null,
    Number(&'d serde_json::Number),
    Text(&'d str),
    List(Vec<Self>),
    Object(std::collections::BTreeMap<&'d str, Self>),
    Taken(serde_json::Value),
}

fn resolve(data: &Data) -> Result<Resolved<'_>, String> {
    Ok(match data {
        Data::Flag(flag) => Resolved::Flag(*flag),
        Data::Null => Resolved::Null,
        Data::Number(number) => Resolved::Number(number),
        Data::Text(text) => Resolved::Text(text),
        Data::List(list) => Resolved::List(list.iter().map(resolve).collect::<Result<_, _>>()?),
        Data::Object(entries) => {
            let mut object = std::collections::BTreeMap::new();
            for (key, value) in entries {
                object.insert(key.as_str(), resolve(value)?);
            }
            Resolved::Object(object)
        }
        Data::Reference(reference) => Resolved::Taken(reference.take()?),
    })
}

impl Reference {
    fn take(&self) -> Result<serde_json::Value, String> {
        let (text, whence) = match &self.from {
            Source::Env(name, required) => match std::env::var(name) {
                Ok(text) => (text, format!("the variable {name}")),
                Err(_) if !required => return Ok(serde_json::Value::Null),
                Err(_) => {
                    return Err(format!("the environment has no text under {name}: set it and start the server again"));
                }
            },
            Source::File(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                (text, path.display().to_string())
            }
        };
        let text = Zeroizing::new(text);
        let wrong = |what: &str| format!("{whence} does not hold {what}");
        let trimmed = text.trim();
        let json = |what: &str| serde_json::from_str::<serde_json::Value>(trimmed).map_err(|_| wrong(what));
        match self.kind {
            Kind::Text => Ok(serde_json::Value::String(text.strip_suffix('\n').unwrap_or(&text).to_owned())),
            Kind::Integer => trimmed.parse::<i64>().map(Into::into).map_err(|_| wrong("a whole number")),
            Kind::Number => {
                json("a number").and_then(|value| if value.is_number() { Ok(value) } else { Err(wrong("a number")) })
            }
            Kind::Flag => trimmed.parse::<bool>().map(Into::into).map_err(|_| wrong("true or false")),
            Kind::List => Ok(trimmed.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>().into()),
            Kind::Json => json("JSON"),
        }
    }
}
