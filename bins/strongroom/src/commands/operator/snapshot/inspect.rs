use std::path::PathBuf;

use super::checked;
use crate::{failure::Outcome, output::json::Json, session::Session};

/// Check a snapshot to its end, and show what it is and which keys it needs
///
/// No server is asked.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    See what it is:
        strongroom operator snapshot inspect backup.snap")]
pub(crate) struct Inspect {
    /// The file
    file: PathBuf,
}

impl Inspect {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (checked, stored) = checked(&self.file)?;
        let (manifest, content) = (checked.manifest, checked.content);
        let entries = [
            ("id", Json::from(manifest.id.as_str())),
            ("created", manifest.created.as_str().into()),
            ("version", manifest.version.as_str().into()),
            ("cluster_name", manifest.cluster_name.as_str().into()),
            ("cluster_id", manifest.cluster_id.as_str().into()),
            ("storage_type", manifest.storage_type.as_str().into()),
            ("revision", manifest.revision.into()),
            ("entries", content.entries.into()),
            ("bytes", content.bytes.into()),
            ("digest", content.digest.as_str().into()),
            ("seal_type", stored.kind().into()),
            ("keys_needed", stored.keys_needed().as_str().into()),
        ];
        let entries = entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        session.terminal.object(&Json::Map(entries))
    }
}
