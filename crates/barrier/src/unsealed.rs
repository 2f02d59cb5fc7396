//! The barrier while it is open.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use clock::Clock;
use futures::StreamExt;
use storage::{Change, Changes, Key, Revision, Store};
use tokio::task::AbortHandle;

use crate::{KEYRING, cache::Cache, keyring::Ring, rotation::Root};

/// An open barrier: a [`Store`] whose content is encrypted below.
///
/// [`Unsealed::close`], or dropping it, forgets all keys and decrypted entries; every later operation fails with
/// [`storage::Error::Sealed`]. Operations under way end with the keys they began with.
pub struct Unsealed {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) cache: Arc<Cache>,
    /// `None` once it is closed.
    pub(crate) open: ArcSwapOption<Open>,
    /// Held by whoever changes the keyring, so that one node does not compete with itself.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// The newest commit that was made here.
    pub(crate) newest: AtomicU64,
    follower: OnceLock<AbortHandle>,
}

/// What is known only while the barrier is open.
pub(crate) struct Open {
    pub(crate) ring: Ring,
    pub(crate) root: Arc<Root>,
    /// The commit that wrote the keyring this was made of.
    pub(crate) revision: Revision,
}

impl Unsealed {
    pub(crate) fn start(store: Arc<dyn Store>, clock: Clock, cache: usize, open: Open) -> Arc<Self> {
        // Followed before the cache holds anything, so that no change to what it holds is missed.
        let changes = store.follow();
        let this = Arc::new(Self {
            store,
            clock,
            cache: Cache::new(cache),
            open: ArcSwapOption::from_pointee(open),
            changing: tokio::sync::Mutex::default(),
            newest: AtomicU64::new(0),
            follower: OnceLock::new(),
        });
        let follower = tokio::spawn(follow(Arc::downgrade(&this), changes));
        let _ = this.follower.set(follower.abort_handle());
        this
    }

    /// Forgets all keys and decrypted entries.
    pub fn close(&self) {
        self.open.store(None);
        self.cache.clear(true);
        if let Some(follower) = self.follower.get() {
            follower.abort();
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.open.load().is_none()
    }

    /// The newest commit that was made through this barrier; 0 if there was none.
    pub fn newest(&self) -> Revision {
        self.newest.load(Ordering::Acquire)
    }

    /// The keys, unless the barrier is closed.
    pub(crate) fn opened(&self) -> Result<Arc<Open>, storage::Error> {
        self.open.load_full().ok_or(storage::Error::Sealed)
    }
}

impl Drop for Unsealed {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_closed() { "Unsealed(closed)" } else { "Unsealed(..)" })
    }
}

/// Keeps cache and keyring in step with what other nodes commit.
async fn follow(barrier: Weak<Unsealed>, mut changes: Changes) {
    // Whether the keyring was changed and could not be read yet.
    let mut owed = false;
    loop {
        let change = changes.next().await;
        let Some(barrier) = barrier.upgrade() else { return };
        let Some(change) = change else {
            // Nothing tells of changes any more.
            barrier.cache.clear(true);
            return;
        };
        barrier.cache.apply(&change);
        if owed || barrier.has_news_of_the_keyring(&change) {
            let read = barrier.reload().await;
            owed = read.is_err();
            if let Err(error) = read {
                tracing::warn!(%error, "the keyring was changed and could not be read yet");
            }
        }
    }
}

impl Unsealed {
    fn has_news_of_the_keyring(&self, change: &Change) -> bool {
        match change {
            Change::Keys(revision, keys) => {
                keys.iter().any(|key: &Key| key.as_str() == KEYRING)
                    && self.open.load().as_ref().is_some_and(|open| open.revision < *revision)
            }
            Change::Lost => true,
            Change::Current { .. } => false,
        }
    }
}
