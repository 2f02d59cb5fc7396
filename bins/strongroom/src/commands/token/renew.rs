use serde_json::Map;

use super::given;
use crate::{
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Let a token live longer
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Our own token:
        strongroom token renew

    For half an hour from now:
        strongroom token renew -increment=30m")]
pub(crate) struct Renew {
    /// The token or accessor (- reads standard input); otherwise our own token
    token: Option<String>,

    /// Take the argument for an accessor
    #[arg(long, requires = "token")]
    accessor: bool,

    /// How long it is to live from now on
    #[arg(long, short = 'i', value_name = "TIME", value_parser = input::duration)]
    increment: Option<String>,
}

impl Renew {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let mut body = Map::new();
        if let Some(increment) = &self.increment {
            body.insert("increment".to_owned(), increment.as_str().into());
        }
        let path = match &self.token {
            None => "auth/token/renew-self",
            Some(token) => {
                let (name, path) = if self.accessor {
                    ("accessor", "auth/token/renew-accessor")
                } else {
                    ("token", "auth/token/renew")
                };
                body.insert(name.to_owned(), given(token)?.into());
                path
            }
        };
        match session.write("renewing token", path, body).await? {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::local("Error renewing token: the reply is empty")),
        }
    }
}
