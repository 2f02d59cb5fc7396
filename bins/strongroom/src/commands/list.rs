use crate::{
    commands::clean,
    failure::{Failure, Outcome, SERVER},
    output::{answer::Answer, json::Json},
    session::Session,
};

/// List the names below a path
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    List the roles of a database mount:
        strongroom list database/roles

    As a JSON array:
        strongroom list -format=json secret/metadata")]
pub(crate) struct List {
    /// The path to list below
    path: String,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let answer = session.list(&format!("listing {path}"), path).await?;
        show(session, path, answer.as_ref())
    }
}

/// Prints a listing of `path`; an empty one is exit code 2.
pub(super) fn show(session: &Session, path: &str, answer: Option<&Answer>) -> Outcome {
    if let Some(answer) = answer.filter(|answer| answer.wrap_info.is_some()) {
        return session.terminal.answer(answer);
    }
    if let Some(answer) = answer {
        session.terminal.warnings(answer);
    }
    match answer.and_then(|answer| answer.at("keys")).filter(|keys| !keys.items().is_empty()) {
        Some(keys) => match &session.terminal.field {
            Some(name) => session.terminal.field(name, answer.and_then(|answer| answer.field(name))),
            None => session.terminal.names(keys),
        },
        None if session.terminal.is_table() => Err(Failure::Nothing(format!("No value found at {path}"))),
        None => {
            session.terminal.structured(&Json::Map(Vec::new()))?;
            Err(Failure::Said(SERVER))
        }
    }
}
