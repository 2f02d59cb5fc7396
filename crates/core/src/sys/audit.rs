//! `sys/audit` and `sys/audit-hash`.

use std::collections::BTreeMap;

use api::{Flag, Pairs};
use engine::{Answer, Done};
use gate::Error;
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, mounts::flat, running};
use crate::audit_devices;

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "audit", "List the audit devices.", list)
        .sudo()
        .on(Verb::Write, "audit/{path...}", "Enable an audit device.", enable)
        .sudo()
        .on(Verb::Delete, "audit/{path...}", "Disable an audit device.", disable)
        .sudo()
        .on(Verb::Write, "audit-hash/{path...}", "Show the hash that an audit device writes for a value.", hash)
}

#[derive(Serialize)]
struct Shown {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    description: String,
    options: BTreeMap<String, String>,
    local: bool,
    healthy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

async fn list(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    let running = running(&cx)?;
    let health = running.audit.health();
    let mut devices = BTreeMap::new();
    for entry in audit_devices::list(&running.store()).await? {
        let health = health.iter().find(|health| health.path == entry.path);
        let (healthy, trouble) = match health.map(|health| (&health.condition, &health.trouble)) {
            None => (false, Some("it could not be opened; see the server's log".to_owned())),
            Some((audit::Condition::Healthy, trouble)) => (true, trouble.clone()),
            Some((audit::Condition::Bypassed { reason, .. }, _)) => (false, Some(reason.clone())),
        };
        let path = format!("{}/", entry.path);
        let shown = Shown {
            path: path.clone(),
            kind: entry.kind,
            description: entry.description,
            options: entry.options,
            local: entry.local,
            healthy,
            trouble,
        };
        devices.insert(path, shown);
    }
    flat(devices)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NewDevice {
    #[serde(rename = "type")]
    kind: String,
    description: String,
    options: Pairs,
    local: Flag,
}

fn device_path(path: &str) -> Result<&str, Error> {
    match path.trim_matches('/') {
        "" => Err(Error::invalid("missing path: name the device, as in sys/audit/file")),
        path => Ok(path),
    }
}

async fn enable(cx: Cx<System>, path: String, new: NewDevice) -> Result<Done, Error> {
    let path = device_path(&path)?;
    if new.kind.is_empty() {
        return Err(Error::invalid("missing type: give it in the field \"type\", such as \"file\""));
    }
    running(&cx)?.enable_device(path, &new.kind, new.description, new.options.0, new.local.0).await?;
    Ok(Done)
}

async fn disable(cx: Cx<System>, path: String) -> Result<Done, Error> {
    running(&cx)?.disable_device(device_path(&path)?).await?;
    Ok(Done)
}

#[derive(Debug, Deserialize)]
struct HashInput {
    input: secret::SecretString,
}

#[derive(Serialize)]
struct Hash {
    hash: String,
}

async fn hash(cx: Cx<System>, path: String, input: HashInput) -> Result<Answer, Error> {
    // EXPOSE: hashed with the device's key.
    let hash = running(&cx)?.audit.hash(device_path(&path)?, input.input.expose().as_bytes());
    let hash = hash.map_err(|error| Error::invalid(error.to_string()))?;
    flat(Hash { hash })
}
