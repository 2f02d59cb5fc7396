use crate::{commands::clean, failure::Outcome, input, session::Session};

/// Delete what is at a path
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Remove a role:
        strongroom delete database/roles/app

    With parameters of the request:
        strongroom delete identity/entity/name/app force=true")]
pub(crate) struct Delete {
    /// The path to delete
    path: String,

    /// Parameters of the request
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

impl Delete {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let parameters = input::data(&self.parameters)?;
        let query: Vec<(&str, String)> = parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = session.ask(&format!("deleting {path}"), api::Verb::Delete, path, &query, None).await?;
        session.written(answer.as_ref(), &format!("Data deleted (if it existed) at: {path}"))
    }
}
