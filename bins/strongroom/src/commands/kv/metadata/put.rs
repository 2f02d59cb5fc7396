use super::Settings;
use crate::{
    commands::kv::{Place, target::Target},
    failure::Outcome,
    session::Session,
};

/// Set a secret's settings; notes that are not given are removed
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Keep ten versions, and delete each after 30 days:
        strongroom kv metadata put -mount=secret -max-versions=10 -delete-version-after=720h app/db

    Say who owns it:
        strongroom kv metadata put -mount=secret -custom-metadata=owner=payments app/db")]
pub(crate) struct Put {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    settings: Settings,
}

impl Put {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let body = self.settings.body()?;
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Metadata")?;
        let path = target.at("metadata");
        let answer = session.write(&format!("writing data to {path}"), &path, body).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}
