use crate::{
    commands::clean,
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Read what is at a path
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Get a database user made:
        strongroom read database/creds/app

    Print one field, for a script:
        strongroom read -field=password database/static-creds/app

    With parameters of the request:
        strongroom read secret/data/app version=2")]
pub(crate) struct Read {
    /// The path to read
    path: String,

    /// Parameters of the request
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

impl Read {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let parameters = input::data(&self.parameters)?;
        let query: Vec<(&str, String)> = parameters
            .iter()
            .flat_map(|(name, value)| match value {
                serde_json::Value::Array(items) => items.iter().map(|item| (name.as_str(), text(item))).collect(),
                one => vec![(name.as_str(), text(one))],
            })
            .collect();
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match session.read(&format!("reading {path}"), path, &query).await? {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::Nothing(format!("No value found at {path}"))),
        }
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
