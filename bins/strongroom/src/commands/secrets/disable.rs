use crate::{
    commands::{clean, folder},
    failure::Outcome,
    session::Session,
};

/// Unmount a secrets engine: its leases are revoked, its data is removed
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Unmount the engine at database/:
        strongroom secrets disable database")]
pub(crate) struct Disable {
    /// Where it is mounted
    path: String,
}

impl Disable {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let doing = format!("disabling secrets engine at {}", folder(path));
        session.delete(&doing, &format!("sys/mounts/{path}")).await?;
        session.success(&format!("Disabled the secrets engine (if it existed) at: {}", folder(path)))
    }
}
