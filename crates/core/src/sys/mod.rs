//! The routes below `sys/`, as an engine like any other, but one that holds the program itself.

mod audit;
mod capabilities;
mod config;
mod counters;
mod explain;
mod internal;
mod inventory;
mod journal;
mod leases;
mod locked_users;
mod loggers;
mod metrics;
mod mfa;
mod mounts;
mod namespaces;
mod openapi;
mod plugins;
mod policies;
mod quotas;
mod rate_limits;
mod rekey;
mod remount;
mod rotation;
mod seal;
mod snapshots;
mod state;
mod tools;
mod wrapping;

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock, Weak},
};

use api::Verb;
use engine::{Cx, Engine, Error, Opening, Routes};
use policy::Acl;

pub(crate) use self::quotas::{PREFIX as LEASE_QUOTAS, stored as lease_quotas};
use crate::{namespaces::Space, running::Running};

/// The engine at `sys/`.
pub(crate) struct System {
    running: Arc<OnceLock<Weak<Running>>>,
}

impl System {
    pub(crate) fn new() -> Self {
        Self { running: Arc::default() }
    }

    /// Where the services are put once they are there.
    pub(crate) fn slot(&self) -> Arc<OnceLock<Weak<Running>>> {
        Arc::clone(&self.running)
    }
}

/// The services, from a handler.
fn running(cx: &Cx<System>) -> Result<Arc<Running>, Error> {
    cx.engine().running.get().and_then(Weak::upgrade).ok_or(Error::Sealed)
}

/// The namespace of the request.
fn space(cx: &Cx<System>) -> Result<Arc<Space>, Error> {
    let id = cx.mount().namespace.suffix();
    running(cx)?.spaces.known(id).ok_or_else(|| Error::internal("the namespace of a request is not in memory"))
}

/// What the token of a record is allowed, to be asked with paths of this namespace.
struct Rights {
    acl: Arc<Acl>,
    space: Arc<Space>,
    home: Arc<Space>,
}

impl Rights {
    /// Of a token that is looked at; none if it cannot be used in this namespace.
    async fn of_token(space: Arc<Space>, record: &tokens::Record) -> Result<Option<Self>, Error> {
        let Some(home) = space.from(record.namespace.suffix()).cloned() else { return Ok(None) };
        let acl = home.policies.of_token(record).await?;
        Ok(Some(Self { acl, space, home }))
    }

    /// Of who asks.
    async fn of_caller(space: Arc<Space>, caller: &gate::Caller) -> Result<Self, Error> {
        let home = space.from(caller.namespace.suffix()).cloned();
        let home = home.ok_or(Error::Denied(gate::Refusal::Namespace))?;
        let acl = home.policies.acl(caller).await?;
        Ok(Self { acl, space, home })
    }

    /// A path of this namespace as the policies name it.
    fn path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        self.space.path_from(&self.home, path)
    }

    /// Whether it has any right at a path or below it.
    fn grants_below(&self, path: &str) -> bool {
        self.acl.is_root() || self.acl.grants_below(&self.path(path))
    }

    /// The names of the capabilities at a path.
    fn capabilities(&self, path: &str) -> Vec<&'static str> {
        self.acl.capabilities(&self.path(path))
    }
}

impl Engine for System {
    fn open(_: Opening) -> Self {
        Self::new()
    }

    fn routes() -> Routes<Self> {
        let routes = mounts::routes(Routes::default());
        let routes = namespaces::routes(routes);
        let routes = remount::routes(routes);
        let routes = policies::routes(routes);
        let routes = capabilities::routes(routes);
        let routes = explain::routes(routes);
        let routes = leases::routes(routes);
        let routes = audit::routes(routes);
        let routes = journal::routes(routes);
        let routes = seal::routes(routes);
        let routes = rekey::routes(routes);
        let routes = internal::routes(routes);
        let routes = inventory::routes(routes);
        let routes = wrapping::routes(routes);
        let routes = tools::routes(routes);
        let routes = config::routes(routes);
        let routes = counters::routes(routes);
        let routes = loggers::routes(routes);
        let routes = openapi::routes(routes);
        let routes = plugins::routes(routes);
        // Before those that are refused.
        let routes = snapshots::routes(routes);
        let routes = state::routes(routes);
        let routes = quotas::routes(routes);
        let routes = rate_limits::routes(routes);
        let routes = locked_users::routes(routes);
        let routes = metrics::routes(routes);
        let routes = mfa::routes(routes);
        rotation::routes(routes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

/// What pages of listings are asked with.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Paging {
    after: Option<String>,
    limit: Option<api::Count>,
}

impl Paging {
    /// The wished number, at most `most`.
    fn limit(&self, most: usize) -> usize {
        self.limit.map_or(most, |limit| usize::try_from(limit.0).unwrap_or(most)).clamp(1, most)
    }
}
