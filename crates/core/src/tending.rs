//! Looks in on the mounts that want it, again and again: work that follows what is stored, such as telling others of
//! changes. It has no state of its own, so a restart loses nothing. Where nodes share a store, each mount is looked in on by one
//! of those that are alive; when that changes, two may meet for a moment, and their commits in conflict.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use gate::{MountClass, Services, TendCall};
use mounts::Mounted;
use tokio::task::{AbortHandle, JoinSet};

use crate::{namespaces::Space, running::Running, services::RequestServices};

/// How often a mount is looked in on, unless the last time still goes on.
const PAUSE: Duration = Duration::from_secs(1);

/// Tends the mounts until the server is sealed. One that takes long holds up no other.
pub(crate) async fn tend(running: Weak<Running>) {
    let mut tasks = JoinSet::new();
    let mut busy: HashMap<Arc<str>, AbortHandle> = HashMap::new();
    let mut awake = false;
    loop {
        let Some(running) = running.upgrade() else { return };
        if !awake {
            match running.wake_namespaces().await {
                Ok(()) => awake = true,
                Err(error) => tracing::warn!(%error, "namespaces with work in the background could not be loaded yet"),
            }
        }
        while tasks.try_join_next().is_some() {}
        busy.retain(|_, task| !task.is_finished());
        for space in running.spaces.all() {
            for mounted in space.mounts.list(MountClass::Secret).into_values() {
                let wanted = mounted.backend.is_tended() && !mounted.entry.tainted && running.tends(&mounted.info.uuid);
                if wanted && !busy.contains_key(&mounted.info.uuid) {
                    let uuid = Arc::clone(&mounted.info.uuid);
                    busy.insert(uuid, tasks.spawn(visit(Arc::clone(&running), Arc::clone(&space), mounted)));
                }
            }
        }
        let clock = running.clock.clone();
        drop(running);
        clock.sleep(PAUSE).await;
    }
}

async fn visit(running: Arc<Running>, space: Arc<Space>, mounted: Arc<Mounted>) {
    let call = TendCall {
        mount: Arc::clone(&mounted.info),
        view: space.tx().view(Arc::clone(&mounted.prefix)),
        services: RequestServices::new(&running, &space) as Arc<dyn Services>,
    };
    if let Err(error) = mounted.backend.tend(call).await {
        tracing::debug!(mount = &*mounted.info.path, %error, "a mount could not be tended");
    }
}
