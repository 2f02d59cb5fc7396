use api::Verb;
use clap::ValueEnum;
use client::Error;
use serde_json::{Map, Value};

use super::{Place, put::versioned, target::Target, written};
use crate::{
    failure::{Failure, Outcome},
    input,
    output::answer::Answer,
    session::Session,
};

/// Change some fields of a secret, as a new version
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Change one field and leave the others:
        strongroom kv patch -mount=secret app/db password=-

    Remove a field:
        strongroom kv patch -mount=secret -remove-data=old_password app/db")]
pub(crate) struct Patch {
    #[command(flatten)]
    place: Place,

    /// The fields to change: NAME=VALUE, NAME=@FILE, NAME=-, @FILE with a JSON object, or - for one on standard input
    #[arg(value_name = "DATA", required_unless_present = "remove_data")]
    data: Vec<String>,

    /// Change only if this is the current version
    #[arg(long, value_name = "NUMBER", default_value_t = -1, hide_default_value = true)]
    cas: i64,

    /// How: patch (one request), or rw (read, then write); otherwise patch, and rw if the server refuses it
    #[arg(long)]
    method: Option<Method>,

    /// A field to remove; may be repeated
    #[arg(long, value_name = "NAME")]
    remove_data: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    Patch,
    Rw,
}

impl Patch {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let changes = input::data(&self.data)?;
        let target = Target::find(session, &self.place).await?;
        if !target.versioned {
            return Err(Failure::local("K/V engine mount must be version 2 for patch support"));
        }
        if self.method != Some(Method::Rw)
            && let Some(outcome) = self.merge(session, &target, &changes).await?
        {
            return Ok(outcome);
        }
        self.rewrite(session, &target, changes).await
    }

    /// One request. `None` if the server has no such thing and another way is allowed.
    async fn merge(
        &self,
        session: &Session,
        target: &Target,
        changes: &Map<String, Value>,
    ) -> Result<Option<u8>, Failure> {
        let path = target.at("data");
        let mut changes = changes.clone();
        for name in &self.remove_data {
            changes.insert(name.clone(), Value::Null);
        }
        let body = Value::Object(versioned(changes, self.cas));
        match session.attempt(Verb::Patch, &path, &[], Some(body)).await? {
            Ok(response) => {
                let answer = Answer::read(&response).map_err(Failure::Local)?;
                written(session, &path, answer.as_ref()).map(Some)
            }
            Err(Error::Api { status: 403 | 405, .. }) if self.method.is_none() => Ok(None),
            Err(Error::Api { status: 404, errors, .. }) if errors.is_empty() => {
                Err(Failure::Nothing(format!("No value found at {path}")))
            }
            Err(error) => Err(Failure::Api { doing: format!("writing data to {path}"), error: Box::new(error) }),
        }
    }

    /// Reads the secret and writes it changed, unless somebody was faster.
    async fn rewrite(&self, session: &Session, target: &Target, changes: Map<String, Value>) -> Outcome {
        let path = target.at("data");
        let current = target.read_own(session, None).await?;
        let Some((mut data, version)) = current.as_ref().and_then(contents) else {
            return Err(Failure::Nothing(format!("No value found at {path}")));
        };
        data.extend(changes);
        for name in &self.remove_data {
            data.remove(name);
        }
        let cas = if self.cas >= 0 { self.cas } else { version };
        let answer = session.write(&format!("writing data to {path}"), &path, versioned(data, cas)).await?;
        written(session, &path, answer.as_ref())
    }
}

/// The fields of a secret and its version; `None` if that version is deleted.
pub(super) fn contents(answer: &Answer) -> Option<(Map<String, Value>, i64)> {
    let data = serde_json::from_str(&answer.at("data")?.pretty()).ok()?;
    Some((data, answer.at("metadata").map_or(0, |metadata| metadata.integer_at("version"))))
}
