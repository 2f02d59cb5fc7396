//! A store that stops as the one of a killed process does.

use std::sync::Arc;

use futures::future::{self, Either};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Batch, BoxFuture, Changes, CommitError, Entry, Error, Key, Page, Revision, Scan, Store};

/// A store over another one that stops at a chosen commit. From then on its operations never come back, so the code
/// above neither goes on nor cleans up: exactly what a killed process does. What was committed is in the store below,
/// over which the test then starts its server anew.
///
/// ```text
/// for n in 0.. {
///     let disk: Arc<dyn Store> = Memory::new();
///     let store = CrashStore::new(disk.clone(), n, When::Before);
///     let done = store.until_crash(async { start(store.clone()).await.create_user().await }).await;
///     start(disk).await.check_that_nothing_is_lost();
///     if done.is_some() { break } // fewer than n commits: every crash point was tried
/// }
/// ```
pub struct CrashStore {
    inner: Arc<dyn Store>,
    left: Mutex<usize>,
    when: When,
    crashed: watch::Sender<bool>,
}

/// On which side of the chosen commit a [`CrashStore`] stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The commit is not applied.
    Before,
    /// The commit is applied and durable, but nobody hears of it.
    After,
}

impl CrashStore {
    /// A store over `inner` that lets `n` commits through and stops at the one behind them.
    pub fn new(inner: Arc<dyn Store>, n: usize, when: When) -> Arc<Self> {
        Arc::new(Self { inner, left: Mutex::new(n), when, crashed: watch::Sender::new(false) })
    }

    /// Whether the crash has happened.
    pub fn has_crashed(&self) -> bool {
        *self.crashed.borrow()
    }

    /// Stops the store now.
    pub fn crash(&self) {
        self.crashed.send_replace(true);
    }

    /// Runs `work` to its end, or drops it when the store crashes and gives `None`.
    pub async fn until_crash<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut crashed = self.crashed.subscribe();
        let crash = std::pin::pin!(crashed.wait_for(|crashed| *crashed));
        match future::select(crash, std::pin::pin!(work)).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }

    /// Whether this commit is the chosen one.
    fn is_due(&self) -> bool {
        let mut left = self.left.lock();
        let due = *left == 0;
        *left = left.saturating_sub(1);
        due
    }

    /// Comes back only while the store lives.
    async fn alive(&self) {
        if self.has_crashed() {
            future::pending().await
        }
    }
}

impl Store for CrashStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            self.alive().await;
            self.inner.get(key).await
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            self.alive().await;
            self.inner.scan(scan).await
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            self.alive().await;
            if !self.is_due() {
                return self.inner.commit(batch).await;
            }
            if self.when == When::After {
                self.inner.commit(batch).await?;
            }
            self.crash();
            future::pending().await
        })
    }

    fn follow(&self) -> Changes {
        self.inner.follow()
    }
}
