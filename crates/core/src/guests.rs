//! The requests that are under way, so that the seal can wait for their end.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts requests that are under way.
#[derive(Default)]
pub(crate) struct Guests {
    count: AtomicUsize,
    gone: Notify,
}

/// One request under way, until this is dropped.
pub(crate) struct Guest<'g>(&'g Guests);

impl Guests {
    pub(crate) fn enter(&self) -> Guest<'_> {
        self.count.fetch_add(1, Ordering::AcqRel);
        Guest(self)
    }

    /// Resolves when no request is under way.
    pub(crate) async fn all_gone(&self) {
        loop {
            // Asked for before the count is looked at, so that no end in between is missed.
            let gone = self.gone.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            gone.await;
        }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.gone.notify_waiters();
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
