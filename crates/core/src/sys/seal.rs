//! Seal, key status and rotation of the barrier's keys, for holders of a token.

use engine::{Answer, Data, Done};
use gate::Error;
use serde::{Deserialize, Serialize};
use storage::Key;

use super::{Cx, Routes, System, Verb, mounts::flat, running};
use crate::sealing;

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Write, "seal", "Seal the server.", seal)
        .sudo()
        .on(Verb::Write, "step-down", "Give up leadership; there is none to give up.", step_down)
        .sudo()
        .on(Verb::Read, "key-status", "Show the active key of the barrier.", key_status)
        .on(Verb::Write, "rotate", "Make a new key for the barrier.", rotate)
        .sudo()
        .on(Verb::Write, "rotate/keyring", "Make a new key for the barrier.", rotate)
        .sudo()
        .on(Verb::Read, "rotate/config", "Show when the barrier's key is replaced by itself.", read_config)
        .on(Verb::Write, "rotate/config", "Change when the barrier's key is replaced by itself.", write_config)
        .on(Verb::Read, "rekey/backup", "Show the encrypted key shares of the last rekey.", read_backup)
        .sudo()
        .on(Verb::Delete, "rekey/backup", "Delete the encrypted key shares of the last rekey.", delete_backup)
        .sudo()
}

async fn seal(cx: Cx<System>, (): ()) -> Result<Done, Error> {
    let core = running(&cx)?.core.upgrade().ok_or(Error::Sealed)?;
    // It waits for this request too, so that the reply is recorded before the audit devices close.
    tokio::spawn(async move {
        core.seal().await;
        tracing::info!("sealed");
    });
    Ok(Done)
}

async fn step_down(_: Cx<System>, (): ()) -> Result<Done, Error> {
    Ok(Done)
}

#[derive(Serialize)]
struct Status {
    term: u32,
    install_time: String,
    encryptions: u64,
}

fn barrier_error(error: barrier::Error) -> Error {
    match error {
        barrier::Error::Storage(error) => error.into(),
        error => Error::invalid(error.to_string()),
    }
}

async fn key_status(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    let status = running(&cx)?.barrier.key_status().map_err(barrier_error)?;
    flat(Status { term: status.term, install_time: status.install_time.to_string(), encryptions: status.encryptions })
}

async fn rotate(cx: Cx<System>, (): ()) -> Result<Done, Error> {
    running(&cx)?.barrier.rotate().await.map_err(barrier_error)?;
    Ok(Done)
}

#[derive(Serialize)]
struct Config {
    enabled: bool,
    max_operations: u64,
    interval: u64,
}

async fn read_config(cx: Cx<System>, (): ()) -> Result<Data<Config>, Error> {
    let config = running(&cx)?.barrier.rotate_config().map_err(barrier_error)?;
    Ok(Data(Config { enabled: config.enabled, max_operations: config.max_operations, interval: config.interval }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigInput {
    enabled: Option<api::Flag>,
    max_operations: Option<api::Count>,
    interval: Option<api::Ttl>,
}

async fn write_config(cx: Cx<System>, (): (), input: ConfigInput) -> Result<Done, Error> {
    let barrier = std::sync::Arc::clone(&running(&cx)?.barrier);
    let mut config = barrier.rotate_config().map_err(barrier_error)?;
    if let Some(enabled) = input.enabled {
        config.enabled = enabled.0;
    }
    if let Some(max_operations) = input.max_operations {
        config.max_operations = max_operations.0;
    }
    if let Some(interval) = input.interval {
        config.interval = interval.as_secs();
    }
    barrier.set_rotate_config(config).await.map_err(barrier_error)?;
    Ok(Done)
}

pub(super) async fn read_backup(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    let backup: Option<serde_json::Value> = cx.view().tx().get_json(&Key::new(sealing::BACKUP)).await?;
    flat(backup.ok_or(Error::NotFound)?)
}

pub(super) async fn delete_backup(cx: Cx<System>, (): ()) -> Result<Done, Error> {
    cx.view().tx().delete(Key::new(sealing::BACKUP));
    Ok(Done)
}
