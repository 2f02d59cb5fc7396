//! Snapshots, under the paths that clients know from a raft store; they work with every store.

use std::path::Path;

use api::{Count, Name, Ttl};
use engine::{Answer, Body, Data, Done, Keys};
use gate::Error;
use serde::{Deserialize, Serialize};
use storage::Key;

use super::{Cx, Routes, System, Verb, running};
use crate::{
    restoring::{Told, only_checks},
    snapshots::{CONFIGS, Config, State, run_now, state},
};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "storage/raft/snapshot", "Take a snapshot of the store, as a file.", take)
        .on(Verb::Write, "storage/raft/snapshot", "Replace everything by a snapshot made with the same keys.", restore)
        .sudo()
        .on(Verb::Write, "storage/raft/snapshot-force", "Replace everything by a snapshot.", restore_by_force)
        .sudo()
        .on(Verb::List, "storage/raft/snapshot-auto/config", "List the schedules of snapshots.", list)
        .sudo()
        .on(Verb::Read, "storage/raft/snapshot-auto/config/{name}", "Show a schedule of snapshots.", read)
        .sudo()
        .on(Verb::Write, "storage/raft/snapshot-auto/config/{name}", "Create or change a schedule of snapshots.", write)
        .sudo()
        .on(Verb::Delete, "storage/raft/snapshot-auto/config/{name}", "Delete a schedule; its snapshots stay.", delete)
        .sudo()
        .on(Verb::Read, "storage/raft/snapshot-auto/status/{name}", "Show how a schedule of snapshots stands.", status)
        .sudo()
        .on(Verb::Write, "storage/raft/snapshot-auto/run/{name}", "Take a snapshot of a schedule now.", run)
        .sudo()
}

async fn take(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    let frames = running(&cx)?.snapshot().await?;
    let headers = vec![("content-type", "application/gzip".to_owned())];
    Ok(Answer { body: Body::Stream(frames), headers, ..Answer::default() })
}

async fn restore(cx: Cx<System>, (): ()) -> Result<Data<Told>, Error> {
    put_back(&cx, false).await
}

async fn restore_by_force(cx: Cx<System>, (): ()) -> Result<Data<Told>, Error> {
    put_back(&cx, true).await
}

async fn put_back(cx: &Cx<System>, force: bool) -> Result<Data<Told>, Error> {
    let core = running(cx)?.core.upgrade().ok_or(Error::Sealed)?;
    let check = only_checks(cx.query("check"))?;
    core.restore(cx.upload(), force, check).await.map(Data)
}

async fn list(cx: Cx<System>, (): ()) -> Result<Keys, Error> {
    Ok(cx.view().tx().view(CONFIGS).list("", None, 1000).await?.into())
}

async fn stored(cx: &Cx<System>, name: &Name) -> Result<Option<Config>, Error> {
    Ok(cx.view().tx().get_json(&Key::join([CONFIGS, name.as_str()])).await?)
}

#[derive(Serialize)]
struct Shown {
    interval: u64,
    retain: u64,
    path_prefix: String,
    file_prefix: String,
    storage_type: &'static str,
    local_max_space: u64,
}

async fn read(cx: Cx<System>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let show = |config: Config| Shown {
        interval: config.interval,
        retain: config.retain,
        path_prefix: config.path_prefix,
        file_prefix: config.file_prefix,
        storage_type: LOCAL,
        local_max_space: config.local_max_space,
    };
    Ok(stored(&cx, &name).await?.map(show).map(Data))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    interval: Option<Ttl>,
    retain: Option<Count>,
    path_prefix: Option<String>,
    file_prefix: Option<String>,
    storage_type: Option<String>,
    local_max_space: Option<Count>,
}

async fn write(cx: Cx<System>, name: Name, input: Input) -> Result<Done, Error> {
    let before = stored(&cx, &name).await?;
    if input.storage_type.as_deref().is_some_and(|kind| kind != LOCAL) {
        return Err(Error::invalid("storage_type: snapshots go to local, a directory of the server"));
    }
    let missing = |field: &str| Error::invalid(format!("{field} is missing"));
    let before = before.as_ref();
    let config = Config {
        interval: input
            .interval
            .map(|interval| interval.as_secs())
            .or(before.map(|before| before.interval))
            .ok_or_else(|| missing("interval"))?,
        retain: input.retain.map(|retain| retain.0).or(before.map(|before| before.retain)).unwrap_or(7),
        path_prefix: input
            .path_prefix
            .or(before.map(|before| before.path_prefix.clone()))
            .ok_or_else(|| missing("path_prefix"))?,
        file_prefix: input
            .file_prefix
            .or(before.map(|before| before.file_prefix.clone()))
            .unwrap_or_else(|| "strongroom".to_owned()),
        local_max_space: input
            .local_max_space
            .map(|space| space.0)
            .or(before.map(|before| before.local_max_space))
            .unwrap_or_default(),
    };
    check(&config)?;
    cx.view().tx().put_json(Key::join([CONFIGS, name.as_str()]), &config)?;
    Ok(Done)
}

fn check(config: &Config) -> Result<(), Error> {
    if config.interval < 60 {
        return Err(Error::invalid("interval: at least 60s"));
    }
    if config.retain == 0 {
        return Err(Error::invalid("retain: keep at least 1"));
    }
    if !Path::new(&config.path_prefix).is_absolute() {
        return Err(Error::invalid("path_prefix: name a directory of the server by its absolute path"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let prefix = &config.file_prefix;
    if prefix.is_empty() || prefix.len() > 100 || prefix.starts_with('.') || !prefix.bytes().all(plain) {
        return Err(Error::invalid("file_prefix: use 1 to 100 letters, digits, '-', '_' and '.'"));
    }
    Ok(())
}

/// It does not wait for a snapshot that is being taken.
async fn delete(cx: Cx<System>, name: Name) -> Result<Done, Error> {
    cx.view().tx().delete(Key::join([CONFIGS, name.as_str()]));
    Ok(Done)
}

/// In the names that clients know, with ours beside them.
#[derive(Serialize)]
struct Status {
    consecutive_errors: u64,
    last_snapshot_start: String,
    last_snapshot_end: String,
    last_snapshot_error: String,
    last_snapshot_url: String,
    next_snapshot_start: String,
    last_good_snapshot_start: String,
}

impl From<State> for Status {
    fn from(state: State) -> Self {
        let text = |time: Option<clock::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        Self {
            consecutive_errors: state.consecutive_errors,
            last_snapshot_start: text(state.started),
            last_snapshot_end: text(state.ended),
            last_snapshot_error: state.error,
            last_snapshot_url: state.url,
            next_snapshot_start: text(state.next),
            last_good_snapshot_start: text(state.good),
        }
    }
}

async fn status(cx: Cx<System>, name: Name) -> Result<Option<Data<Status>>, Error> {
    match stored(&cx, &name).await? {
        None => Ok(None),
        Some(_) => Ok(Some(Data(state(&*running(&cx)?, name.as_str()).await?.into()))),
    }
}

async fn run(cx: Cx<System>, name: Name) -> Result<Data<Status>, Error> {
    let config = stored(&cx, &name).await?.ok_or(Error::NotFound)?;
    Ok(Data(run_now(&running(&cx)?, name.as_str(), &config).await?.into()))
}

/// The only kind of place so far.
const LOCAL: &str = "local";
