//! The open barrier as a store.

use std::{
    future::ready,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures::StreamExt;
use secret::Zeroizing;
use storage::{
    Batch, BoxFuture, Change, Changes, CommitError, Entry, Error, Key, MAX_VALUE, Page, Revision, Scan, Store,
};

use crate::{OVERHEAD, RESERVED, Unsealed, envelope, is_reserved, unsealed::Open, witness};

impl Store for Unsealed {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        witness::note(&self.cache.marks, key);
        // A hit needs no key and waits for nothing. A closed cache has no hits.
        match self.cache.get(key) {
            Some(hit) => Box::pin(ready(Ok(hit))),
            None => Box::pin(self.fetch(key)),
        }
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(self.list(scan))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(self.write(batch))
    }

    fn follow(&self) -> Changes {
        if self.is_closed() {
            return Box::pin(futures::stream::empty());
        }
        let cache = Arc::clone(&self.cache);
        Box::pin(self.store.follow().filter_map(move |change| {
            // Whoever hears of a change and reads again must not find the old value, even if the barrier's own
            // follower has not heard of it yet.
            cache.apply(&change);
            ready(shown(change))
        }))
    }
}

impl Unsealed {
    async fn fetch(&self, key: &Key) -> Result<Option<Entry>, Error> {
        // Announced before the keys are taken: what is read while the barrier closes is not kept.
        let miss = self.cache.miss(key);
        let open = self.opened()?;
        if is_reserved(key.as_str()) {
            return Ok(None);
        }
        let found = match self.store.get(key).await? {
            Some(sealed) => Some(self.decrypt(&open, key, sealed).await?),
            None => None,
        };
        self.cache.fill(&miss, key, &found);
        Ok(found)
    }

    async fn list(&self, scan: &Scan) -> Result<Page, Error> {
        witness::forgo();
        let open = self.opened()?;
        let limit = scan.limit.max(1);
        // Room for what has to be left out.
        let wider = Scan { limit: limit.saturating_add(RESERVED), ..scan.clone() };
        let Page { entries, more } = self.store.scan(&wider).await?;
        let mut shown = Vec::with_capacity(entries.len().min(limit));
        let mut entries = entries.into_iter().filter(|(key, _)| !is_reserved(key.as_str()));
        for (key, sealed) in entries.by_ref().take(limit) {
            let entry = if scan.values { self.decrypt(&open, &key, sealed).await? } else { sealed };
            shown.push((key, entry));
        }
        Ok(Page { entries: shown, more: more || entries.next().is_some() })
    }

    async fn write(&self, mut batch: Batch) -> Result<Revision, CommitError> {
        self.opened()?;
        check(&batch)?;
        if !batch.writes.is_empty() {
            witness::forgo();
        }
        let puts = batch.writes.iter().filter(|(_, value)| value.is_some()).count();
        if puts > 0 {
            let term = self.reserve(puts as u64).await.map_err(into_storage)?;
            for (key, value) in &mut batch.writes {
                if let Some(plain) = value.take() {
                    *value = Some(envelope::seal(&term.key, term.number, key.as_str(), &plain).into());
                }
            }
        }
        let _committing = self.cache.commit(batch.writes.iter().map(|(key, _)| key.clone()));
        let committed = self.store.commit(batch).await;
        match &committed {
            Ok(revision) => drop(self.newest.fetch_max(*revision, Ordering::AcqRel)),
            // Another node wrote it, and the news is still under way: who tries again must not read the old value.
            Err(CommitError::Conflict(key)) => self.cache.forget(key),
            Err(_) => {}
        }
        committed
    }

    async fn decrypt(&self, open: &Open, key: &Key, sealed: Entry) -> Result<Entry, Error> {
        let damaged = || Error::Damaged(format!("{} is not a value that was written there", key.as_str()));
        let (term, rest) = envelope::split(&sealed.value).ok_or_else(damaged)?;
        let value = match open.ring.term(term) {
            Some(term) => envelope::open(&term.key, key.as_str(), rest),
            None => {
                // Perhaps another node made a new term and the news is still under way.
                self.reload().await.map_err(into_storage)?;
                let open = self.opened()?;
                open.ring.term(term).and_then(|term| envelope::open(&term.key, key.as_str(), rest))
            }
        };
        let value = wiping(value.ok_or_else(damaged)?);
        Ok(Entry { value, revision: sealed.revision, derived: self.cache.room() })
    }
}

/// Bytes that wipe themselves with the last reference.
fn wiping(value: Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::from_owner(value)
}

/// Whether a batch can be sealed and stored.
fn check(batch: &Batch) -> Result<(), Error> {
    batch.check()?;
    for (key, value) in &batch.writes {
        if is_reserved(key.as_str()) {
            return Err(Error::Damaged(format!("{} belongs to the barrier", key.as_str())));
        }
        let (size, limit) = (value.as_ref().map_or(0, Bytes::len), MAX_VALUE - OVERHEAD);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
    }
    Ok(())
}

/// A change without what the barrier keeps for itself.
fn shown(change: Change) -> Option<Change> {
    match change {
        Change::Keys(revision, keys) if keys.iter().any(|key| is_reserved(key.as_str())) => {
            let keys: Vec<Key> = keys.iter().filter(|key| !is_reserved(key.as_str())).cloned().collect();
            (!keys.is_empty()).then(|| Change::Keys(revision, keys.into()))
        }
        other => Some(other),
    }
}

fn into_storage(error: crate::Error) -> Error {
    match error {
        crate::Error::Storage(error) => error,
        crate::Error::Contended | crate::Error::RootKeyReplaced => Error::Unavailable(error.to_string()),
        other => Error::Damaged(other.to_string()),
    }
}
