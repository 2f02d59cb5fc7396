//! `sys/inventory`: which tokens and leases there are, whose, how old, and when they end at the latest. Nothing here is a
//! secret: a token is shown by its accessor.

use std::{sync::Arc, time::Duration};

use api::{Count, Ttl};
use clock::Timestamp;
use engine::Data;
use gate::Error;
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, running, space};
use crate::{namespaces::Space, running::Running};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "inventory/tokens", "List tokens with who holds them and when they end.", list_tokens)
        .sudo()
        .on(Verb::Read, "inventory/leases", "List leases with who holds them and when they end.", list_leases)
        .sudo()
}

/// Which are wanted, and from where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    /// Of this entity.
    entity_id: Option<String>,
    /// Made by this role.
    role: Option<String>,
    /// Made at this path or below it: a mount, mostly.
    mount: Option<String>,
    /// At least so old.
    older_than: Option<Ttl>,
    /// That no renewal keeps longer than this from now.
    ends_within: Option<Ttl>,
    /// Behind this one, as the last page said.
    after: Option<String>,
    /// At most so many; 100 unless it is said, 1000 at most.
    limit: Option<Count>,
}

const USUAL: u64 = 100;
const MOST: u64 = 1000;
/// How many are looked at for one page: a filter that fits few must not keep the server busy.
const LOOKED_AT: usize = 10_000;

impl Wanted {
    fn limit(&self) -> usize {
        usize::try_from(self.limit.map_or(USUAL, |limit| limit.0).clamp(1, MOST)).unwrap_or(1)
    }

    fn after(&self) -> Option<&str> {
        self.after.as_deref().filter(|after| !after.is_empty())
    }

    fn fits(&self, entity: &str, role: &str, path: &str) -> bool {
        let is = |wanted: &Option<String>, have: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == have)
        };
        let mount = self.mount.as_deref().unwrap_or_default().trim_matches('/');
        let below = path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is(&self.entity_id, entity) && is(&self.role, role) && (mount.is_empty() || below)
    }

    fn fits_in_time(&self, now: Timestamp, issued: Timestamp, end: Option<Timestamp>) -> bool {
        let set = |ttl: Option<Ttl>| ttl.map(|ttl| ttl.0).filter(|ttl| !ttl.is_zero());
        let old = set(self.older_than).is_none_or(|age| clock::between(issued, now) >= age);
        let ends = set(self.ends_within).is_none_or(|within| end.is_some_and(|end| clock::between(now, end) <= within));
        old && ends
    }
}

#[derive(Serialize)]
struct Page<T> {
    #[serde(flatten)]
    found: T,
    /// Whether there may be more.
    more: bool,
    /// Where the next page begins.
    after: String,
}

#[derive(Serialize)]
struct TokenPage {
    tokens: Vec<Token>,
}

#[derive(Serialize)]
struct Token {
    accessor: String,
    display_name: Arc<str>,
    entity_id: Arc<str>,
    path: Arc<str>,
    role: String,
    policies: Arc<[String]>,
    orphan: bool,
    num_uses: u64,
    #[serde(flatten)]
    times: Times,
}

#[derive(Serialize)]
struct LeasePage {
    leases: Vec<Lease>,
}

#[derive(Serialize)]
struct Lease {
    lease_id: String,
    mount: String,
    role: String,
    /// Of the token that holds it; empty if that is a batch token.
    accessor: String,
    entity_id: Arc<str>,
    /// Why the last try to revoke it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke_error: Option<String>,
    #[serde(flatten)]
    times: Times,
}

/// Times in RFC 3339, spans in seconds.
#[derive(Serialize)]
struct Times {
    issue_time: String,
    age: u64,
    renewable: bool,
    last_renewal: Option<String>,
    /// When it ends unless it is renewed.
    expire_time: Option<String>,
    ttl: u64,
    /// When it ends whatever is renewed; `None` is never.
    hard_expire_time: Option<String>,
}

struct Moments {
    issued: Timestamp,
    expires: Option<Timestamp>,
    hard: Option<Timestamp>,
    renewed: Option<Timestamp>,
    renewable: bool,
}

impl Moments {
    fn at(&self, now: Timestamp) -> Times {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Times {
            issue_time: self.issued.to_string(),
            age: clock::between(self.issued, now).as_secs(),
            renewable: self.renewable,
            last_renewal: text(self.renewed),
            expire_time: text(self.expires),
            ttl: self.expires.map_or(Duration::ZERO, |end| clock::between(now, end)).as_secs(),
            hard_expire_time: text(self.hard),
        }
    }
}

async fn list_tokens(cx: Cx<System>, (): (), wanted: Wanted) -> Result<Data<Page<TokenPage>>, Error> {
    let (running, space, now, limit) = (running(&cx)?, space(&cx)?, cx.now(), wanted.limit());
    let mount_max = space.mounts.exactly("auth/token/")?.info.max_ttl;
    let (mut tokens, mut after, mut looked_at) = (Vec::new(), wanted.after().map(str::to_owned), 0);
    let more = 'pages: loop {
        let (accessors, more) = running.tokens.accessors(space.namespace.suffix(), after.as_deref(), PAGE).await?;
        for accessor in accessors {
            if tokens.len() >= limit || looked_at >= LOOKED_AT {
                break 'pages true;
            }
            looked_at += 1;
            after = Some(accessor.clone());
            let Some(record) = token_at(&running, &accessor).await? else { continue };
            let hard = record.hard_expiry(mount_max).map(|(end, _)| end);
            let fits = wanted.fits(&record.entity_id, &record.role, &record.path);
            if fits && wanted.fits_in_time(now, record.created, hard) {
                tokens.push(token(accessor, &record, hard, now));
            }
        }
        if !more {
            break false;
        }
    };
    Ok(Data(Page { found: TokenPage { tokens }, more, after: after.filter(|_| more).unwrap_or_default() }))
}

async fn token_at(running: &Running, accessor: &str) -> Result<Option<Arc<tokens::Record>>, Error> {
    match running.tokens.by_accessor(accessor).await? {
        Some(id) => running.tokens.find(&id).await,
        None => Ok(None),
    }
}

fn token(accessor: String, record: &tokens::Record, hard: Option<Timestamp>, now: Timestamp) -> Token {
    let moments = Moments {
        issued: record.created,
        expires: record.expires,
        hard,
        renewed: record.last_renewal,
        renewable: record.renewable,
    };
    Token {
        accessor,
        display_name: Arc::clone(&record.display_name),
        entity_id: Arc::clone(&record.entity_id),
        path: Arc::clone(&record.path),
        role: record.role.clone(),
        policies: Arc::clone(&record.policies),
        orphan: record.is_orphan(),
        num_uses: record.num_uses,
        times: moments.at(now),
    }
}

async fn list_leases(cx: Cx<System>, (): (), wanted: Wanted) -> Result<Data<Page<LeasePage>>, Error> {
    let (running, space, now, limit) = (running(&cx)?, space(&cx)?, cx.now(), wanted.limit());
    let prefix = match wanted.mount.as_deref().unwrap_or_default().trim_matches('/') {
        "" => String::new(),
        mount => format!("{mount}/"),
    };
    let (mut leases, mut after, mut looked_at) = (Vec::new(), wanted.after().map(str::to_owned), 0);
    let more = 'pages: loop {
        let (ids, more) = running.leases.ids(space.namespace.suffix(), &prefix, after.as_deref(), PAGE).await?;
        for id in ids {
            if leases.len() >= limit || looked_at >= LOOKED_AT {
                break 'pages true;
            }
            looked_at += 1;
            after = Some(id.to_string());
            let Some(record) = running.leases.lookup(cx.view().tx(), &id).await? else { continue };
            let hard = clock::after(record.issued, record.max_ttl);
            if !wanted.fits_in_time(now, record.issued, Some(hard)) {
                continue;
            }
            let owner = match &record.owner {
                Some(owner) => running.tokens.find(owner).await?,
                None => None,
            };
            let entity = owner.as_ref().map(|owner| Arc::clone(&owner.entity_id)).unwrap_or_default();
            if wanted.fits(&entity, &record.role, &id.0) {
                leases.push(lease(&space, record, owner, hard, now));
            }
        }
        if !more {
            break false;
        }
    };
    Ok(Data(Page { found: LeasePage { leases }, more, after: after.filter(|_| more).unwrap_or_default() }))
}

fn lease(
    space: &Space,
    record: leases::Record,
    owner: Option<Arc<tokens::Record>>,
    hard: Timestamp,
    now: Timestamp,
) -> Lease {
    let renewable = record.renewable && record.state == leases::State::Active;
    let moments = Moments {
        issued: record.issued,
        expires: record.expires,
        hard: if renewable { Some(hard) } else { record.expires },
        renewed: record.last_renewal,
        renewable,
    };
    Lease {
        mount: space.mounts.by_uuid(&record.mount).map(|mounted| mounted.info.path.to_string()).unwrap_or_default(),
        accessor: owner.as_ref().map(|owner| owner.accessor.clone()).unwrap_or_default(),
        entity_id: owner.map(|owner| Arc::clone(&owner.entity_id)).unwrap_or_default(),
        lease_id: record.id.to_string(),
        role: record.role,
        revoke_error: record.last_error,
        times: moments.at(now),
    }
}

const PAGE: usize = 500;
