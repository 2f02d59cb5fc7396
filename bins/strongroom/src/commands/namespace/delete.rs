use api::Verb;

use crate::{commands::clean, failure::Outcome, session::Session};

/// Delete a namespace: what it leased is revoked, what it stored is deleted
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Delete a namespace with all that is in it:
        strongroom namespace delete team

    Give up on leases that cannot be revoked, which hold the deletion up:
        strongroom namespace delete -force team")]
pub(crate) struct Delete {
    /// Its name
    name: String,

    /// Forget the leases that are left; what they stand for must be removed by hand
    #[arg(long)]
    force: bool,
}

impl Delete {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = clean(&self.name);
        let query: &[(&str, &str)] = if self.force { &[("force", "true")] } else { &[] };
        let path = format!("sys/namespaces/{name}");
        let answer = session.ask("deleting namespace", Verb::Delete, &path, query, None).await?;
        if let Some(answer) = &answer {
            session.terminal.warnings(answer);
        }
        session.success(&format!("Namespace deleted at: {name}/"))
    }
}
