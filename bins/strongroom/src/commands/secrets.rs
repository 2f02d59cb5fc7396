//! Mounts of secrets engines.

mod disable;
mod enable;
mod list;
mod r#move;
mod tune;

use crate::{failure::Outcome, session::Session};

pub(super) use list::ttl;
pub(super) use tune::merged;

/// Manage secrets engines
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    What is mounted where?
        strongroom secrets list

    Mount a database engine:
        strongroom secrets enable database")]
pub(crate) enum Secrets {
    Enable(enable::Enable),
    Disable(disable::Disable),
    List(list::List),
    Tune(tune::Tune),
    Move(r#move::Move),
}

impl Secrets {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Enable(command) => command.run(session).await,
            Self::Disable(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Tune(command) => command.run(session).await,
            Self::Move(command) => command.run(session).await,
        }
    }
}
