//! Fields of a secret whose values lie in other secrets.

use serde_json::{Map, Value};

use super::{Place, target::Target};
use crate::{
    failure::{Failure, Outcome},
    input,
    output::table,
    session::Session,
};

/// Take values of fields from other secrets
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Let the password of an application be that of its database:
        strongroom kv references put -mount=secret app/web password=secret/app/db#password

    From version 3 of a secret in another mount:
        strongroom kv references put -mount=secret app/web key=shared/tls@3#key")]
pub(crate) enum References {
    Get(Get),
    Put(Put),
    Delete(Delete),
}

impl References {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Get(command) => command.run(session).await,
            Self::Put(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
        }
    }
}

/// Show which fields have their values elsewhere
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Show where the values of a secret come from:
        strongroom kv references get -mount=secret app/web")]
pub(crate) struct Get {
    #[command(flatten)]
    place: Place,
}

impl Get {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = route(session, &self.place).await?;
        let answer = session.read(&format!("reading {path}"), &path, &[]).await?;
        let Some(answer) = answer else { return Err(Failure::Nothing(format!("No references at {path}"))) };
        if !session.terminal.is_table() || session.terminal.field.is_some() {
            return session.terminal.answer(&answer);
        }
        let references = answer.at("references").map(|references| references.entries()).unwrap_or_default();
        session.terminal.print(&table::key_values(references))?;
        Ok(crate::failure::DONE)
    }
}

/// Say which fields have their values elsewhere; replaces what was said before
///
/// Who reads the secret needs the right to read the other ones too.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Let the password of an application be that of its database:
        strongroom kv references put -mount=secret app/web password=secret/app/db#password")]
pub(crate) struct Put {
    #[command(flatten)]
    place: Place,

    /// Each field with the place of its value
    #[arg(value_name = "FIELD=MOUNT/PATH[@VERSION]#KEY", required = true)]
    fields: Vec<String>,
}

impl Put {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let references = input::pairs(&self.fields)?;
        let path = route(session, &self.place).await?;
        let body = Map::from_iter([("references".to_owned(), Value::Object(references))]);
        let answer = session.write(&format!("writing {path}"), &path, body).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}

/// End all references of a secret; what the fields held before is theirs again
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    End the references of a secret:
        strongroom kv references delete -mount=secret app/web")]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,
}

impl Delete {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = route(session, &self.place).await?;
        let answer = session.delete(&format!("deleting {path}"), &path).await?;
        session.written(answer.as_ref(), &format!("Data deleted (if it existed) at: {path}"))
    }
}

async fn route(session: &Session, place: &Place) -> Result<String, Failure> {
    let target = Target::find(session, place).await?;
    target.must_be_versioned("References are")?;
    Ok(target.at("references"))
}
