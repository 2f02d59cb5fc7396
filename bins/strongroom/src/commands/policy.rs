//! Policies.

mod delete;
mod explain;
mod fmt;
mod format;
mod lint;
mod list;
mod read;
mod test;
mod write;

use crate::{failure::Outcome, session::Session};

/// Manage policies
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Upload a policy:
        strongroom policy write app app.hcl

    Read it again:
        strongroom policy read app

    Why is a request refused?
        strongroom policy explain read kv/data/app/db

    Check it before it is uploaded:
        strongroom policy lint app.hcl
        strongroom policy test app.tests.toml")]
pub(crate) enum Policy {
    Read(read::Read),
    Write(write::Write),
    List(list::List),
    Delete(delete::Delete),
    Fmt(fmt::Fmt),
    Explain(explain::Explain),
    Lint(lint::Lint),
    Test(test::Test),
}

impl Policy {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Read(command) => command.run(session).await,
            Self::Write(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
            Self::Fmt(command) => command.run(session),
            Self::Explain(command) => command.run(session).await,
            Self::Lint(command) => command.run(session).await,
            Self::Test(command) => command.run(session),
        }
    }
}

/// A policy's name as the server keeps it.
fn name(given: &str) -> String {
    given.trim().to_lowercase()
}
