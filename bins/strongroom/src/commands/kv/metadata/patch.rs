use serde_json::Value;

use super::Settings;
use crate::{
    commands::kv::{Place, target::Target},
    failure::Outcome,
    session::Session,
};

/// Change some of a secret's settings
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Add a note and leave the others:
        strongroom kv metadata patch -mount=secret -custom-metadata=owner=payments app/db

    Remove a note:
        strongroom kv metadata patch -mount=secret -remove-custom-metadata=owner app/db")]
pub(crate) struct Patch {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    settings: Settings,

    /// A note to remove; may be repeated
    #[arg(long, value_name = "NAME")]
    remove_custom_metadata: Vec<String>,
}

impl Patch {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let mut body = self.settings.body()?;
        if !self.remove_custom_metadata.is_empty() {
            let notes = body.entry("custom_metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Value::Object(notes) = notes {
                notes.extend(self.remove_custom_metadata.iter().map(|name| (name.clone(), Value::Null)));
            }
        }
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Metadata")?;
        let path = target.at("metadata");
        let doing = format!("writing data to {path}");
        let answer = session.ask(&doing, api::Verb::Patch, &path, &[], Some(Value::Object(body))).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}
