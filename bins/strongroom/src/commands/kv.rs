//! Key-value secrets, whichever version of the engine keeps them.

mod batch;
mod delete;
mod destroy;
mod enable_versioning;
mod get;
mod list;
mod metadata;
mod patch;
mod put;
mod references;
mod rollback;
mod scan;
mod search;
mod target;
mod transfer;
mod undelete;
mod watch;
mod webhook;

use serde_json::Value;

use crate::{
    failure::{DONE, Failure, Outcome},
    output::{answer::Answer, table},
    session::Session,
};

/// Work with key-value secrets and their versions
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Write a secret, and read its previous version:
        strongroom kv put -mount=secret app/db user=app password=@password.txt
        strongroom kv get -mount=secret -version=1 app/db

    Take a deletion back:
        strongroom kv undelete -mount=secret -versions=2 app/db")]
pub(crate) enum Kv {
    Get(get::Get),
    Put(put::Put),
    Patch(patch::Patch),
    List(list::List),
    Scan(scan::Scan),
    Delete(delete::Delete),
    Undelete(undelete::Undelete),
    Destroy(destroy::Destroy),
    Rollback(rollback::Rollback),
    Copy(transfer::Copy),
    Move(transfer::Move),
    Watch(watch::Watch),
    Search(search::Search),
    #[command(subcommand)]
    Metadata(metadata::Metadata),
    #[command(subcommand)]
    Batch(batch::Batch),
    #[command(subcommand)]
    References(references::References),
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    EnableVersioning(enable_versioning::EnableVersioning),
}

impl Kv {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Get(command) => command.run(session).await,
            Self::Put(command) => command.run(session).await,
            Self::Patch(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Scan(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
            Self::Undelete(command) => command.run(session).await,
            Self::Destroy(command) => command.run(session).await,
            Self::Rollback(command) => command.run(session).await,
            Self::Copy(command) => command.run(session).await,
            Self::Move(command) => command.run(session).await,
            Self::Watch(command) => command.run(session).await,
            Self::Search(command) => command.run(session).await,
            Self::Metadata(command) => command.run(session).await,
            Self::Batch(command) => command.run(session).await,
            Self::References(command) => command.run(session).await,
            Self::Webhook(command) => command.run(session).await,
            Self::EnableVersioning(command) => command.run(session).await,
        }
    }
}

// No doc comment: it would replace the description of the command that this is part of.
#[derive(clap::Args)]
struct Place {
    /// Where the engine is mounted; otherwise it is found from the path
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// The secret's path
    path: String,
}

/// Prints the metadata of a version that was just written.
fn written(session: &Session, path: &str, answer: Option<&Answer>) -> Outcome {
    let Some(answer) = answer else {
        return session.written(None, &format!("Data written to: {path}"));
    };
    let terminal = &session.terminal;
    if terminal.field.is_some() || answer.wrap_info.is_some() || !terminal.is_table() {
        return terminal.answer(answer);
    }
    terminal.warnings(answer);
    path_heading(session, "Secret Path", path)?;
    let metadata = answer.data.as_ref().map(|data| data.entries()).unwrap_or_default();
    terminal.print(&table::heading_for("Metadata", metadata))?;
    terminal.print(&table::key_values(metadata))?;
    Ok(DONE)
}

fn path_heading(session: &Session, title: &str, path: &str) -> Result<(), Failure> {
    let heading = table::heading(title, path.chars().count());
    session.terminal.print(&format!("{heading}\n{path}\n"))
}

/// The `-versions` of a command, as numbers.
fn versions(given: &[String]) -> Result<Value, Failure> {
    let mut numbers = Vec::new();
    for text in given.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
        let number: u64 =
            text.parse().map_err(|_| Failure::local(format!("invalid version {text:?}: use a whole number")))?;
        numbers.push(Value::from(number));
    }
    if numbers.is_empty() {
        return Err(Failure::local("No versions provided, use the \"-versions\" flag to specify the versions"));
    }
    Ok(Value::Array(numbers))
}
