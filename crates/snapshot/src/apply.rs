//! Puts a snapshot into a store.

use std::{fs::File, path::Path, sync::Arc};

use bytes::Bytes;
use storage::{Batch, Key, Page, Scan, Store};
use tokio::sync::mpsc;

use crate::{
    Content, Error,
    check::Parts,
    error::damaged,
    record::{Record, is_own},
    sums::{Hashed, Summing},
};

/// Is told how many entries were done so far.
pub type Progress<'p> = &'p (dyn Fn(u64) + Send + Sync);

/// Replaces what `store` holds by the snapshot in `file`, reads it back, and compares it with `expected`, which is what
/// [`crate::check`] found in the file. The entries of a restore or copy that is under way stay.
///
/// It is not one commit. Cut off, it leaves a mixture, and has to be run again from the start until it succeeds: whoever
/// calls it has made sure before that nobody takes the store for sound meanwhile.
pub async fn apply(
    store: &Arc<dyn Store>,
    file: &Path,
    expected: &Content,
    progress: Progress<'_>,
) -> Result<(), Error> {
    clear(store).await?;
    let mut parts = read_ahead(file.to_owned());
    let mut writer = Writer::new(store);
    while let Some(part) = parts.recv().await {
        for record in part? {
            writer.add(record.key, record.value).await?;
        }
        progress(writer.done);
    }
    writer.flush().await?;
    progress(writer.done);
    let found = sum(store, &|_| {}).await?;
    if found != *expected {
        return Err(damaged(format!(
            "{} entries were read back, {} were expected, or their sums differ",
            found.entries, expected.entries
        )));
    }
    Ok(())
}

/// Removes everything but what belongs to a restore or copy.
pub(crate) async fn clear(store: &Arc<dyn Store>) -> Result<(), Error> {
    let mut writer = Writer::new(store);
    let mut after = None;
    loop {
        let scan = Scan { prefix: String::new(), after, limit: 1000, values: false };
        let Page { entries, more } = store.scan(&scan).await?;
        after = entries.last().map(|(key, _)| key.as_str().to_owned());
        for (key, _) in entries.into_iter().filter(|(key, _)| !is_own(key.as_str())) {
            writer.add(key, None).await?;
        }
        if !more {
            return writer.flush().await;
        }
    }
}

/// What `store` holds, summed up.
pub(crate) async fn sum(store: &Arc<dyn Store>, progress: Progress<'_>) -> Result<Content, Error> {
    let mut walk = crate::walk::Walk::begin(Arc::clone(store)).await?;
    let mut summing = Summing::default();
    let mut done = 0;
    while let Some(records) = walk.next().await? {
        for record in records {
            if let Some(value) = &record.value {
                summing.add(&Hashed::of(&record.key, value));
                done += 1;
            }
        }
        progress(done);
    }
    let (corrections, _) = walk.settle().await?;
    match corrections.is_empty() {
        true => Ok(summing.finish()),
        false => Err(Error::Differs("it changed while it was read".to_owned())),
    }
}

/// The parts of the file, read by a thread that may block.
fn read_ahead(file: std::path::PathBuf) -> mpsc::Receiver<Result<Vec<Record>, Error>> {
    let (send, receive) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let read = || {
            let mut parts = Parts::begin(File::open(&file)?)?;
            while let Some((_, records)) = parts.next()? {
                if send.blocking_send(Ok(records)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        if let Err(error) = read() {
            // Nobody listens any more if this fails.
            let _ = send.blocking_send(Err(error));
        }
    });
    receive
}

/// Writes entries in commits that every store takes.
pub(crate) struct Writer<'s> {
    store: &'s Arc<dyn Store>,
    batch: Vec<(Key, Option<Bytes>)>,
    bytes: usize,
    pub(crate) done: u64,
}

impl<'s> Writer<'s> {
    pub(crate) fn new(store: &'s Arc<dyn Store>) -> Self {
        Self { store, batch: Vec::new(), bytes: 0, done: 0 }
    }

    pub(crate) async fn add(&mut self, key: Key, value: Option<Bytes>) -> Result<(), Error> {
        let size = key.as_str().len() + value.as_ref().map_or(0, Bytes::len);
        // A key stands at most once in a commit; the later one counts.
        let again = self.batch.last().is_some_and(|(last, _)| *last >= key);
        if again || self.batch.len() >= BATCH || self.bytes + size > BATCH_BYTES {
            self.flush().await?;
        }
        self.bytes += size;
        self.batch.push((key, value));
        self.done += 1;
        Ok(())
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.store.commit(Batch { expect: Vec::new(), writes: std::mem::take(&mut self.batch) }).await?;
        Ok(())
    }
}

/// What a commit holds at most: within what the smallest engines take.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 512 * 1024;
