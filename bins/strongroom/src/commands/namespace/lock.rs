use serde_json::Map;

use crate::{commands::clean, failure::Outcome, session::Session};

/// Lock a namespace and those inside of it: nobody is answered there until it is unlocked
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Lock a namespace, and keep the key that is shown once:
        strongroom namespace lock team

    Lock the namespace one is in:
        strongroom namespace lock -namespace=team")]
pub(crate) struct Lock {
    /// Its name; otherwise that of -namespace
    name: Option<String>,
}

impl Lock {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = match self.name.as_deref().map(clean) {
            None | Some("") => "sys/namespaces/api-lock/lock".to_owned(),
            Some(name) => format!("sys/namespaces/api-lock/lock/{name}"),
        };
        let answer = session.write("locking namespace", &path, Map::new()).await?;
        session.written(answer.as_ref(), "Namespace locked")
    }
}
