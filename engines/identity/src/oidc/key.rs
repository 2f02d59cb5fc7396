//! `oidc/key`: named keys that sign identity tokens, and their rotation.

use std::time::Duration;

use api::{CommaList, Name, Ttl};
use crypto::jws::Algorithm;
use engine::{Cx, Data, Done, Error, Keys, Plan, Scope};
use serde::{Deserialize, Serialize};

use super::ring::{self, Named};
use crate::{Identity, Paging, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "oidc/key", "List the named keys.", list)
        .on(Verb::Read, "oidc/key/{name}", "Show a named key.", read)
        .on(Verb::Write, "oidc/key/{name}", "Create or change a named key.", write)
        .exists(exists)
        .on(Verb::Delete, "oidc/key/{name}", "Remove a named key that no role uses.", delete)
        .on(Verb::Write, "oidc/key/{name}/rotate", "Sign with a new key from now on.", rotate_now)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyBody {
    rotation_period: Option<Ttl>,
    verification_ttl: Option<Ttl>,
    algorithm: Option<String>,
    allowed_client_ids: Option<CommaList>,
}

#[derive(Serialize)]
struct Shown {
    rotation_period: u64,
    verification_ttl: u64,
    algorithm: String,
    allowed_client_ids: Vec<String>,
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let keys = cx.view().tx().view(ring::PREFIX);
    Ok(keys.list("", paging.after(), paging.limit()).await?.into())
}

async fn exists(cx: Cx<Identity>, name: Name) -> Result<bool, Error> {
    Ok(ring::load(cx.view().tx(), name.as_str()).await?.is_some())
}

async fn read(cx: Cx<Identity>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let named = ring::load(cx.view().tx(), name.as_str()).await?;
    Ok(named.map(|named| {
        Data(Shown {
            rotation_period: named.rotation_period.as_secs(),
            verification_ttl: named.verification_ttl.as_secs(),
            algorithm: named.algorithm,
            allowed_client_ids: named.allowed_client_ids,
        })
    }))
}

async fn write(cx: Cx<Identity>, name: Name, body: KeyBody) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let known = ring::load(tx, name.as_str()).await?;
    let period = body.rotation_period.map(|ttl| ttl.0);
    let period = period.or(known.as_ref().map(|known| known.rotation_period)).unwrap_or(DAY);
    let ttl = body.verification_ttl.map(|ttl| ttl.0);
    let ttl = ttl.or(known.as_ref().map(|known| known.verification_ttl)).unwrap_or(DAY);
    check(period, ttl, known.as_ref())?;
    let algorithm = body.algorithm.or_else(|| known.as_ref().map(|known| known.algorithm.clone()));
    let algorithm = Algorithm::parse(algorithm.as_deref().unwrap_or("RS256")).ok_or_else(|| {
        let names = Algorithm::ALL.map(Algorithm::as_str).join(", ");
        Error::invalid(format!("unknown signing algorithm: use one of {names}"))
    })?;
    let mut named = match known {
        None => ring::named(tx, name.as_str(), algorithm, ring::make(algorithm).await?),
        Some(mut named) => {
            if named.algorithm != algorithm.as_str() {
                let (verifies, now) = (named.verification_ttl, cx.now());
                named.replace(tx, name.as_str(), ring::make(algorithm).await?, verifies, now);
                named.algorithm = algorithm.as_str().to_owned();
            }
            named
        }
    };
    if named.rotation_period != period {
        cx.plan(&plan_id(&name), Some(plan(period))).await?;
    }
    named.rotation_period = period;
    named.verification_ttl = ttl;
    if let Some(ids) = body.allowed_client_ids {
        named.allowed_client_ids = ids.0;
    }
    ring::save(tx, name.as_str(), &named)?;
    Ok(Done)
}

/// The key that clients have who name none; not stored yet.
pub(crate) async fn make_default(cx: &Scope<Identity>, name: &str, algorithm: Algorithm) -> Result<Named, Error> {
    let mut named = ring::named(cx.view().tx(), name, algorithm, ring::make(algorithm).await?);
    named.rotation_period = DAY;
    named.verification_ttl = DAY;
    named.allowed_client_ids = vec!["*".to_owned()];
    cx.plan(&format!("{PLANNED}{name}"), Some(plan(DAY))).await?;
    Ok(named)
}

fn check(period: Duration, ttl: Duration, known: Option<&Named>) -> Result<(), Error> {
    if period < Duration::from_secs(60) {
        return Err(Error::invalid("rotation_period must be at least one minute"));
    }
    if ttl > period.saturating_mul(10) {
        return Err(Error::invalid("verification_ttl cannot be longer than 10x rotation_period"));
    }
    let longest = known.map(Named::longest).unwrap_or_default();
    if longest > ttl {
        return Err(Error::invalid(format!(
            "verification_ttl: the key signs tokens of {} seconds, which must not outlive it",
            longest.as_secs()
        )));
    }
    Ok(())
}

async fn delete(cx: Cx<Identity>, name: Name) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let Some(named) = ring::load(tx, name.as_str()).await? else { return Ok(Done) };
    for (users, what) in [(&named.roles, "roles"), (&named.clients, "clients")] {
        if !users.is_empty() {
            let users = users.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::invalid(format!(
                "unable to delete key {:?} because it is currently referenced by these {what}: {users}",
                name.as_str()
            )));
        }
    }
    named.remove(tx, name.as_str());
    cx.plan(&plan_id(&name), None).await?;
    Ok(Done)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rotation {
    verification_ttl: Option<Ttl>,
}

async fn rotate_now(cx: Cx<Identity>, name: Name, rotation: Rotation) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let Some(named) = ring::load(tx, name.as_str()).await? else {
        return Err(Error::invalid(format!("key {:?} is not found", name.as_str())));
    };
    // A key that was found out can be ended at once: zero.
    let ttl = rotation.verification_ttl.map_or(named.verification_ttl, |ttl| ttl.0);
    check(named.rotation_period, ttl, None)?;
    advance(cx.scope(), name.as_str(), named, ttl).await?;
    cx.rotated(&plan_id(&name), Ok(())).await?;
    Ok(Done)
}

/// Does the rotation that is due.
pub(crate) async fn rotate(cx: &Scope<Identity>, id: &str) -> Result<(), Error> {
    let name = id.strip_prefix(PLANNED).unwrap_or_default();
    // One that was removed meanwhile has nothing to rotate.
    let Some(named) = ring::load(cx.view().tx(), name).await? else { return Ok(()) };
    let ttl = named.verification_ttl;
    advance(cx, name, named, ttl).await
}

async fn advance(cx: &Scope<Identity>, name: &str, mut named: Named, ttl: Duration) -> Result<(), Error> {
    let algorithm = Algorithm::parse(&named.algorithm);
    let algorithm = algorithm.ok_or_else(|| Error::internal("a named key has an unknown algorithm"))?;
    let [fresh] = ring::make(algorithm).await?;
    let tx = cx.view().tx();
    named.advance(tx, name, fresh, ttl, cx.now());
    ring::save(tx, name, &named)
}

fn plan_id(name: &Name) -> String {
    format!("{PLANNED}{}", name.as_str())
}

fn plan(period: Duration) -> Plan {
    Plan { period: Some(period), schedule: None, window: None, first_now: false }
}

const PLANNED: &str = "oidc/key/";
const DAY: Duration = Duration::from_secs(24 * 3600);
