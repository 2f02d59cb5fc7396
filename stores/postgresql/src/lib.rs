//! The store in PostgreSQL, or in what speaks its protocol, for several servers that share it.
//!
//! One task writes: it takes all the batches that wait, locks the row that holds the newest revision, checks and applies
//! them in one transaction, and answers them when that is committed. Whoever holds the lock sees every commit before its
//! own, so commits of all servers are one after the other, and their revisions ascend in the order in which they become
//! visible. Reads go over a few connections of their own. Another connection listens for news and asks again and again for
//! what has changed; [`Store::follow`] tells it on, together with up to where that is.

mod address;
mod connection;
mod error;
mod follower;
mod readers;
mod schema;
mod writer;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::ready};
use secret::SecretString;
use storage::{Batch, BoxFuture, Change, Changes, CommitError, Entry, Error, Feed, Key, Page, Revision, Scan, Store};
use tokio::sync::{mpsc, oneshot};

pub use crate::error::OpenError;
use crate::{
    address::Address,
    connection::Connection,
    readers::Readers,
    schema::Table,
    writer::{Job, Writer},
};

/// A store in PostgreSQL. Its tasks end when the last reference is dropped.
pub struct Postgresql {
    shared: Arc<Shared>,
    readers: Readers,
    jobs: mpsc::Sender<Job>,
    tasks: Vec<tokio::task::AbortHandle>,
}

/// How to reach the store.
#[derive(Debug)]
pub struct Options {
    /// `postgresql://USER:PASSWORD@HOST:PORT,…/DATABASE?sslmode=…`, or `host=… user=…`, as other programs take it.
    pub connection_url: SecretString,
    /// The table of the entries, with or without a schema before it. Two more begin with its name.
    pub table: String,
    /// How many connections there may be, at least 3: one to write, one to listen, the rest to read.
    pub max_parallel: usize,
    /// How often it is asked for changes at least: a fifth of this. Servers take what they know for outdated after it.
    pub max_staleness: Duration,
}

/// The table where nothing else is said.
pub const TABLE: &str = "strongroom";
/// The connections where nothing else is said.
pub const MAX_PARALLEL: usize = 8;

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits with writes.
    pub commits: u64,
    /// Transactions that wrote; each has one commit or several.
    pub transactions: u64,
    /// Bytes of keys and values written.
    pub bytes: u64,
    /// Commits refused because of what they expected.
    pub conflicts: u64,
    /// Transactions tried again.
    pub retries: u64,
    /// Connections made.
    pub connections: u64,
}

/// What the tasks share.
pub(crate) struct Shared {
    pub(crate) address: Address,
    pub(crate) table: Table,
    pub(crate) feed: Feed,
    pub(crate) counters: Counters,
    /// The newest commit that this process knows of.
    newest: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) connections: AtomicU64,
}

impl Postgresql {
    /// Connects, and makes or upgrades the tables if need be.
    pub async fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let address = Address::new(&options.connection_url)?;
        let table = Table::new(&options.table)?;
        if options.max_parallel < FEWEST {
            return Err(OpenError::Invalid(format!("max_parallel: use at least {FEWEST} connections")));
        }
        let connection = Connection::open(&address, None).await;
        let connection = connection.map_err(|failure| OpenError::Unreachable(failure.to_string()))?;
        schema::prepare(&connection, &table).await?;
        let newest = schema::newest(&connection, &table).await?;
        let shared = Arc::new(Shared {
            address,
            table,
            feed: Feed::new(),
            counters: Counters::default(),
            newest: newest.into(),
        });
        let (jobs, waiting) = mpsc::channel(WAITING);
        let writer = tokio::spawn(Writer::new(Arc::clone(&shared), connection).run(waiting));
        let follower = tokio::spawn(follower::follow(Arc::clone(&shared), newest, options.max_staleness));
        let readers = Readers::new(Arc::clone(&shared), options.max_parallel - 2);
        Ok(Arc::new(Self { shared, readers, jobs, tasks: vec![writer.abort_handle(), follower.abort_handle()] }))
    }

    /// What it has done since it was opened.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: read(&counters.commits),
            transactions: read(&counters.transactions),
            bytes: read(&counters.bytes),
            conflicts: read(&counters.conflicts),
            retries: read(&counters.retries),
            connections: read(&counters.connections),
        }
    }

    async fn write(&self, batch: Batch) -> Result<Revision, CommitError> {
        batch.check()?;
        let (reply, answer) = oneshot::channel();
        let job = Job { batch, reply, since: Instant::now() };
        let ended = || Error::Unavailable("the store is closed".to_owned());
        self.jobs.send(job).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Shared {
    /// Connects anew, for one of the tasks.
    pub(crate) async fn connect(
        &self,
        news: Option<Arc<tokio::sync::Notify>>,
    ) -> Result<Connection, connection::Failure> {
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        Connection::open(&self.address, news).await
    }

    /// Notes a commit that is visible.
    pub(crate) fn saw(&self, revision: Revision) {
        self.newest.fetch_max(revision, Ordering::AcqRel);
    }

    /// Notes that what came after this commit is not there any more.
    pub(crate) fn forget_newer(&self, revision: Revision) {
        self.newest.store(revision, Ordering::Release);
    }
}

impl Store for Postgresql {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(self.readers.get(key))
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(self.readers.scan(scan))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(self.write(batch))
    }

    fn follow(&self) -> Changes {
        let changes = self.shared.feed.follow();
        // The listener may still be about to tell of commits that were acknowledged before.
        let known = self.shared.newest.load(Ordering::Acquire);
        Box::pin(
            changes.filter(move |change| ready(!matches!(change, Change::Keys(revision, _) if *revision <= known))),
        )
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl fmt::Debug for Postgresql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgresql({:?}, {})", self.shared.address, self.shared.table.name())
    }
}

/// The fewest connections: to write, to listen, to read.
pub const FEWEST: usize = 3;
/// How many commits may wait for the writer before their callers wait for a place.
const WAITING: usize = 4096;
