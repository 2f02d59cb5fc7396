use crate::{
    commands::clean,
    failure::{DONE, Failure, Outcome},
    session::Session,
};

/// Show what can be done at a path
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    What does a mount offer?
        strongroom path-help database

    What does one of its paths take?
        strongroom path-help database/roles/app")]
pub(crate) struct PathHelp {
    /// The path to explain; it must be below a mount
    path: String,
}

impl PathHelp {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        show(session, clean(&self.path)).await
    }
}

/// Prints the help of a path.
pub(super) async fn show(session: &Session, path: &str) -> Outcome {
    let answer = session.read(&format!("retrieving help for {path}"), path, &[("help", "1")]).await?;
    let help = answer.and_then(|answer| answer.data).filter(|data| data.get("help").is_some());
    let Some(help) = help else {
        return Err(Failure::Nothing(format!("No help found at {path}")));
    };
    if session.terminal.field.is_some() || !session.terminal.is_table() {
        return session.terminal.object(&help);
    }
    session.terminal.print(help.text_at("help").trim_end())?;
    Ok(DONE)
}
