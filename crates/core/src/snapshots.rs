//! Snapshots: on demand, and by a schedule.

mod local;
mod schedule;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{SinkExt, channel::mpsc};
use gate::{Error, Frames};
use snapshot::{Manifest, SealSums};
use storage::Store;

pub(crate) use self::schedule::{CONFIGS, Config, State, keep, run_now, state};
use crate::{restoring::SUMS, running::Running};

/// How snapshots went, for metrics.
#[derive(Default)]
pub(crate) struct Account {
    /// When the last good one by a schedule was begun, in seconds since 1970; 0 for never.
    last: AtomicU64,
    failures: AtomicU64,
}

impl Account {
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn good(&self, begun: u64) {
        self.last.fetch_max(begun, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Running {
    /// What a snapshot that is taken now says of itself.
    fn manifest(&self) -> Manifest {
        Manifest {
            id: crypto::random::uuid(),
            created: self.clock.now().to_string(),
            version: self.settings.version.to_owned(),
            cluster_id: self.cluster_id.clone(),
            cluster_name: self.settings.cluster_name.clone(),
            storage_type: self.settings.storage_type.to_owned(),
            ..Manifest::default()
        }
    }

    /// The store below the barrier, and what seals the sums of its snapshot.
    async fn below(&self) -> Result<(Arc<dyn Store>, SealSums), Error> {
        let core = self.core.upgrade().ok_or(Error::Sealed)?;
        let sealer = self.barrier.seals_outside(SUMS).await.map_err(|error| Error::internal(error.to_string()))?;
        Ok((Arc::clone(&core.store), Arc::new(move |sums: &[u8]| Ok(sealer(sums)))))
    }

    /// A snapshot as a stream of bytes. If it cannot be brought to its end the stream ends early: then the part by which
    /// a snapshot is known to be complete is missing.
    pub(crate) async fn snapshot(&self) -> Result<Frames, Error> {
        let (store, seal) = self.below().await?;
        let manifest = self.manifest();
        let (send, receive) = mpsc::channel(2);
        tokio::spawn(async move {
            let push = |piece: Bytes| {
                let mut send = send.clone();
                async move { send.send(piece).await.map_err(|_| snapshot::Error::Refused) }
            };
            match snapshot::write(store, manifest, seal, push).await {
                Ok(revision) => tracing::info!(revision, "a snapshot was taken"),
                // Whoever asked for it hung up.
                Err(snapshot::Error::Refused) => tracing::info!("a snapshot was given up: nobody takes it any more"),
                Err(error) => tracing::error!(%error, "a snapshot was given up"),
            }
        });
        Ok(Box::pin(receive))
    }
}
