//! Snapshots of the store.

mod inspect;
mod restore;
mod save;

use std::path::Path;

use snapshot::Checked;

use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

/// Take, look at and restore snapshots of everything that is stored
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Take a snapshot:
        strongroom operator snapshot save backup.snap

    See what it is and which keys it needs:
        strongroom operator snapshot inspect backup.snap

    Put it onto a new, empty server:
        strongroom operator snapshot restore backup.snap")]
pub(crate) enum Snapshot {
    Save(save::Save),
    Inspect(inspect::Inspect),
    Restore(restore::Restore),
}

impl Snapshot {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Save(command) => command.run(session).await,
            Self::Inspect(command) => command.run(session).await,
            Self::Restore(command) => command.run(session).await,
        }
    }
}

/// Reads a whole snapshot, and the record of the seal in it.
fn checked(file: &Path) -> Result<(Checked, seal::Stored), Failure> {
    let failed = |why: String| Failure::local(format!("{}: {why}", file.display()));
    let checked = snapshot::check(file, &[seal::STORED_AT]).map_err(|error| failed(error.to_string()))?;
    let record = checked.kept(seal::STORED_AT);
    let record =
        record.ok_or_else(|| failed("it holds no seal: it is of a server that was never initialised".to_owned()))?;
    let stored = seal::Stored::from_json(record).map_err(|error| failed(error.to_string()))?;
    Ok((checked, stored))
}
