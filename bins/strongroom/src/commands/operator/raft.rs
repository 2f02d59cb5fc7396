//! The names that tools know from a raft store.

use super::snapshot::Snapshot;
use crate::{failure::Outcome, session::Session};

/// Snapshots, under the name that other tools know
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Take a snapshot:
        strongroom operator raft snapshot save backup.snap")]
pub(crate) enum Raft {
    #[command(subcommand)]
    Snapshot(Snapshot),
}

impl Raft {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Snapshot(command) => command.run(session).await,
        }
    }
}
