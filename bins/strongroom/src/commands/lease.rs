//! Leases.

mod list;
mod lookup;
mod renew;
mod revoke;

use crate::{failure::Outcome, session::Session};

/// Manage leases
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Let a database user live longer:
        strongroom lease renew database/creds/app/abcd1234

    Remove it now:
        strongroom lease revoke database/creds/app/abcd1234")]
pub(crate) enum Lease {
    Lookup(lookup::Lookup),
    List(list::List),
    Renew(renew::Renew),
    Revoke(revoke::Revoke),
}

impl Lease {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Lookup(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Renew(command) => command.run(session).await,
            Self::Revoke(command) => command.run(session).await,
        }
    }
}
