use serde_json::Map;

use super::key_status;
use crate::{failure::Outcome, session::Session};

/// Encrypt new data with a new key; old data stays readable
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Begin a new key:
        strongroom operator rotate")]
pub(crate) struct Rotate {}

impl Rotate {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        session.write("rotating key", "sys/rotate", Map::new()).await?;
        if session.terminal.is_table() {
            session.terminal.print("Success! Rotated key\n")?;
        }
        key_status::show(session).await
    }
}
