//! The store in memory: for tests, for the development server, and as the model of what a store does.
//!
//! It keeps everything in one ordered map and loses it with the process.

use std::{collections::BTreeMap, fmt, ops::Bound, sync::Arc};

use parking_lot::RwLock;
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Error, Feed, Frozen, Key, Page, Revision, Scan, Store};

/// A store in memory.
#[derive(Default)]
pub struct Memory {
    state: RwLock<State>,
    feed: Feed,
}

#[derive(Clone, Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    revision: Revision,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.state.read().entries.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn apply(&self, batch: Batch) -> Result<Revision, CommitError> {
        batch.check()?;
        let mut state = self.state.write();
        state.check(&batch)?;
        if batch.writes.is_empty() {
            return Ok(state.revision);
        }
        state.revision += 1;
        let revision = state.revision;
        let mut keys = Vec::with_capacity(batch.writes.len());
        for (key, value) in batch.writes {
            match value {
                Some(value) => state.entries.insert(key.clone(), Entry::new(value, revision)),
                None => state.entries.remove(&key),
            };
            keys.push(key);
        }
        // Still under the lock, so that followers hear of commits in their order.
        self.feed.announce(revision, keys);
        Ok(revision)
    }
}

impl State {
    fn check(&self, batch: &Batch) -> Result<(), CommitError> {
        for (key, expected) in &batch.expect {
            if self.entries.get(key).map(|entry| entry.revision) != *expected {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        Ok(())
    }

    fn page(&self, scan: &Scan) -> Page {
        let start = match &scan.after {
            Some(after) if *after >= scan.prefix => Bound::Excluded(Key::new(after)),
            _ => Bound::Included(Key::new(&scan.prefix)),
        };
        let mut range =
            self.entries.range((start, Bound::Unbounded)).take_while(|(key, _)| key.as_str().starts_with(&scan.prefix));
        let shown = |(key, entry): (&Key, &Entry)| match scan.values {
            true => (key.clone(), entry.clone()),
            false => (key.clone(), Entry::new(Default::default(), entry.revision)),
        };
        let entries = range.by_ref().take(scan.limit.max(1)).map(shown).collect();
        Page { entries, more: range.next().is_some() }
    }
}

impl Store for Memory {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async move { Ok(self.state.read().entries.get(key).cloned()) })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { Ok(self.state.read().page(scan)) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move { self.apply(batch) })
    }

    fn follow(&self) -> Changes {
        self.feed.follow()
    }

    fn freeze(&self) -> BoxFuture<'_, Result<Option<Box<dyn Frozen>>, Error>> {
        // Keys and values are shared, so this copies an index.
        let frozen: Box<dyn Frozen> = Box::new(self.state.read().clone());
        Box::pin(async move { Ok(Some(frozen)) })
    }
}

impl Frozen for State {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { Ok(self.page(scan)) })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.read();
        write!(f, "Memory({} entries at {})", state.entries.len(), state.revision)
    }
}
