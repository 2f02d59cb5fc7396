use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use snapshot::{Moved, Step};

use crate::{
    failure::{Failure, Outcome},
    server,
    session::Session,
};

/// Copy everything from one store to another, and compare the two
///
/// The server must be stopped. A copy that is cut off goes on where it was when it is run again. The keys stay the same.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Copy as migrate.hcl says, in which storage_source and storage_destination are written like storage in a
    configuration of the server:
        strongroom operator migrate -config migrate.hcl

    Begin a copy anew that was begun before:
        strongroom operator migrate -config migrate.hcl -start-over")]
pub(crate) struct Migrate {
    /// The file with storage_source and storage_destination
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Give up a copy that was begun, and copy anew
    #[arg(long)]
    start_over: bool,
}

impl Migrate {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (from, to) = server::migration(&self.config).map_err(Failure::local)?;
        let source = server::open_store(&from).await.map_err(Failure::local)?;
        let destination = server::open_store(&to).await.map_err(Failure::local)?;
        let told = Mutex::new(Instant::now());
        // The session as a whole cannot be shared with a copy that several threads may work at.
        let terminal = &session.terminal;
        let progress = |step: Step| {
            let (what, done) = match step {
                Step::Copied(done) => ("copied", done),
                Step::SourceSummed(done) => ("read in the source", done),
                Step::DestinationSummed(done) => ("read back", done),
            };
            let mut told = told.lock();
            if told.elapsed() >= PAUSE {
                *told = Instant::now();
                terminal.note(&format!("{done} entries {what}"));
            }
        };
        let name = from.to_string();
        let moved = snapshot::migrate(&source, &destination, &name, self.start_over, &progress).await;
        let Moved { content, resumed } = moved.map_err(|error| Failure::local(format!("Error migrating: {error}")))?;
        let begun = if resumed { " (the copy was taken up where it had been cut off)" } else { "" };
        session.success(&format!(
            "{} entries, {} bytes copied from {from} to {to}{begun}. Both were read again and have the sum {}.",
            content.entries, content.bytes, content.digest
        ))
    }
}

/// How often progress is told.
const PAUSE: Duration = Duration::from_secs(1);
