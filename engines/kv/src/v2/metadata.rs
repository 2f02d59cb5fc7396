//! `metadata/{path...}`: all that is known of a secret but its values.

use std::collections::BTreeMap;

use api::{Count, Flag, Pairs};
use engine::{Cx, Data, Done, Error, Keys};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Kv2,
    author::Author,
    config::{Config, checked_versions},
    events,
    record::{RECORDS, Record, Version, record_key, value_key},
    rotation,
    span::Span,
};
use crate::path::{FolderPath, Paging, SecretPath};

/// A secret as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    cas_required: bool,
    created_time: String,
    current_metadata_version: u64,
    current_version: u64,
    custom_metadata: Option<BTreeMap<String, String>>,
    delete_version_after: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated_by: Option<Author>,
    max_versions: u64,
    metadata_cas_required: bool,
    oldest_version: u64,
    updated_time: String,
    versions: BTreeMap<u64, ShownVersion>,
}

#[derive(Debug, Serialize)]
struct ShownVersion {
    created_by: Author,
    created_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_by: Option<Author>,
    deletion_time: String,
    destroyed: bool,
}

/// The body of a write; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    cas_required: Option<Flag>,
    custom_metadata: Option<Pairs>,
    delete_version_after: Option<Span>,
    max_versions: Option<Count>,
    metadata_cas: Option<Count>,
    metadata_cas_required: Option<Flag>,
}

/// The body of a patch: as a write, but null means "as the mount says", and `custom_metadata` is merged.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Patch {
    #[serde(deserialize_with = "present")]
    cas_required: Option<Option<Flag>>,
    #[serde(deserialize_with = "present")]
    custom_metadata: Option<Option<BTreeMap<String, Option<Text>>>>,
    #[serde(deserialize_with = "present")]
    delete_version_after: Option<Option<Span>>,
    #[serde(deserialize_with = "present")]
    max_versions: Option<Option<Count>>,
    metadata_cas: Option<Count>,
    #[serde(deserialize_with = "present")]
    metadata_cas_required: Option<Option<Flag>>,
}

/// Tells null from absent.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A text, or what is written without quotes though it is meant as one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Quoted(String),
    Flag(bool),
    Number(serde_json::Number),
}

impl Text {
    fn into_text(self) -> String {
        match self {
            Self::Quoted(text) => text,
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

pub(crate) async fn exists(cx: Cx<Kv2>, path: SecretPath) -> Result<bool, Error> {
    Ok(cx.view().get(&record_key(path.as_str())).await?.is_some())
}

pub(crate) async fn list(cx: Cx<Kv2>, folder: FolderPath, paging: Paging) -> Result<Keys, Error> {
    let (after, limit) = paging.bounds();
    Ok(cx.view().list(&format!("{RECORDS}{}", folder.as_str()), after, limit).await?.into())
}

pub(crate) async fn scan(cx: Cx<Kv2>, folder: FolderPath, paging: Paging) -> Result<Keys, Error> {
    Ok(crate::scan::below(&cx, "metadata/", RECORDS, &folder, &paging).await?.into())
}

pub(crate) async fn read(cx: Cx<Kv2>, path: SecretPath) -> Result<Option<Data<Shown>>, Error> {
    Ok(Record::load(cx.view(), path.as_str()).await?.map(|record| Data(show(record))))
}

pub(crate) fn show(record: Record) -> Shown {
    let versions = record.shown().map(|version| (version.n, show_version(version))).collect();
    Shown {
        cas_required: record.cas_required,
        created_time: record.created.to_string(),
        current_metadata_version: record.metadata_version,
        current_version: record.current(),
        delete_version_after: record.delete_version_after,
        max_versions: record.max_versions,
        metadata_cas_required: record.metadata_cas_required,
        oldest_version: record.oldest,
        updated_time: record.updated.to_string(),
        versions,
        custom_metadata: (!record.custom.is_empty()).then_some(record.custom),
        last_updated_by: record.updated_by,
    }
}

fn show_version(version: &Version) -> ShownVersion {
    ShownVersion {
        created_by: version.created_by.clone(),
        created_time: version.created.to_string(),
        deleted_by: version.deleted_by.clone(),
        deletion_time: version.deletion.map(|deletion| deletion.to_string()).unwrap_or_default(),
        destroyed: version.destroyed,
    }
}

pub(crate) async fn write(cx: Cx<Kv2>, path: SecretPath, change: Change) -> Result<Done, Error> {
    let now = cx.now();
    let mut record = Record::load(cx.view(), path.as_str()).await?.unwrap_or_else(|| Record::new(now));
    check_state(&cx, change.metadata_cas, &record).await?;
    if let Some(required) = change.metadata_cas_required {
        record.metadata_cas_required = required.0;
    }
    if let Some(required) = change.cas_required {
        record.cas_required = required.0;
    }
    if let Some(versions) = change.max_versions {
        record.max_versions = checked_versions(versions)?;
    }
    if let Some(after) = change.delete_version_after {
        record.delete_version_after = checked_life(after)?;
    }
    if let Some(custom) = change.custom_metadata {
        record.custom = custom.0;
    }
    keep(&cx, &path, record)
}

pub(crate) async fn patch(cx: Cx<Kv2>, path: SecretPath, patch: Patch) -> Result<Done, Error> {
    let mut record = Record::load(cx.view(), path.as_str()).await?.ok_or(Error::NotFound)?;
    check_state(&cx, patch.metadata_cas, &record).await?;
    if let Some(required) = patch.metadata_cas_required {
        record.metadata_cas_required = required.is_some_and(|required| required.0);
    }
    if let Some(required) = patch.cas_required {
        record.cas_required = required.is_some_and(|required| required.0);
    }
    if let Some(versions) = patch.max_versions {
        record.max_versions = checked_versions(versions.unwrap_or_default())?;
    }
    if let Some(after) = patch.delete_version_after {
        record.delete_version_after = checked_life(after.unwrap_or_default())?;
    }
    match patch.custom_metadata {
        None => {}
        Some(None) => record.custom.clear(),
        Some(Some(changes)) => {
            for (name, change) in changes {
                match change {
                    Some(text) => drop(record.custom.insert(name, text.into_text())),
                    None => drop(record.custom.remove(&name)),
                }
            }
        }
    }
    keep(&cx, &path, record)
}

fn keep(cx: &Cx<Kv2>, path: &SecretPath, mut record: Record) -> Result<Done, Error> {
    check_custom(&record.custom)?;
    record.metadata_version += 1;
    record.updated = cx.now();
    record.updated_by = Some(Author::caller(cx.holder()?));
    record.save(cx.view(), path.as_str())?;
    Ok(Done)
}

/// Whether the settings are in the state that the caller means to replace. Before the first change that is 0.
async fn check_state(cx: &Cx<Kv2>, meant: Option<Count>, record: &Record) -> Result<(), Error> {
    match meant {
        Some(meant) if meant.0 != record.metadata_version => {
            Err(Error::invalid("metadata check-and-set parameter did not match the current version"))
        }
        None if record.metadata_cas_required || Config::load(cx.scope()).await?.metadata_cas_required => {
            Err(Error::invalid("metadata check-and-set parameter required for this call"))
        }
        _ => Ok(()),
    }
}

/// A key cannot take itself out of the mount's rule, so it has no "never".
fn checked_life(after: Span) -> Result<Span, Error> {
    if after.is_negative() {
        return Err(Error::invalid("delete_version_after: must not be negative; use 0s for what the mount says"));
    }
    Ok(after)
}

fn check_custom(custom: &BTreeMap<String, String>) -> Result<(), Error> {
    let wrong = |why: String| Err(Error::invalid(format!("custom_metadata validation failed: {why}")));
    if custom.len() > MAX_KEYS {
        return wrong(format!("payload must contain at most {MAX_KEYS} keys, provided {}", custom.len()));
    }
    let printable = |text: &str| !text.chars().any(|letter| letter.is_control() || letter == '\u{FFFD}');
    for (key, value) in custom {
        if key.is_empty() || key.len() > MAX_KEY {
            return wrong(format!("length of key {key:?} is {} but must be from 1 to {MAX_KEY}", key.len()));
        }
        if value.len() > MAX_VALUE {
            return wrong(format!("length of value for key {key:?} is {} but max allowed is {MAX_VALUE}", value.len()));
        }
        if !printable(key) {
            return wrong(format!("key {key:?} contains unprintable characters"));
        }
        if !printable(value) {
            return wrong(format!("value for key {key:?} contains unprintable characters"));
        }
    }
    Ok(())
}

/// The families of paths that are about one secret.
pub(crate) const OF_SECRETS: &[&str] = &[
    "copy",
    "data",
    "delete",
    "destroy",
    "metadata",
    "move",
    "references",
    "rotate",
    "rotation",
    "subkeys",
    "undelete",
];

const MAX_KEYS: usize = 64;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 512;

/// Removes everything, whatever state it is in.
pub(crate) async fn delete(cx: Cx<Kv2>, path: SecretPath) -> Result<Done, Error> {
    let Some(record) = Record::load(cx.view(), path.as_str()).await? else { return Ok(Done) };
    for version in &record.versions {
        cx.view().delete(&value_key(version.n, path.as_str()));
    }
    cx.view().delete(&record_key(path.as_str()));
    events::note_removal(cx.view(), path.as_str(), cx.now()).await?;
    if record.rotation_class.is_some() {
        rotation::forget(&cx, path.as_str()).await?;
    }
    Ok(Done)
}
