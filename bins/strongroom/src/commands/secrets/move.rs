use std::time::Duration;

use serde_json::Map;

use crate::{
    commands::{clean, folder},
    failure::{Failure, Outcome},
    session::Session,
};

/// Move a mount to another path: its leases are revoked, its data stays
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Move secret/ to archive/:
        strongroom secrets move secret archive")]
pub(crate) struct Move {
    /// Where it is mounted
    from: String,

    /// Where it is to be
    to: String,
}

impl Move {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (from, to) = (folder(clean(&self.from)), folder(clean(&self.to)));
        let doing = format!("moving secrets engine {from} to {to}");
        let body = Map::from_iter([("from".to_owned(), from.as_str().into()), ("to".to_owned(), to.as_str().into())]);
        let started = session.write(&doing, "sys/remount", body).await?;
        let id =
            started.as_ref().and_then(|answer| answer.at("migration_id")).and_then(|id| id.text()).map(str::to_owned);
        let Some(id) = id else {
            return session.success(&format!("Finished moving secrets engine {from} to {to}"));
        };
        session.terminal.note(&format!("Started moving secrets engine {from} to {to}, with migration ID {id}"));
        session.patiently(finish(session, &doing, &id)).await?;
        session.success(&format!("Finished moving secrets engine {from} to {to}, with migration ID {id}"))
    }
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
