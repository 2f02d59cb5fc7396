//! Rotations that the server does by itself.

mod list;
mod read;

use crate::{failure::Outcome, session::Session};

/// Look at what the server rotates by itself
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    What is rotated, and when next?
        strongroom rotation list")]
pub(crate) enum Rotation {
    List(list::List),
    Read(read::Read),
}

impl Rotation {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::List(command) => command.run(session).await,
            Self::Read(command) => command.run(session).await,
        }
    }
}
