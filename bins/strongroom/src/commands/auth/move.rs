use crate::{
    commands::{clean, folder, remount::remount},
    failure::Outcome,
    session::Session,
};

/// Move an auth method to another path: its tokens are revoked, its data stays
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Move jwt/ to workloads/:
        strongroom auth move jwt workloads")]
pub(crate) struct Move {
    /// Where it is mounted
    from: String,

    /// Where it is to be
    to: String,
}

impl Move {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        remount(session, "auth method", &path(&self.from), &path(&self.to)).await
    }
}

/// The path of the API, however it was given.
fn path(given: &str) -> String {
    let given = clean(given);
    format!("auth/{}", folder(given.strip_prefix("auth/").unwrap_or(given)))
}
