//! The stored form of a namespace.

use std::collections::BTreeMap;

use clock::Timestamp;
use gate::{Error, Namespace};
use serde::{Deserialize, Serialize};
use storage::Key;

/// A namespace, as stored in the part of the one above it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) namespace: Namespace,
    pub(crate) uuid: String,
    pub(crate) custom_metadata: BTreeMap<String, String>,
    pub(crate) created: Timestamp,
    /// While it is locked, the hash of what unlocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lock: Option<String>,
    /// It is being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) leaving: bool,
}

/// What becomes of a key of the metadata: a value, or its end.
pub(crate) type Change = BTreeMap<String, Option<String>>;

impl Stored {
    /// Changes the metadata by merging.
    pub(crate) fn merge(&mut self, change: Change) -> Result<(), Error> {
        for (key, value) in change {
            match value {
                Some(value) => drop(self.custom_metadata.insert(key, value)),
                None => drop(self.custom_metadata.remove(&key)),
            }
        }
        check(&self.custom_metadata)
    }

    /// Puts other metadata in place.
    pub(crate) fn replace(&mut self, metadata: BTreeMap<String, String>) -> Result<(), Error> {
        check(&metadata)?;
        self.custom_metadata = metadata;
        Ok(())
    }
}

fn check(metadata: &BTreeMap<String, String>) -> Result<(), Error> {
    let printable = |text: &String| !text.chars().any(char::is_control);
    let fits = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.len()) && value.len() <= 512 && printable(key) && printable(value)
    };
    if metadata.len() <= 64 && metadata.iter().all(fits) {
        return Ok(());
    }
    Err(Error::invalid("custom_metadata: at most 64 keys of 1 to 128 bytes, values of at most 512, all printable"))
}

/// Where the namespaces right below one lie, in the part of that one.
pub(crate) const BELOW: &str = "sys/namespace/";

/// In the part of the namespace above.
pub(crate) fn key(name: &str) -> Key {
    Key::join([BELOW, name])
}

/// At the top of the store.
pub(crate) fn id_key(id: &str) -> Key {
    Key::join([gate::namespace::IDS, id])
}

/// Where work on namespaces is noted that a restart takes up; at the top of the store.
pub(crate) const WORK: &str = "sys/namespace-work/";

/// Where mounts of namespaces are noted that have work in the background; at the top of the store.
pub(crate) const TENDED: &str = "sys/namespace-tended/";

/// At the top of the store.
pub(crate) fn tended_key(id: &str, mount: &str) -> Key {
    Key::join([TENDED, id, "/", mount])
}

/// `mount` is the id of a mount, or empty for the namespace as a whole.
pub(crate) fn work_key(id: &str, mount: &str) -> Key {
    Key::join([WORK, id, "/", mount])
}
