use super::name;
use crate::{failure::Outcome, session::Session};

/// Delete a policy: tokens that hold it lose its rights at once
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Delete a policy:
        strongroom policy delete app")]
pub(crate) struct Delete {
    /// The policy's name
    name: String,
}

impl Delete {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = name(&self.name);
        session.delete(&format!("deleting {name}"), &format!("sys/policies/acl/{name}")).await?;
        session.success(&format!("Deleted policy: {name}"))
    }
}
