//! Mounts of secrets engines and auth methods.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Brought,
    policies::pick,
    report::Report,
    source::{Source, Target},
};
use crate::failure::Failure;

/// A mount of the server that is read.
pub(super) struct Mount {
    /// Its path with the slash at its end, without `auth/`.
    pub(super) path: String,
    pub(super) kind: String,
    info: Value,
}

/// The mounts of the server that is read.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) secrets: Vec<Mount>,
    pub(super) auth: Vec<Mount>,
}

impl Mount {
    pub(super) fn is_kv(&self) -> bool {
        matches!(self.kind.as_str(), "kv" | "generic")
    }

    pub(super) fn has_versions(&self) -> bool {
        self.info["options"]["version"].as_str() == Some("2")
    }

    pub(super) fn accessor(&self) -> &str {
        self.info["accessor"].as_str().unwrap_or_default()
    }
}

/// Kinds that every server has by itself.
const OWN: [&str; 6] = ["cubbyhole", "identity", "ns_cubbyhole", "ns_identity", "system", "token"];
/// What a mount's settings are called, there and here.
const SETTINGS: [&str; 9] = [
    "allowed_response_headers",
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "default_lease_ttl",
    "listing_visibility",
    "max_lease_ttl",
    "passthrough_request_headers",
    "token_type",
    "user_lockout_config",
];

pub(super) async fn read(source: &Source, only: &[String], report: &mut Report<'_>) -> Result<Mounts, Failure> {
    let wanted = |path: &str| only.is_empty() || only.iter().any(|one| one.trim_matches('/') == path.trim_matches('/'));
    let mut mounts = Mounts::default();
    for (listing, auth) in [("sys/mounts", false), ("sys/auth", true)] {
        let Some(Value::Object(listed)) = source.read(listing, report).await? else { continue };
        for (path, info) in listed {
            let kind = info["type"].as_str().unwrap_or_default().to_owned();
            if kind.is_empty() || OWN.contains(&kind.as_str()) || kind.starts_with("ns_") || !auth && !wanted(&path) {
                continue;
            }
            let list = if auth { &mut mounts.auth } else { &mut mounts.secrets };
            list.push(Mount { path, kind, info });
        }
    }
    Ok(mounts)
}

pub(super) async fn bring(found: &Mounts, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    for (mounts, folder, kind) in
        [(&found.secrets, "sys/mounts", "secrets engine"), (&found.auth, "sys/auth", "auth method")]
    {
        let here = target.read(folder).await?.unwrap_or_default();
        for mount in mounts {
            one(mount, (folder, kind), &here, target, report).await?;
        }
    }
    for mount in found.secrets.iter().filter(|mount| !mount.is_kv()) {
        let why =
            "of this kind of engine the mount alone is brought; set it up anew, its keys and passwords cannot be read";
        report.left(format!("what is in {}", mount.path), why);
    }
    Ok(())
}

async fn one(
    mount: &Mount,
    (folder, kind): (&str, &'static str),
    here: &Value,
    target: &Target<'_>,
    report: &mut Report<'_>,
) -> Brought {
    let known = &here[&mount.path];
    let asked = if mount.kind == "generic" { "kv" } else { &mount.kind };
    if known.is_object() {
        let version = |info: &Value| info["options"]["version"].as_str().unwrap_or("1").to_owned();
        match known["type"] == asked && (!mount.is_kv() || version(known) == version(&mount.info)) {
            true => report.there(kind),
            false => report.left(format!("{kind} {}", mount.path), "another kind of mount is at this path here"),
        }
        return Ok(());
    }
    let mut body = Map::from_iter([("type".to_owned(), json!(asked))]);
    body.extend(pick(&mount.info, &["description", "options"]));
    let mut config = pick(&mount.info["config"], &SETTINGS);
    config.retain(|_, value| *value != json!(0) && *value != json!("default-service"));
    body.insert("config".to_owned(), Value::Object(config));
    let (path, name) = (format!("{folder}/{}", mount.path.trim_matches('/')), format!("{kind} {}", mount.path));
    if target.write(&path, Value::Object(body), &name, report).await?.is_some() {
        report.brought(kind, &mount.path);
    }
    Ok(())
}

/// The accessors of auth methods there, with those of the mounts at the same paths here.
pub(super) async fn accessors(found: &Mounts, target: &Target<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let here = target.read("sys/auth").await?.unwrap_or_default();
    let own = |mount: &Mount| {
        let accessor = here[&mount.path]["accessor"].as_str().map(str::to_owned);
        // Where nothing is written, a mount that is not there yet has none.
        accessor.or_else(|| target.dry_run.then(|| format!("{}_to_be", mount.kind)))
    };
    let pairs = found.auth.iter().filter_map(|mount| Some((mount.accessor().to_owned(), own(mount)?)));
    Ok(pairs.collect())
}
