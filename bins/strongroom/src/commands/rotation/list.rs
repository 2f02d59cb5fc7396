use super::{all, plan};
use crate::{
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// List what is rotated, when next, and how the last try went
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    What is rotated, and when next?
        strongroom rotation list

    What failed last time?
        strongroom rotation list -failed")]
pub(crate) struct List {
    /// Only what failed last time
    #[arg(long)]
    failed: bool,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let mut rotations = all(session).await?;
        if self.failed {
            rotations.retain(|rotation| rotation.get("last_error").is_some());
        }
        if rotations.is_empty() && session.terminal.is_table() {
            return Err(Failure::Nothing("No rotations are planned".to_owned()));
        }
        let rows: Vec<_> = rotations.iter().map(row).collect();
        let headings = ["Path", "Plan", "Next", "Last", "Failures", "Last Error"];
        session.terminal.rows(&headings, &rows, &Json::List(rotations))
    }
}

fn row(rotation: &Json) -> Vec<String> {
    let text = |name: &str| rotation.text_at(name).to_owned();
    let failures = rotation.integer_at("failures").to_string();
    vec![text("path"), plan(rotation), text("next_rotation"), text("last_rotation"), failures, text("last_error")]
}
