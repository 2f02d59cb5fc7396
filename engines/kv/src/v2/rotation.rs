//! `rotation/{path...}` and `rotate/{path...}`: secrets of which the server itself renews one field.

mod generator;
pub(super) mod hook;
mod run;
mod stored;

use std::collections::BTreeMap;

use api::{Count, Flag, Operation, Ttl, Verb};
use clock::Timestamp;
use engine::{Cx, Data, Done, Error, Keys, Refusal, RotationTry, Routes};
use secret::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Kv2,
    metadata::present,
    record::{PREVIOUS, Record},
};
use crate::path::{FolderPath, Paging, SecretPath};
use generator::Generator;
use hook::Hook;
pub(crate) use run::run;
use stored::{ROTATIONS, Rotation};

pub(crate) fn add(routes: Routes<Kv2>) -> Routes<Kv2> {
    routes
        .on(Verb::List, "rotation/{path...}", "List the rotated secrets in a folder.", list)
        .on(Verb::Read, "rotation/{path...}", "Show how a secret is rotated and how it went.", read)
        .on(Verb::Write, "rotation/{path...}", "Rotate one field of a secret on a schedule.", write)
        .exists(exists)
        .on(Verb::Delete, "rotation/{path...}", "End the rotation of a secret; its versions stay.", delete)
        .on(Verb::Write, "rotate/{path...}", "Rotate a secret now.", rotate)
        .clear(&["version"])
}

/// The body of a write; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    field: Option<String>,
    #[serde(alias = "rotation_period")]
    period: Option<Ttl>,
    #[serde(alias = "rotation_schedule")]
    schedule: Option<String>,
    #[serde(alias = "rotation_window")]
    window: Option<Ttl>,
    overlap: Option<Ttl>,
    delete_previous: Option<Flag>,
    generator: Option<GeneratorChange>,
    #[serde(deserialize_with = "present")]
    hook: Option<Option<HookChange>>,
}

/// How new values are made; replaces what was said before.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GeneratorChange {
    length: Option<Count>,
    charset: Option<String>,
    password_policy: Option<String>,
}

/// Who is to be told of new values; replaces what was said before, but a secret that is absent stays.
#[derive(Debug, Deserialize)]
struct HookChange {
    url: String,
    secret: Option<SecretString>,
    #[serde(default)]
    ca_cert: String,
    timeout: Option<Ttl>,
}

async fn list(cx: Cx<Kv2>, folder: FolderPath, paging: Paging) -> Result<Keys, Error> {
    let (after, limit) = paging.bounds();
    Ok(cx.view().list(&format!("{ROTATIONS}{}", folder.as_str()), after, limit).await?.into())
}

async fn exists(cx: Cx<Kv2>, path: SecretPath) -> Result<bool, Error> {
    Ok(Rotation::load(cx.view(), path.as_str()).await?.is_some())
}

async fn write(cx: Cx<Kv2>, path: SecretPath, change: Change) -> Result<Done, Error> {
    let before = Rotation::load(cx.view(), path.as_str()).await?;
    let record = Record::load(cx.view(), path.as_str()).await?;
    let sets_hook = matches!(change.hook, Some(Some(_)));
    let rotation = change.apply(&cx, before)?;
    check_rights(&cx, &path, record.is_some(), sets_hook)?;
    let mut record = record.unwrap_or_else(|| Record::new(cx.now()));
    record.rotation_class = Some(rotation.class().to_owned());
    record.save(cx.view(), path.as_str())?;
    rotation.save(cx.view(), path.as_str())?;
    // A secret without a value gets its first one at once.
    cx.plan(path.as_str(), rotation.plan(record.current() == 0)).await?;
    Ok(Done)
}

/// A rotation writes the secret in the name of whoever set it up, and a hook learns its value: neither may be a way
/// around the rights on the secret itself.
fn check_rights(cx: &Cx<Kv2>, path: &SecretPath, exists: bool, sets_hook: bool) -> Result<(), Error> {
    let data = format!("data/{}", path.as_str());
    let lacks = |operation: Operation| !cx.allows(&data, operation);
    let write = if exists { Operation::Update } else { Operation::Create };
    let reads = || cx.allows_plainly(&format!("{}{data}", cx.mount().path), Operation::Read);
    if lacks(write) || sets_hook && !reads() {
        let why = format!("a rotation needs the rights to {write} the secret, and one with a hook to read it");
        return Err(Error::Denied(Refusal::Other(why)));
    }
    Ok(())
}

impl Change {
    fn apply(self, cx: &Cx<Kv2>, before: Option<Rotation>) -> Result<Rotation, Error> {
        let mut rotation = match (before, &self.field) {
            (Some(before), _) => before,
            (None, Some(field)) => Rotation::new(field.clone()),
            (None, None) => return Err(Error::invalid("field: name the field of the secret that is to be rotated")),
        };
        if let Some(field) = self.field {
            rotation.rename(field)?;
        }
        if let Some(period) = self.period {
            rotation.period = period.set();
        }
        if let Some(schedule) = self.schedule {
            rotation.schedule = Some(schedule).filter(|schedule| !schedule.is_empty());
        }
        if let Some(window) = self.window {
            rotation.window = window.set();
        }
        if let Some(plan) = rotation.plan(false) {
            ::rotation::check_plan(&plan)?;
        }
        if let Some(overlap) = self.overlap {
            rotation.overlap = overlap.0;
        }
        if let Some(flag) = self.delete_previous {
            rotation.delete_previous = flag.0;
        }
        if let Some(generator) = self.generator {
            rotation.generator = Generator::new(generator.length, generator.charset, generator.password_policy)?;
        }
        match self.hook {
            None => {}
            Some(None) => rotation.hook = None,
            Some(Some(hook)) => rotation.hook = Some(hook.checked(rotation.hook.take())?),
        }
        if rotation.period.is_some_and(|period| period < rotation.overlap) {
            cx.warn("overlap is longer than the period: label=previous always stands for the last value but one only");
        }
        Ok(rotation)
    }
}

impl HookChange {
    fn checked(self, before: Option<Hook>) -> Result<Hook, Error> {
        let secret = self.secret.or(before.map(|before| before.secret));
        let secret = secret.ok_or_else(|| Error::invalid("hook.secret: give a secret to sign the calls with"))?;
        Hook::new(self.url, secret, self.ca_cert, self.timeout.and_then(Ttl::set))
    }
}

async fn delete(cx: Cx<Kv2>, path: SecretPath) -> Result<Done, Error> {
    if let Some(mut record) = Record::load(cx.view(), path.as_str()).await? {
        record.take_pending(cx.view(), path.as_str()).await?;
        record.rotation_class = None;
        record.save(cx.view(), path.as_str())?;
    }
    forget(&cx, path.as_str()).await?;
    Ok(Done)
}

/// Ends a rotation whose secret goes or stays without it.
pub(crate) async fn forget(cx: &Cx<Kv2>, path: &str) -> Result<(), Error> {
    cx.view().delete(&stored::key(path));
    cx.plan(path, None).await
}

/// A rotation and how it stands. Secrets of the hook are never part of it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    field: String,
    period: u64,
    schedule: String,
    window: u64,
    overlap: u64,
    delete_previous: bool,
    generator: BTreeMap<&'static str, Value>,
    hook: Option<Value>,
    /// The step of the hook that is to be done next, while a rotation is under way.
    step: Option<&'static str>,
    current_version: u64,
    previous_version: Option<u64>,
    previous_until: Option<Timestamp>,
    next_rotation: Option<Timestamp>,
    last_rotation: Option<Timestamp>,
    last_error: Option<String>,
    failures: u32,
    history: Vec<RotationTry>,
}

async fn read(cx: Cx<Kv2>, path: SecretPath) -> Result<Option<Data<Shown>>, Error> {
    let Some(rotation) = Rotation::load(cx.view(), path.as_str()).await? else { return Ok(None) };
    let record = Record::load(cx.view(), path.as_str()).await?;
    let previous = record.as_ref().and_then(|record| record.label(PREVIOUS));
    let previous = previous.filter(|label| label.until.is_none_or(|until| until > cx.now()));
    let status = cx.rotation(path.as_str()).await?;
    let (next, last_error, failures, history) = match status {
        Some(status) => (status.next, status.last_error, status.failures, status.history),
        None => (None, None, 0, Vec::new()),
    };
    Ok(Some(Data(Shown {
        period: rotation.period.map_or(0, |period| period.as_secs()),
        window: rotation.window.map_or(0, |window| window.as_secs()),
        overlap: rotation.overlap.as_secs(),
        delete_previous: rotation.delete_previous,
        generator: rotation.generator.show(),
        hook: rotation.hook.as_ref().map(show_hook),
        step: rotation.stage.as_ref().map(|stage| stage.next.as_str()),
        current_version: record.as_ref().map_or(0, Record::current),
        previous_version: previous.map(|label| label.version),
        previous_until: previous.and_then(|label| label.until),
        next_rotation: next,
        last_rotation: rotation.last.map(|last| last.at),
        field: rotation.field,
        schedule: rotation.schedule.unwrap_or_default(),
        last_error,
        failures,
        history,
    })))
}

fn show_hook(hook: &Hook) -> Value {
    let mut shown = Map::new();
    shown.insert("url".to_owned(), json!(hook.url));
    shown.insert("ca_cert".to_owned(), json!(hook.ca_cert));
    shown.insert("timeout".to_owned(), json!(hook.timeout.as_secs()));
    Value::Object(shown)
}

async fn rotate(cx: Cx<Kv2>, path: SecretPath) -> Result<Data<Value>, Error> {
    let path = path.as_str();
    if Rotation::load(cx.view(), path).await?.is_none() {
        return Err(Error::invalid("no rotation is set up for this secret: write one to rotation/"));
    }
    let outcome = run(cx.scope(), path).await;
    run::note(cx.scope(), path, outcome.as_ref().map(drop).map_err(ToString::to_string)).await?;
    outcome?;
    let record = Record::load(cx.view(), path).await?;
    Ok(Data(json!({ "version": record.map_or(0, |record| record.current()) })))
}
