//! What is known of a secret beside its value.

mod delete;
mod get;
mod patch;
mod put;

use serde_json::{Map, Value};

use crate::{
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Work with what is known of a secret beside its value
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Show all versions of a secret:
        strongroom kv metadata get -mount=secret app/db

    Keep ten versions and say who owns it:
        strongroom kv metadata put -mount=secret -max-versions=10 -custom-metadata=owner=payments app/db")]
pub(crate) enum Metadata {
    Get(get::Get),
    Put(put::Put),
    Patch(patch::Patch),
    Delete(delete::Delete),
}

impl Metadata {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Get(command) => command.run(session).await,
            Self::Put(command) => command.run(session).await,
            Self::Patch(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
        }
    }
}

// No doc comment: it would replace the description of the command that this is part of.
#[derive(clap::Args)]
struct Settings {
    /// Whether writes must say which version they replace
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    cas_required: Option<bool>,

    /// A note on the secret, as NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    custom_metadata: Vec<String>,

    /// When versions are deleted after they were written; 0s is never
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    delete_version_after: Option<String>,

    /// How many versions are kept; 0 is the mount's setting
    #[arg(long, value_name = "NUMBER")]
    max_versions: Option<u64>,
}

impl Settings {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if let Some(required) = self.cas_required {
            body.insert("cas_required".to_owned(), required.into());
        }
        if !self.custom_metadata.is_empty() {
            body.insert("custom_metadata".to_owned(), input::pairs(&self.custom_metadata)?.into());
        }
        if let Some(after) = &self.delete_version_after {
            body.insert("delete_version_after".to_owned(), after.as_str().into());
        }
        if let Some(versions) = self.max_versions {
            body.insert("max_versions".to_owned(), versions.into());
        }
        Ok(body)
    }
}
