//! The room where a request is counted against the rate limits.

use std::{borrow::Cow, net::IpAddr};

use gate::{Error, Limit, MountInfo, Request};
use quotas::Allowance;

use crate::{live::Live, services::Router};

impl Limit for Router<'_> {
    fn knows_roles(&self, mount: &MountInfo) -> bool {
        self.running().live.load().limits.knows_roles(&full(mount.namespace.path(), &mount.path))
    }

    fn admit(&self, request: &Request, mount: Option<&MountInfo>, role: &str) -> Result<(), Error> {
        let live = self.running().live.load();
        let Some(allowance) = count(&live, self.running().clock.now(), request, mount, role) else { return Ok(()) };
        self.services().limited(allowance);
        if allowance.allowed {
            return Ok(());
        }
        self.running().metrics.limited();
        let text = format!("request path \"{}\": rate limit quota exceeded", request.path);
        Err(Error::RateLimit { text, retry_after: allowance.reset })
    }
}

/// Counts a request against the one limit that it is subject to, if there is one.
fn count(
    live: &Live,
    now: clock::Timestamp,
    request: &Request,
    mount: Option<&MountInfo>,
    role: &str,
) -> Option<Allowance> {
    if live.limits.is_empty() {
        return None;
    }
    let namespace = request.namespace.path();
    let path = full(namespace, request.path.as_str());
    if live.exempt.contains(&path) {
        return None;
    }
    let mount = full(namespace, mount.map_or("", |mount| &mount.path));
    let quota = live.limits.find(namespace, &mount, &path, role)?;
    // Whoever has no address counts as one client.
    let client = request.remote.map_or(IpAddr::from([0, 0, 0, 0]), |(address, _)| address);
    Some(quota.take(client, now))
}

/// A path of a namespace as limits name it.
fn full<'p>(namespace: &str, path: &'p str) -> Cow<'p, str> {
    if namespace.is_empty() { Cow::Borrowed(path) } else { Cow::Owned(format!("{namespace}{path}")) }
}

/// The headers that tell a client how much it has left.
pub(crate) fn headers(allowance: &Allowance) -> Vec<(&'static str, String)> {
    let seconds = allowance.reset.as_secs() + u64::from(allowance.reset.subsec_nanos() > 0);
    vec![
        ("x-ratelimit-limit", allowance.limit.to_string()),
        ("x-ratelimit-remaining", allowance.remaining.to_string()),
        ("x-ratelimit-reset", seconds.to_string()),
    ]
}
