use secret::SecretString;

use crate::{
    failure::{DONE, Failure, Outcome},
    input,
    output::answer::Answer,
    session::Session,
};

/// Fetch a wrapped reply, once
///
/// Without a wrapping token, the caller's own token is taken for one.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Fetch what somebody wrapped for us:
        strongroom unwrap hvs.wrapping-token

    Take the wrapping token from a file:
        strongroom unwrap - < wrapping-token

    Print one field of what was wrapped:
        strongroom unwrap -field=secret_id hvs.wrapping-token")]
pub(crate) struct Unwrap {
    /// The single-use token; - reads standard input
    token: Option<String>,
}

impl Unwrap {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let token = match self.token.as_deref() {
            Some("-") => SecretString::new(input::read_stdin()?.trim().to_owned()),
            Some(token) => SecretString::new(token.trim().to_owned()),
            None => session
                .config()?
                .token
                .ok_or_else(|| Failure::local("there is no wrapping token: give one, or set STRONGROOM_TOKEN to it"))?,
        };
        session.show_instead(api::Verb::Write, "sys/wrapping/unwrap", &[], None)?;
        let client = session.client()?;
        let reply = session.patiently(client.unwrap(token)).await;
        let response =
            reply.map_err(|error| Failure::Api { doing: "unwrapping".to_owned(), error: Box::new(error) })?;
        match Answer::read(&response).map_err(Failure::Local)? {
            Some(answer) => session.terminal.answer(&answer),
            // What was wrapped had no body.
            None => Ok(DONE),
        }
    }
}
