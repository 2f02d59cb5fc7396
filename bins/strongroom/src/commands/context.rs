//! Several servers, each under a name.

mod add;
mod list;
mod remove;
mod switch;

use crate::{failure::Outcome, session::Session};

/// Keep several servers under names, with a token for each
///
/// A context is what reaches a server: its URL, namespace and certificates. The current one is used wherever neither a flag
/// nor a variable (STRONGROOM_ADDR, VAULT_ADDR) names a server; login keeps the token with it. What a flag or a variable
/// names wins, and then nothing of a context is used, its token least of all.
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Keep two servers, and work with the first:
        strongroom context add prod -address=https://vault.example:8200
        strongroom context add lab -address=https://lab.example:8200 -ca-cert=lab.pem
        strongroom context use prod
        strongroom login -method=userpass

    One command for the other:
        strongroom kv list -context=lab -mount=secret")]
pub(crate) enum Context {
    Add(add::Add),
    Use(switch::Use),
    List(list::List),
    Remove(remove::Remove),
}

impl Context {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Add(command) => command.run(session),
            Self::Use(command) => command.run(session),
            Self::List(command) => command.run(session),
            Self::Remove(command) => command.run(session),
        }
    }
}
