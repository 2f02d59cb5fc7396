//! Audit devices and the journal.

mod disable;
mod enable;
mod list;
mod query;
mod verify;

pub(crate) use query::{rules, who};

use crate::{failure::Outcome, session::Session};

/// Manage audit devices, ask and verify the journal
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Record every request in a file:
        strongroom audit enable file file_path=/var/log/strongroom/audit.log

    Who obtained database users in the last hour?
        strongroom audit query -path=database/creds/app -since=1h

    Is the journal as it was written?
        strongroom audit verify")]
#[allow(clippy::large_enum_variant, reason = "there is one of them in a run")]
pub(crate) enum Audit {
    Enable(enable::Enable),
    Disable(disable::Disable),
    List(list::List),
    Query(query::Query),
    Verify(verify::Verify),
}

impl Audit {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Enable(command) => command.run(session).await,
            Self::Disable(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Query(command) => command.run(session).await,
            Self::Verify(command) => command.run(session).await,
        }
    }
}
