//! What the program is to the routes below `identity/`.

use std::sync::{Arc, OnceLock, Weak};

use gate::{MountClass, MountInfo, Namespace};

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

    fn login_kinds(&self) -> Vec<&'static str> {
        let kinds = self.running().map(|running| running.spaces.root().mounts.kinds()).unwrap_or_default();
        kinds.iter().filter(|kind| kind.class == MountClass::Auth).map(|kind| kind.name).collect()
    }
}
