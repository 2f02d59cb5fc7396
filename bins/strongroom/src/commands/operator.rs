//! What the operators of the server do.

mod generate_root;
mod import;
mod init;
mod key_status;
mod migrate;
mod pgp;
mod raft;
mod rekey;
mod rotate;
mod seal;
mod snapshot;
mod unseal;

use crate::{failure::Outcome, session::Session};

/// Initialise, unseal, seal and rekey the server
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Set a new server up:
        strongroom operator init
        strongroom operator unseal

    Seal it in an emergency:
        strongroom operator seal")]
pub(crate) enum Operator {
    Init(init::Init),
    Unseal(unseal::Unseal),
    Seal(seal::Seal),
    KeyStatus(key_status::KeyStatus),
    Rotate(rotate::Rotate),
    Rekey(rekey::Rekey),
    GenerateRoot(generate_root::GenerateRoot),
    Import(import::Import),
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    #[command(subcommand)]
    Raft(raft::Raft),
    Migrate(migrate::Migrate),
}

impl Operator {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Init(command) => command.run(session).await,
            Self::Unseal(command) => command.run(session).await,
            Self::Seal(command) => command.run(session).await,
            Self::KeyStatus(command) => command.run(session).await,
            Self::Rotate(command) => command.run(session).await,
            Self::Rekey(command) => command.run(session).await,
            Self::GenerateRoot(command) => command.run(session).await,
            Self::Import(command) => command.run(session).await,
            Self::Snapshot(command) => command.run(session).await,
            Self::Raft(command) => command.run(session).await,
            Self::Migrate(command) => command.run(session).await,
        }
    }
}
