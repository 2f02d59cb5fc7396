use serde_json::Map;

use super::{Place, target::Target, versions};
use crate::{failure::Outcome, session::Session};

/// Delete a secret's current version, or some versions; they can be taken back
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Delete the current version:
        strongroom kv delete -mount=secret app/db

    Delete some versions:
        strongroom kv delete -mount=secret -versions=1,2 app/db")]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,

    /// The versions to delete, as 1,2; otherwise the current one
    #[arg(long, value_name = "NUMBERS")]
    versions: Vec<String>,
}

impl Delete {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        let path = target.at("data");
        let answer = if self.versions.is_empty() {
            session.delete(&format!("deleting {path}"), &path).await?
        } else {
            target.must_be_versioned("Deleting versions is")?;
            let body = Map::from_iter([("versions".to_owned(), versions(&self.versions)?)]);
            session.write(&format!("deleting {path}"), &target.at("delete"), body).await?
        };
        session.written(answer.as_ref(), &format!("Data deleted (if it existed) at: {path}"))
    }
}
