//! The steps that lead from what the server has to what the files ask for.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{
    compare::{Change, all_new, compare},
    wanted::{Mount, Value, Wanted, Write},
};
use crate::{failure::Failure, session::Session};

/// What is to be done, and what was noticed.
#[derive(Default)]
pub(super) struct Plan {
    /// The steps, in order.
    pub(super) steps: Vec<Step>,
    /// What the server has and the files do not.
    pub(super) extra: Vec<String>,
    /// Fields that cannot be compared.
    pub(super) unseen: Vec<String>,
    /// The paths of mounts that are still to come: nothing can be read below them.
    coming: Vec<String>,
}

/// One write.
pub(super) struct Step {
    /// Whether something new comes.
    pub(super) action: Action,
    /// What it is about, for people.
    pub(super) what: String,
    /// What changes.
    pub(super) changes: Vec<Change>,
    path: String,
    body: BTreeMap<String, Value>,
}

/// What a step does.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// Makes something.
    Create,
    /// Changes something.
    Update,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
        }
    }

    pub(super) fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Update => '~',
        }
    }
}

impl Plan {
    /// Reads what the server has, and compares.
    pub(super) async fn make(session: &Session, wanted: Wanted) -> Result<Self, Failure> {
        let mut plan = Self::default();
        plan.policies(session, &wanted.policies).await?;
        let secrets = plan.mounts(session, SECRETS, &wanted.secrets).await?;
        plan.mounts(session, AUTH, &wanted.auth).await?;
        for write in wanted.writes {
            refuse_values(&write, &secrets, &wanted.secrets)?;
            plan.write(session, write).await?;
        }
        // A reference to nothing is found before anything is changed.
        plan.steps.iter().try_for_each(|step| step.body().map(drop))?;
        Ok(plan)
    }

    async fn policies(&mut self, session: &Session, wanted: &[(String, String)]) -> Result<(), Failure> {
        for (name, text) in wanted {
            let path = format!("sys/policies/acl/{name}");
            let held = read(session, &path).await?;
            let held = held.as_ref().and_then(|data| data.get("policy")).and_then(Json::as_str);
            if held.is_some_and(|held| held.trim() == text.trim()) {
                continue;
            }
            let lines = |text: &str| format!("{} lines", text.trim().lines().count());
            self.steps.push(Step {
                action: if held.is_some() { Action::Update } else { Action::Create },
                what: format!("policy {name}"),
                changes: vec![Change { field: "policy".to_owned(), from: held.map(lines), to: lines(text) }],
                path,
                body: BTreeMap::from([("policy".to_owned(), Value::Plain(text.clone().into()))]),
            });
        }
        let listed = session.list("listing policies", "sys/policies/acl").await?;
        let names = listed.as_ref().and_then(|answer| answer.at("keys")).map(|keys| keys.items().to_vec());
        let built_in = ["root", "default", "response-wrapping"];
        for name in names.unwrap_or_default().iter().map(|name| name.plain()) {
            if !built_in.contains(&name.as_str()) && !wanted.iter().any(|(wanted, _)| *wanted == name) {
                self.extra.push(format!("policy {name}"));
            }
        }
        Ok(())
    }

    /// Gives what is mounted.
    async fn mounts(&mut self, session: &Session, family: Family, wanted: &[Mount]) -> Result<Json, Failure> {
        let held = read(session, family.path).await?.unwrap_or_default();
        for mount in wanted {
            let found = held.get(format!("{}/", mount.path));
            self.steps.extend(match found {
                None => {
                    self.coming.push(format!("{}{}/", family.below, mount.path));
                    Some(new_mount(family, mount))
                }
                Some(found) => tuned_mount(family, mount, found, &mut self.unseen)?,
            });
        }
        let entries = held.as_object().into_iter().flatten().filter(|(_, mount)| mount.get("accessor").is_some());
        for (path, mount) in entries {
            let kind = mount.get("type").and_then(Json::as_str).unwrap_or_default();
            let described = wanted.iter().any(|wanted| format!("{}/", wanted.path) == *path);
            if !described && !BUILT_IN.contains(&kind) {
                self.extra.push(format!("{} {path} ({kind})", family.name));
            }
        }
        Ok(held)
    }

    async fn write(&mut self, session: &Session, write: Write) -> Result<(), Failure> {
        let held = match self.coming.iter().any(|mount| write.path.starts_with(mount)) {
            true => None,
            false => read(session, &write.path).await?,
        };
        let (action, changes) = match &held {
            None => (Action::Create, all_new(&write.data)),
            Some(held) => {
                let compared = compare(&write.data, held)?;
                self.unseen.extend(compared.unseen.into_iter().map(|field| format!("{}: {field}", write.path)));
                (Action::Update, compared.changes)
            }
        };
        if !changes.is_empty() {
            self.steps.push(Step { action, what: write.path.clone(), changes, path: write.path, body: write.data });
        }
        Ok(())
    }
}

impl Step {
    /// Does it.
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let answer = session.write(&format!("writing {}", self.path), &self.path, self.body()?).await?;
        if let Some(answer) = &answer {
            session.terminal.warnings(answer);
        }
        Ok(())
    }

    /// What is sent, with every reference replaced by its value.
    fn body(&self) -> Result<Map<String, Json>, Failure> {
        self.body.iter().map(|(name, value)| Ok((name.clone(), resolved(value)?))).collect()
    }
}

/// Secrets engines or auth methods.
#[derive(Clone, Copy)]
struct Family {
    path: &'static str,
    below: &'static str,
    name: &'static str,
}

const SECRETS: Family = Family { path: "sys/mounts", below: "", name: "secrets engine" };
const AUTH: Family = Family { path: "sys/auth", below: "auth/", name: "auth method" };

/// The kinds of mounts that every server has.
const BUILT_IN: [&str; 4] = ["system", "cubbyhole", "identity", "token"];

fn new_mount(family: Family, mount: &Mount) -> Step {
    let mut body = BTreeMap::from([("type".to_owned(), Value::Plain(mount.kind.clone().into()))]);
    if let Some(description) = &mount.description {
        body.insert("description".to_owned(), Value::Plain(description.clone().into()));
    }
    if !mount.options.is_empty() {
        body.insert("options".to_owned(), Value::Plain(json!(mount.options)));
    }
    if !mount.config.is_empty() {
        body.insert("config".to_owned(), Value::Plain(json!(mount.config)));
    }
    Step {
        action: Action::Create,
        what: format!("{} {}/", family.name, mount.path),
        changes: all_new(&body),
        path: format!("{}/{}", family.path, mount.path),
        body,
    }
}

fn tuned_mount(family: Family, mount: &Mount, held: &Json, unseen: &mut Vec<String>) -> Result<Option<Step>, Failure> {
    let what = format!("{} {}/", family.name, mount.path);
    let kind = held.get("type").and_then(Json::as_str).unwrap_or_default();
    if kind != mount.kind {
        return Err(Failure::local(format!(
            "{what} is of the type {kind} and not {}: disable it by hand first, which deletes what it holds",
            mount.kind
        )));
    }
    let mut wanted: BTreeMap<String, Value> =
        mount.config.iter().map(|(name, value)| (name.clone(), Value::Plain(json!(value)))).collect();
    let mut shown = held.get("config").cloned().unwrap_or_default();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("description".to_owned(), held.get("description").cloned().unwrap_or_default());
        shown.insert("options".to_owned(), held.get("options").cloned().unwrap_or_default());
    }
    wanted.extend(mount.description.clone().map(|text| ("description".to_owned(), Value::Plain(text.into()))));
    if !mount.options.is_empty() {
        let options = mount.options.iter().map(|(name, value)| (name.clone(), Value::Plain(value.clone().into())));
        wanted.insert("options".to_owned(), Value::Map(options.collect()));
    }
    let compared = compare(&wanted, &shown)?;
    unseen.extend(compared.unseen.into_iter().map(|field| format!("{what}: {field}")));
    let path = format!("{}/{}/tune", family.path, mount.path);
    let step = Step { action: Action::Update, what, changes: compared.changes, path, body: wanted };
    Ok((!step.changes.is_empty()).then_some(step))
}

/// Values of a key/value engine are secrets, whatever their names.
fn refuse_values(write: &Write, held: &Json, wanted: &[Mount]) -> Result<(), Failure> {
    let is_kv = |path: &str| {
        let mounted = held.get(format!("{path}/")).and_then(|mount| mount.get("type")).and_then(Json::as_str);
        mounted == Some("kv") || wanted.iter().any(|mount| mount.path == path && mount.kind == "kv")
    };
    let mount = write.path.match_indices('/').map(|(at, _)| write.path.split_at(at)).find(|(path, _)| is_kv(path));
    let Some((_, below)) = mount else { return Ok(()) };
    let in_clear = match write.data.get("data") {
        Some(Value::Map(values)) if below.starts_with("/data/") => first_plain(values),
        _ if ["/config", "/metadata/", "/rotation/"].iter().any(|start| below.starts_with(start)) => None,
        _ => first_plain(&write.data),
    };
    match in_clear {
        None => Ok(()),
        Some(field) => Err(Failure::local(format!(
            "{}: {}: {field} is a value of a secret and must not stand in a file: write {{ env = \"NAME\" }} or {{ file = \"PATH\" }}",
            write.file.display(),
            write.path
        ))),
    }
}

fn first_plain(values: &BTreeMap<String, Value>) -> Option<&str> {
    values.iter().find(|(_, value)| !matches!(value, Value::Reference(_))).map(|(name, _)| name.as_str())
}

/// What the server shows at a path; `None` if there is nothing.
async fn read(session: &Session, path: &str) -> Result<Option<Json>, Failure> {
    let answer = session.read(&format!("reading {path}"), path, &[]).await?;
    let body: Option<Json> = answer.and_then(|answer| serde_json::from_slice(&answer.raw).ok());
    Ok(body.and_then(|mut body| body.get_mut("data").map(Json::take)).filter(|data| !data.is_null()))
}

fn resolved(value: &Value) -> Result<Json, Failure> {
    Ok(match value {
        Value::Plain(value) => value.clone(),
        Value::List(items) => Json::Array(items.iter().map(resolved).collect::<Result<_, _>>()?),
        Value::Map(entries) => {
            let entry = |(name, value): (&String, &Value)| Ok((name.clone(), resolved(value)?));
            Json::Object(entries.iter().map(entry).collect::<Result<_, Failure>>()?)
        }
        // EXPOSE: into the body of the request.
        Value::Reference(reference) => reference.resolve()?.expose().clone().into(),
    })
}
