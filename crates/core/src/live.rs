//! Settings below `sys/` that many requests look at: read into memory, and read anew when any node changes them.

use std::{collections::BTreeMap, sync::Arc};

use gate::Error;
use quotas::{Paths, RateLimit, Table};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use storage::{Key, Scan, Store, Tx};

use crate::running::Running;

/// The settings as they are at the moment.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Which origins may call from a browser.
    pub(crate) cors: Cors,
    /// The headers of requests that the audit log has, by name in lower case.
    pub(crate) audited: BTreeMap<String, Audited>,
    /// Headers of pages for people.
    pub(crate) ui_headers: BTreeMap<String, Vec<String>>,
    /// The rate limits.
    pub(crate) limits: Table,
    /// How rate limits behave.
    pub(crate) quotas: QuotaConfig,
    /// The paths that no rate limit counts.
    pub(crate) exempt: Paths,
}

/// Which origins may call from a browser.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cors {
    /// Whether any may.
    pub enabled: bool,
    /// The origins; `*` alone is all.
    pub allowed_origins: Vec<String>,
    /// The headers that they may send.
    pub allowed_headers: Vec<String>,
}

impl Cors {
    /// Whether this origin may call.
    pub fn allows(&self, origin: &str) -> bool {
        self.enabled && self.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }
}

/// How the audit log has a header.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Audited {
    /// As its keyed hash.
    pub(crate) hmac: bool,
}

/// How rate limits behave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct QuotaConfig {
    pub(crate) rate_limit_exempt_paths: Vec<String>,
    pub(crate) absolute_rate_limit_exempt_paths: Vec<String>,
    pub(crate) enable_rate_limit_audit_logging: bool,
    pub(crate) enable_rate_limit_response_headers: bool,
}

impl Default for QuotaConfig {
    /// What must work when nothing else does answers outside the limits anyway; it is named here for those who look.
    fn default() -> Self {
        Self {
            rate_limit_exempt_paths: Vec::new(),
            absolute_rate_limit_exempt_paths: crate::Bare::paths().collect(),
            enable_rate_limit_audit_logging: false,
            enable_rate_limit_response_headers: false,
        }
    }
}

pub(crate) const CORS: &str = "sys/config/cors";
pub(crate) const AUDITED: &str = "sys/config/audited-headers";
pub(crate) const UI_HEADERS: &str = "sys/config/ui-headers";
pub(crate) const QUOTAS: &str = "sys/config/quotas";
pub(crate) const RATE_LIMITS: &str = "sys/quota/rate-limit/";
/// Whether what is at this key is held in memory.
pub(crate) fn is_held(key: &str) -> bool {
    HELD.iter().any(|prefix| key.starts_with(prefix))
}

/// What is below these is held in memory.
const HELD: [&str; 2] = ["sys/config/", "sys/quota/"];
const MOST_LIMITS: usize = 10_000;

impl Live {
    async fn read(store: &Arc<dyn Store>, before: &Self) -> Result<Self, Error> {
        let tx = Tx::new(Arc::clone(store));
        let quotas: QuotaConfig = get(&tx, QUOTAS).await?;
        let exempt = quotas.rate_limit_exempt_paths.iter().chain(&quotas.absolute_rate_limit_exempt_paths).collect();
        Ok(Self {
            cors: get(&tx, CORS).await?,
            audited: get(&tx, AUDITED).await?,
            ui_headers: get(&tx, UI_HEADERS).await?,
            limits: Table::new(limits(store).await?, &before.limits),
            quotas,
            exempt,
        })
    }
}

async fn get<T: DeserializeOwned + Default>(tx: &Tx, key: &str) -> Result<T, Error> {
    Ok(tx.get_json(&Key::new(key)).await?.unwrap_or_default())
}

async fn limits(store: &Arc<dyn Store>) -> Result<BTreeMap<String, RateLimit>, Error> {
    let scan = Scan { prefix: RATE_LIMITS.to_owned(), after: None, limit: MOST_LIMITS, values: true };
    let page = store.scan(&scan).await?;
    let read = |(key, entry): &(Key, storage::Entry)| {
        let name = key.as_str().strip_prefix(RATE_LIMITS)?.to_owned();
        Some((name, serde_json::from_slice(&entry.value).ok()?))
    };
    Ok(page.entries.iter().filter_map(read).collect())
}

impl Running {
    /// Reads the settings anew: after a change here, or on another node.
    pub(crate) async fn reload_live(&self) -> Result<(), Error> {
        // One after the other, so that an older state never replaces a newer one.
        let _one = self.reloading.lock().await;
        let live = Live::read(&self.store(), &self.live.load()).await?;
        self.live.store(Arc::new(live));
        self.load_quotas().await
    }

    /// Writes settings in a commit of its own, so that they are in force when the reply is sent. `change` runs again if
    /// another request was quicker.
    pub(crate) async fn change_live<T>(
        &self,
        key: &str,
        change: impl Fn(&mut T) -> Result<(), Error>,
    ) -> Result<(), Error>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        loop {
            let tx = Tx::new(self.store());
            let mut settings: T = get(&tx, key).await?;
            change(&mut settings)?;
            tx.put_json(Key::new(key), &settings)?;
            match tx.commit().await.map_err(Error::from) {
                Ok(_) => return self.reload_live().await,
                Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Running {
    /// Has the limits of a mount follow it to another path, or ends all that are at a path or below it. `from` and `to` end
    /// in a slash and begin with the path of the namespace.
    pub(crate) async fn move_limits(&self, from: &str, to: Option<&str>) -> Result<(), Error> {
        let tx = Tx::new(self.store());
        for (name, mut limit) in limits(&self.store()).await? {
            let Some(inside) = limit.path.get(limit.mount_length..).map(str::to_owned) else { continue };
            let ends = to.is_none() && limit.path.starts_with(from);
            if limit.path.get(..limit.mount_length) != Some(from) && !ends {
                continue;
            }
            let key = Key::from(format!("{RATE_LIMITS}{name}"));
            match to {
                Some(to) => {
                    limit.path = format!("{to}{inside}");
                    limit.mount_length = to.len();
                    tx.put_json(key, &limit)?;
                }
                None => tx.delete(key),
            }
        }
        for (name, mut quota) in crate::sys::lease_quotas(&self.store()).await? {
            if quota.path != from && !(to.is_none() && quota.path.starts_with(from)) {
                continue;
            }
            let key = Key::from(format!("{}{name}", crate::sys::LEASE_QUOTAS));
            match to {
                Some(to) => {
                    to.clone_into(&mut quota.path);
                    tx.put_json(key, &quota)?;
                }
                None => tx.delete(key),
            }
        }
        match tx.commit().await? {
            Some(_) => self.reload_live().await,
            None => Ok(()),
        }
    }
}
