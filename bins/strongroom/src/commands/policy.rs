//! Policies.

mod delete;
mod fmt;
mod format;
mod list;
mod read;
mod write;

use crate::{failure::Outcome, session::Session};

/// Manage policies
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Upload a policy:
        strongroom policy write app app.hcl

    Read it again:
        strongroom policy read app")]
pub(crate) enum Policy {
    Read(read::Read),
    Write(write::Write),
    List(list::List),
    Delete(delete::Delete),
    Fmt(fmt::Fmt),
}

impl Policy {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Read(command) => command.run(session).await,
            Self::Write(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
            Self::Fmt(command) => command.run(session),
        }
    }
}

/// A policy's name as the server keeps it.
fn name(given: &str) -> String {
    given.trim().to_lowercase()
}
