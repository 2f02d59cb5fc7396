use serde_json::Map;

use crate::{failure::Outcome, session::Session};

/// Seal the server: it forgets its keys and serves nothing until unsealed
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Seal it in an emergency:
        strongroom operator seal")]
pub(crate) struct Seal {}

impl Seal {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        session.write("sealing", "sys/seal", Map::new()).await?;
        session.success("Vault is sealed.")
    }
}
