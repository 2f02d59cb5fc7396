//! Reads a whole store at one revision.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use storage::{Batch, Change, Changes, CommitError, Frozen, Key, Page, Revision, Scan, Store};

use crate::{
    Error,
    record::{Record, is_own},
};

/// A store on its way into a snapshot: first every entry in the order of the keys, then corrections where the store cannot
/// be frozen.
pub(crate) struct Walk {
    store: Arc<dyn Store>,
    of: Of,
    after: Option<String>,
    limit: usize,
}

enum Of {
    /// One state in all pages.
    Frozen(Box<dyn Frozen>),
    /// Each page is of its own moment; these are the changes since the first one.
    Moving(Changes, BTreeSet<Key>),
}

impl Walk {
    pub(crate) async fn begin(store: Arc<dyn Store>) -> Result<Self, Error> {
        let of = match store.freeze().await? {
            Some(frozen) => Of::Frozen(frozen),
            None => Of::Moving(store.follow(), BTreeSet::new()),
        };
        Ok(Self { store, of, after: None, limit: FEW })
    }

    /// The revision, where it is known from the beginning.
    pub(crate) fn revision(&self) -> Option<Revision> {
        match &self.of {
            Of::Frozen(frozen) => Some(frozen.revision()),
            Of::Moving(..) => None,
        }
    }

    /// The next entries; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Record>>, Error> {
        let scan = Scan { prefix: String::new(), after: self.after.clone(), limit: self.limit, values: true };
        let Page { entries, more } = match &mut self.of {
            Of::Frozen(frozen) => frozen.scan(&scan).await?,
            Of::Moving(changes, dirty) => {
                gather(changes, dirty)?;
                self.store.scan(&scan).await?
            }
        };
        let Some((last, _)) = entries.last() else { return Ok(None) };
        self.after = Some(last.as_str().to_owned());
        let bytes: usize = entries.iter().map(|(_, entry)| entry.value.len()).sum();
        self.limit = match bytes {
            0..SMALL if more => (self.limit * 2).min(MANY),
            LARGE.. => (self.limit / 4).max(1),
            _ => self.limit,
        };
        let records = entries.into_iter().map(|(key, entry)| Record { key, value: Some(entry.value) });
        Ok(Some(records.filter(|record| !is_own(record.key.as_str())).collect()))
    }

    /// What has to be corrected so that all of it is of one revision, and that revision. What comes later in the list counts.
    pub(crate) async fn settle(mut self) -> Result<(Vec<Record>, Revision), Error> {
        let (changes, dirty) = match &mut self.of {
            Of::Frozen(frozen) => return Ok((Vec::new(), frozen.revision())),
            Of::Moving(changes, dirty) => (changes, dirty),
        };
        let mut corrections = Vec::new();
        let mut told = None;
        for _ in 0..TRIES {
            gather(changes, dirty)?;
            let (records, expect) = read(&*self.store, dirty).await?;
            // It checks that nothing of this changed since it was read, and says which moment it is.
            let revision = match self.store.commit(Batch { expect, writes: Vec::new() }).await {
                Ok(revision) => revision,
                Err(CommitError::Conflict(key)) => {
                    dirty.insert(key);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            corrections.extend(records);
            dirty.clear();
            // Whatever else changed up to that moment has to be heard of.
            if let Some(last) = catch_up(changes, dirty, revision, told).await? {
                told = Some(last);
            }
            if dirty.is_empty() {
                return Ok((corrections, revision));
            }
        }
        Err(Error::Busy)
    }
}

/// The entries as they are, and what a commit has to expect for them to be so still.
type Read = (Vec<Record>, Vec<(Key, Option<Revision>)>);

async fn read(store: &dyn Store, keys: &BTreeSet<Key>) -> Result<Read, Error> {
    let (mut records, mut expect) = (Vec::new(), Vec::new());
    for key in keys {
        let entry = store.get(key).await?;
        expect.push((key.clone(), entry.as_ref().map(|entry| entry.revision)));
        records.push(Record { key: key.clone(), value: entry.map(|entry| entry.value) });
    }
    Ok((records, expect))
}

/// Notes the changes that were told of so far.
fn gather(changes: &mut Changes, dirty: &mut BTreeSet<Key>) -> Result<(), Error> {
    while let Some(Some(change)) = changes.next().now_or_never() {
        note(change, dirty)?;
    }
    Ok(())
}

/// Notes the changes up to `revision`; gives the last one that was told of. A commit of other keys than ours announces
/// itself, so silence for a while means that there is none.
async fn catch_up(
    changes: &mut Changes,
    dirty: &mut BTreeSet<Key>,
    revision: Revision,
    told: Option<Revision>,
) -> Result<Option<Revision>, Error> {
    let mut last = told;
    while last.is_none_or(|last| last < revision) {
        match tokio::time::timeout(SILENCE, changes.next()).await {
            Ok(Some(change)) => last = note(change, dirty)?.or(last),
            Ok(None) => return Err(Error::Storage(storage::Error::Unavailable("the store was closed".to_owned()))),
            Err(_) => break,
        }
    }
    gather(changes, dirty)?;
    Ok(last)
}

fn note(change: Change, dirty: &mut BTreeSet<Key>) -> Result<Option<Revision>, Error> {
    match change {
        Change::Keys(revision, keys) => {
            dirty.extend(keys.iter().filter(|key| !is_own(key.as_str())).cloned());
            Ok(Some(revision))
        }
        Change::Current { revision, .. } => Ok(Some(revision)),
        Change::Lost => Err(Error::Busy),
    }
}

/// How many entries are asked for at first, and at most.
const FEW: usize = 32;
const MANY: usize = 1024;
/// The bytes of a page below which more entries are asked for, and above which fewer.
const SMALL: usize = 256 * 1024;
const LARGE: usize = 4 * 1024 * 1024;
/// How often one moment is looked for.
const TRIES: usize = 500;
/// How long a change may take to be told of: well above `max_staleness`.
const SILENCE: Duration = Duration::from_secs(3);
