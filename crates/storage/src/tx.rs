//! The unit of work: everything one request reads and writes, committed once.

use std::{
    collections::{BTreeMap, btree_map},
    fmt, io,
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Batch, CommitError, Entry, Error, Key, Page, Part, Revision, Scan, Store};

/// Collects the reads and writes of one request. Reads see the writes that went before. Nothing is visible to others
/// before [`Tx::commit`], and then all of it at once.
///
/// A commit is refused if a key that was read has changed since. Listings are not guarded: a key that appears in a
/// listed range between the listing and the commit goes unnoticed.
pub struct Tx {
    store: Arc<dyn Store>,
    work: Mutex<Work>,
    /// The unit of work that this one names a part of; nothing is kept here then.
    of: Option<(Arc<Tx>, Arc<Part>)>,
}

#[derive(Default)]
struct Work {
    reads: BTreeMap<Key, Option<Revision>>,
    writes: BTreeMap<Key, Option<Bytes>>,
    /// Whether a commit with writes is refused.
    only_reads: bool,
}

impl Tx {
    /// An empty unit of work over `store`.
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, work: Mutex::default(), of: None })
    }

    /// The same unit of work with keys inside `part`, a part of its store. What is read and written through either is one
    /// commit.
    pub fn within(self: &Arc<Self>, part: &Arc<Part>) -> Arc<Self> {
        let store = Arc::clone(part) as Arc<dyn Store>;
        Arc::new(Self { store, work: Mutex::default(), of: Some((Arc::clone(self), Arc::clone(part))) })
    }

    /// The whole unit of work that this one names a part of; itself if it is no part. For services that keep their
    /// records by the place that an id tells.
    pub fn whole(&self) -> &Self {
        self.of.as_ref().map_or(self, |(whole, _)| whole)
    }

    /// As [`Tx::whole`], to be shared.
    pub fn outer(self: &Arc<Self>) -> &Arc<Self> {
        self.of.as_ref().map_or(self, |(whole, _)| whole)
    }

    /// The store below, for a commit that must not wait for this one (an intent, a claim).
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The value at `key` as this unit of work sees it. The commit will expect it unchanged.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// As [`Tx::get`], with the commit that wrote the value (0 for one that this unit of work wrote) and what is derived from
    /// it.
    pub async fn get_entry(&self, key: &Key) -> Result<Option<Entry>, Error> {
        match &self.of {
            None => self.read(key).await,
            Some((whole, part)) => whole.read(&part.whole(key)).await,
        }
    }

    async fn read(&self, key: &Key) -> Result<Option<Entry>, Error> {
        if let Some(written) = self.work.lock().writes.get(key) {
            return Ok(written.clone().map(|value| Entry::new(value, 0)));
        }
        let entry = self.store.get(key).await?;
        let mut work = self.work.lock();
        if work.only_reads {
            // There will be no commit that could expect anything.
            return Ok(entry);
        }
        // The first read stands: a second one that differs must not hide the change.
        if let btree_map::Entry::Vacant(first) = work.reads.entry(key.clone()) {
            first.insert(entry.as_ref().map(|entry| entry.revision));
        }
        Ok(entry)
    }

    /// The value at `key`, decoded from JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        self.get(key).await?.map(|value| decode(key.as_str(), &value)).transpose()
    }

    /// Writes `value` at `key`.
    pub fn put(&self, key: Key, value: Bytes) {
        self.write(key, Some(value));
    }

    fn write(&self, key: Key, value: Option<Bytes>) {
        match &self.of {
            None => self.work.lock().writes.insert(key, value),
            Some((whole, part)) => whole.work.lock().writes.insert(part.whole(&key), value),
        };
    }

    /// Writes `value` as JSON at `key`.
    pub fn put_json<T: Serialize>(&self, key: Key, value: &T) -> Result<(), Error> {
        let value = encode(key.as_str(), value)?;
        self.put(key, value);
        Ok(())
    }

    /// Removes `key`; removing what is not there is fine.
    pub fn delete(&self, key: Key) {
        self.write(key, None);
    }

    /// Up to `scan.limit` entries below `scan.prefix` and after `scan.after` as this unit of work sees them, ascending;
    /// and whether there are more behind them. Without `scan.values` the values are empty.
    pub async fn scan(&self, scan: &Scan) -> Result<(Vec<(Key, Bytes)>, bool), Error> {
        let Some((whole, part)) = &self.of else { return self.scan_own(scan).await };
        let (entries, more) = whole.scan_own(&part.whole_scan(scan)).await?;
        let own = entries.into_iter().filter_map(|(key, value)| Some((part.own(&key)?, value)));
        Ok((own.collect(), more))
    }

    async fn scan_own(&self, scan: &Scan) -> Result<(Vec<(Key, Bytes)>, bool), Error> {
        let limit = scan.limit.max(1);
        let mut found = Vec::new();
        let mut rest = scan.clone();
        loop {
            let page = self.store.scan(&rest).await?;
            let bound = if page.more { page.entries.last().map(|(key, _)| key.clone()) } else { None };
            let work = self.work.lock();
            found.extend(work.overlay(&rest, page, bound.as_ref()));
            // What lies behind the bound counts only if this unit of work does not delete it.
            let enough = found.len() > limit
                || found.len() == limit
                    && bound.as_ref().is_some_and(|bound| !work.deletes_behind(bound, &scan.prefix));
            let Some(bound) = bound.filter(|_| !enough) else {
                found.truncate(limit);
                return Ok((found, enough));
            };
            rest.after = Some(bound.as_str().to_owned());
            rest.limit = limit.saturating_sub(found.len()).max(SMALL_PAGE);
        }
    }

    /// Whether anything was written.
    pub fn is_read_only(&self) -> bool {
        self.whole().work.lock().writes.is_empty()
    }

    /// Refuses to commit writes from now on: who holds it has said that it only reads.
    pub fn forbid_writes(&self) {
        self.whole().work.lock().only_reads = true;
    }

    /// Makes everything written visible and durable at once. Without writes this does nothing and gives `None`.
    /// Afterwards the unit of work is empty.
    pub async fn commit(&self) -> Result<Option<Revision>, CommitError> {
        let whole = self.whole();
        let work = whole.take();
        if work.writes.is_empty() {
            return Ok(None);
        }
        if work.only_reads {
            return Err(Error::Damaged("a unit of work that was only to read has written".to_owned()).into());
        }
        let batch = Batch { expect: work.reads.into_iter().collect(), writes: work.writes.into_iter().collect() };
        whole.store.commit(batch).await.map(Some)
    }

    /// Forgets everything read and written, before another try.
    pub fn clear(&self) {
        drop(self.whole().take());
    }

    fn take(&self) -> Work {
        let mut work = self.work.lock();
        let only_reads = work.only_reads;
        std::mem::replace(&mut *work, Work { only_reads, ..Work::default() })
    }

    /// The part of the store below `prefix`.
    pub fn view(self: &Arc<Self>, prefix: impl Into<Arc<str>>) -> View {
        View { tx: Arc::clone(self), prefix: prefix.into() }
    }
}

impl Work {
    /// A page of the store with the own writes laid over it, up to `bound`, where the store has more behind the page.
    fn overlay(&self, scan: &Scan, page: Page, bound: Option<&Key>) -> BTreeMap<Key, Bytes> {
        let mut merged: BTreeMap<_, _> = page.entries.into_iter().map(|(key, entry)| (key, entry.value)).collect();
        let own = self.writes.range(Key::new(&scan.prefix)..);
        for (key, written) in own.take_while(|(key, _)| key.as_str().starts_with(&scan.prefix)) {
            let before = scan.after.as_deref().is_some_and(|after| key.as_str() <= after);
            if before || bound.is_some_and(|bound| key > bound) {
                continue;
            }
            match written {
                Some(value) if scan.values => merged.insert(key.clone(), value.clone()),
                Some(_) => merged.insert(key.clone(), Bytes::new()),
                None => merged.remove(key),
            };
        }
        merged
    }

    fn deletes_behind(&self, bound: &Key, prefix: &str) -> bool {
        let behind = self.writes.range((Bound::Excluded(bound), Bound::Unbounded));
        behind.take_while(|(key, _)| key.as_str().starts_with(prefix)).any(|(_, written)| written.is_none())
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = self.whole().work.lock();
        write!(f, "Tx({} read, {} written)", work.reads.len(), work.writes.len())
    }
}

/// The part of a unit of work below a prefix: all that an engine sees of the store.
#[derive(Clone, Debug)]
pub struct View {
    tx: Arc<Tx>,
    prefix: Arc<str>,
}

/// A page of a folder listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// The names directly below the folder, ascending; a name that has more below it ends in `/`.
    pub names: Vec<String>,
    /// Whether there are more names behind these.
    pub more: bool,
}

impl View {
    /// The unit of work this is a part of.
    pub fn tx(&self) -> &Arc<Tx> {
        &self.tx
    }

    /// The part below `prefix` (relative to this part).
    pub fn view(&self, prefix: &str) -> Self {
        Self { tx: Arc::clone(&self.tx), prefix: format!("{}{prefix}", self.prefix).into() }
    }

    /// The full key of a relative path.
    pub fn key(&self, path: &str) -> Key {
        Key::join([&self.prefix, path])
    }

    /// The value at `path`.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, Error> {
        self.tx.get(&self.key(path)).await
    }

    /// The value at `path`, with what is derived from it.
    pub async fn get_entry(&self, path: &str) -> Result<Option<Entry>, Error> {
        self.tx.get_entry(&self.key(path)).await
    }

    /// The value at `path`, decoded from JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        self.tx.get_json(&self.key(path)).await
    }

    /// Writes `value` at `path`.
    pub fn put(&self, path: &str, value: Bytes) {
        self.tx.put(self.key(path), value);
    }

    /// Writes `value` as JSON at `path`.
    pub fn put_json<T: Serialize>(&self, path: &str, value: &T) -> Result<(), Error> {
        self.tx.put_json(self.key(path), value)
    }

    /// Removes `path`.
    pub fn delete(&self, path: &str) {
        self.tx.delete(self.key(path));
    }

    /// The entries below `prefix` in order, after the relative path `after`, at most `limit`; and whether there are
    /// more. The paths are relative to this view.
    pub async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, Bytes)>, bool), Error> {
        let scan = Scan {
            prefix: format!("{}{prefix}", self.prefix),
            after: after.map(|after| format!("{}{after}", self.prefix)),
            limit,
            values: true,
        };
        let (entries, more) = self.tx.scan(&scan).await?;
        let strip = |key: Key| key.as_str().get(self.prefix.len()..).unwrap_or_default().to_owned();
        Ok((entries.into_iter().map(|(key, value)| (strip(key), value)).collect(), more))
    }

    /// The names directly below `folder` (empty, or ending in `/`), after the name `after`, at most `limit`.
    /// A sub-folder costs one look-up however much lies in it.
    pub async fn list(&self, folder: &str, after: Option<&str>, limit: usize) -> Result<Folder, Error> {
        let base = format!("{}{folder}", self.prefix);
        let mut last = after.unwrap_or_default().to_owned();
        let after = after.map(|name| beyond(&base, name));
        let mut scan = Scan { prefix: base.clone(), after, limit: SMALL_PAGE, values: false };
        let mut names = Vec::new();
        loop {
            let (entries, more) = self.tx.scan(&scan).await?;
            let before = names.len();
            for (key, _) in &entries {
                let name = first_segment(key.as_str().get(base.len()..).unwrap_or_default());
                // Names ascend as their keys do, so this also passes over the rest of a folder already named.
                if name <= last.as_str() {
                    continue;
                }
                if names.len() == limit {
                    return Ok(Folder { names, more: true });
                }
                last = name.to_owned();
                names.push(name.to_owned());
            }
            let Some((end, _)) = entries.last().filter(|_| more) else {
                return Ok(Folder { names, more: false });
            };
            scan.after = Some(beyond(&base, &last).max(end.as_str().to_owned()));
            // Big folders are left after a small page; many small ones are read in large pages.
            let fruitful = (names.len() - before) * 4 > entries.len();
            scan.limit = if fruitful { (scan.limit * 4).min(LARGE_PAGE) } else { SMALL_PAGE };
        }
    }
}

const SMALL_PAGE: usize = 32;
const LARGE_PAGE: usize = 512;

/// The text up to and with the first `/`.
fn first_segment(path: &str) -> &str {
    path.split_inclusive('/').next().unwrap_or_default()
}

/// A key behind (nearly) everything that belongs to `name` below `base`: for a folder, behind all that is in it.
fn beyond(base: &str, name: &str) -> String {
    match name.ends_with('/') {
        true => format!("{base}{name}{}", char::MAX),
        false => format!("{base}{name}"),
    }
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Error> {
    // The cause is not told: it may quote the value.
    serde_json::from_slice(value).map_err(|_| Error::Damaged(format!("{key} does not hold what it should")))
}

fn encode<T: Serialize>(key: &str, value: &T) -> Result<Bytes, Error> {
    let mut wiped = Wiped::default();
    serde_json::to_writer(&mut wiped, value).map_err(|_| Error::Damaged(format!("{key} cannot be written as JSON")))?;
    Ok(Bytes::from_owner(wiped.0))
}

/// A buffer that wipes itself, also what it leaves behind when it grows.
struct Wiped(secret::Zeroizing<Vec<u8>>);

impl Default for Wiped {
    fn default() -> Self {
        Self(secret::Zeroizing::new(Vec::with_capacity(512)))
    }
}

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.0.capacity() * 2));
            larger.extend_from_slice(&self.0);
            self.0 = secret::Zeroizing::new(larger);
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
