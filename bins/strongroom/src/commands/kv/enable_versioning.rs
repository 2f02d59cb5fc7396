use serde_json::{Map, json};

use crate::{
    commands::{clean, folder},
    failure::Outcome,
    session::Session,
};

/// Make a mount keep versions from now on
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Upgrade the mount at kv/:
        strongroom kv enable-versioning kv")]
pub(crate) struct EnableVersioning {
    /// The mount's path
    path: String,
}

impl EnableVersioning {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let body = Map::from_iter([("options".to_owned(), json!({"version": "2"}))]);
        let doing = format!("tuning secrets engine {}", folder(path));
        let answer = session.write(&doing, &format!("sys/mounts/{path}/tune"), body).await?;
        session.written(answer.as_ref(), &format!("Tuned the secrets engine at: {}", folder(path)))
    }
}
