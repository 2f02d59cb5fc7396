//! Rotations that the server does by itself.

mod list;
mod read;

use crate::{
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// Look at what the server rotates by itself
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    What is rotated, and when next?
        strongroom rotation list

    How did the last rotations of this account go?
        strongroom rotation read database/static-roles/reporting")]
pub(crate) enum Rotation {
    List(list::List),
    Read(read::Read),
}

impl Rotation {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::List(command) => command.run(session).await,
            Self::Read(command) => command.run(session).await,
        }
    }
}

/// All rotations, page by page.
async fn all(session: &Session) -> Result<Vec<Json>, Failure> {
    let mut rotations = Vec::new();
    let mut after = String::new();
    loop {
        let query: &[(&str, &str)] = if after.is_empty() { &[] } else { &[("after", &after)] };
        let page = session.read("listing rotations", "sys/rotation", query).await?.and_then(|answer| answer.data);
        let Some(page) = page else { return Ok(rotations) };
        rotations.extend(page.get("rotations").map(Json::items).unwrap_or_default().iter().cloned());
        let next = page.text_at("after").to_owned();
        // A server that repeats itself must not keep us here.
        if !page.is_true("more") || next.is_empty() || next == after {
            return Ok(rotations);
        }
        after = next;
    }
}

/// `every 24h`, the schedule, or `by hand`.
fn plan(rotation: &Json) -> String {
    match rotation.get("period").and_then(Json::integer) {
        Some(seconds) => format!("every {}", crate::output::table::duration(seconds)),
        None if rotation.text_at("schedule").is_empty() => "by hand".to_owned(),
        None => rotation.text_at("schedule").to_owned(),
    }
}
