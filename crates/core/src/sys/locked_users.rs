//! `sys/locked-users`: who is locked out after too many failed logins.

use std::collections::BTreeMap;

use engine::{Data, Done};
use gate::Error;
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, running, space};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes.on(Verb::Read, "locked-users", "List who is locked out after too many failed logins.", list).on(
        Verb::Write,
        "locked-users/{accessor}/unlock/{alias}",
        "Let somebody log in again.",
        unlock,
    )
}

/// Which part is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    mount_accessor: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    by_namespace: Vec<OfNamespace>,
    total: usize,
}

#[derive(Serialize)]
struct OfNamespace {
    counts: usize,
    mount_accessors: Vec<OfMount>,
    namespace_id: String,
    namespace_path: String,
}

#[derive(Serialize)]
struct OfMount {
    alias_identifiers: Vec<String>,
    counts: usize,
    mount_accessor: String,
}

async fn list(cx: Cx<System>, (): (), wanted: Wanted) -> Result<Data<Listing>, Error> {
    let (running, space) = (running(&cx)?, space(&cx)?);
    let wanted = wanted.mount_accessor.filter(|accessor| !accessor.is_empty());
    let mut by_accessor: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for locked in running.lockout.locked().await? {
        // A mount that is being removed has no accessor any more; others are of other namespaces.
        let Some(mounted) = space.mounts.by_uuid(&locked.mount) else { continue };
        if wanted.as_ref().is_none_or(|wanted| **wanted == *mounted.info.accessor) {
            by_accessor.entry(mounted.info.accessor.to_string()).or_default().push(locked.alias);
        }
    }
    let of_mount = |(mount_accessor, alias_identifiers): (String, Vec<String>)| OfMount {
        counts: alias_identifiers.len(),
        alias_identifiers,
        mount_accessor,
    };
    let mounts: Vec<_> = by_accessor.into_iter().map(of_mount).collect();
    let total = mounts.iter().map(|mount| mount.counts).sum();
    let own = OfNamespace {
        counts: total,
        mount_accessors: mounts,
        namespace_id: space.namespace.id().to_owned(),
        namespace_path: space.namespace.path().to_owned(),
    };
    Ok(Data(Listing { by_namespace: if total == 0 { Vec::new() } else { vec![own] }, total }))
}

async fn unlock(cx: Cx<System>, (accessor, alias): (String, String)) -> Result<Done, Error> {
    let running = running(&cx)?;
    let mounted = space(&cx)?.mounts.by_accessor(&accessor);
    let mounted = mounted.ok_or_else(|| Error::invalid("mount_accessor: no auth method has this accessor"))?;
    if !lockout::KINDS.contains(&mounted.info.kind) {
        return Err(Error::invalid(format!("users of the type {:?} cannot be locked", mounted.info.kind)));
    }
    running.lockout.unlock(&mounted.info.uuid, &alias).await?;
    // User names do not depend on case, and are counted in lower case.
    running.lockout.unlock(&mounted.info.uuid, &alias.to_lowercase()).await?;
    Ok(Done)
}
