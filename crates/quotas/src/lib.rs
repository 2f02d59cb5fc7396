//! How often a client may ask: rate limits on mounts, paths, login roles and everything.
//!
//! Of all limits exactly one counts for a request: the one that names most. Finding it costs a few look-ups, whatever
//! the number of limits; each client address has its own count, on this node alone. The memory is bounded: when more
//! addresses ask than are kept apart, the newcomers share one count.

mod buckets;
mod paths;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use clock::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::paths::Paths;
use crate::{buckets::Buckets, paths::ByPath};

/// A limit as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Empty for everything; else the path of a namespace, or that of a mount with its slash, maybe followed by a path
    /// inside it. A `*` at the end takes all that begins so. The path of a namespace stands before that of its mount.
    pub path: String,
    /// The length of the part of `path` that is the namespace and the mount.
    pub mount_length: usize,
    /// A role of a login method; empty for all.
    pub role: String,
    /// How many requests each client has in an interval. Counted in whole requests, at least one.
    pub rate: f64,
    /// The interval.
    pub interval: Duration,
    /// How long a client that has used up its requests gets none at all; zero waits for the interval's end.
    pub block_interval: Duration,
    /// Whether the limit holds in namespaces below, too.
    pub inheritable: bool,
}

impl RateLimit {
    fn requests(&self) -> u64 {
        // Beyond any number that a client could send, so the loss of a fraction means nothing.
        (self.rate.round() as u64).max(1)
    }

    /// Whether another limit is about the very same requests.
    pub fn rivals(&self, other: &Self) -> bool {
        self.path == other.path && self.role == other.role
    }
}

/// A limit in force, with its counts.
#[derive(Debug)]
pub struct Quota {
    limit: RateLimit,
    buckets: Buckets,
}

/// What a client may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Whether this request may go on.
    pub allowed: bool,
    /// The requests in an interval.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// When there are new ones.
    pub reset: Duration,
}

impl Quota {
    fn new(limit: RateLimit) -> Self {
        let buckets = Buckets::new(limit.requests(), limit.interval, limit.block_interval);
        Self { limit, buckets }
    }

    /// Counts a request of a client.
    pub fn take(&self, client: IpAddr, now: Timestamp) -> Allowance {
        self.buckets.take(client, now)
    }
}

/// The limits in force.
#[derive(Debug, Default)]
pub struct Table {
    all: BTreeMap<String, Arc<Quota>>,
    global: Option<Arc<Quota>>,
    mounts: HashMap<String, Arc<Quota>>,
    paths: ByPath<Arc<Quota>>,
    roles: HashMap<String, HashMap<String, Arc<Quota>>>,
}

impl Table {
    /// Puts these limits in force. What did not change since `before` goes on counting.
    pub fn new(limits: BTreeMap<String, RateLimit>, before: &Self) -> Self {
        let mut table = Self::default();
        for (name, limit) in limits {
            let known = before.all.get(&name).filter(|quota| quota.limit == limit).cloned();
            let quota = known.unwrap_or_else(|| Arc::new(Quota::new(limit)));
            table.insert(&quota);
            table.all.insert(name, quota);
        }
        table
    }

    fn insert(&mut self, quota: &Arc<Quota>) {
        let (limit, quota) = (&quota.limit, Arc::clone(quota));
        let mount = limit.path.get(..limit.mount_length).unwrap_or(&limit.path);
        match (limit.path.as_str(), limit.role.as_str()) {
            ("", _) => self.global = Some(quota),
            (_, "") if mount == limit.path => drop(self.mounts.insert(mount.to_owned(), quota)),
            (path, "") => self.paths.insert(path, quota),
            (_, role) => {
                self.roles.entry(mount.to_owned()).or_default().insert(role.to_owned(), quota);
            }
        }
    }

    /// Whether there is no limit at all.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether limits on this mount tell its roles apart.
    pub fn knows_roles(&self, mount: &str) -> bool {
        self.roles.contains_key(mount)
    }

    /// The limit that counts for a request: that of its role, else of its path, else of its mount, else of its namespace,
    /// else an inheritable one of the nearest namespace above. `mount` and `path` begin with `namespace`.
    pub fn find(&self, namespace: &str, mount: &str, path: &str, role: &str) -> Option<&Quota> {
        let of_role = || self.roles.get(mount).and_then(|roles| roles.get(role));
        let found = (!role.is_empty()).then(of_role).flatten();
        let found = found.or_else(|| self.paths.find(path));
        let found = found.or_else(|| self.mounts.get(mount));
        found.or_else(|| self.of_namespace(namespace)).map(|quota| &**quota)
    }

    fn of_namespace(&self, namespace: &str) -> Option<&Arc<Quota>> {
        let mut at = namespace;
        loop {
            let quota = if at.is_empty() { self.global.as_ref() } else { self.mounts.get(at) };
            if let Some(quota) = quota.filter(|quota| at == namespace || quota.limit.inheritable) {
                return Some(quota);
            }
            // The path above: without the last name, with the slash before it.
            let above = at.strip_suffix('/')?;
            at = above.rfind('/').map_or("", |slash| above.get(..=slash).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
