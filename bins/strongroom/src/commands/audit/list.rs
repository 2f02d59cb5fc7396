use crate::{
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// Show which audit devices are enabled
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Show the devices:
        strongroom audit list

    With their settings:
        strongroom audit list -detailed")]
pub(crate) struct List {
    /// Show all settings
    #[arg(long)]
    detailed: bool,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let devices = session.read("listing audits", "sys/audit", &[]).await?.and_then(|answer| answer.data);
        let Some(devices) = devices.filter(|devices| !devices.entries().is_empty()) else {
            return Err(Failure::Nothing("No audit devices are enabled.".to_owned()));
        };
        let text = |device: &Json, name: &str| device.text_at(name).to_owned();
        if !self.detailed {
            let row =
                |(path, device): &(String, Json)| vec![path.clone(), text(device, "type"), text(device, "description")];
            let rows: Vec<_> = devices.entries().iter().map(row).collect();
            return session.terminal.rows(&["Path", "Type", "Description"], &rows, &devices);
        }
        let row = |(path, device): &(String, Json)| {
            let replication = if device.is_true("local") { "local" } else { "replicated" };
            vec![
                path.clone(),
                text(device, "type"),
                text(device, "description"),
                replication.to_owned(),
                options(device),
            ]
        };
        let rows: Vec<_> = devices.entries().iter().map(row).collect();
        session.terminal.rows(&["Path", "Type", "Description", "Replication", "Options"], &rows, &devices)
    }
}

/// The settings as `name=value name=value`.
fn options(device: &Json) -> String {
    let entries = device.get("options").map(Json::entries).unwrap_or_default();
    entries.iter().map(|(name, value)| format!("{name}={}", value.plain())).collect::<Vec<_>>().join(" ")
}
