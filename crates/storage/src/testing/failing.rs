//! A store that answers with errors when it is told to.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Batch, BoxFuture, Changes, CommitError, Entry, Error, Key, Page, Revision, Scan, Store};

/// A store over another one whose operations fail on demand. Unless told otherwise it passes everything on.
pub struct FailingStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    all: bool,
    reads: bool,
    full: bool,
    lose_reply: bool,
    conflicts: usize,
    read_in: Option<usize>,
    commit_in: Option<usize>,
    reads_done: usize,
    commits_done: usize,
}

enum Fate {
    Pass,
    Refuse(CommitError),
    LoseReply,
}

impl FailingStore {
    /// A store over `inner` that does not fail yet.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, plan: Mutex::default() })
    }

    /// Lets `n` more commits through and fails the one behind them, once, without applying it.
    pub fn fail_commit_after(&self, n: usize) {
        self.plan.lock().commit_in = Some(n);
    }

    /// Lets `n` more reads and scans through and fails the one behind them, once.
    pub fn fail_read_after(&self, n: usize) {
        self.plan.lock().read_in = Some(n);
    }

    /// Whether every operation fails, without being applied.
    pub fn fail_all(&self, fail: bool) {
        self.plan.lock().all = fail;
    }

    /// Whether every read and scan fails.
    pub fn fail_reads(&self, fail: bool) {
        self.plan.lock().reads = fail;
    }

    /// Whether every commit is refused because the store is full.
    pub fn fill(&self, full: bool) {
        self.plan.lock().full = full;
    }

    /// The next commit is applied, but its caller gets an error, as when the connection breaks in between.
    pub fn lose_reply_once(&self) {
        self.plan.lock().lose_reply = true;
    }

    /// The next `n` commits are refused with a conflict, without being applied.
    pub fn conflict(&self, n: usize) {
        self.plan.lock().conflicts = n;
    }

    /// How many reads and scans were asked for.
    pub fn reads(&self) -> usize {
        self.plan.lock().reads_done
    }

    /// How many commits were asked for.
    pub fn commits(&self) -> usize {
        self.plan.lock().commits_done
    }

    /// The store below, which never fails by itself.
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }
}

impl Plan {
    fn read(&mut self) -> Result<(), Error> {
        self.reads_done += 1;
        if self.all || self.reads || due(&mut self.read_in) { Err(unavailable()) } else { Ok(()) }
    }

    fn commit(&mut self, batch: &Batch) -> Fate {
        self.commits_done += 1;
        let due = due(&mut self.commit_in);
        if self.all || due {
            return Fate::Refuse(unavailable().into());
        }
        if self.full {
            return Fate::Refuse(Error::Full("filled by the test".to_owned()).into());
        }
        if self.conflicts > 0 {
            self.conflicts -= 1;
            let key = batch.expect.first().map(|(key, _)| key).or(batch.writes.first().map(|(key, _)| key));
            return Fate::Refuse(CommitError::Conflict(key.cloned().unwrap_or_else(|| Key::new(""))));
        }
        if std::mem::take(&mut self.lose_reply) { Fate::LoseReply } else { Fate::Pass }
    }
}

/// Counts down; true once, when there is nothing left to let through.
fn due(countdown: &mut Option<usize>) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

fn unavailable() -> Error {
    Error::Unavailable("failed by the test".to_owned())
}

impl Store for FailingStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            self.plan.lock().read()?;
            self.inner.get(key).await
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            self.plan.lock().read()?;
            self.inner.scan(scan).await
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            let fate = self.plan.lock().commit(&batch);
            match fate {
                Fate::Pass => self.inner.commit(batch).await,
                Fate::Refuse(error) => Err(error),
                Fate::LoseReply => {
                    self.inner.commit(batch).await?;
                    Err(unavailable().into())
                }
            }
        })
    }

    fn follow(&self) -> Changes {
        self.inner.follow()
    }
}
