//! The version of the stored form, readable before the barrier is open.
//!
//! Each part that lies there in a form of its own carries its version besides: the file of the embedded store, the record of
//! the seal, the keyring, each sealed value. This one stands for what lies inside the barrier.

use std::sync::Arc;

use bytes::Bytes;
use gate::Error;
use serde::{Deserialize, Serialize};
use storage::{Batch, CommitError, Key, Store};

/// What stands at [`barrier::FORMAT`].
#[derive(Serialize, Deserialize)]
struct Record {
    format: u64,
    /// The version of the program that wrote it first.
    #[serde(default)]
    version: String,
}

/// The record for a new store.
pub(crate) fn record(version: &str) -> (Key, Bytes) {
    let record = Record { format: FORMAT, version: version.to_owned() };
    // A number and a text: there is nothing that could fail.
    (Key::new(barrier::FORMAT), serde_json::to_vec(&record).unwrap_or_default().into())
}

/// Refuses what a newer version wrote.
pub(crate) async fn check(store: &Arc<dyn Store>) -> Result<(), Error> {
    let entry = store.get(&Key::new(barrier::FORMAT)).await?;
    entry.map_or(Ok(()), |entry| check_record(&entry.value))
}

/// As [`check`], of a record that was found elsewhere.
pub(crate) fn check_record(json: &[u8]) -> Result<(), Error> {
    let record: Record = serde_json::from_slice(json)
        .map_err(|_| Error::invalid("the version of the stored form cannot be read: the data is damaged"))?;
    if record.format > FORMAT {
        return Err(Error::invalid(format!(
            "the data was written by strongroom {} in format {}, this version knows formats up to {FORMAT}: install a newer strongroom",
            record.version, record.format
        )));
    }
    Ok(())
}

/// Notes the version in a store that has none, which is from before there was a note.
pub(crate) async fn note(store: &Arc<dyn Store>, version: &str) -> Result<(), Error> {
    let (key, value) = record(version);
    if store.get(&key).await?.is_some() {
        return Ok(());
    }
    match store.commit(Batch { expect: vec![(key.clone(), None)], writes: vec![(key, Some(value))] }).await {
        // Another node was quicker.
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
        Err(CommitError::Store(error)) => Err(error.into()),
        Err(error) => Err(Error::Unavailable(error.to_string())),
    }
}

/// The version that is written. It grows when an older program would read what lies there wrongly.
const FORMAT: u64 = 1;
