use api::Verb;
use serde_json::{Value, json};

use crate::{
    commands::clean,
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Change some of the notes on a namespace
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Change one note and leave the others:
        strongroom namespace patch -custom-metadata=owner=dev team

    Take one away:
        strongroom namespace patch -remove-custom-metadata=owner team")]
pub(crate) struct Patch {
    /// Its name
    name: String,

    /// A note, NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    custom_metadata: Vec<String>,

    /// The name of a note to take away; may be repeated
    #[arg(long, value_name = "NAME")]
    remove_custom_metadata: Vec<String>,
}

impl Patch {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = clean(&self.name);
        let mut changes = input::pairs(&self.custom_metadata)?;
        changes.extend(self.remove_custom_metadata.into_iter().map(|key| (key, Value::Null)));
        if changes.is_empty() {
            return Err(Failure::local("nothing to change: use -custom-metadata or -remove-custom-metadata"));
        }
        let body = json!({ "custom_metadata": changes });
        let path = format!("sys/namespaces/{name}");
        let answer = session.ask("patching namespace", Verb::Patch, &path, &[], Some(body)).await?;
        session.written(answer.as_ref(), &format!("Namespace patched at: {name}/"))
    }
}
