//! Seals that open by themselves: at the start, after a restore, and the way from one seal to another.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gate::Error;
use seal::{Copy, Keeper, KeeperError, Moving, NewShares, RootKey, Stored};
use serde_json::Value;
use storage::{Batch, BoxFuture, CommitError, Key, Store};

use super::{Sealing, barrier_error, invalid};
use crate::{Core, format, running::Running};

/// The seals that a server is configured with, apart from key shares.
#[derive(Clone, Default)]
pub struct Seals {
    /// Those that are used, in the order in which they are asked.
    pub active: Vec<Arc<dyn Keeper>>,
    /// Those that are left, and only opened to move to another.
    pub disabled: Vec<Arc<dyn Keeper>>,
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names =
            |keepers: &[Arc<dyn Keeper>]| keepers.iter().map(|keeper| keeper.name().to_owned()).collect::<Vec<_>>();
        f.debug_struct("Seals").field("active", &names(&self.active)).field("disabled", &names(&self.disabled)).finish()
    }
}

impl Core {
    /// Opens the server with its seals, and tries again for as long as none of them can be reached. It comes back when the
    /// server is open, or when nothing but key holders can open it.
    ///
    /// Boxed, because what it starts may in the end start it again.
    pub fn open_by_itself(self: &Arc<Self>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.settings.seals.active.is_empty() {
                return;
            }
            let mut pause = FIRST_PAUSE;
            loop {
                match self.try_to_open().await {
                    Ok(Tried::Open) => return,
                    Ok(Tried::OnlyShares) => {
                        tracing::warn!(
                            "a seal is configured, but key shares hold the root key: move with `operator unseal -migrate`"
                        );
                        return;
                    }
                    // Another node may initialise the store.
                    Ok(Tried::NotInitialized) => pause = FIRST_PAUSE,
                    Err(error) => {
                        tracing::warn!(%error, "the seal did not open; trying again in {} s", pause.as_secs());
                        pause = (pause * 2).min(LAST_PAUSE);
                    }
                }
                self.clock.sleep(pause).await;
            }
        })
    }

    async fn try_to_open(self: &Arc<Self>) -> Result<Tried, Error> {
        let stored = {
            let mut sealing = self.sealing.lock().await;
            if !self.is_sealed() || sealing.restoring.is_some() {
                return Ok(Tried::Open);
            }
            sealing.refresh(&self.store).await?;
            self.initialized.store(sealing.is_initialized(), std::sync::atomic::Ordering::Release);
            sealing.stored.clone()
        };
        let Some(stored) = stored else { return Ok(Tried::NotInitialized) };
        if !stored.is_kept() {
            return Ok(Tried::OnlyShares);
        }
        // Who asks for the status meanwhile does not wait for the seal.
        let root_key = seal::open_by(&self.settings.seals.active, &stored).await.map_err(keeper_error)?;
        let mut sealing = self.sealing.lock().await;
        if !self.is_sealed() || sealing.restoring.is_some() {
            return Ok(Tried::Open);
        }
        self.open_with(&root_key).await?;
        tracing::info!(seal = stored.kind(), "unsealed");
        if let Err(error) = self.renew_copies(&mut sealing, &stored, &root_key).await {
            tracing::warn!(%error, "the root key could not be wrapped for a seal yet");
        }
        Ok(Tried::Open)
    }

    /// Opens the barrier and starts the services.
    pub(super) async fn open_with(self: &Arc<Self>, root_key: &RootKey) -> Result<(), Error> {
        let opened = self.barrier().open(root_key).await.map_err(barrier_error)?;
        format::note(&self.store, self.settings.version).await.inspect_err(|_| opened.close())?;
        let running = Running::start(self, Arc::clone(&opened)).await.inspect_err(|_| opened.close())?;
        Box::pin(running.first_start()).await;
        self.running.store(Some(running));
        Ok(())
    }

    /// Wraps the root key for seals that came, and drops the copies of those that went.
    async fn renew_copies(&self, sealing: &mut Sealing, stored: &Stored, root_key: &RootKey) -> Result<(), Error> {
        let (copies, errors) = seal::copies_anew(&self.settings.seals.active, stored, root_key).await;
        for error in errors {
            tracing::warn!(%error, "a seal has no copy of the root key that it should have");
        }
        if let Some(copies) = copies {
            let anew = stored.with_copies(copies);
            self.store_record(sealing, &anew).await?;
            tracing::info!(seals = anew.copies().len(), "the root key was wrapped anew");
        }
        Ok(())
    }

    /// Stores a record whose root key is the one of before.
    pub(super) async fn store_record(&self, sealing: &mut Sealing, stored: &Stored) -> Result<(), Error> {
        let key = Key::new(seal::STORED_AT);
        let expected = self.store.get(&key).await?;
        // Another node that was quicker made a record that must not be lost.
        if expected.as_ref().map(|entry| Stored::from_json(&entry.value)).transpose().map_err(invalid)?
            != sealing.stored
        {
            return Err(Error::Unavailable("the seal was changed by another node; try again".to_owned()));
        }
        let expect = vec![(key.clone(), expected.map(|entry| entry.revision))];
        let batch = Batch { expect, writes: vec![(key, Some(Bytes::from(stored.to_json())))] };
        match self.store.commit(batch).await {
            Ok(_) => {}
            Err(CommitError::Store(error)) => return Err(error.into()),
            Err(_) => return Err(Error::Unavailable("the seal was changed by another node; try again".to_owned())),
        }
        sealing.stored = Some(stored.clone());
        Ok(())
    }

    /// Whether key holders are to move the server to the seals that are configured.
    pub(crate) fn moves(&self, stored: Option<&Stored>) -> bool {
        let seals = &self.settings.seals;
        stored.is_some_and(|stored| match stored.is_kept() {
            true => seals.active.is_empty() && !seals.disabled.is_empty(),
            false => !seals.active.is_empty(),
        })
    }

    /// Moves to the seals that are configured, by order of the key holders; gives the root key.
    pub(super) async fn move_seal(
        &self,
        sealing: &mut Sealing,
        stored: &Stored,
        mut moving: Moving,
    ) -> Result<RootKey, Error> {
        let seals = &self.settings.seals;
        let root_key = match moving.take_root_key() {
            Some(root_key) => root_key,
            None => seal::open_by(&seals.disabled, stored).await.map_err(keeper_error)?,
        };
        let anew = match seals.active.is_empty() {
            true => moving.to_shares(&root_key),
            false => moving.to_kept(copies(&seals.active, &root_key).await?),
        };
        // Before it counts: that the root key is the one of the barrier.
        self.barrier().open(&root_key).await.map_err(barrier_error)?.close();
        self.store_record(sealing, &anew).await?;
        tracing::info!(from = stored.kind(), to = anew.kind(), "moved to another seal");
        Ok(root_key)
    }

    /// What a new server with seals is made of.
    pub(super) async fn issue_kept(&self, new: &NewShares, opening: bool) -> Result<seal::Issue, Error> {
        let root_key = RootKey::make();
        let copies = copies(&self.settings.seals.active, &root_key).await?;
        seal::init_kept(new, opening, root_key, copies, self.clock.now()).map_err(recovery)
    }
}

impl Running {
    /// Keeps the ways to the seals open.
    pub(crate) async fn tend_seals(&self) {
        for keeper in &self.settings.seals.active {
            if let Err(error) = keeper.tend().await {
                tracing::warn!(seal = keeper.name(), %error, "the way to a seal is not open: the next start needs it");
            }
        }
    }
}

impl Sealing {
    /// Takes over what is stored, which another node may have changed.
    pub(super) async fn refresh(&mut self, store: &Arc<dyn Store>) -> Result<(), Error> {
        let entry = store.get(&Key::new(seal::STORED_AT)).await?;
        self.stored = entry.map(|entry| Stored::from_json(&entry.value)).transpose().map_err(invalid)?;
        Ok(())
    }

    /// The type of the seal and what goes with it, in the fields of the API.
    pub(crate) fn described(&self, core: &Core) -> serde_json::Map<String, Value> {
        let keeper = core.settings.seals.active.first().map(|keeper| keeper.kind());
        let kind = self.stored.as_ref().map_or(keeper.unwrap_or("shamir"), |stored| stored.kind());
        let kept = self.stored.as_ref().map_or(keeper.is_some(), Stored::is_kept);
        let mut fields = serde_json::Map::new();
        fields.insert("type".to_owned(), kind.into());
        fields.insert("migration".to_owned(), (core.is_sealed() && core.moves(self.stored.as_ref())).into());
        fields.insert("recovery_seal".to_owned(), kept.into());
        if kept {
            fields.insert("recovery_seal_type".to_owned(), "shamir".into());
        }
        if self.restoring.is_some() {
            fields.insert("restoring".to_owned(), true.into());
        }
        fields
    }
}

/// The shares are called by the names that they have beside a seal.
fn recovery(error: seal::Error) -> Error {
    Error::invalid(error.to_string().replace("secret_", "recovery_"))
}

enum Tried {
    Open,
    OnlyShares,
    NotInitialized,
}

/// The root key, wrapped for all of them.
async fn copies(keepers: &[Arc<dyn Keeper>], root_key: &RootKey) -> Result<Vec<Copy>, Error> {
    let mut copies = Vec::with_capacity(keepers.len());
    for keeper in keepers {
        copies.push(Copy::make(&**keeper, root_key).await.map_err(keeper_error)?);
    }
    Ok(copies)
}

fn keeper_error(error: KeeperError) -> Error {
    match error {
        KeeperError::Unavailable(said) => Error::Unavailable(format!("the seal cannot be reached: {said}")),
        error => Error::invalid(format!("the seal refused: {error}")),
    }
}

/// The pauses between tries to open.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
