use serde_json::{Map, Value, json};

use super::{Place, target::Target, written};
use crate::{
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Write a secret, or a new version of it
///
/// A value given as NAME=VALUE stays in the shell's history; NAME=@FILE and NAME=- (standard input) keep it out.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Write a secret, its password from standard input:
        strongroom kv put -mount=secret app/db user=app password=-

    Write all fields from a file:
        strongroom kv put -mount=secret app/db @secret.json

    Only if nobody wrote since version 3:
        strongroom kv put -mount=secret -cas=3 app/db password=@password.txt")]
pub(crate) struct Put {
    #[command(flatten)]
    place: Place,

    /// The secret's fields: NAME=VALUE, NAME=@FILE, NAME=-, @FILE with a JSON object, or - for one on standard input
    #[arg(value_name = "DATA", required = true)]
    data: Vec<String>,

    /// Write only if this is the current version; 0 if there must be none
    #[arg(long, value_name = "NUMBER", default_value_t = -1, hide_default_value = true)]
    cas: i64,
}

impl Put {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let data = input::data(&self.data)?;
        if data.is_empty() {
            return Err(Failure::local("Must supply data"));
        }
        let target = Target::find(session, &self.place).await?;
        if self.cas >= 0 {
            target.must_be_versioned("Check-and-set")?;
        }
        let path = target.at("data");
        let body = if target.versioned { versioned(data, self.cas) } else { data };
        let answer = session.write(&format!("writing data to {path}"), &path, body).await?;
        written(session, &path, answer.as_ref())
    }
}

/// The body for a versioned mount.
pub(super) fn versioned(data: Map<String, Value>, cas: i64) -> Map<String, Value> {
    let mut options = Map::new();
    if cas >= 0 {
        options.insert("cas".to_owned(), cas.into());
    }
    let mut body = Map::new();
    body.insert("data".to_owned(), json!(data));
    body.insert("options".to_owned(), json!(options));
    body
}
