//! Many secrets with one request.

use serde_json::{Map, Value, json};

use super::{Place, target::Target};
use crate::{
    failure::{DONE, Failure, Outcome},
    input,
    output::{answer::Answer, json::Json},
    session::Session,
};

/// Read or write many secrets of a mount with one request
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Read three secrets, the last at version 2:
        strongroom kv batch get -mount=secret app/db app/mail app/key@2

    Write many secrets, all of them or none:
        strongroom kv batch put -mount=secret secrets.json")]
pub(crate) enum Batch {
    Get(Get),
    Put(Put),
}

impl Batch {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Get(command) => command.run(session).await,
            Self::Put(command) => command.run(session).await,
        }
    }
}

/// Read many secrets
///
/// Prints one JSON object with the value of each secret by its path. Fails if one of them cannot be read, after the
/// others were printed.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Read two secrets:
        strongroom kv batch get -mount=secret app/db app/mail")]
pub(crate) struct Get {
    /// Where the engine is mounted
    #[arg(long, value_name = "PATH")]
    mount: String,

    /// The secrets' paths, each with @VERSION behind it for an earlier version
    #[arg(required = true, value_name = "PATH[@VERSION]")]
    paths: Vec<String>,
}

impl Get {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = route(session, self.mount, "read").await?;
        let items: Vec<Value> = self.paths.iter().map(|text| item(text)).collect();
        let body = Map::from_iter([("items".to_owned(), Value::Array(items))]);
        let answer = session.write(&format!("reading at {path}"), &path, body).await?;
        let Some(answer) = answer else { return Err(Failure::Nothing(format!("No value found at {path}"))) };
        if answer.wrap_info.is_some() || !session.terminal.is_table() {
            return session.terminal.answer(&answer);
        }
        show(session, &answer)
    }
}

/// `path`, or `path@version`.
fn item(text: &str) -> Value {
    let version = text.rsplit_once('@').and_then(|(path, version)| Some((path, version.parse::<u64>().ok()?)));
    match version {
        Some((path, version)) => json!({ "path": path, "version": version }),
        None => json!({ "path": text }),
    }
}

fn show(session: &Session, answer: &Answer) -> Outcome {
    let mut missing = Vec::new();
    let mut read = Vec::new();
    for item in answer.at("items").map(|items| items.items()).unwrap_or_default() {
        let path = item.text_at("path");
        match item.get("data").filter(|_| item.integer_at("status") == 200) {
            Some(data) => read.push((path.to_owned(), data.clone())),
            None => missing.push(format!("{path} ({})", item.integer_at("status"))),
        }
    }
    session.terminal.print(&Json::Map(read).pretty())?;
    if missing.is_empty() {
        return Ok(DONE);
    }
    Err(Failure::Nothing(format!("Not read: {}", missing.join(", "))))
}

/// Write many secrets, all of them or none
///
/// The file holds a JSON list of objects, each with a `path` and its `data`; `options` such as {"cas": 2} and a `method`
/// (write, patch or delete) may be added. If one of them cannot be written, none is.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Write what a file says:
        strongroom kv batch put -mount=secret secrets.json

    From standard input:
        strongroom kv batch put -mount=secret - < secrets.json")]
pub(crate) struct Put {
    /// Where the engine is mounted
    #[arg(long, value_name = "PATH")]
    mount: String,

    /// The file, or - for standard input
    file: String,
}

impl Put {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let text = if self.file == "-" { input::read_stdin()? } else { input::read_file(&self.file)? };
        let items: Vec<Value> = serde_json::from_str(&text).map_err(|_| {
            Failure::local(format!(
                "{} is no JSON list of secrets such as [{{\"path\": \"app/db\", \"data\": {{\"user\": \"app\"}}}}]",
                self.file
            ))
        })?;
        let path = route(session, self.mount, "write").await?;
        let count = items.len();
        let body = Map::from_iter([("items".to_owned(), Value::Array(items))]);
        let answer = session.write(&format!("writing at {path}"), &path, body).await?;
        match answer {
            Some(answer) if !session.terminal.is_table() => session.terminal.answer(&answer),
            _ => session.success(&format!("{count} secrets changed")),
        }
    }
}

async fn route(session: &Session, mount: String, act: &str) -> Result<String, Failure> {
    let target = Target::find(session, &Place { mount: Some(mount), path: String::new() }).await?;
    target.must_be_versioned("Batches are")?;
    Ok(target.at(&format!("batch/{act}")))
}
