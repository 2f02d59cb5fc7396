//! Mounts of auth methods.

mod disable;
mod enable;
mod help;
mod list;
mod r#move;
mod tune;

use crate::{failure::Outcome, session::Session};

/// Manage auth methods
#[derive(clap::Subcommand)]
#[command(
    disable_help_subcommand = true,
    after_help = "EXAMPLES:
    Which ways to log in are there?
        strongroom auth list

    Let workloads log in with signed identity tokens:
        strongroom auth enable jwt"
)]
pub(crate) enum Auth {
    Enable(enable::Enable),
    Disable(disable::Disable),
    List(list::List),
    Tune(tune::Tune),
    Move(r#move::Move),
    Help(help::Help),
}

impl Auth {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Enable(command) => command.run(session).await,
            Self::Disable(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Tune(command) => command.run(session).await,
            Self::Move(command) => command.run(session).await,
            Self::Help(command) => command.run(session).await,
        }
    }
}
