use super::{Place, patch::contents, put::versioned, target::Target, written};
use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

/// Make an earlier version the current one again, as a new version
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Return to version 2:
        strongroom kv rollback -mount=secret -version=2 app/db")]
pub(crate) struct Rollback {
    #[command(flatten)]
    place: Place,

    /// The version to return to
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    version: u64,
}

impl Rollback {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Rollback")?;
        let path = target.at("data");
        let current = target.read_own(session, None).await?;
        let Some(current) = current.as_ref().and_then(|answer| answer.at("metadata")) else {
            return Err(Failure::Nothing(format!("No value found at {path}")));
        };
        let cas = current.integer_at("version");
        let wanted = target.read_own(session, Some(self.version)).await?;
        let Some(wanted) = wanted else {
            return Err(Failure::Nothing(format!("No value found at {path}, version {}", self.version)));
        };
        let Some((data, _)) = contents(&wanted) else {
            return Err(Failure::Nothing(format!(
                "Version {} of {path} is deleted or destroyed: a deleted one can be restored with `kv undelete`",
                self.version
            )));
        };
        let answer = session.write(&format!("writing data to {path}"), &path, versioned(data, cas)).await?;
        written(session, &path, answer.as_ref())
    }
}
