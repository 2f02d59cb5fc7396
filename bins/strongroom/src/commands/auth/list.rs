use crate::{
    commands::secrets::ttl,
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// Show which auth methods are mounted where
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Show the methods:
        strongroom auth list

    With all their settings:
        strongroom auth list -detailed")]
pub(crate) struct List {
    /// Show all settings
    #[arg(long)]
    detailed: bool,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let mounts =
            session.read("listing enabled authentications", "sys/auth", &[]).await?.and_then(|answer| answer.data);
        let Some(mounts) = mounts else {
            return Err(Failure::Nothing("No auth methods are mounted.".to_owned()));
        };
        if let Some(name) = &session.terminal.field {
            return session.terminal.field(name, mounts.get(name).cloned());
        }
        if self.detailed {
            let rows: Vec<_> = mounts.entries().iter().map(|(path, mount)| detailed_row(path, mount)).collect();
            return session.terminal.rows(&DETAILED, &rows, &mounts);
        }
        let rows: Vec<_> = mounts.entries().iter().map(|(path, mount)| row(path, mount)).collect();
        session.terminal.rows(&["Path", "Type", "Accessor", "Description", "Version"], &rows, &mounts)
    }
}

const DETAILED: [&str; 11] = [
    "Path",
    "Plugin",
    "Accessor",
    "Default TTL",
    "Max TTL",
    "Token Type",
    "Replication",
    "Seal Wrap",
    "Options",
    "Description",
    "UUID",
];

fn row(path: &str, mount: &Json) -> Vec<String> {
    let text = |name: &str| mount.text_at(name).to_owned();
    vec![path.to_owned(), text("type"), text("accessor"), text("description"), text("plugin_version")]
}

fn detailed_row(path: &str, mount: &Json) -> Vec<String> {
    let text = |name: &str| mount.text_at(name).to_owned();
    let config = mount.get("config").cloned().unwrap_or(Json::Null);
    let replication = if mount.is_true("local") { "local" } else { "replicated" };
    vec![
        path.to_owned(),
        text("type"),
        text("accessor"),
        ttl(&config, "default_lease_ttl"),
        ttl(&config, "max_lease_ttl"),
        config.text_at("token_type").to_owned(),
        replication.to_owned(),
        mount.is_true("seal_wrap").to_string(),
        mount.get("options").map_or_else(|| "map[]".to_owned(), Json::plain),
        text("description"),
        text("uuid"),
    ]
}
