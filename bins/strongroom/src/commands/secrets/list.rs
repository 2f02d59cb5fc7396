use crate::{
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// Show which secrets engines are mounted where
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Show the mounts:
        strongroom secrets list

    With all their settings:
        strongroom secrets list -detailed

    For a script:
        strongroom secrets list -format=json")]
pub(crate) struct List {
    /// Show all settings
    #[arg(long)]
    detailed: bool,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let mounts = session.read("listing secrets engines", "sys/mounts", &[]).await?.and_then(|answer| answer.data);
        let Some(mounts) = mounts else {
            return Err(Failure::Nothing("No secrets engines are mounted.".to_owned()));
        };
        if let Some(name) = &session.terminal.field {
            return session.terminal.field(name, mounts.get(name).cloned());
        }
        if self.detailed {
            let rows: Vec<_> = mounts.entries().iter().map(|(path, mount)| detailed_row(path, mount)).collect();
            return session.terminal.rows(&DETAILED, &rows, &mounts);
        }
        let rows: Vec<_> = mounts.entries().iter().map(|(path, mount)| row(path, mount)).collect();
        session.terminal.rows(&["Path", "Type", "Accessor", "Description"], &rows, &mounts)
    }
}

const DETAILED: [&str; 12] = [
    "Path",
    "Plugin",
    "Accessor",
    "Default TTL",
    "Max TTL",
    "Force No Cache",
    "Replication",
    "Seal Wrap",
    "Options",
    "Description",
    "UUID",
    "Version",
];

fn row(path: &str, mount: &Json) -> Vec<String> {
    let text = |name: &str| mount.text_at(name).to_owned();
    vec![path.to_owned(), text("type"), text("accessor"), text("description")]
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
        config.is_true("force_no_cache").to_string(),
        replication.to_owned(),
        mount.is_true("seal_wrap").to_string(),
        mount.get("options").map_or_else(|| "map[]".to_owned(), Json::plain),
        text("description"),
        text("uuid"),
        text("running_plugin_version"),
    ]
}

/// A mount's TTL; 0 is the system's.
pub(in crate::commands) fn ttl(config: &Json, name: &str) -> String {
    match config.integer_at(name) {
        0 => "system".to_owned(),
        seconds => seconds.to_string(),
    }
}
