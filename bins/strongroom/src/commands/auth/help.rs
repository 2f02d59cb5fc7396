use crate::{
    commands::{clean, path_help},
    failure::Outcome,
    session::Session,
};

/// Show what an auth method offers
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    What does the method at jwt/ offer?
        strongroom auth help jwt")]
pub(crate) struct Help {
    /// Where it is mounted
    path: String,
}

impl Help {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let path = path.strip_prefix("auth/").unwrap_or(path);
        path_help::show(session, &format!("auth/{path}")).await
    }
}
