//! Namespaces.

mod create;
mod delete;
mod list;
mod lock;
mod lookup;
mod patch;
mod unlock;

use crate::{failure::Outcome, session::Session};

/// Manage namespaces: tenants with mounts, policies, identities and tokens of their own
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Make a namespace, and mount something in it:
        strongroom namespace create team
        strongroom secrets enable -namespace=team -version=2 kv

    Make another inside of it:
        strongroom namespace create -namespace=team web")]
pub(crate) enum Namespace {
    Create(create::Create),
    Delete(delete::Delete),
    List(list::List),
    Lock(lock::Lock),
    Lookup(lookup::Lookup),
    Patch(patch::Patch),
    Unlock(unlock::Unlock),
}

impl Namespace {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Create(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Lock(command) => command.run(session).await,
            Self::Lookup(command) => command.run(session).await,
            Self::Patch(command) => command.run(session).await,
            Self::Unlock(command) => command.run(session).await,
        }
    }
}
