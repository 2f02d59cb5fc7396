//! Who made or deleted a version.

use engine::Caller;
use serde::{Deserialize, Serialize};

/// The name of a token and its entity, or a part of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Author {
    actor: String,
    #[serde(default)]
    entity_id: String,
}

impl Author {
    /// The holder of a token.
    pub(crate) fn caller(caller: &Caller) -> Self {
        Self { actor: caller.display_name.to_string(), entity_id: caller.entity_id.to_string() }
    }

    /// The upgrade of a mount without versions.
    pub(crate) fn upgrade() -> Self {
        Self { actor: "upgrade".to_owned(), entity_id: String::new() }
    }

    /// The server's own rotation.
    pub(crate) fn rotation() -> Self {
        Self { actor: "rotation".to_owned(), entity_id: String::new() }
    }
}
