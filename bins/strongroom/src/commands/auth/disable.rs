use crate::{
    commands::{clean, folder},
    failure::Outcome,
    session::Session,
};

/// Unmount an auth method: the tokens that it made are revoked
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Unmount the method at approle/:
        strongroom auth disable approle")]
pub(crate) struct Disable {
    /// Where it is mounted
    path: String,
}

impl Disable {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let path = path.strip_prefix("auth/").unwrap_or(path);
        let doing = format!("disabling auth method at {}", folder(path));
        session.delete(&doing, &format!("sys/auth/{path}")).await?;
        session.success(&format!("Disabled the auth method (if it existed) at: {}", folder(path)))
    }
}
