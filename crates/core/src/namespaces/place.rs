//! Where a request goes: its namespace, named by header, by the beginning of its path or by both, and its mount there.

use std::sync::Arc;

use api::{ReqPath, Verb};
use gate::{Error, Request};
use mounts::{InUse, Mounted};

use super::Space;
use crate::running::Running;

/// A request with its namespace and mount.
pub(crate) struct Placed {
    pub(crate) space: Arc<Space>,
    /// The request, at its path inside the namespace.
    pub(crate) request: Arc<Request>,
    /// The mount; none if nothing is at that path, an error if that could not be found out.
    pub(crate) found: Result<Option<Found>, Error>,
}

/// A mount, and the path inside it.
pub(crate) struct Found {
    pub(crate) mounted: Arc<Mounted>,
    pub(crate) path: Arc<str>,
    /// Holds the mount back from being removed while the request is under way.
    pub(crate) in_use: InUse,
}

impl Found {
    pub(crate) fn of(space: &Space, path: &str) -> Option<Self> {
        let (mounted, path, in_use) = space.mounts.enter(path)?;
        Some(Self { mounted, path: path.into(), in_use })
    }
}

impl Running {
    /// Finds where a request goes. What asks in the root namespace by the path of a mount there costs one look-up, however
    /// many namespaces there are.
    pub(crate) async fn place(&self, request: Arc<Request>) -> Placed {
        let root = self.spaces.root();
        if self.following.is_shared()
            && let Err(error) = Box::pin(self.check_fresh(&request)).await
        {
            return Placed { space: Arc::clone(root), request, found: Err(error) };
        }
        if request.namespace.is_root()
            && let Some(found) = Found::of(root, request.path.as_str())
        {
            return Placed { space: Arc::clone(root), request, found: Ok(Some(found)) };
        }
        let mut space = Arc::clone(root);
        let found = Box::pin(self.seek(&request, &mut space)).await;
        let (request, found) = match found {
            Ok((path, found)) => (Arc::new(request.moved(space.namespace.clone(), path)), Ok(found)),
            Err(error) => (request, Err(error)),
        };
        Placed { space, request, found }
    }

    /// Follows the names of the header, all of which must be namespaces, and then those of the path, as far as they are:
    /// a namespace never has the name of a mount. What is left of either is a path that leads nowhere.
    async fn seek(&self, request: &Request, space: &mut Arc<Space>) -> Result<(ReqPath, Option<Found>), Error> {
        let mut rest = request.namespace.path();
        while let Some((name, behind)) = rest.split_once('/') {
            let Some(child) = self.spaces.child(space, name).await? else {
                return Ok((path(&format!("{rest}{}", request.path))?, None));
            };
            (*space, rest) = (child, behind);
        }
        let mut rest = request.path.as_str();
        loop {
            if let Some(found) = Found::of(space, rest) {
                return Ok((path(rest)?, Some(found)));
            }
            let (name, behind) = rest.split_once('/').unwrap_or((rest, ""));
            let child = if name.is_empty() { None } else { self.spaces.child(space, name).await? };
            let Some(child) = child else { return Ok((path(rest)?, None)) };
            (*space, rest) = (child, behind);
        }
    }
}

impl Running {
    /// The namespace that a path leads into from a namespace, and what is left of it: a path inside a mount there, or one
    /// that leads nowhere; empty if the namespace itself is meant.
    pub(crate) async fn locate<'p>(&self, from: &Arc<Space>, path: &'p str) -> Result<(Arc<Space>, &'p str), Error> {
        let (mut space, mut rest) = (Arc::clone(from), path);
        while !rest.is_empty() && space.mounts.find(rest).is_none() {
            let (name, behind) = rest.split_once('/').unwrap_or((rest, ""));
            let Some(child) = self.spaces.child(&space, name).await? else { break };
            (space, rest) = (child, behind);
        }
        Ok((space, rest))
    }
}

fn path(text: &str) -> Result<ReqPath, Error> {
    ReqPath::new(text).map_err(|why| Error::invalid(format!("path: {why}")))
}

/// Refuses what a namespace does not answer that is locked, being deleted, or not the root one.
pub(crate) fn check_open(space: &Arc<Space>, request: &Request, found: &Found) -> Result<(), Error> {
    if space.part.is_none() {
        return Ok(());
    }
    if space.is_leaving() {
        // Its deletion began between its being found and its mount's being entered.
        return Err(Error::NoRoute(format!("no handler for route \"{}\". route entry not found.", request.path)));
    }
    let of_system = found.mounted.builtin && &*found.mounted.info.path == SYSTEM;
    if let Some(locked) = space.locked_by() {
        let unlocks = of_system && request.verb == Verb::Write && is_or_below(&found.path, UNLOCK);
        if !(unlocks && Arc::ptr_eq(locked, space)) {
            let path = locked.namespace.path().trim_end_matches('/');
            return Err(Error::Unavailable(format!(
                "API access to this namespace has been locked by an administrator - {path:?} must be unlocked to gain access."
            )));
        }
    }
    let answered = !of_system || INSIDE.iter().any(|inside| is_or_below(&found.path, inside));
    match answered {
        true => Ok(()),
        false => Err(Error::invalid(format!("{SYSTEM}{} is answered in the root namespace only", found.path))),
    }
}

fn is_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

const SYSTEM: &str = "sys/";
const UNLOCK: &str = "namespaces/api-lock/unlock";
/// What is answered below `sys/` in every namespace. A route that comes is one of the root namespace alone unless it is
/// named here: most are about the server as a whole.
const INSIDE: [&str; 24] = [
    "auth",
    "capabilities",
    "capabilities-accessor",
    "capabilities-self",
    "internal/specs",
    "internal/ui",
    "inventory",
    "leases",
    "locked-users",
    "mfa/validate",
    "mounts",
    "namespaces",
    "plugins/catalog",
    "plugins/reload",
    "policies",
    "policy",
    "remount",
    "renew",
    "revoke",
    "revoke-force",
    "revoke-prefix",
    "rotation",
    "tools",
    "wrapping",
];
