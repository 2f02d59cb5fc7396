//! The in-process part of [`Store::follow`](crate::Store::follow): one announcer, any number of followers.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Change, Changes, Key, Revision};

/// Hands the changes of a store to its followers, of which none can slow the store down: who lags by more than
/// [`Feed::CAPACITY`] commits gets [`Change::Lost`].
#[derive(Debug)]
pub struct Feed(broadcast::Sender<Change>);

impl Feed {
    /// How many commits a follower may lag behind.
    pub const CAPACITY: usize = 1024;

    /// A feed without followers.
    pub fn new() -> Self {
        Self(broadcast::Sender::new(Self::CAPACITY))
    }

    /// Tells all followers that the commit `revision` changed `keys`. Must be called in the order of the revisions.
    pub fn announce(&self, revision: Revision, keys: impl Into<Arc<[Key]>>) {
        self.tell(Change::Keys(revision, keys.into()));
    }

    /// Tells all followers anything else: that changes were lost, or up to where they were told.
    pub fn tell(&self, change: Change) {
        // An error only says that nobody listens.
        let _ = self.0.send(change);
    }

    /// Whether anybody follows: if not, the keys of a commit need not be collected.
    pub fn is_followed(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// The changes from now on. The stream ends with the feed.
    pub fn follow(&self) -> Changes {
        let receiver = self.0.subscribe();
        Box::pin(futures::stream::unfold(receiver, async |mut receiver| match receiver.recv().await {
            Ok(change) => Some((change, receiver)),
            Err(RecvError::Lagged(_)) => Some((Change::Lost, receiver)),
            Err(RecvError::Closed) => None,
        }))
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn who_lags_too_far_is_told_and_goes_on_in_order() {
        let feed = Feed::new();
        let mut changes = feed.follow();
        let last = Feed::CAPACITY as Revision + 10;
        for revision in 1..=last {
            feed.announce(revision, vec![Key::new("k")]);
        }
        assert!(matches!(changes.next().await, Some(Change::Lost)));
        for expected in 11..=last {
            assert!(matches!(changes.next().await, Some(Change::Keys(revision, _)) if revision == expected));
        }
        drop(feed);
        assert!(changes.next().await.is_none(), "the stream ends with the feed");
    }

    #[tokio::test]
    async fn a_follower_sees_only_what_comes_after_it() {
        let feed = Feed::new();
        assert!(!feed.is_followed());
        feed.announce(1, vec![Key::new("early")]);
        let mut changes = feed.follow();
        assert!(feed.is_followed());
        feed.announce(2, vec![Key::new("late")]);
        assert!(matches!(changes.next().await, Some(Change::Keys(2, keys)) if *keys == [Key::new("late")]));
    }
}
