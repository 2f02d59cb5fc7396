//! Quotas on the number of leases, per mount and per role.
//!
//! The counts are worked out from the store when a quota is first asked, and kept in step from then on; without a quota
//! nothing is counted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use gate::{Error, LeaseId, MountInfo};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Scan, Store};

/// A limit on the number of leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseQuota {
    /// The mount's path, such as `database/`; empty for all mounts together.
    pub path: String,
    /// The role; empty for the mount as a whole.
    pub role: String,
    /// The greatest number of leases.
    pub max_leases: u64,
}

/// The quotas in force.
pub struct Quotas {
    store: Arc<dyn Store>,
    quotas: ArcSwap<Vec<LeaseQuota>>,
    counts: Mutex<HashMap<String, u64>>,
    loading: tokio::sync::Mutex<()>,
}

impl Quotas {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, quotas: ArcSwap::default(), counts: Mutex::default(), loading: tokio::sync::Mutex::default() }
    }

    /// Puts these quotas in force.
    pub fn set(&self, quotas: Vec<LeaseQuota>) {
        self.quotas.store(Arc::new(quotas));
        self.counts.lock().clear();
    }

    /// Counts a lease about to be made, or refuses it.
    pub(crate) async fn reserve(&self, mount: &MountInfo, role: &str, id: &LeaseId) -> Result<(), Error> {
        let quotas = self.quotas.load_full();
        let Some(quota) = tightest(&quotas, &mount.path, role) else { return Ok(()) };
        let prefix = prefix_of(quota, id);
        self.load(&prefix).await?;
        let mut counts = self.counts.lock();
        let count = counts.get(&prefix).copied().unwrap_or_default();
        if count >= quota.max_leases {
            let text = format!("lease count quota exceeded: {count} leases of at most {}", quota.max_leases);
            return Err(Error::Quota { text, retry_after: Duration::from_secs(5) });
        }
        // In every count that it will be taken out of: a lease of a role is one of its mount, too.
        for (prefix, count) in counts.iter_mut() {
            if id.0.starts_with(prefix.as_str()) {
                *count += 1;
            }
        }
        Ok(())
    }

    /// Takes a lease that ended out of the counts.
    pub(crate) fn release(&self, id: &LeaseId) {
        let mut counts = self.counts.lock();
        for (prefix, count) in counts.iter_mut() {
            if id.0.starts_with(prefix.as_str()) {
                *count = count.saturating_sub(1);
            }
        }
    }

    async fn load(&self, prefix: &str) -> Result<(), Error> {
        // One loads, the others wait; the count itself is guarded by its own short lock.
        let _one = self.loading.lock().await;
        if self.counts.lock().contains_key(prefix) {
            return Ok(());
        }
        let mut count = 0;
        let mut after = None;
        loop {
            let base = format!("{}{prefix}", crate::record::ID);
            let page = self.store.scan(&Scan { prefix: base, after, limit: 1000, values: false }).await?;
            count += page.entries.len() as u64;
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                self.counts.lock().insert(prefix.to_owned(), count);
                return Ok(());
            }
        }
    }
}

/// The quota that applies: one for the role before one for the mount before one for all.
fn tightest<'a>(quotas: &'a [LeaseQuota], path: &str, role: &str) -> Option<&'a LeaseQuota> {
    let applies = |quota: &&LeaseQuota| {
        let mount = quota.path.is_empty() || quota.path == path;
        mount && (quota.role.is_empty() || (quota.role == role && !quota.path.is_empty()))
    };
    quotas.iter().filter(applies).max_by_key(|quota| (!quota.role.is_empty(), !quota.path.is_empty()))
}

/// The ids that a quota counts, as a prefix: a lease id begins with the path it was made at, which ends in the role.
fn prefix_of(quota: &LeaseQuota, id: &LeaseId) -> String {
    if quota.role.is_empty() {
        return quota.path.clone();
    }
    id.0.rsplit_once('/').map_or_else(String::new, |(path, _)| format!("{path}/"))
}
