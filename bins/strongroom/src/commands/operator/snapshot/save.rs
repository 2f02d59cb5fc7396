use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use api::Verb;
use client::ByteStream;
use futures::StreamExt;

use super::checked;
use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

/// Take a snapshot, and read it again to its end
///
/// The server goes on serving meanwhile. The snapshot is encrypted as the store is: it needs the same keys.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Take a snapshot:
        strongroom operator snapshot save backup.snap")]
pub(crate) struct Save {
    /// The new file; one that exists is replaced
    file: PathBuf,
}

impl Save {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        session.show_instead(Verb::Read, PATH, &[], None)?;
        let client = session.client()?;
        let stream = session.patiently(client.stream(Verb::Read, PATH, None)).await;
        let doing = || "taking the snapshot".to_owned();
        let stream = stream.map_err(|error| Failure::Api { doing: doing(), error: Box::new(error) })?;
        let mut partial = self.file.clone().into_os_string();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        let done = match session.patiently(receive(stream, &partial)).await {
            Ok(()) => checked(&partial),
            Err(failure) => Err(failure),
        };
        if done.is_err() {
            // What matters is the first error.
            let _ = std::fs::remove_file(&partial);
        }
        let (checked, _) = done?;
        let failed = |error: std::io::Error| Failure::local(format!("cannot write {}: {error}", self.file.display()));
        std::fs::rename(&partial, &self.file).map_err(failed)?;
        session.success(&format!(
            "Snapshot of {} entries at revision {} written to {} and read again.",
            checked.content.entries,
            checked.manifest.revision,
            self.file.display()
        ))
    }
}

async fn receive(mut stream: ByteStream, to: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::local(format!("cannot write {}: {error}", to.display()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(to).map_err(failed)?;
    while let Some(piece) = stream.next().await {
        let piece =
            piece.map_err(|error| Failure::Api { doing: "taking the snapshot".to_owned(), error: Box::new(error) })?;
        file.write_all(&piece).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

const PATH: &str = "sys/storage/raft/snapshot";
