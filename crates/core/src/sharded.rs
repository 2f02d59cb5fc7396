//! Counts that every request adds to, on any processor.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// A count in shards, each in a line of memory of its own: threads that add to it do not wait for each other.
#[derive(Default)]
pub(crate) struct Sharded([Shard; SHARDS]);

#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

/// How many shards there are; more threads than that share some.
pub(crate) const SHARDS: usize = 16;

impl Sharded {
    /// Adds to the shard of this thread, and says which that is.
    pub(crate) fn add(&self, amount: u64) -> usize {
        let shard = own_shard();
        self.at(shard).fetch_add(amount, Ordering::SeqCst);
        shard
    }

    /// Takes away from a shard what was added to it.
    pub(crate) fn take(&self, shard: usize, amount: u64) {
        self.at(shard).fetch_sub(amount, Ordering::SeqCst);
    }

    /// The sum of all shards. What is added meanwhile may be in it or not.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, shard| sum.wrapping_add(shard.0.load(Ordering::SeqCst)))
    }

    fn at(&self, shard: usize) -> &AtomicU64 {
        // The array is never empty.
        &self.0.get(shard).unwrap_or(&self.0[0]).0
    }
}

/// The shard of this thread: threads take them in turn.
pub(crate) fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    }
    OWN.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_add_is_summed_and_can_be_taken_elsewhere() {
        let count = Sharded::default();
        let shards = std::thread::scope(|scope| {
            let adding: Vec<_> = (0..40_u64).map(|n| (n, scope.spawn(|| count.add(3)))).collect();
            adding.into_iter().map(|(_, adding)| adding.join().unwrap_or_default()).collect::<Vec<_>>()
        });
        assert_eq!(count.sum(), 120);
        shards.into_iter().for_each(|shard| count.take(shard, 3));
        assert_eq!(count.sum(), 0);
    }
}
