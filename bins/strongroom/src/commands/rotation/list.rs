use crate::{commands::list, failure::Outcome, output::json::Json, session::Session};

/// List what is rotated
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    What is rotated, and when next?
        strongroom rotation list

    Only what failed last time, for a script:
        strongroom rotation list -format=json")]
pub(crate) struct List {}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let answer = session.list("listing rotations", "sys/rotation").await?;
        let details = answer.as_ref().and_then(|answer| answer.at("key_info"));
        match details.filter(|_| session.terminal.field.is_none()) {
            Some(details) if !details.entries().is_empty() => {
                let rows: Vec<_> = details.entries().iter().map(row).collect();
                session.terminal.rows(&["Name", "Next", "Last", "Failures", "Last Error"], &rows, details)
            }
            _ => list::show(session, "sys/rotation", answer.as_ref()),
        }
    }
}

fn row((name, status): &(String, Json)) -> Vec<String> {
    let text = |name: &str| status.get(name).map(Json::plain).unwrap_or_default();
    vec![name.clone(), text("next"), text("last"), text("failures"), text("last_error")]
}
