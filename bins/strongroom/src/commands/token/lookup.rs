use serde_json::Map;

use super::given;
use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

/// Show what is known of a token
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Our own token:
        strongroom token lookup

    Another one, from standard input:
        strongroom token lookup - < token

    One that is known by its accessor only:
        strongroom token lookup -accessor 9793c9b3-e04a-46f3-e7b8-748d7da248da")]
pub(crate) struct Lookup {
    /// The token or accessor (- reads standard input); otherwise our own token
    token: Option<String>,

    /// Take the argument for an accessor
    #[arg(long, requires = "token")]
    accessor: bool,
}

impl Lookup {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let doing = "looking up token";
        let answer = match &self.token {
            None => session.read(doing, "auth/token/lookup-self", &[]).await?,
            Some(token) => {
                let (name, path) = if self.accessor {
                    ("accessor", "auth/token/lookup-accessor")
                } else {
                    ("token", "auth/token/lookup")
                };
                let body = Map::from_iter([(name.to_owned(), given(token)?.into())]);
                session.write(doing, path, body).await?
            }
        };
        match answer {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::Nothing("No such token".to_owned())),
        }
    }
}
