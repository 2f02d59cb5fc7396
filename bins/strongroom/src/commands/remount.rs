//! Moving a mount to another path.

use std::time::Duration;

use serde_json::Map;

use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

/// Moves a mount and waits for the end. `what` is the kind of mount in words, the paths are those of the API.
pub(super) async fn remount(session: &Session, what: &str, from: &str, to: &str) -> Outcome {
    let doing = format!("moving {what} {from} to {to}");
    let body = Map::from_iter([("from".to_owned(), from.into()), ("to".to_owned(), to.into())]);
    let started = session.write(&doing, "sys/remount", body).await?;
    let id = started.as_ref().and_then(|answer| answer.at("migration_id")).and_then(|id| id.text()).map(str::to_owned);
    let Some(id) = id else {
        return session.success(&format!("Finished moving {what} {from} to {to}"));
    };
    session.terminal.note(&format!("Started moving {what} {from} to {to}, with migration ID {id}"));
    session.patiently(finish(session, &doing, &id)).await?;
    session.success(&format!("Finished moving {what} {from} to {to}, with migration ID {id}"))
}

/// Waits until the server says that the move ended.
async fn finish(session: &Session, doing: &str, id: &str) -> Result<(), Failure> {
    loop {
        let answer = session.read(doing, &format!("sys/remount/status/{id}"), &[]).await?;
        let info = answer.as_ref().and_then(|answer| answer.at("migration_info"));
        match info.map(|info| info.text_at("status")) {
            Some("in-progress") => tokio::time::sleep(Duration::from_millis(500)).await,
            Some("success") => return Ok(()),
            status => {
                let status = status.unwrap_or("unknown");
                return Err(Failure::Nothing(format!(
                    "Error {doing}: the move ended as {status:?}; the server's log says why"
                )));
            }
        }
    }
}
