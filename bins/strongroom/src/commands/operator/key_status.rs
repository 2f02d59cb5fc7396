use clock::Timestamp;

use crate::{
    failure::{DONE, Failure, Outcome},
    output::{json::Json, table},
    session::Session,
};

/// Show the key that new data is encrypted with
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    How old is the key?
        strongroom operator key-status")]
pub(crate) struct KeyStatus {}

impl KeyStatus {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        show(session).await
    }
}

/// Prints the state of the current key.
pub(super) async fn show(session: &Session) -> Outcome {
    let status = session.read("reading key status", "sys/key-status", &[]).await?.and_then(|answer| answer.data);
    let Some(status) = status else {
        return Err(Failure::local("Error reading key status: the reply is empty"));
    };
    if session.terminal.field.is_some() || !session.terminal.is_table() {
        return session.terminal.object(&status);
    }
    let rows = [
        vec!["Key Term".to_owned(), status.integer_at("term").to_string()],
        vec!["Install Time".to_owned(), day_and_minute(&status)],
        vec!["Encryption Count".to_owned(), status.integer_at("encryptions").to_string()],
    ];
    session.terminal.print(&table::columns(&rows))?;
    Ok(DONE)
}

/// `02 Jan 26 15:04 UTC`.
fn day_and_minute(status: &Json) -> String {
    let text = status.text_at("install_time");
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |time| time.strftime("%d %b %y %H:%M UTC").to_string())
}
