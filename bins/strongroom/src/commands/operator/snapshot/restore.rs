use std::path::PathBuf;

use api::Verb;
use serde_json::Value;

use super::checked;
use crate::{
    failure::{DONE, Failure, Outcome},
    session::Session,
};

/// Replace everything that a server holds by a snapshot
///
/// The file is checked to its end first, here and by the server. A new server takes it as it is; one in use only if the
/// snapshot was made with its own keys, or with -force. Afterwards the server needs the keys of the snapshot.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Put it onto a new, empty server:
        strongroom operator snapshot restore backup.snap

    Only ask what would come of it:
        strongroom operator snapshot restore -check backup.snap

    Replace what a server with other keys holds:
        strongroom operator snapshot restore -force backup.snap")]
pub(crate) struct Restore {
    /// The file
    file: PathBuf,

    /// Also if the snapshot was made with other keys than the server's
    #[arg(long, short = 'f')]
    force: bool,

    /// Change nothing: check it and say which keys are needed
    #[arg(long)]
    check: bool,
}

impl Restore {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = if self.force { "sys/storage/raft/snapshot-force" } else { "sys/storage/raft/snapshot" };
        let query: &[(&str, &str)] = if self.check { &[("check", "true")] } else { &[] };
        session.show_instead(Verb::Write, path, query, None)?;
        let (_, stored) = checked(&self.file)?;
        let needed = stored.keys_needed();
        session.terminal.note(&format!("The snapshot is whole. After it, {needed}."));
        let client = session.client()?;
        let sent = session.patiently(client.upload(path, query, &self.file)).await;
        let sent =
            sent.map_err(|error| Failure::Api { doing: "restoring the snapshot".to_owned(), error: Box::new(error) })?;
        if self.check {
            return session.success("The server would take it. Nothing was changed.");
        }
        // What is told of it is known already.
        drop(sent);
        wait(session).await?;
        session.success(&format!("Snapshot restored: {needed}."))
    }
}

/// Waits until the server has put it back. From its answer on it says that it does.
async fn wait(session: &Session) -> Outcome {
    loop {
        let response = session.look_up("sys/seal-status").await?;
        let failed = |error| Failure::Api { doing: "waiting for the restore".to_owned(), error: Box::new(error) };
        let status: Value = response.and_then(|response| response.json()).map_err(failed)?;
        if status["restoring"] != true {
            return Ok(DONE);
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}
