use serde_json::Map;

use super::{Place, target::Target, versions};
use crate::{failure::Outcome, session::Session};

/// Remove the data of some versions for good
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Destroy versions 1 and 2:
        strongroom kv destroy -mount=secret -versions=1,2 app/db")]
pub(crate) struct Destroy {
    #[command(flatten)]
    place: Place,

    /// The versions to destroy, as 1,2
    #[arg(long, value_name = "NUMBERS", required = true)]
    versions: Vec<String>,
}

impl Destroy {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Destroy")?;
        let path = target.at("destroy");
        let body = Map::from_iter([("versions".to_owned(), versions(&self.versions)?)]);
        let answer = session.write(&format!("writing data to {path}"), &path, body).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}
