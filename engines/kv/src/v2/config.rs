//! `config`: the settings of the mount.

use std::time::Duration;

use api::{Count, Flag};
use engine::{Cx, Data, Done, Error, Scope};
use serde::{Deserialize, Serialize};

use super::{Kv2, span::Span};

/// The settings that apply where a secret has none of its own.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    /// How many versions are kept; 0 is [`DEFAULT_VERSIONS`].
    pub(crate) max_versions: u64,
    /// Whether every write must say which version it replaces.
    pub(crate) cas_required: bool,
    /// After how long a version is deleted; negative switches the deletion by time off for the whole mount.
    pub(crate) delete_version_after: Span,
    /// Whether every change of a secret's settings must say which state of them it replaces.
    #[serde(default)]
    pub(crate) metadata_cas_required: bool,
}

/// How many versions are kept where nothing else is said.
pub(crate) const DEFAULT_VERSIONS: u64 = 10;

impl Config {
    pub(crate) async fn load(cx: &Scope<Kv2>) -> Result<Self, Error> {
        Ok(cx.view().get_json(KEY).await?.unwrap_or_default())
    }

    /// How many versions a secret keeps that asks for `own`.
    pub(crate) fn versions(&self, own: u64) -> u64 {
        [own, self.max_versions, DEFAULT_VERSIONS].into_iter().find(|versions| *versions > 0).unwrap_or(1)
    }

    /// After how long a new version of a secret that asks for `own` is deleted.
    pub(crate) fn life(&self, own: Span) -> Option<Duration> {
        if self.delete_version_after.is_negative() {
            return None;
        }
        [own.positive(), self.delete_version_after.positive()].into_iter().flatten().min()
    }
}

/// The body of a write; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    max_versions: Option<Count>,
    cas_required: Option<Flag>,
    delete_version_after: Option<Span>,
    metadata_cas_required: Option<Flag>,
}

pub(crate) async fn read(cx: Cx<Kv2>, (): ()) -> Result<Data<Config>, Error> {
    Ok(Data(Config::load(cx.scope()).await?))
}

pub(crate) async fn write(cx: Cx<Kv2>, (): (), change: Change) -> Result<Done, Error> {
    let mut config = Config::load(cx.scope()).await?;
    if let Some(versions) = change.max_versions {
        config.max_versions = checked_versions(versions)?;
    }
    if let Some(required) = change.cas_required {
        config.cas_required = required.0;
    }
    if let Some(after) = change.delete_version_after {
        config.delete_version_after = after;
    }
    if let Some(required) = change.metadata_cas_required {
        config.metadata_cas_required = required.0;
    }
    cx.view().put_json(KEY, &config)?;
    Ok(Done)
}

/// The record of a secret holds a line for each version, so their number has a limit.
pub(crate) fn checked_versions(versions: Count) -> Result<u64, Error> {
    match versions.0 {
        0..=MAX_VERSIONS => Ok(versions.0),
        _ => Err(Error::invalid(format!("max_versions: at most {MAX_VERSIONS} versions can be kept"))),
    }
}

const MAX_VERSIONS: u64 = 10_000;
const KEY: &str = "config";
