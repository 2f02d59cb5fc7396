use crate::{
    commands::kv::{Place, path_heading, target::Target},
    failure::{DONE, Failure, Outcome},
    output::{json::Json, table},
    session::Session,
};

/// Show a secret's settings and versions
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Show all versions of a secret:
        strongroom kv metadata get -mount=secret app/db

    The number of the current one:
        strongroom kv metadata get -mount=secret -field=current_version app/db")]
pub(crate) struct Get {
    #[command(flatten)]
    place: Place,
}

impl Get {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Metadata")?;
        let path = target.at("metadata");
        let Some(answer) = session.read(&format!("reading {path}"), &path, &[]).await? else {
            return Err(Failure::Nothing(format!("No value found at {path}")));
        };
        let terminal = &session.terminal;
        if terminal.field.is_some() || !terminal.is_table() {
            return terminal.answer(&answer);
        }
        terminal.warnings(&answer);
        path_heading(session, "Metadata Path", &path)?;
        let data = answer.data.as_ref().map(Json::entries).unwrap_or_default();
        let settings: Vec<_> = data.iter().filter(|(name, _)| name != "versions").cloned().collect();
        terminal.print(&table::heading_for("Metadata", &settings))?;
        terminal.print(&table::key_values(&settings))?;
        let mut versions: Vec<_> = answer.at("versions").map(Json::entries).unwrap_or_default().iter().collect();
        versions.sort_by_key(|(number, _)| number.parse::<u64>().unwrap_or(u64::MAX));
        for (number, version) in versions {
            terminal.print(&format!("\n{}", table::heading_for(&format!("Version {number}"), version.entries())))?;
            terminal.print(&table::key_values(version.entries()))?;
        }
        Ok(DONE)
    }
}
