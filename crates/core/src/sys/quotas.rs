//! `sys/quotas/lease-count`: limits on the number of leases.

use std::sync::Arc;

use api::{Count, Name};
use engine::{Data, Done, Keys};
use gate::Error;
use leases::LeaseQuota;
use serde::{Deserialize, Serialize};
use storage::{Entry, Key, Scan, Store, Tx};

use super::{Cx, Routes, System, Verb, running};
use crate::running::Running;

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::List, "quotas/lease-count", "List the lease count quotas.", list)
        .on(Verb::Read, "quotas/lease-count/{name}", "Show a lease count quota.", read)
        .on(Verb::Write, "quotas/lease-count/{name}", "Create or replace a lease count quota.", write)
        .on(Verb::Delete, "quotas/lease-count/{name}", "Delete a lease count quota.", delete)
}

/// Where the quotas are stored.
pub(crate) const PREFIX: &str = "sys/quota/lease-count/";

impl Running {
    /// Puts the stored quotas in force.
    pub(crate) async fn load_quotas(&self) -> Result<(), Error> {
        let quotas = stored(&self.store()).await?;
        self.leases.quotas().set(quotas.into_iter().map(|(_, quota)| quota).collect());
        Ok(())
    }
}

/// The stored quotas with their names.
pub(crate) async fn stored(store: &Arc<dyn Store>) -> Result<Vec<(String, LeaseQuota)>, Error> {
    let scan = Scan { prefix: PREFIX.to_owned(), after: None, limit: 10_000, values: true };
    let page = store.scan(&scan).await?;
    let read = |(key, entry): &(Key, Entry)| {
        let name = key.as_str().strip_prefix(PREFIX)?.to_owned();
        Some((name, serde_json::from_slice(&entry.value).ok()?))
    };
    Ok(page.entries.iter().filter_map(read).collect())
}

async fn list(cx: Cx<System>, (): ()) -> Result<Keys, Error> {
    Ok(cx.view().tx().view(PREFIX).list("", None, 10_000).await?.into())
}

#[derive(Serialize)]
struct Shown {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    path: String,
    role: String,
    max_leases: u64,
    inheritable: bool,
}

async fn read(cx: Cx<System>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let quota: Option<LeaseQuota> = cx.view().tx().view(PREFIX).get_json(name.as_str()).await?;
    let show = |quota: LeaseQuota| Shown {
        name: name.to_string(),
        kind: "lease-count",
        path: quota.path,
        role: quota.role,
        max_leases: quota.max_leases,
        inheritable: false,
    };
    Ok(quota.map(show).map(Data))
}

#[derive(Debug, Deserialize)]
struct Input {
    #[serde(default)]
    path: String,
    #[serde(default)]
    role: String,
    max_leases: Count,
    #[serde(default, rename = "type")]
    _kind: Option<String>,
}

async fn write(cx: Cx<System>, name: Name, input: Input) -> Result<Done, Error> {
    if input.max_leases.0 == 0 {
        return Err(Error::invalid("max_leases: use at least 1"));
    }
    let running = running(&cx)?;
    let (space, path) = running.locate(running.spaces.root(), input.path.trim_matches('/')).await?;
    let above = space.namespace.path();
    let path = match path {
        "" if !input.role.is_empty() => {
            return Err(Error::invalid("role: a quota for a role needs the path of its mount"));
        }
        "" => above.to_owned(),
        path => {
            let mounted = space.mounts.exactly(path).map_err(|error| error.of_part("path"))?;
            format!("{above}{}", mounted.info.path)
        }
    };
    let quota = LeaseQuota { path, role: input.role, max_leases: input.max_leases.0 };
    store(&cx, &name, Some(&quota)).await
}

async fn delete(cx: Cx<System>, name: Name) -> Result<Done, Error> {
    store(&cx, &name, None).await
}

/// In a commit of its own, so that the quota is in force when the reply is sent.
async fn store(cx: &Cx<System>, name: &Name, quota: Option<&LeaseQuota>) -> Result<Done, Error> {
    let running = running(cx)?;
    let tx = Tx::new(running.store());
    let view = tx.view(PREFIX);
    match quota {
        Some(quota) => view.put_json(name.as_str(), quota)?,
        None => view.delete(name.as_str()),
    }
    tx.commit().await?;
    running.reload_live().await?;
    Ok(Done)
}
