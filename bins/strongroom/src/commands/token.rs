//! Tokens.

mod capabilities;
mod create;
mod list;
mod lookup;
mod renew;
mod revoke;

use crate::{failure::Outcome, session::Session};

/// Manage tokens
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Who am I?
        strongroom token lookup

    Make a token for a job that lasts an hour:
        strongroom token create -policy=app -ttl=1h")]
pub(crate) enum Token {
    Create(create::Create),
    Lookup(lookup::Lookup),
    List(list::List),
    Renew(renew::Renew),
    Revoke(revoke::Revoke),
    Capabilities(capabilities::Capabilities),
}

impl Token {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Create(command) => command.run(session).await,
            Self::Lookup(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Renew(command) => command.run(session).await,
            Self::Revoke(command) => command.run(session).await,
            Self::Capabilities(command) => command.run(session).await,
        }
    }
}

/// A token or accessor given as an argument; `-` reads standard input.
fn given(text: &str) -> Result<String, crate::failure::Failure> {
    if text == "-" { Ok(crate::input::read_stdin()?.trim().to_owned()) } else { Ok(text.trim().to_owned()) }
}
