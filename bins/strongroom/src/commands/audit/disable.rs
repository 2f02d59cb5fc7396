use crate::{
    commands::{clean, folder},
    failure::Outcome,
    session::Session,
};

/// Disable an audit device; what it wrote stays
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Disable the device at file/:
        strongroom audit disable file")]
pub(crate) struct Disable {
    /// The device's path
    path: String,
}

impl Disable {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        session.delete("disabling audit device", &format!("sys/audit/{path}")).await?;
        session.success(&format!("Disabled audit device (if it was enabled) at: {}", folder(path)))
    }
}
