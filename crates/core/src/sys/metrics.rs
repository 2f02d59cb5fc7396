//! `sys/metrics`.

use engine::{Answer, Body, MountClass};
use gate::Error;
use serde::Deserialize;

use super::{Cx, Routes, System, Verb, running};
use crate::{
    metrics::{Amount, Gauged, Named},
    running::Running,
};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes.on(Verb::Read, "metrics", "Show what the server counts.", read)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    format: Option<String>,
}

async fn read(cx: Cx<System>, (): (), wanted: Wanted) -> Result<Answer, Error> {
    let running = running(&cx)?;
    let gauges = gauges(&running);
    let named = named(&running).await?;
    match wanted.format.as_deref().unwrap_or_default() {
        "" => {
            let json = serde_json::to_vec(&running.metrics.json(&gauges, &named, cx.now()));
            let json = json.map_err(|_| Error::internal("the metrics cannot be written"))?;
            Ok(Answer { body: Body::Bare(json.into()), ..Answer::default() })
        }
        "prometheus" => {
            let text =
                running.metrics.text(&gauges, &named).map_err(|_| Error::internal("the metrics cannot be written"))?;
            let content_type = "text/plain; version=0.0.4";
            Ok(Answer { body: Body::Raw { content_type, bytes: text.into() }, ..Answer::default() })
        }
        _ => Err(Error::invalid("format: use prometheus, or leave it out for JSON")),
    }
}

/// What is known at the moment alone.
fn gauges(running: &Running) -> Vec<Gauged> {
    let mut gauges: Vec<Gauged> = Vec::new();
    let counted = running.settings.storage_counters.as_ref().map(|counters| counters()).unwrap_or_default();
    for (name, value) in counted {
        gauges.push((format!("storage_{name}"), "Counted by the store since it was opened", value));
    }
    let health = running.audit.health();
    let healthy = health.iter().filter(|device| device.condition == audit::Condition::Healthy).count();
    gauges.push(("audit_devices".to_owned(), "Audit devices that are enabled", health.len() as u64));
    gauges.push(("audit_devices_healthy".to_owned(), "Audit devices that take entries", healthy as u64));
    // A sealed server shows no metrics, so whoever reads this reads 1.
    gauges.push(("unsealed".to_owned(), "Whether the server is unsealed", 1));
    gauges.push(("in_flight_requests".to_owned(), "Requests that are under way", running.in_flight.count() as u64));
    let (last, failures) = (running.snapshots.last(), running.snapshots.failures());
    gauges.push((
        "snapshot_last_success_seconds".to_owned(),
        "When the last good scheduled snapshot was begun; 0 for never",
        last,
    ));
    let now = u64::try_from(running.clock.now_seconds()).unwrap_or_default();
    let age = "Seconds since the last good scheduled snapshot was begun; since 1970 if there is none";
    gauges.push(("snapshot_age_seconds".to_owned(), age, now.saturating_sub(last)));
    gauges.push(("snapshot_failures".to_owned(), "Scheduled snapshots that failed since the start", failures));
    let mounts = |class| running.spaces.root().mounts.list(class).len() as u64;
    gauges.push(("mounts_secret".to_owned(), "Secrets engines that are mounted", mounts(MountClass::Secret)));
    gauges.push(("mounts_auth".to_owned(), "Auth methods that are mounted", mounts(MountClass::Auth)));
    let spaces = running.spaces.in_memory() as u64;
    gauges.push(("namespaces_in_memory".to_owned(), "Namespaces below the root one that are loaded", spaces));
    gauges
}

/// What Vault has a name for.
async fn named(running: &Running) -> Result<Vec<Named>, Error> {
    let numbers = running.census.numbers(&*running.barrier, &running.clock).await?;
    let mounts = |class, labels| Named {
        name: "vault.core.mount_table.num_entries",
        help: "Mounts by class",
        labels,
        amount: Amount::Now(running.spaces.root().mounts.list(class).len() as u64),
    };
    let mut named = vec![
        Named::now("vault.core.active", "Whether the node serves", 1),
        Named::now("vault.core.unsealed", "Whether the server is unsealed", 1),
        Named::now("vault.core.in_flight_requests", "Requests that are under way", running.in_flight.count() as u64),
        mounts(MountClass::Auth, &[("type", "auth"), ("local", "false")]),
        mounts(MountClass::Secret, &[("type", "logical"), ("local", "false")]),
        Named::now("vault.expire.num_leases", "Leases and tokens that end by themselves", numbers.leases),
        Named::now("vault.expire.num_irrevocable_leases", "Leases whose revocation fails", numbers.failing),
        Named::now("vault.token.count", "Service tokens", numbers.tokens),
        Named::now("vault.identity.num_entities", "Entities", numbers.entities),
    ];
    named.extend(running.metrics.named());
    Ok(named)
}
