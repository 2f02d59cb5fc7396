use serde_json::Map;

use crate::{
    commands::status,
    failure::{Failure, Outcome},
    input,
    output::json::Json,
    session::Session,
};

/// Hand one key share in; the server unseals once it has enough
///
/// The share is asked for without showing it. Given as an argument it stays in the shell's history.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Hand a share in:
        strongroom operator unseal

    From standard input:
        strongroom operator unseal - < share

    Throw away the shares handed in so far:
        strongroom operator unseal -reset")]
pub(crate) struct Unseal {
    /// The key share; - reads standard input
    key: Option<String>,

    /// Throw away the shares handed in so far
    #[arg(long, conflicts_with = "key")]
    reset: bool,

    /// Move to another seal as configured
    #[arg(long)]
    migrate: bool,
}

impl Unseal {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let mut body = Map::new();
        if self.reset {
            body.insert("reset".to_owned(), true.into());
        } else {
            let key = share(session, self.key.as_deref())?;
            body.insert("key".to_owned(), key.into());
            body.insert("migrate".to_owned(), self.migrate.into());
        }
        let answer = session.write("unsealing", "sys/unseal", body).await?;
        match answer {
            Some(answer) => {
                for warning in answer.at("warnings").map(Json::items).unwrap_or_default() {
                    session.terminal.warn(warning.text().unwrap_or_default());
                }
                status::show(session, &answer).await
            }
            None => Err(Failure::local("Error unsealing: the reply is empty")),
        }
    }
}

/// A key share from the argument, standard input or a prompt.
pub(super) fn share(session: &Session, given: Option<&str>) -> Result<String, Failure> {
    let share = match given {
        Some("-") => input::read_stdin()?.trim().to_owned(),
        Some(key) => key.trim().to_owned(),
        None => {
            let share = session.terminal.ask_secret("Unseal Key", "give - and the key share on standard input")?;
            // EXPOSE: the share goes into the request that was asked for.
            share.expose().clone()
        }
    };
    if share.is_empty() { Err(Failure::local("the key share is empty")) } else { Ok(share) }
}
