use crate::{
    commands::{clean, folder, remount::remount},
    failure::Outcome,
    session::Session,
};

/// Move a mount to another path: its leases are revoked, its data stays
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Move secret/ to archive/:
        strongroom secrets move secret archive")]
pub(crate) struct Move {
    /// Where it is mounted
    from: String,

    /// Where it is to be
    to: String,
}

impl Move {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        remount(session, "secrets engine", &folder(clean(&self.from)), &folder(clean(&self.to))).await
    }
}
