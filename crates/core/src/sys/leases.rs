//! `sys/leases`.

use std::{collections::BTreeSet, sync::Arc};

use api::{Count, Flag, Ttl};
use engine::{Answer, Data, Done, Keys};
use gate::{Error, LeaseCall, LeaseId, Namespace, TokenId};
use leases::Leases;
use serde::{Deserialize, Serialize};

use super::{Cx, Paging, Routes, System, Verb, running, space};
use crate::running::Running;

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Write, "leases/lookup", "Show a lease.", lookup)
        .on(Verb::List, "leases/lookup/{prefix...}", "List the leases below a path.", list)
        .sudo()
        .on(Verb::Write, "leases/renew", "Extend a lease.", renew)
        .on(Verb::Write, "leases/renew/{id...}", "Extend a lease.", renew_at)
        .on(Verb::Write, "leases/revoke", "Revoke a lease.", revoke)
        .on(Verb::Write, "leases/revoke/{id...}", "Revoke a lease.", revoke_at)
        .on(
            Verb::Write,
            "leases/revoke-prefix/{prefix...}",
            "Revoke all leases and tokens below a path.",
            revoke_prefix,
        )
        .sudo()
        .on(
            Verb::Write,
            "leases/revoke-force/{prefix...}",
            "Forget all leases below a path, leaving orphan records.",
            revoke_force,
        )
        .sudo()
        .on(Verb::Write, "leases/tidy", "Look for what is due now.", tidy)
        .on(Verb::Read, "leases/count", "Count the leases of a kind.", count)
        .on(Verb::Read, "leases", "List the leases whose revocation fails.", irrevocable)
        .sudo()
        .on(Verb::Write, "renew", "Extend a lease.", renew)
        .on(Verb::Write, "renew/{id...}", "Extend a lease.", renew_at)
        .on(Verb::Write, "revoke", "Revoke a lease.", revoke)
        .on(Verb::Write, "revoke/{id...}", "Revoke a lease.", revoke_at)
        .on(Verb::Write, "revoke-prefix/{prefix...}", "Revoke all leases and tokens below a path.", revoke_prefix)
        .sudo()
        .on(
            Verb::Write,
            "revoke-force/{prefix...}",
            "Forget all leases below a path, leaving orphan records.",
            revoke_force,
        )
        .sudo()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    lease_id: String,
    increment: Ttl,
    sync: Flag,
    url_lease_id: String,
}

impl Ask {
    /// The lease that is meant: one of this namespace.
    fn id(&self, cx: &Cx<System>) -> Result<LeaseId, Error> {
        let text = if self.lease_id.is_empty() { &self.url_lease_id } else { &self.lease_id };
        if text.is_empty() {
            return Err(Error::invalid("lease_id must be specified"));
        }
        own(cx, LeaseId(text.as_str().into()))
    }
}

/// Leases of other namespaces are none that this one knows of.
fn own(cx: &Cx<System>, id: LeaseId) -> Result<LeaseId, Error> {
    match id.namespace() == cx.mount().namespace.suffix() {
        true => Ok(id),
        false => Err(Error::invalid("invalid lease")),
    }
}

#[derive(Serialize)]
struct Shown {
    id: LeaseId,
    issue_time: String,
    expire_time: Option<String>,
    last_renewal: Option<String>,
    renewable: bool,
    ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke_error: Option<String>,
}

async fn lookup(cx: Cx<System>, (): (), ask: Ask) -> Result<Data<Shown>, Error> {
    let (running, id) = (running(&cx)?, ask.id(&cx)?);
    let Some(record) = running.leases.lookup(cx.view().tx(), &id).await? else {
        let token = token(&running, &id).await?;
        let (_, token) = token.ok_or_else(|| Error::invalid("invalid lease"))?;
        return Ok(Data(of_token(&cx, id, &token)));
    };
    let left = record.expires.map_or(0, |end| clock::between(cx.now(), end).as_secs());
    Ok(Data(Shown {
        id: record.id.clone(),
        issue_time: record.issued.to_string(),
        expire_time: record.expires.map(|end| end.to_string()),
        last_renewal: record.last_renewal.map(|at| at.to_string()),
        renewable: record.renewable && record.state == leases::State::Active,
        ttl: left,
        revoke_error: record.last_error.clone(),
    }))
}

/// The token that a lease id stands for, as that of a login does: its path and its id.
async fn token(running: &Running, lease: &LeaseId) -> Result<Option<(TokenId, Arc<tokens::Record>)>, Error> {
    let Some((path, id)) = lease.0.rsplit_once('/').filter(|(path, _)| path.starts_with("auth/")) else {
        return Ok(None);
    };
    let id = TokenId(id.into());
    let found = running.tokens.find(&id).await?.filter(|record| *record.path == *path);
    Ok(found.map(|record| (id, record)))
}

fn of_token(cx: &Cx<System>, id: LeaseId, record: &tokens::Record) -> Shown {
    Shown {
        id,
        issue_time: record.created.to_string(),
        expire_time: record.expires.map(|end| end.to_string()),
        last_renewal: record.last_renewal.map(|at| at.to_string()),
        renewable: record.renewable,
        ttl: record.expires.map_or(0, |end| clock::between(cx.now(), end).as_secs()),
        revoke_error: None,
    }
}

/// Leases of engines and of logins, below one path.
async fn list(cx: Cx<System>, prefix: String, paging: Paging) -> Result<Keys, Error> {
    let folder = match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let (tx, limit) = (cx.view().tx(), paging.limit(100_000));
    let (leases, namespace) = (Arc::clone(&running(&cx)?.leases), space(&cx)?.namespace.clone());
    let hidden = leases.hidden().await?;
    let after = paging.after.as_deref();
    let mut keys = Vec::new();
    for name in tx.view("sys/lease/id/").list(&folder, after, limit.saturating_add(hidden.len())).await?.names {
        if is_shown(&leases, namespace.suffix(), &hidden, &format!("{folder}{name}")).await? {
            keys.push(name);
        }
    }
    keys.extend(tx.view(tokens::PATHS).list(&folder, after, limit).await?.names);
    keys.sort_unstable();
    keys.dedup();
    keys.truncate(limit);
    Ok(keys.into())
}

/// Whether a lease is one that somebody was handed, or a folder has such a lease.
async fn is_shown(leases: &Leases, namespace: &str, hidden: &BTreeSet<String>, name: &str) -> Result<bool, Error> {
    if !name.ends_with('/') {
        return Ok(!hidden.contains(name));
    }
    let within = hidden.range(name.to_owned()..).take_while(|id| id.starts_with(name)).count();
    if within == 0 {
        return Ok(true);
    }
    let (ids, _) = leases.ids(namespace, name, None, within + 1).await?;
    Ok(ids.iter().any(|id| !hidden.contains(&*id.0)))
}

async fn renew(cx: Cx<System>, (): (), ask: Ask) -> Result<Answer, Error> {
    renew_lease(&cx, ask.id(&cx)?, ask.increment).await
}

async fn renew_at(cx: Cx<System>, id: String, ask: Ask) -> Result<Answer, Error> {
    let id = if ask.lease_id.is_empty() { own(&cx, LeaseId(id.into()))? } else { ask.id(&cx)? };
    renew_lease(&cx, id, ask.increment).await
}

async fn renew_lease(cx: &Cx<System>, id: LeaseId, increment: Ttl) -> Result<Answer, Error> {
    let running = running(cx)?;
    let tx = cx.view().tx();
    let Some(record) = running.leases.lookup(tx, &id).await? else {
        let is_token = token(&running, &id).await?.is_some();
        return Err(Error::invalid(match is_token {
            true => "tokens cannot be renewed through this endpoint; use auth/token/renew-accessor",
            false => "lease not found",
        }));
    };
    let (until, warnings) = running.leases.renewal(&record, increment.set())?;
    let mounted =
        space(cx)?.mounts.by_uuid(&record.mount).ok_or_else(|| Error::invalid("the lease's mount is gone"))?;
    let call = LeaseCall {
        lease: id.clone(),
        data: record.secret(),
        until: Some(until),
        pending: false,
        mount: Arc::clone(&mounted.info),
        view: tx.view(Arc::clone(&mounted.prefix)),
        services: Arc::clone(cx.services()),
    };
    mounted.backend.renew(call).await?;
    let renewable = record.renewable;
    let left = running.leases.renewed(tx, record, until).await?;
    Ok(Answer { warnings, renewed: Some((id, left, renewable)), ..Answer::default() })
}

async fn revoke(cx: Cx<System>, (): (), ask: Ask) -> Result<Answer, Error> {
    revoke_lease(&cx, ask.id(&cx)?, ask.sync).await
}

async fn revoke_at(cx: Cx<System>, id: String, ask: Ask) -> Result<Answer, Error> {
    let id = if ask.lease_id.is_empty() { own(&cx, LeaseId(id.into()))? } else { ask.id(&cx)? };
    revoke_lease(&cx, id, ask.sync).await
}

async fn revoke_lease(cx: &Cx<System>, id: LeaseId, sync: Flag) -> Result<Answer, Error> {
    let running = running(cx)?;
    if let Some((token, _)) = token(&running, &id).await? {
        let ended = running.revoke_token(&token).await?;
        return match (sync.0, ended) {
            (true, Some(ended)) => tokio::time::timeout(SYNC, ended)
                .await
                .map(|_| Answer::default())
                .map_err(|_| Error::Target(GOES_ON.to_owned())),
            (true, None) => Ok(Answer::default()),
            (false, _) => Ok(accepted()),
        };
    }
    let waiting = running.leases.revoke(&id).await?;
    if !sync.0 {
        return Ok(accepted());
    }
    let Some(waiting) = waiting else { return Ok(Answer::default()) };
    match tokio::time::timeout(SYNC, waiting).await {
        Ok(Ok(Ok(()))) => Ok(Answer::default()),
        Ok(Ok(Err(why))) => Err(Error::Target(format!("failed to revoke, it is tried again in the background: {why}"))),
        Ok(Err(_)) | Err(_) => Err(Error::Target(GOES_ON.to_owned())),
    }
}

/// The reply to a caller who does not wait: the revocations are marked and go on in the background.
fn accepted() -> Answer {
    Answer { status: Some(202), ..Answer::default() }
}

/// How long a caller who asked to wait is kept.
const SYNC: std::time::Duration = std::time::Duration::from_secs(60);
const GOES_ON: &str = "the revocation goes on in the background";
const PAGE: usize = 500;

async fn ids_below(running: &Running, namespace: &str, prefix: &str) -> Result<Vec<LeaseId>, Error> {
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        return Err(Error::invalid("prefix: name the path below which to revoke"));
    }
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let (ids, more) = running.leases.ids(namespace, prefix, after.as_deref(), PAGE).await?;
        after = ids.last().map(|id| id.0.to_string());
        // "creds/app" means what is below it, not "creds/apple" too.
        let below =
            |id: &LeaseId| id.0.get(prefix.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        all.extend(ids.into_iter().filter(below));
        if !more {
            return Ok(all);
        }
    }
}

async fn revoke_prefix(cx: Cx<System>, prefix: String, ask: Ask) -> Result<Answer, Error> {
    let (running, namespace) = (running(&cx)?, cx.mount().namespace.suffix());
    let mut waits = Vec::new();
    for id in ids_below(&running, namespace, &prefix).await? {
        waits.extend(running.leases.revoke(&id).await?);
    }
    let ended = revoke_tokens(&running, namespace, &prefix).await?;
    if !ask.sync.0 {
        return Ok(accepted());
    }
    let all = async {
        let results = futures::future::join_all(waits).await;
        for end in ended {
            // A sender that is gone has been told: the token ended otherwise.
            let _ = end.await;
        }
        results.into_iter().filter(|result| !matches!(result, Ok(Ok(())))).count()
    };
    match tokio::time::timeout(SYNC, all).await {
        Ok(0) => Ok(Answer::default()),
        Ok(_) | Err(_) => {
            Err(Error::Target("some revocations go on in the background; see sys/leases?type=irrevocable".to_owned()))
        }
    }
}

/// Revokes the tokens that were made below a path. The receivers tell when they, and all that they leased, are gone.
async fn revoke_tokens(
    running: &Running,
    namespace: &str,
    prefix: &str,
) -> Result<Vec<futures::channel::oneshot::Receiver<()>>, Error> {
    let prefix = prefix.trim_end_matches('/');
    let mut ends = Vec::new();
    if prefix.starts_with("auth/") || prefix == "auth" {
        for id in running.tokens.by_path(namespace, prefix).await? {
            ends.extend(running.revoke_token(&id).await?);
        }
    }
    Ok(ends)
}

async fn revoke_force(cx: Cx<System>, prefix: String) -> Result<Done, Error> {
    let (running, namespace) = (running(&cx)?, cx.mount().namespace.suffix());
    for id in ids_below(&running, namespace, &prefix).await? {
        running.leases.force(&id).await?;
    }
    revoke_tokens(&running, namespace, &prefix).await?;
    Ok(Done)
}

async fn tidy(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    running(&cx)?.leases.wake();
    let warning =
        "Tidy operation successfully started. Any information from the operation will be printed to the server logs.";
    Ok(Answer { status: Some(202), warnings: vec![warning.to_owned()], ..Answer::default() })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
    limit: Option<Count>,
    include_child_namespaces: Flag,
}

#[derive(Serialize)]
struct Counted {
    lease_count: usize,
    counts: std::collections::BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct Irrevocable {
    lease_count: usize,
    leases: Vec<IrrevocableLease>,
}

#[derive(Serialize)]
struct IrrevocableLease {
    lease_id: LeaseId,
    error: String,
    failures: u32,
}

/// Leases whose revocation fails: it is tried for as long as it takes, and meanwhile they stand here.
async fn failing(cx: &Cx<System>, kind: &Kind) -> Result<Vec<IrrevocableLease>, Error> {
    if kind.kind != "irrevocable" {
        return Err(Error::invalid("type: the only type is \"irrevocable\""));
    }
    let (running, namespace) = (running(cx)?, &cx.mount().namespace);
    let below = kind.include_child_namespaces.0;
    let limit = kind.limit.map_or(10_000, |limit| usize::try_from(limit.0).unwrap_or(10_000));
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    while found.len() < limit {
        let (records, more) = running.leases.failing(after.as_deref(), PAGE.min(limit - found.len())).await?;
        after = records.last().map(|record| format!("{}/{}", record.mount, record.id));
        for record in records {
            if !is_within(&running, &record.id, namespace, below).await? {
                continue;
            }
            found.push(IrrevocableLease {
                lease_id: record.id,
                error: record.last_error.unwrap_or_default(),
                failures: record.failures,
            });
        }
        if !more || after.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Whether a lease is of this namespace or, with `below`, of one below it.
async fn is_within(running: &Running, lease: &LeaseId, namespace: &Namespace, below: bool) -> Result<bool, Error> {
    let of = lease.namespace();
    if of == namespace.suffix() || !below {
        return Ok(of == namespace.suffix());
    }
    let space = running.spaces.by_id(of).await?;
    Ok(space.is_some_and(|space| space.namespace.path().starts_with(namespace.path())))
}

async fn count(cx: Cx<System>, (): (), kind: Kind) -> Result<Data<Counted>, Error> {
    let leases = failing(&cx, &kind).await?;
    let mut counts = std::collections::BTreeMap::new();
    for lease in &leases {
        let mount = lease.lease_id.0.split_inclusive('/').next().unwrap_or_default();
        *counts.entry(mount.to_owned()).or_insert(0) += 1;
    }
    Ok(Data(Counted { lease_count: leases.len(), counts }))
}

async fn irrevocable(cx: Cx<System>, (): (), kind: Kind) -> Result<Data<Irrevocable>, Error> {
    let leases = failing(&cx, &kind).await?;
    Ok(Data(Irrevocable { lease_count: leases.len(), leases }))
}
