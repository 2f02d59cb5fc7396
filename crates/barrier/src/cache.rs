//! Decrypted entries, bounded by their bytes, never older than the last commit that was acknowledged.
//!
//! A read that misses notes the epoch of its key's stripe before it goes to the store, and may fill the cache only if
//! the epoch is still the same and no commit to the stripe is under way. A commit that begins removes its keys and
//! raises the epoch, and until it ends nothing is filled; so a read that overlaps it keeps nothing. A change that
//! another node made, or that its caller did not wait for, removes its keys and raises the epoch when it is heard of.
//! Check and fill, and epoch and removal, happen under the lock of the stripe. So a value read before a change cannot
//! be put back after it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use quick_cache::{Weighter, sync};
use storage::{Budget, Change, Derived, Entry, Key, Revision};

use crate::witness::Marks;

/// How many bytes of decrypted entries are kept unless told otherwise: 16 MiB. What readers derive from them may take half of
/// that besides.
pub const DEFAULT_CACHE: usize = 16 * 1024 * 1024;

/// The cache. `None` stands for an entry known to be absent.
pub(crate) struct Cache {
    entries: Option<sync::Cache<Key, Option<Entry>, Bytes>>,
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
    /// What tells those who made something of entries that it is outdated.
    pub(crate) marks: Marks,
    /// The heaviest entry that is worth the room.
    heaviest: usize,
    /// What may be kept beside the entries.
    derived: Arc<Budget>,
}

#[derive(Default)]
struct Stripe {
    epoch: u64,
    commits: usize,
    closed: bool,
}

impl Cache {
    /// A cache for `capacity` bytes; 0 keeps nothing.
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        let entries = (capacity > 0).then(|| sync::Cache::with_weighter(capacity / 512 + 1, capacity as u64, Bytes));
        let stripes = std::iter::repeat_with(Mutex::default).take(STRIPES).collect();
        Arc::new(Self {
            entries,
            stripes,
            hasher: RandomState::new(),
            marks: Marks::new(),
            heaviest: capacity / 64,
            derived: Budget::new(capacity / 2),
        })
    }

    /// Room for what is derived from an entry.
    pub(crate) fn room(&self) -> Derived {
        Derived::within(&self.derived)
    }

    /// Whether anything is kept at all.
    pub(crate) fn keeps(&self) -> bool {
        self.entries.is_some()
    }

    /// What is known of `key`.
    pub(crate) fn get(&self, key: &Key) -> Option<Option<Entry>> {
        self.entries.as_ref()?.get(key)
    }

    /// Announces a read that may fill the cache. Must come before the read.
    pub(crate) fn miss(&self, key: &Key) -> Miss {
        let stripe = self.stripe(key);
        let epoch = self.with(stripe, |stripe| (stripe.commits == 0 && !stripe.closed).then_some(stripe.epoch));
        Miss { stripe, epoch }
    }

    /// Keeps what a read found, unless a change came in between.
    pub(crate) fn fill(&self, miss: &Miss, key: &Key, found: &Option<Entry>) {
        let (Some(entries), Some(epoch)) = (&self.entries, miss.epoch) else { return };
        if weight(key, found) > self.heaviest {
            return;
        }
        self.with(miss.stripe, |stripe| {
            if stripe.epoch == epoch && stripe.commits == 0 && !stripe.closed {
                entries.insert(key.clone(), found.clone());
            }
        });
    }

    /// Announces a commit to `keys`. Nothing is kept of them until the returned value is dropped.
    pub(crate) fn commit(self: &Arc<Self>, keys: impl Iterator<Item = Key>) -> Committing {
        let keys: Vec<Key> = keys.collect();
        for key in &keys {
            self.marks.begin(key);
            self.with(self.stripe(key), |stripe| {
                stripe.epoch += 1;
                stripe.commits += 1;
                if let Some(entries) = &self.entries {
                    entries.remove(key);
                }
            });
        }
        Committing { cache: Arc::clone(self), keys }
    }

    /// Forgets what `change` made outdated.
    pub(crate) fn apply(&self, change: &Change) {
        match change {
            Change::Keys(revision, keys) => keys.iter().for_each(|key| self.outdate(key, *revision)),
            Change::Lost => self.clear(false),
            Change::Current { .. } => {}
        }
    }

    /// Forgets `key`, which turned out to be outdated.
    pub(crate) fn forget(&self, key: &Key) {
        self.marks.change(key);
        let Some(entries) = &self.entries else { return };
        self.with(self.stripe(key), |stripe| {
            stripe.epoch += 1;
            entries.remove(key);
        });
    }

    /// Forgets everything, and for good if it is `closed`.
    pub(crate) fn clear(&self, closed: bool) {
        self.marks.change_all();
        // First all epochs, then the entries: a fill that is not stopped by its epoch is removed.
        for stripe in 0..self.stripes.len() {
            self.with(stripe, |stripe| {
                stripe.epoch += 1;
                stripe.closed |= closed;
            });
        }
        if let Some(entries) = &self.entries {
            entries.clear();
        }
    }

    /// Forgets `key` unless what is kept is as new as `revision`.
    fn outdate(&self, key: &Key, revision: Revision) {
        self.marks.change(key);
        let Some(entries) = &self.entries else { return };
        self.with(self.stripe(key), |stripe| {
            stripe.epoch += 1;
            entries.remove_if(key, |kept| kept.as_ref().is_none_or(|entry| entry.revision < revision));
        });
    }

    fn stripe(&self, key: &Key) -> usize {
        // The remainder fits.
        (self.hasher.hash_one(key) % STRIPES as u64) as usize
    }

    fn with<T>(&self, stripe: usize, act: impl FnOnce(&mut Stripe) -> T) -> T {
        #[allow(clippy::indexing_slicing, reason = "there are STRIPES stripes and the index is below that")]
        act(&mut self.stripes[stripe].lock())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, sync::Cache::len)
    }
}

/// A read under way, see [`Cache::miss`].
pub(crate) struct Miss {
    stripe: usize,
    /// `None` if the read must not fill the cache.
    epoch: Option<u64>,
}

/// A commit under way, see [`Cache::commit`].
pub(crate) struct Committing {
    cache: Arc<Cache>,
    keys: Vec<Key>,
}

impl Drop for Committing {
    fn drop(&mut self) {
        for key in &self.keys {
            let stripe = self.cache.stripe(key);
            self.cache.with(stripe, |stripe| stripe.commits = stripe.commits.saturating_sub(1));
            self.cache.marks.end(key);
        }
    }
}

/// Counts the bytes of an entry.
#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Option<Entry>> for Bytes {
    fn weight(&self, key: &Key, entry: &Option<Entry>) -> u64 {
        weight(key, entry) as u64
    }
}

fn weight(key: &Key, entry: &Option<Entry>) -> usize {
    key.as_str().len() + entry.as_ref().map_or(0, |entry| entry.value.len()) + PER_ENTRY
}

/// What the maps and allocations of an entry take besides its bytes, roughly.
const PER_ENTRY: usize = 160;
const STRIPES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: Revision) -> Option<Entry> {
        Some(Entry::new(vec![1; 10].into(), revision))
    }

    fn filled(revision: Revision) -> (Arc<Cache>, Key) {
        let (cache, key) = (Cache::new(DEFAULT_CACHE), Key::new("k"));
        cache.fill(&cache.miss(&key), &key, &entry(revision));
        assert_eq!(cache.get(&key), Some(entry(revision)));
        (cache, key)
    }

    #[test]
    fn nothing_is_kept_while_a_commit_is_under_way() {
        let (cache, key) = filled(1);
        let before = cache.miss(&key);
        let committing = cache.commit([key.clone()].into_iter());
        assert_eq!(cache.get(&key), None);
        let during = cache.miss(&key);
        cache.fill(&before, &key, &entry(1));
        cache.fill(&during, &key, &entry(1));
        assert_eq!(cache.get(&key), None);
        drop(committing);
        cache.fill(&before, &key, &entry(1));
        cache.fill(&during, &key, &entry(1));
        assert_eq!(cache.get(&key), None, "what was read before the end may be outdated");
        cache.fill(&cache.miss(&key), &key, &entry(2));
        assert_eq!(cache.get(&key), Some(entry(2)));
    }

    #[test]
    fn one_of_two_commits_that_ends_does_not_open_the_key() {
        let (cache, key) = filled(1);
        let (first, second) = (cache.commit([key.clone()].into_iter()), cache.commit([key.clone()].into_iter()));
        drop(first);
        cache.fill(&cache.miss(&key), &key, &entry(2));
        assert_eq!(cache.get(&key), None);
        drop(second);
        cache.fill(&cache.miss(&key), &key, &entry(3));
        assert_eq!(cache.get(&key), Some(entry(3)));
    }

    #[test]
    fn a_change_forgets_what_is_older_and_stops_fills_that_began_before() {
        let (cache, key) = filled(5);
        cache.apply(&Change::Keys(5, [key.clone()].into()));
        assert_eq!(cache.get(&key), Some(entry(5)), "the news is about what is kept");
        let before = cache.miss(&key);
        cache.apply(&Change::Keys(6, [key.clone()].into()));
        assert_eq!(cache.get(&key), None);
        cache.fill(&before, &key, &entry(5));
        assert_eq!(cache.get(&key), None);
        cache.fill(&cache.miss(&key), &key, &None);
        assert_eq!(cache.get(&key), Some(None), "absence is kept too");
        cache.apply(&Change::Keys(7, [key.clone()].into()));
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn what_is_lost_or_closed_is_empty_and_stops_fills() {
        let (cache, key) = filled(1);
        let before = cache.miss(&key);
        cache.apply(&Change::Lost);
        cache.fill(&before, &key, &entry(1));
        assert_eq!(cache.get(&key), None);
        cache.fill(&cache.miss(&key), &key, &entry(1));
        assert_eq!(cache.len(), 1);
        let before = cache.miss(&key);
        cache.clear(true);
        cache.fill(&before, &key, &entry(1));
        cache.fill(&cache.miss(&key), &key, &entry(1));
        assert_eq!((cache.get(&key), cache.len()), (None, 0));
    }

    #[test]
    fn the_bytes_are_bounded_and_absent_entries_count() {
        let cache = Cache::new(64 * 1024);
        for n in 0..10_000 {
            let key = Key::new(format!("absent/{n}"));
            cache.fill(&cache.miss(&key), &key, &None);
        }
        assert!(cache.len() > 100 && cache.len() <= 64 * 1024 / PER_ENTRY, "{}", cache.len());
        let key = Key::new("large");
        cache.fill(&cache.miss(&key), &key, &Some(Entry::new(vec![0; 4096].into(), 1)));
        assert_eq!(cache.get(&key), None, "an entry that would push out all others is not kept");
        let none = Cache::new(0);
        none.fill(&none.miss(&key), &key, &None);
        assert_eq!(none.get(&key), None);
    }
}
