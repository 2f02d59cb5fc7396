use serde_json::Map;

use crate::{
    commands::{clean, folder},
    failure::Outcome,
    input,
    session::Session,
};

/// Enable an audit device
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Record every request in a file:
        strongroom audit enable file file_path=/var/log/strongroom/audit.log

    Keep the signed journal that `audit query` asks:
        strongroom audit enable journal path=/var/lib/strongroom/journal")]
pub(crate) struct Enable {
    /// The kind of device, as file or journal
    #[arg(value_name = "TYPE")]
    kind: String,

    /// The device's settings
    #[arg(value_name = "NAME=VALUE")]
    options: Vec<String>,

    /// The device's path; otherwise its kind's name
    #[arg(long)]
    path: Option<String>,

    /// What the device is for, in words
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    /// Keep the device on this cluster
    #[arg(long)]
    local: bool,
}

impl Enable {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let kind = self.kind.trim();
        let path = clean(self.path.as_deref().unwrap_or(kind));
        let body = Map::from_iter([
            ("type".to_owned(), kind.into()),
            ("description".to_owned(), self.description.into()),
            ("options".to_owned(), input::data(&self.options)?.into()),
            ("local".to_owned(), self.local.into()),
        ]);
        let answer = session.write("enabling audit device", &format!("sys/audit/{path}"), body).await?;
        if let Some(answer) = &answer {
            session.terminal.warnings(answer);
        }
        session.success(&format!("Enabled the {kind} audit device at: {}", folder(path)))
    }
}
