//! Puts a snapshot in the place of everything that is stored.
//!
//! A snapshot that is accepted was read to its end and is kept in a file until it has been put back; that a restore is under
//! way stands in the store itself ([`snapshot::MARKER`]). So a crash in between leaves a server that goes on restoring when it
//! is started again, and in no case one that takes half of a snapshot for the whole.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use gate::{Error, Pieces, Request};
use seal::Stored;
use serde::{Deserialize, Serialize};
use snapshot::{Checked, Content, MARKER};
use storage::{Batch, Change, Changes, Key};
use tokio::io::AsyncWriteExt;

use crate::{Core, format, sealing::Sealing};

/// What stands in the store while a snapshot is being put back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The id of the snapshot.
    pub(crate) id: String,
    /// Where it is kept, on the node that accepted it.
    file: PathBuf,
    /// What the store holds in the end.
    content: Content,
}

/// A snapshot that was read to its end.
pub(crate) struct Accepted {
    checked: Checked,
    stored: Stored,
    file: Spooled,
}

/// What is told of a snapshot before and after it is put back. The field names are ours.
#[derive(Serialize)]
pub(crate) struct Told {
    id: String,
    created: String,
    version: String,
    cluster_name: String,
    cluster_id: String,
    storage_type: String,
    revision: u64,
    entries: u64,
    bytes: u64,
    seal_type: String,
    /// What opens a server that holds it.
    keys_needed: String,
    /// Whether it is being put back, and was not only looked at.
    restoring: bool,
}

impl Accepted {
    fn told(&self, restoring: bool) -> Told {
        let (manifest, content) = (self.checked.manifest.clone(), &self.checked.content);
        Told {
            id: manifest.id,
            created: manifest.created,
            version: manifest.version,
            cluster_name: manifest.cluster_name,
            cluster_id: manifest.cluster_id,
            storage_type: manifest.storage_type,
            revision: manifest.revision,
            entries: content.entries,
            bytes: content.bytes,
            seal_type: self.stored.kind().to_owned(),
            keys_needed: self.stored.keys_needed(),
            restoring,
        }
    }
}

impl Core {
    /// Reads a snapshot into a file beside the data and checks all of it. Nothing is changed.
    async fn accept(&self, pieces: Option<Pieces>) -> Result<Accepted, Error> {
        let pieces = pieces.ok_or_else(|| Error::invalid("the body is missing: send the snapshot as it was saved"))?;
        let file = Spooled::fill(&self.spool(), pieces).await?;
        let path = file.path.clone();
        let keep = [seal::STORED_AT, barrier::KEYRING, barrier::FORMAT];
        let checked = tokio::task::spawn_blocking(move || snapshot::check(&path, &keep)).await;
        let checked = checked.map_err(|_| Error::internal("the check of a snapshot was stopped"))?.map_err(refused)?;
        let missing = || {
            Error::invalid("the snapshot holds no seal and no keyring: it is of a server that was never initialised")
        };
        let (Some(record), Some(_)) = (checked.kept(seal::STORED_AT), checked.kept(barrier::KEYRING)) else {
            return Err(missing());
        };
        checked.kept(barrier::FORMAT).map_or(Ok(()), |record| format::check_record(record))?;
        let stored = Stored::from_json(record).map_err(|why| Error::invalid(why.to_string()))?;
        Ok(Accepted { checked, stored, file })
    }

    /// Puts a snapshot into a server that was never initialised; nobody can hold a token there. `check=true` only looks at it.
    pub(crate) async fn restore_onto_empty(self: &Arc<Self>, request: &Request) -> Result<Told, Error> {
        if !request.namespace.is_root() {
            return Err(Error::invalid("a snapshot is restored in the root namespace only"));
        }
        let accepted = self.accept(request.upload.take()).await?;
        if only_checks(request.query("check"))? {
            return Ok(accepted.told(false));
        }
        let told = accepted.told(true);
        let marker = self.begin_restore(accepted).await?;
        let core = Arc::clone(self);
        // Whoever asked may go away; it goes on all the same.
        let done = tokio::spawn(async move { core.put_back(&marker).await }).await;
        done.map_err(|_| Error::internal("the restore was stopped"))??;
        Ok(told)
    }

    /// Puts a snapshot in the place of what a serving server holds. It comes back once the snapshot is accepted; then the server
    /// is sealed, and the work goes on.
    pub(crate) async fn restore(
        self: &Arc<Self>,
        pieces: Option<Pieces>,
        force: bool,
        only_check: bool,
    ) -> Result<Told, Error> {
        let accepted = self.accept(pieces).await?;
        let running = self.running.load_full().ok_or(Error::Sealed)?;
        let Checked { sums, sealed_sums, .. } = &accepted.checked;
        let own = running.barrier.opens_outside(SUMS, sealed_sums).is_some_and(|opened| *opened == *sums);
        if !force && !only_check && !own {
            return Err(Error::invalid(format!(
                "the snapshot was not made with this server's keys: after it, {}. Send it to sys/storage/raft/snapshot-force (-force) if that is meant",
                accepted.stored.keys_needed()
            )));
        }
        if only_check {
            return Ok(accepted.told(false));
        }
        let told = accepted.told(true);
        let marker = self.begin_restore(accepted).await?;
        let core = Arc::clone(self);
        tokio::spawn(async move {
            core.seal().await;
            if let Err(error) = core.put_back(&marker).await {
                tracing::error!(%error, "a snapshot could not be put back; start the server again to go on");
            }
        });
        Ok(told)
    }

    /// From here on it is settled that the snapshot replaces what is stored.
    async fn begin_restore(&self, accepted: Accepted) -> Result<Marker, Error> {
        let mut sealing = self.sealing.lock().await;
        if let Some(other) = &sealing.restoring
            && other.file.exists()
        {
            return Err(Error::Unavailable("another snapshot is being restored".to_owned()));
        }
        let Accepted { checked, file, .. } = accepted;
        let marker = Marker { id: checked.manifest.id, file: file.keep()?, content: checked.content };
        let json = serde_json::to_vec(&marker).map_err(|_| Error::internal("a restore cannot be noted"))?;
        let writes = vec![(Key::new(MARKER), Some(Bytes::from(json)))];
        self.store.commit(Batch { expect: Vec::new(), writes }).await?;
        sealing.restoring = Some(marker.clone());
        Ok(marker)
    }

    /// Puts back what was accepted, and tries again for as long as the store fails.
    async fn put_back(self: &Arc<Self>, marker: &Marker) -> Result<(), Error> {
        let mut pause = Duration::from_secs(1);
        loop {
            match snapshot::apply(&self.store, &marker.file, &marker.content, &|_| {}).await {
                Ok(()) => break,
                Err(snapshot::Error::Storage(error)) => {
                    tracing::warn!(%error, "the store failed during a restore; trying again");
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(60));
                }
                Err(error) => return Err(refused(error)),
            }
        }
        let writes = vec![(Key::new(MARKER), None)];
        self.store.commit(Batch { expect: Vec::new(), writes }).await?;
        // What is left over takes space and nothing else.
        let _ = std::fs::remove_file(&marker.file);
        self.know_anew().await?;
        tracing::info!(snapshot = marker.id, entries = marker.content.entries, "a snapshot was restored");
        let core = Arc::clone(self);
        // Its seal may not be there for long, or ever; the restore is done all the same.
        tokio::spawn(async move { core.open_by_itself().await });
        Ok(())
    }

    /// Reads anew what is known of the seal.
    async fn know_anew(&self) -> Result<(), Error> {
        let mut sealing = self.sealing.lock().await;
        *sealing = Sealing::load(&self.store).await?;
        self.initialized.store(sealing.is_initialized(), std::sync::atomic::Ordering::Release);
        Ok(())
    }

    /// Goes on with a restore that was cut off, when the server is started. Whether there was one.
    pub async fn resume_restore(self: &Arc<Self>) -> Result<bool, Error> {
        let Some(marker) = self.sealing.lock().await.restoring.clone() else { return Ok(false) };
        if !marker.file.exists() {
            tracing::error!(
                snapshot = marker.id,
                "a restore was begun on another node or its file {} is gone: finish it there, or restore a snapshot again",
                marker.file.display()
            );
            self.await_others().await?;
            return Ok(true);
        }
        tracing::warn!(snapshot = marker.id, "a restore was cut off; it goes on");
        self.put_back(&marker).await.map(|()| true)
    }

    /// Waits until another node has put a snapshot back.
    async fn await_others(self: &Arc<Self>) -> Result<(), Error> {
        while self.store.get(&Key::new(MARKER)).await?.is_some() {
            self.clock.sleep(Duration::from_secs(1)).await;
        }
        self.know_anew().await
    }

    fn spool(&self) -> PathBuf {
        self.settings.spool.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// Removes what restores left that ended before they were settled. To be called before any can begin.
pub(crate) fn tidy(spool: Option<&Path>) {
    let Some(Ok(entries)) = spool.map(std::fs::read_dir) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("restore-") && (name.ends_with(".part") || name.ends_with(".snap")) {
            // Left over, it takes space and nothing else.
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Seals the server as soon as another node puts a snapshot back into the store that both share.
pub(crate) async fn watch(core: Weak<Core>, mut changes: Changes) {
    while let Some(change) = changes.next().await {
        let begun = match &change {
            Change::Keys(_, keys) => keys.iter().any(|key| key.as_str() == MARKER),
            Change::Lost | Change::Current { .. } => false,
        };
        let Some(core) = core.upgrade() else { return };
        if !begun || core.sealing.lock().await.restoring.is_some() {
            continue;
        }
        // It ends this task too.
        tokio::spawn(async move {
            tracing::warn!("another node restores a snapshot");
            core.seal().await;
            let ended = match Sealing::load(&core.store).await {
                Ok(sealing) => {
                    *core.sealing.lock().await = sealing;
                    core.await_others().await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => core.open_by_itself().await,
                Err(error) => tracing::error!(%error, "start this node again once the restore is done"),
            }
        });
        return;
    }
}

/// The value of the query parameter `check`.
pub(crate) fn only_checks(given: Option<&str>) -> Result<bool, Error> {
    match given {
        None | Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(Error::invalid("check: use true or false")),
    }
}

fn refused(error: snapshot::Error) -> Error {
    match error {
        snapshot::Error::Storage(error) => error.into(),
        snapshot::Error::Io(error) => Error::Unavailable(format!("the file of a snapshot: {error}")),
        error => Error::invalid(error.to_string()),
    }
}

/// A file that goes away unless it is kept.
struct Spooled {
    path: PathBuf,
    kept: bool,
}

impl Spooled {
    async fn fill(folder: &Path, mut pieces: Pieces) -> Result<Self, Error> {
        let path = folder.join(format!("restore-{}.part", crypto::random::uuid()));
        let failed = |error: std::io::Error| Error::Unavailable(format!("{}: {error}", path.display()));
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).await.map_err(failed)?;
        let spooled = Self { path: path.clone(), kept: false };
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece?).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        Ok(spooled)
    }

    /// Gives it the name under which it is found after a crash.
    fn keep(mut self) -> Result<PathBuf, Error> {
        let name = self.path.with_extension("snap");
        let failed = |error: std::io::Error| Error::Unavailable(format!("{}: {error}", name.display()));
        std::fs::rename(&self.path, &name).map_err(failed)?;
        let folder = name.parent().map_or_else(|| Path::new("."), |folder| folder);
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        self.kept = true;
        std::path::absolute(&name).map_err(failed)
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if !self.kept {
            // Left over, it takes space and nothing else.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What the sums of a snapshot are sealed for.
pub(crate) const SUMS: &str = "the sums of a snapshot";
