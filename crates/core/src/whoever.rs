//! What the program is to the routes below `identity/`.

use std::sync::{Arc, OnceLock, Weak};

use gate::{MountInfo, Namespace};

use crate::running::Running;

/// The services, once they are there.
pub(crate) struct Identifying {
    running: Arc<OnceLock<Weak<Running>>>,
    namespace: Namespace,
}

impl Identifying {
    pub(crate) fn new(running: Arc<OnceLock<Weak<Running>>>, namespace: Namespace) -> Self {
        Self { running, namespace }
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.running.get().and_then(Weak::upgrade)
    }
}

impl engine_identity::Program for Identifying {
    fn mount(&self, accessor: &str) -> Option<Arc<MountInfo>> {
        let space = self.running()?.spaces.known(self.namespace.suffix())?;
        Some(Arc::clone(&space.mounts.by_accessor(accessor)?.info))
    }

    fn address(&self) -> String {
        self.running().map(|running| running.settings.address.clone()).unwrap_or_default()
    }
}
