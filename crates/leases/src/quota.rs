//! Quotas on the number of leases, per namespace, mount and role.
//!
//! The counts are worked out from the store when a quota is first asked, and kept in step from then on; without a quota
//! nothing is counted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use gate::{Error, LeaseId, MountInfo, namespace};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Key, Scan, Store};

use crate::record;

/// A limit on the number of leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseQuota {
    /// The path of a mount, such as `database/`, or of a namespace; in a namespace, behind the path of that. Empty for all
    /// mounts of all namespaces together.
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
    counts: Mutex<HashMap<Counted, u64>>,
    loading: tokio::sync::Mutex<()>,
}

/// The leases that a quota counts.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Counted {
    All,
    /// Those of a namespace whose id begins with a prefix.
    Of {
        namespace: String,
        prefix: String,
    },
}

impl Counted {
    fn counts(&self, id: &LeaseId) -> bool {
        match self {
            Self::All => true,
            Self::Of { namespace, prefix } => id.namespace() == namespace && id.0.starts_with(prefix.as_str()),
        }
    }
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
        let Some(quota) = tightest(&quotas, mount, role) else { return Ok(()) };
        let counted = counted(quota, mount, id);
        self.load(&counted).await?;
        let mut counts = self.counts.lock();
        let count = counts.get(&counted).copied().unwrap_or_default();
        if count >= quota.max_leases {
            let text = format!("lease count quota exceeded: {count} leases of at most {}", quota.max_leases);
            return Err(Error::Quota { text, retry_after: Duration::from_secs(5) });
        }
        // In every count that it will be taken out of: a lease of a role is one of its mount, too.
        for (counted, count) in counts.iter_mut() {
            if counted.counts(id) {
                *count += 1;
            }
        }
        Ok(())
    }

    /// Takes a lease that ended out of the counts.
    pub(crate) fn release(&self, id: &LeaseId) {
        let mut counts = self.counts.lock();
        for (counted, count) in counts.iter_mut() {
            if counted.counts(id) {
                *count = count.saturating_sub(1);
            }
        }
    }

    async fn load(&self, counted: &Counted) -> Result<(), Error> {
        // One loads, the others wait; the count itself is guarded by its own short lock.
        let _one = self.loading.lock().await;
        if self.counts.lock().contains_key(counted) {
            return Ok(());
        }
        let leases = |namespace: &str, prefix: &str| format!("{}{}{prefix}", namespace::scope(namespace), record::ID);
        let mut count = 0;
        match counted {
            Counted::Of { namespace, prefix } => self.scan(leases(namespace, prefix), |_| count += 1).await?,
            Counted::All => {
                let mut namespaces = vec![String::new()];
                let id = |key: &Key| key.as_str().strip_prefix(namespace::IDS).map(str::to_owned);
                self.scan(namespace::IDS.to_owned(), |key| namespaces.extend(id(key))).await?;
                for namespace in namespaces {
                    self.scan(leases(&namespace, ""), |_| count += 1).await?;
                }
            }
        }
        self.counts.lock().insert(counted.clone(), count);
        Ok(())
    }

    async fn scan(&self, prefix: String, mut each: impl FnMut(&Key)) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.store.scan(&Scan { prefix: prefix.clone(), after, limit: 1000, values: false }).await?;
            page.entries.iter().for_each(|(key, _)| each(key));
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }
}

/// The quota that applies: one for the role before one for the mount, before one for the namespace, before one for all.
fn tightest<'a>(quotas: &'a [LeaseQuota], mount: &MountInfo, role: &str) -> Option<&'a LeaseQuota> {
    let namespace = mount.namespace.path();
    let is_mount = |quota: &LeaseQuota| quota.path.strip_prefix(namespace) == Some(&*mount.path);
    let applies = |quota: &&LeaseQuota| match is_mount(quota) {
        true => quota.role.is_empty() || quota.role == role,
        false => quota.role.is_empty() && (quota.path == namespace || quota.path.is_empty()),
    };
    quotas.iter().filter(applies).max_by_key(|quota| (!quota.role.is_empty(), is_mount(quota), !quota.path.is_empty()))
}

/// What a quota counts: a lease id begins with the path it was made at, which ends in the role.
fn counted(quota: &LeaseQuota, mount: &MountInfo, id: &LeaseId) -> Counted {
    let prefix = match (quota.role.is_empty(), quota.path == mount.namespace.path()) {
        (true, _) if quota.path.is_empty() => return Counted::All,
        (true, true) => String::new(),
        (true, false) => mount.path.to_string(),
        (false, _) => id.0.rsplit_once('/').map_or_else(String::new, |(path, _)| format!("{path}/")),
    };
    Counted::Of { namespace: mount.namespace.suffix().to_owned(), prefix }
}
