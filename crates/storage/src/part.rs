//! A part of a store that is a store itself.

use std::sync::Arc;

use futures::{StreamExt as _, future::ready};

use crate::{Batch, BoxFuture, Change, Changes, CommitError, Entry, Error, Key, Page, Revision, Scan, Store};

/// The entries of a store below a prefix, as a store: whoever holds it cannot name a key outside.
///
/// [`Change::Lost`] and revisions are those of the store below.
pub struct Part {
    below: Arc<dyn Store>,
    prefix: Arc<str>,
}

impl Part {
    /// The part of `below` whose keys begin with `prefix`, which ends in a slash.
    pub fn new(below: Arc<dyn Store>, prefix: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self { below, prefix: prefix.into() })
    }

    /// The store that this is a part of.
    pub fn below(&self) -> Arc<dyn Store> {
        Arc::clone(&self.below)
    }

    /// The key of the store below.
    pub(crate) fn whole(&self, key: &Key) -> Key {
        Key::join([&self.prefix, key.as_str()])
    }

    /// The key of this part; `None` if it lies outside.
    pub(crate) fn own(&self, key: &Key) -> Option<Key> {
        key.as_str().strip_prefix(&*self.prefix).map(Key::new)
    }

    pub(crate) fn whole_scan(&self, scan: &Scan) -> Scan {
        Scan {
            prefix: format!("{}{}", self.prefix, scan.prefix),
            after: scan.after.as_ref().map(|after| format!("{}{after}", self.prefix)),
            ..*scan
        }
    }
}

impl Store for Part {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async move { self.below.get(&self.whole(key)).await })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            let page = self.below.scan(&self.whole_scan(scan)).await?;
            let own = page.entries.into_iter().filter_map(|(key, entry)| Some((self.own(&key)?, entry)));
            Ok(Page { entries: own.collect(), more: page.more })
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        let whole = Batch {
            expect: batch.expect.into_iter().map(|(key, revision)| (self.whole(&key), revision)).collect(),
            writes: batch.writes.into_iter().map(|(key, value)| (self.whole(&key), value)).collect(),
        };
        Box::pin(async move {
            self.below.commit(whole).await.map_err(|error| match error {
                CommitError::Conflict(key) => CommitError::Conflict(self.own(&key).unwrap_or(key)),
                CommitError::Store(error) => CommitError::Store(error),
            })
        })
    }

    fn follow(&self) -> Changes {
        let prefix = Arc::clone(&self.prefix);
        let own = move |change: Change| {
            ready(match change {
                Change::Lost | Change::Current { .. } => Some(change),
                Change::Keys(revision, keys) => {
                    let own = keys.iter().filter_map(|key| key.as_str().strip_prefix(&*prefix).map(Key::new));
                    let own: Vec<Key> = own.collect();
                    (!own.is_empty()).then(|| Change::Keys(revision, own.into()))
                }
            })
        };
        Box::pin(self.below.follow().filter_map(own))
    }
}
