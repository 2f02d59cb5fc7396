use crate::{
    commands::kv::{Place, target::Target},
    failure::Outcome,
    session::Session,
};

/// Remove a secret with all its versions for good
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Remove a secret as if it had never been:
        strongroom kv metadata delete -mount=secret app/db")]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,
}

impl Delete {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Metadata")?;
        let path = target.at("metadata");
        let answer = session.delete(&format!("deleting {path}"), &path).await?;
        session.written(answer.as_ref(), &format!("Data deleted (if it existed) at: {path}"))
    }
}
