//! Copies a store into another one, of the same or another kind.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::{Batch, Key, Page, Scan, Store};

use crate::{
    Content, Error,
    apply::{Writer, clear, sum},
    record::{MIGRATION, is_own},
};

/// What a copy did.
#[derive(Clone, Debug)]
pub struct Moved {
    /// What both stores hold.
    pub content: Content,
    /// Whether it went on with a copy that was cut off.
    pub resumed: bool,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many entries were copied in this run.
    Copied(u64),
    /// So many entries of the source were read again.
    SourceSummed(u64),
    /// So many entries of the destination were read back.
    DestinationSummed(u64),
}

/// What stands in the destination until the copy is done.
#[derive(Serialize, Deserialize)]
struct Marker {
    /// What it is copied from, in the words of who asked for it.
    source: String,
    /// The last key that was copied; empty at the beginning.
    after: String,
}

/// Copies everything from `source` to `destination`, reads both and compares the sums. Nobody may write to either meanwhile.
/// `name` names the source, so that a copy of one source does not go on with that of another. `from_start` gives up a copy
/// that was begun.
///
/// Cut off, it goes on where it was when it is run again. The destination must be empty, or hold a copy that was cut off.
pub async fn migrate(
    source: &Arc<dyn Store>,
    destination: &Arc<dyn Store>,
    name: &str,
    from_start: bool,
    progress: &(dyn Fn(Step) + Send + Sync),
) -> Result<Moved, Error> {
    if first(source).await?.is_none() {
        return Err(Error::NotEmpty("the source is empty: there is nothing to copy; is it the right one?".to_owned()));
    }
    let begun = begun(destination, name, from_start).await?;
    let resumed = begun.is_some();
    let mut after = begun.filter(|marker| !marker.after.is_empty()).map(|marker| marker.after);
    if after.is_none() {
        mark(destination, name, "").await?;
    }
    let mut copied = 0;
    loop {
        let scan = Scan { prefix: String::new(), after: after.clone(), limit: PAGE, values: true };
        let Page { entries, more } = source.scan(&scan).await?;
        let Some(last) = entries.last().map(|(key, _)| key.as_str().to_owned()) else { break };
        let mut writer = Writer::new(destination);
        for (key, entry) in entries.into_iter().filter(|(key, _)| !is_own(key.as_str())) {
            writer.add(key, Some(entry.value)).await?;
        }
        writer.flush().await?;
        copied += writer.done;
        mark(destination, name, &last).await?;
        progress(Step::Copied(copied));
        after = Some(last);
        if !more {
            break;
        }
    }
    compare(source, destination, progress).await.map(|content| Moved { content, resumed })
}

/// Reads both stores, and takes the marker away if they hold the same.
async fn compare(
    source: &Arc<dyn Store>,
    destination: &Arc<dyn Store>,
    progress: &(dyn Fn(Step) + Send + Sync),
) -> Result<Content, Error> {
    let wanted = sum(source, &|done| progress(Step::SourceSummed(done))).await?;
    let found = sum(destination, &|done| progress(Step::DestinationSummed(done))).await?;
    if wanted != found {
        // What went before cannot be trusted: the next run begins anew.
        mark(destination, "", "").await?;
        return Err(Error::Differs(format!("{} and {} entries", wanted.entries, found.entries)));
    }
    let writes = vec![(Key::new(MIGRATION), None)];
    destination.commit(Batch { expect: Vec::new(), writes }).await?;
    Ok(found)
}

/// The copy that was begun, if it can be gone on with.
async fn begun(destination: &Arc<dyn Store>, name: &str, from_start: bool) -> Result<Option<Marker>, Error> {
    let stored = destination.get(&Key::new(MIGRATION)).await?;
    let Some(stored) = stored else {
        return match first(destination).await? {
            None => Ok(None),
            Some(_) => Err(Error::NotEmpty(
                "the destination is not empty: name an empty one; what is there is not overwritten".to_owned(),
            )),
        };
    };
    let marker: Option<Marker> = serde_json::from_slice(&stored.value).ok();
    match marker {
        Some(marker) if marker.source == name && !from_start => Ok(Some(marker)),
        Some(marker) if marker.source.is_empty() || from_start => {
            clear(destination).await?;
            Ok(None)
        }
        _ => Err(Error::NotEmpty(
            "the destination holds a part of a copy from another source: empty it, or run with -start-over".to_owned(),
        )),
    }
}

/// The first key that a store holds.
async fn first(store: &Arc<dyn Store>) -> Result<Option<Key>, Error> {
    let page = store.scan(&Scan { prefix: String::new(), after: None, limit: 3, values: false }).await?;
    Ok(page.entries.into_iter().map(|(key, _)| key).find(|key| !is_own(key.as_str())))
}

async fn mark(destination: &Arc<dyn Store>, source: &str, after: &str) -> Result<(), Error> {
    let marker = Marker { source: source.to_owned(), after: after.to_owned() };
    let json = serde_json::to_vec(&marker).map_err(|error| Error::Io(error.into()))?;
    let writes = vec![(Key::new(MIGRATION), Some(Bytes::from(json)))];
    destination.commit(Batch { expect: Vec::new(), writes }).await?;
    Ok(())
}

/// How many entries are read at once: no more than a few large values fit into memory.
const PAGE: usize = 64;
