use serde_json::Map;

use crate::{commands::clean, failure::Outcome, input, session::Session};

/// Unlock a namespace
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    With the key that was shown when it was locked, from standard input:
        strongroom namespace unlock -unlock-key=- team

    Without a key, as root:
        strongroom namespace unlock team")]
pub(crate) struct Unlock {
    /// Its name; otherwise that of -namespace
    name: Option<String>,

    /// What was shown when it was locked; - reads standard input. Not needed with root or sudo
    #[arg(long, value_name = "KEY")]
    unlock_key: Option<String>,
}

impl Unlock {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (path, shown) = match self.name.as_deref().map(clean) {
            None | Some("") => ("sys/namespaces/api-lock/unlock".to_owned(), String::new()),
            Some(name) => (format!("sys/namespaces/api-lock/unlock/{name}"), format!(": {name}/")),
        };
        let mut body = Map::new();
        if let Some(key) = &self.unlock_key {
            body.insert("unlock_key".to_owned(), input::value(key)?.trim_end().into());
        }
        if let Some(answer) = session.write("unlocking namespace", &path, body).await? {
            session.terminal.warnings(&answer);
        }
        session.success(&format!("Namespace unlocked{shown}"))
    }
}
