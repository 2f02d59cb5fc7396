//! The counts of one limit: how much each client has left.

use std::{collections::HashMap, hash::BuildHasher as _, hash::RandomState, net::IpAddr, time::Duration};

use clock::Timestamp;
use parking_lot::Mutex;

use crate::Allowance;

/// The counts by address, in shards with a short lock each.
#[derive(Debug)]
pub(crate) struct Buckets {
    requests: u64,
    interval: Duration,
    block: Duration,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    clients: HashMap<IpAddr, Bucket>,
    /// Shared by those for whom there is no room.
    others: Option<Bucket>,
    swept: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    since: Timestamp,
    left: u64,
    blocked_until: Option<Timestamp>,
}

const SHARDS: usize = 16;
/// How many addresses a shard keeps apart.
const ROOM: usize = 4096;

impl Buckets {
    pub(crate) fn new(requests: u64, interval: Duration, block: Duration) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { requests, interval, block, hasher: RandomState::new(), shards }
    }

    /// Counts a request.
    pub(crate) fn take(&self, client: IpAddr, now: Timestamp) -> Allowance {
        let at = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(at) else { return self.allowance(&self.fresh(now), now, true) };
        let mut shard = shard.lock();
        let bucket = self.bucket(&mut shard, client, now);
        if self.is_over(bucket, now) {
            *bucket = self.fresh(now);
        }
        let allowed = bucket.left > 0;
        match bucket.left.checked_sub(1) {
            Some(left) => bucket.left = left,
            None if bucket.blocked_until.is_none() && !self.block.is_zero() => {
                bucket.blocked_until = Some(clock::after(now, self.block));
            }
            None => {}
        }
        self.allowance(bucket, now, allowed)
    }

    fn bucket<'s>(&self, shard: &'s mut Shard, client: IpAddr, now: Timestamp) -> &'s mut Bucket {
        if shard.clients.len() >= ROOM && !shard.clients.contains_key(&client) {
            self.sweep(shard, now);
            if shard.clients.len() >= ROOM {
                return shard.others.get_or_insert_with(|| self.fresh(now));
            }
        }
        shard.clients.entry(client).or_insert_with(|| self.fresh(now))
    }

    /// Forgets those whose time is over, at most once in an interval: a flood of addresses must not make each request
    /// go through all of them.
    fn sweep(&self, shard: &mut Shard, now: Timestamp) {
        let pause = self.interval.max(Duration::from_secs(1));
        if shard.swept.is_some_and(|swept| clock::between(swept, now) < pause) {
            return;
        }
        shard.clients.retain(|_, bucket| !self.is_over(bucket, now));
        shard.swept = Some(now);
    }

    fn fresh(&self, now: Timestamp) -> Bucket {
        Bucket { since: now, left: self.requests, blocked_until: None }
    }

    fn end(&self, bucket: &Bucket) -> Timestamp {
        bucket.blocked_until.unwrap_or_else(|| clock::after(bucket.since, self.interval))
    }

    fn is_over(&self, bucket: &Bucket, now: Timestamp) -> bool {
        self.end(bucket) <= now
    }

    fn allowance(&self, bucket: &Bucket, now: Timestamp, allowed: bool) -> Allowance {
        let reset = clock::between(now, self.end(bucket));
        Allowance { allowed, limit: self.requests, remaining: bucket.left, reset }
    }
}
