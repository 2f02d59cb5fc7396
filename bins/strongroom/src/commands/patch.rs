use serde_json::Value;

use crate::{
    commands::clean,
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Change some fields of what is at a path
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Change one setting and leave the others:
        strongroom patch pki/issuer/default manual_chain=default

    Merge a JSON object from standard input:
        strongroom patch secret/data/app - < changes.json")]
pub(crate) struct Patch {
    /// The path to change
    path: String,

    /// What to change: NAME=VALUE, NAME=@FILE, NAME=-, @FILE with a JSON object, or - for one on standard input
    #[arg(value_name = "DATA")]
    data: Vec<String>,

    /// Send the request although there is no data
    #[arg(long, short = 'f', alias = "f")]
    force: bool,
}

impl Patch {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        if self.data.is_empty() && !self.force {
            return Err(Failure::local("Must supply data or use -force"));
        }
        let body = Value::Object(input::data(&self.data)?);
        let doing = format!("writing data to {path}");
        let answer = session.ask(&doing, api::Verb::Patch, path, &[], Some(body)).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}
