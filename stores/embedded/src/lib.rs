//! The store in one SQLite file, for a server that stands alone.
//!
//! One thread writes: it takes all the batches that wait, checks and applies them in one transaction, and answers them
//! after one sync. Reads go past it, over a few connections of their own. See `docs/src/design/storage-layout.md` for
//! what lies on disk and what holds after a crash.

mod backup;
mod directory;
mod error;
mod queue;
mod readers;
mod schema;
mod writer;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Error, Frozen, Key, Page, Revision, Scan, Store};

pub use crate::error::OpenError;
use crate::{
    queue::Queue,
    readers::Readers,
    writer::{Shared, Writer},
};

/// A store in one SQLite file. It is closed, and its directory unlocked, when the last reference is dropped.
pub struct Embedded {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    readers: Readers,
    writer: Option<JoinHandle<()>>,
    // Last, so that the directory stays locked until everything else is closed.
    _lock: File,
}

/// How a store is run. The defaults suit a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The greatest size of the file in bytes, rounded down to pages of 4 KiB; a store at its limit refuses writes
    /// that grow it. Default: as much as the disk holds.
    pub max_bytes: Option<u64>,
    /// How many reads run at the same time, at least 1. Default: one per processor, between 2 and 4.
    pub readers: usize,
    /// The memory each connection may use for pages of the file, in KiB. Default: 2048.
    pub cache_kib: u32,
    /// How long nobody must have written before space is given back to the file system. Default: 1 s.
    pub idle: Duration,
    /// While others write without such a pause: how long to let them before a small piece of free space is given back
    /// between two of their commits. Default: 100 ms, which gives back some 5 MiB a second.
    pub busy: Duration,
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Batches with writes that were applied.
    pub commits: u64,
    /// Transactions they were applied in; each is one sync.
    pub syncs: u64,
    /// Bytes of keys and values in these batches.
    pub bytes: u64,
    /// Batches refused because of a conflict.
    pub conflicts: u64,
    /// Times the log was written back into the main file; each costs two syncs.
    pub checkpoints: u64,
}

impl Embedded {
    /// Opens the store in the directory `path`, and makes both if they are not there.
    ///
    /// It blocks for a few disk accesses, however large the store. The directory is locked until the store is
    /// dropped.
    pub fn open(path: &Path, options: Options) -> Result<Arc<Self>, OpenError> {
        let lock = directory::prepare(path)?;
        let file = directory::data_file(path)?;
        let connection = schema::open_writer(&file, &options)?;
        let revision = schema::check(&connection, &file)?;
        let readers = Readers::open(&file, &options)?;
        let queue = Arc::new(Queue::new());
        let shared = Arc::new(Shared::new(file.clone()));
        let writer = Writer::new(connection, Arc::clone(&queue), Arc::clone(&shared), revision, &options)
            .map_err(|error| OpenError::from_sqlite(&file, &error))?;
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io { path: file, source })?;
        Ok(Arc::new(Self { queue, shared, readers, writer: Some(writer), _lock: lock }))
    }

    /// The file that holds everything.
    pub fn file(&self) -> &Path {
        &self.shared.file
    }

    /// What the store has done since it was opened.
    pub fn stats(&self) -> Stats {
        self.shared.counters.stats()
    }

    /// Writes a copy of the store, as it is at one moment, to the new file `path`, while reads and writes go on. To
    /// restore it, put it as `strongroom.db` into an empty directory. Fails if `path` exists; leaves nothing at `path`
    /// if it fails.
    pub async fn backup_to(&self, path: &Path) -> Result<(), Error> {
        let (from, to) = (self.shared.file.clone(), path.to_owned());
        blocking(move || backup::copy(&from, &to)).await
    }

    /// Reads the whole file and checks its structure; [`Error::Damaged`] says what is wrong.
    pub async fn verify(&self) -> Result<(), Error> {
        let file = self.shared.file.clone();
        blocking(move || backup::verify(&file)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Error::Unavailable("the work on the store was stopped".to_owned())))
}

impl Store for Embedded {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        // Microseconds, so it is done here and not handed to another thread.
        Box::pin(async move { self.readers.get(key) })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { self.readers.page(scan) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            batch.check()?;
            self.queue.commit(batch).await
        })
    }

    fn follow(&self) -> Changes {
        self.shared.feed.follow()
    }

    fn freeze(&self) -> BoxFuture<'_, Result<Option<Box<dyn Frozen>>, Error>> {
        let file = self.shared.file.clone();
        Box::pin(async move {
            let still = blocking(move || Readers::freeze(&file)).await?;
            Ok(Some(Box::new(still) as Box<dyn Frozen>))
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The writer closes last: it writes the log back into the file and removes it.
        self.readers.close();
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // It says nothing if it panicked: the panic was printed, and nothing that was acknowledged depends on it.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("file", &self.shared.file).field("stats", &self.stats()).finish()
    }
}

impl Default for Options {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            max_bytes: None,
            readers: processors.clamp(2, 4),
            cache_kib: 2048,
            idle: Duration::from_secs(1),
            busy: Duration::from_millis(100),
        }
    }
}

/// The path of a file that belongs to `file`: its name with `suffix` behind it.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
