use super::{Place, target::Target};
use crate::{failure::Outcome, session::Session};

/// List all names below a path, however deep
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Every secret of an application:
        strongroom kv scan -mount=secret app

    Every secret of a mount:
        strongroom kv scan secret")]
pub(crate) struct Scan {
    /// Where the engine is mounted; otherwise it is found from the path
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// The path to list below
    #[arg(required_unless_present = "mount", default_value = "")]
    path: String,
}

impl Scan {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let place = Place { mount: self.mount, path: self.path };
        let path = Target::find(session, &place).await?.at("metadata");
        let answer = session.scan(&format!("listing {path} with all below"), &path).await?;
        crate::commands::list::show(session, &path, answer.as_ref())
    }
}
