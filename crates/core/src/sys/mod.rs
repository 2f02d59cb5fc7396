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
mod openapi;
mod plugins;
mod policies;
mod quotas;
mod rate_limits;
mod rekey;
mod remount;
mod rotation;
mod seal;
mod state;
mod tools;
mod wrapping;

use std::sync::{Arc, OnceLock, Weak};

use api::Verb;
use engine::{Cx, Engine, Error, Opening, Routes};

pub(crate) use self::quotas::{PREFIX as LEASE_QUOTAS, stored as lease_quotas};
use crate::running::Running;

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

impl Engine for System {
    fn open(_: Opening) -> Self {
        Self::new()
    }

    fn routes() -> Routes<Self> {
        let routes = mounts::routes(Routes::default());
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
