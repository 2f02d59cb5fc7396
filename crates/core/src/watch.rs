//! Sees with the eyes of a caller for longer than a request: for streams.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
};

use api::Operation;
use gate::{Call, Caller, Error, MountInfo, Refusal, Sight, Watch};
use policy::Acl;
use secret::SecretString;
use storage::BoxFuture;

use crate::running::Running;

/// A caller and a mount, looked up anew each time. It holds neither the server open nor the mount back from going.
pub(crate) struct Watching {
    running: Weak<Running>,
    caller: Arc<Caller>,
    token: Option<Arc<SecretString>>,
    remote: Option<IpAddr>,
    mount: Arc<str>,
}

impl Watching {
    pub(crate) fn new(running: &Arc<Running>, call: &Call) -> Option<Self> {
        Some(Self {
            running: Arc::downgrade(running),
            caller: call.caller.clone()?,
            token: call.request.token.clone(),
            remote: call.request.remote.map(|(address, _)| address),
            mount: Arc::clone(&call.mount.uuid),
        })
    }

    /// What the policies say to the caller now; an error if its token has ended.
    async fn acl(&self, running: &Running) -> Result<Arc<Acl>, Error> {
        let ended = || Error::Denied(Refusal::InvalidToken);
        if self.caller.accessor.is_empty() {
            // A batch token is not stored: it is checked as at each request. None of its uses is counted.
            let token = self.token.as_ref().ok_or_else(ended)?;
            let holder = running.tokens.holder(token, self.remote).await?;
            return running.policies.acl(&holder).await;
        }
        let record = running.tokens.find(&self.caller.id).await?.ok_or_else(ended)?;
        running.policies.of_token(&record).await
    }
}

impl Watch for Watching {
    fn look(&self) -> BoxFuture<'_, Result<Sight, Error>> {
        Box::pin(async move {
            let running = self.running.upgrade().ok_or(Error::Sealed)?;
            let mounted = running.mounts.by_uuid(&self.mount).filter(|mounted| !mounted.entry.tainted);
            let mounted = mounted.ok_or_else(|| Error::NoRoute("the mount is gone".to_owned()))?;
            let acl = self.acl(&running).await?;
            let root = self.caller.is_root;
            let allows = move |path: &str, operation: Operation| root || acl.allows(path, operation);
            Ok(Sight::new(MountInfo::clone(&mounted.info), allows))
        })
    }
}
