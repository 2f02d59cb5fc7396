//! A store whose readers and writers step aside for each other.

use std::sync::Arc;

use futures::FutureExt;
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Error, Key, Page, Revision, Scan, Store};

/// A store over a store that yields before each read and commit, so that joined requests interleave.
pub struct Yielding(Arc<dyn Store>);

impl Yielding {
    /// Over `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

impl Store for Yielding {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        async move {
            tokio::task::yield_now().await;
            self.0.get(key).await
        }
        .boxed()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        async move {
            tokio::task::yield_now().await;
            self.0.scan(scan).await
        }
        .boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        async move {
            tokio::task::yield_now().await;
            self.0.commit(batch).await
        }
        .boxed()
    }

    fn follow(&self) -> Changes {
        self.0.follow()
    }
}
