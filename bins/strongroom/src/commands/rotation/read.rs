use crate::{
    commands::clean,
    failure::{DONE, Failure, Outcome},
    output::{json::Json, table},
    session::Session,
};

/// Show how one rotation stands, with its last tries
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    How does the rotation of this account stand?
        strongroom rotation read database/static-roles/reporting")]
pub(crate) struct Read {
    /// The rotation's name, as `rotation list` shows it
    name: String,
}

impl Read {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = clean(&self.name);
        let answer = session.read(&format!("reading rotation {name}"), &format!("sys/rotation/{name}"), &[]).await?;
        let Some(answer) = answer else {
            return Err(Failure::Nothing(format!("No rotation named: {name}")));
        };
        let terminal = &session.terminal;
        if terminal.field.is_some() || !terminal.is_table() {
            return terminal.answer(&answer);
        }
        terminal.warnings(&answer);
        let entries = answer.data.as_ref().map(Json::entries).unwrap_or_default();
        let status: Vec<_> = entries.iter().filter(|(name, _)| name != "history").cloned().collect();
        terminal.print(&table::key_values(&status))?;
        let history = answer.at("history").map(Json::items).unwrap_or_default();
        if !history.is_empty() {
            let outcome = |one: &Json| one.get("error").map_or_else(|| "ok".to_owned(), Json::plain);
            let rows: Vec<_> = history.iter().map(|one| vec![one.text_at("at").to_owned(), outcome(one)]).collect();
            terminal.print(&format!("\n{}", table::table(&["Tried At", "Outcome"], &rows)))?;
        }
        Ok(DONE)
    }
}
