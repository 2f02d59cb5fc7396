use super::{all, plan};
use crate::{
    commands::clean,
    failure::{DONE, Failure, Outcome},
    output::{json::Json, table},
    session::Session,
};

/// Show how one rotation stands, with its last tries
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    How did the last rotations of this account go?
        strongroom rotation read database/static-roles/reporting

    When is the next one?
        strongroom rotation read -field=next_rotation database/static-roles/reporting")]
pub(crate) struct Read {
    /// The path of what is rotated, as `rotation list` shows it
    path: String,
}

impl Read {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let Some(rotation) = all(session).await?.into_iter().find(|rotation| clean(rotation.text_at("path")) == path)
        else {
            return Err(Failure::Nothing(format!("No rotation is planned at {path}")));
        };
        let terminal = &session.terminal;
        if terminal.field.is_some() || !terminal.is_table() {
            return terminal.object(&rotation);
        }
        let shown = |(name, _): &&(String, Json)| !matches!(name.as_str(), "history" | "period" | "schedule");
        let mut status: Vec<_> = rotation.entries().iter().filter(shown).cloned().collect();
        status.push(("plan".to_owned(), plan(&rotation).into()));
        status.sort_by(|a, b| a.0.cmp(&b.0));
        terminal.print(&table::key_values(&status))?;
        let history = rotation.get("history").map(Json::items).unwrap_or_default();
        if !history.is_empty() {
            let outcome = |one: &Json| one.get("error").map_or_else(|| "ok".to_owned(), Json::plain);
            let rows: Vec<_> = history.iter().map(|one| vec![one.text_at("at").to_owned(), outcome(one)]).collect();
            terminal.print(&format!("\n{}", table::table(&["Tried At", "Outcome"], &rows)))?;
        }
        Ok(DONE)
    }
}
