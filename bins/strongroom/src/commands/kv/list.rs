use super::{Place, target::Target};
use crate::{failure::Outcome, session::Session};

/// List the names below a path
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    List the secrets of an application:
        strongroom kv list -mount=secret app

    List the top of a mount:
        strongroom kv list secret")]
pub(crate) struct List {
    /// Where the engine is mounted; otherwise it is found from the path
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// The path to list below
    #[arg(required_unless_present = "mount", default_value = "")]
    path: String,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let place = Place { mount: self.mount, path: self.path };
        let path = Target::find(session, &place).await?.at("metadata");
        let answer = session.list(&format!("listing {path}"), &path).await?;
        crate::commands::list::show(session, &path, answer.as_ref())
    }
}
