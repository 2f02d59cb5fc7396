//! The requests that are under way, so that the seal can wait for their end.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::sharded::Sharded;

/// Counts requests that are under way.
#[derive(Default)]
pub(crate) struct Guests {
    count: Sharded,
    /// Whether anybody waits for their end.
    awaited: AtomicBool,
    gone: Notify,
}

/// One request under way, until this is dropped.
pub(crate) struct Guest<'g> {
    all: &'g Guests,
    shard: usize,
}

impl Guests {
    pub(crate) fn enter(&self) -> Guest<'_> {
        Guest { all: self, shard: self.count.add(1) }
    }

    /// Resolves when no request is under way.
    pub(crate) async fn all_gone(&self) {
        // From here on, everybody who leaves says so. Who left before is not counted any more.
        self.awaited.store(true, Ordering::SeqCst);
        loop {
            // Asked for before the count is looked at, so that no end in between is missed.
            let gone = self.gone.notified();
            if self.count.sum() == 0 {
                return;
            }
            gone.await;
        }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.all.count.take(self.shard, 1);
        if self.all.awaited.load(Ordering::SeqCst) {
            self.all.gone.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_last_one_out_ends_the_wait() {
        let guests = Guests::default();
        guests.all_gone().now_or_never().unwrap();
        let (first, second) = (guests.enter(), guests.enter());
        let mut wait = Box::pin(guests.all_gone());
        assert!(wait.as_mut().now_or_never().is_none());
        drop(first);
        assert!(wait.as_mut().now_or_never().is_none());
        drop(second);
        wait.now_or_never().unwrap();
    }
}
