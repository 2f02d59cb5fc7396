//! Sees with the eyes of a caller for longer than a request: for streams.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
};

use api::Operation;
use gate::{Call, Caller, Error, MountInfo, Namespace, Refusal, Sight, Watch};
use policy::Acl;
use secret::SecretString;
use storage::BoxFuture;

use crate::{namespaces::Space, running::Running};

/// A caller and a mount, looked up anew each time. It holds neither the server open nor the mount back from going.
pub(crate) struct Watching {
    running: Weak<Running>,
    /// Where the request came in.
    namespace: Namespace,
    caller: Arc<Caller>,
    token: Option<Arc<SecretString>>,
    remote: Option<IpAddr>,
    mount: Arc<str>,
}

impl Watching {
    pub(crate) fn new(running: &Arc<Running>, call: &Call) -> Option<Self> {
        Some(Self {
            running: Arc::downgrade(running),
            namespace: call.request.namespace.clone(),
            caller: call.caller.clone()?,
            token: call.request.token.clone(),
            remote: call.request.remote.map(|(address, _)| address),
            mount: Arc::clone(&call.mount.uuid),
        })
    }

    /// What the policies of the caller's namespace say to it now; an error if its token has ended.
    async fn acl(&self, running: &Running, home: &Space) -> Result<Arc<Acl>, Error> {
        let ended = || Error::Denied(Refusal::InvalidToken);
        if self.caller.accessor.is_empty() {
            // A batch token is not stored: it is checked as at each request. None of its uses is counted.
            let token = self.token.as_ref().ok_or_else(ended)?;
            let holder = running.tokens.holder(token, self.remote).await?;
            return home.policies.acl(&holder).await;
        }
        let record = running.tokens.find(&self.caller.id).await?.ok_or_else(ended)?;
        home.policies.of_token(&record).await
    }
}

impl Watch for Watching {
    fn look(&self) -> BoxFuture<'_, Result<Sight, Error>> {
        Box::pin(async move {
            let running = self.running.upgrade().ok_or(Error::Sealed)?;
            let gone = || Error::NoRoute("the namespace is gone or locked".to_owned());
            let space = running.spaces.known(self.namespace.suffix()).ok_or_else(gone)?;
            if space.is_leaving() || space.locked_by().is_some() {
                return Err(gone());
            }
            let mounted = space.mounts.by_uuid(&self.mount).filter(|mounted| !mounted.entry.tainted);
            let mounted = mounted.ok_or_else(|| Error::NoRoute("the mount is gone".to_owned()))?;
            let home = Arc::clone(space.from(self.caller.namespace.suffix()).ok_or_else(gone)?);
            let acl = self.acl(&running, &home).await?;
            let root = self.caller.is_root;
            let allows =
                move |path: &str, operation: Operation| root || acl.allows(&space.path_from(&home, path), operation);
            Ok(Sight::new(MountInfo::clone(&mounted.info), allows))
        })
    }
}
