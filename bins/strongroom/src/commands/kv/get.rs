use super::{Place, path_heading, target::Target};
use crate::{
    failure::{DONE, Failure, Outcome},
    output::{answer::Answer, json::Json, table},
    session::Session,
};

/// Read a secret
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Read a secret:
        strongroom kv get -mount=secret app/db

    One field of it, for a script:
        strongroom kv get -mount=secret -field=password app/db

    An earlier version:
        strongroom kv get -mount=secret -version=1 app/db")]
pub(crate) struct Get {
    #[command(flatten)]
    place: Place,

    /// The version to read; otherwise the current one
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
}

impl Get {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        let path = target.at("data");
        let Some(answer) = target.read(session, self.version.filter(|version| *version > 0)).await? else {
            return Err(Failure::Nothing(format!("No value found at {path}")));
        };
        let terminal = &session.terminal;
        if let Some(name) = terminal.field.as_ref().filter(|_| answer.wrap_info.is_none()) {
            return field(session, &target, &path, &answer, name);
        }
        if answer.wrap_info.is_some() || !terminal.is_table() {
            return terminal.answer(&answer);
        }
        terminal.warnings(&answer);
        if !target.versioned {
            print_map(session, "Data", answer.data.as_ref())?;
            return Ok(DONE);
        }
        path_heading(session, "Secret Path", &path)?;
        print_map(session, "Metadata", answer.at("metadata"))?;
        if answer.at("data").is_some() {
            terminal.print("")?;
        }
        print_map(session, "Data", answer.at("data"))?;
        Ok(DONE)
    }
}

fn field(session: &Session, target: &Target, path: &str, answer: &Answer, name: &str) -> Outcome {
    if !target.versioned {
        return session.terminal.field(name, answer.field(name));
    }
    let Some(data) = answer.at("data") else {
        return Err(Failure::Nothing(format!("No data found at {path}")));
    };
    // `data` means the whole secret, unless the secret has a field of that name.
    let value = data.get(name).or(if name == "data" { Some(data) } else { None });
    session.terminal.field(name, value.cloned())
}

fn print_map(session: &Session, title: &str, map: Option<&Json>) -> Result<(), Failure> {
    let Some(map) = map else { return Ok(()) };
    session.terminal.print(&table::heading_for(title, map.entries()))?;
    if !map.entries().is_empty() {
        session.terminal.print(&table::key_values(map.entries()))?;
    }
    Ok(())
}
