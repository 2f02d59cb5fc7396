use serde_json::Map;

use super::{Place, target::Target, versions};
use crate::{failure::Outcome, session::Session};

/// Take back the deletion of some versions
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Restore version 3:
        strongroom kv undelete -mount=secret -versions=3 app/db")]
pub(crate) struct Undelete {
    #[command(flatten)]
    place: Place,

    /// The versions to restore, as 1,2
    #[arg(long, value_name = "NUMBERS", required = true)]
    versions: Vec<String>,
}

impl Undelete {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Undelete")?;
        let path = target.at("undelete");
        let body = Map::from_iter([("versions".to_owned(), versions(&self.versions)?)]);
        let answer = session.write(&format!("writing data to {path}"), &path, body).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}
