//! The end of a namespace: at once nobody can reach it; in the background all that it leased and handed out is revoked, and
//! then all that it stored is deleted.

use std::{sync::Arc, time::Duration};

use gate::{Error, namespace};
use mounts::Mounted;
use storage::{Scan, Tx};

use super::{Space, record};
use crate::running::Running;

impl Running {
    /// Takes a namespace out of service, durably, and removes it in the background.
    pub(crate) async fn remove_namespace(self: &Arc<Self>, space: &Arc<Space>) -> Result<(), Error> {
        let _names = space.naming.lock().await;
        if !space.below(None, 1).await?.is_empty() {
            let path = space.namespace.path();
            return Err(Error::invalid(format!("path: the namespace {path} has namespaces in it; delete them first")));
        }
        self.spaces
            .change(space, |stored| {
                stored.leaving = true;
                Ok(())
            })
            .await?;
        self.spawn(Arc::clone(self).clear_namespace(Arc::clone(space)));
        Ok(())
    }

    /// Takes up what an earlier run of the server did not finish in namespaces.
    pub(crate) async fn resume_namespaces(self: Arc<Self>) {
        loop {
            match self.try_resume().await {
                Ok(()) | Err(Error::Sealed) => return,
                Err(error) => tracing::warn!(%error, "unfinished work on namespaces could not be looked through"),
            }
            self.clock.sleep(AGAIN).await;
        }
    }

    async fn try_resume(self: &Arc<Self>) -> Result<(), Error> {
        let mut after = None;
        loop {
            let scan = Scan { prefix: record::WORK.to_owned(), after, limit: PAGE, values: false };
            let page = self.store().scan(&scan).await?;
            for (key, _) in &page.entries {
                let Some((id, mount)) = key.as_str().strip_prefix(record::WORK).and_then(|rest| rest.split_once('/'))
                else {
                    continue;
                };
                match self.spaces.by_id(id).await? {
                    Some(space) => self.resume(&space, mount),
                    None => self.note_done(id, mount).await?,
                }
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }

    fn resume(self: &Arc<Self>, space: &Arc<Space>, mount: &str) {
        if mount.is_empty() {
            self.spawn(Arc::clone(self).clear_namespace(Arc::clone(space)));
            return;
        }
        // What is being deleted as a whole needs no work on its mounts.
        let mounted = space.mounts.by_uuid(mount).filter(|_| !space.is_leaving());
        match mounted {
            Some(mounted) if mounted.entry.tainted => {
                self.spawn(Arc::clone(self).remove_mount(Arc::clone(space), mounted));
            }
            Some(mounted) => {
                let uuid = Arc::clone(&mounted.info.uuid);
                self.spawn(Arc::clone(self).finish_upgrade(Arc::clone(space), uuid, None));
            }
            None => {}
        }
    }

    /// Notes that work on a mount has begun, so that it is taken up after a restart. In the root namespace the mounts say
    /// so themselves: they are all read at the start.
    pub(crate) async fn note_work(&self, space: &Space, mount: &str) -> Result<(), Error> {
        if space.part.is_none() {
            return Ok(());
        }
        let tx = Tx::new(self.store());
        tx.put(record::work_key(space.namespace.suffix(), mount), bytes::Bytes::new());
        tx.commit().await?;
        Ok(())
    }

    /// Loads the namespaces that have work in the background, so that it goes on without anybody asking for it.
    pub(crate) async fn wake_namespaces(&self) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let scan = Scan { prefix: record::TENDED.to_owned(), after, limit: PAGE, values: false };
            let page = self.store().scan(&scan).await?;
            for (key, _) in &page.entries {
                let noted = key.as_str().strip_prefix(record::TENDED).and_then(|rest| rest.split_once('/'));
                let Some((id, mount)) = noted else { continue };
                let space = self.spaces.by_id(id).await?;
                if space.is_none_or(|space| space.mounts.by_uuid(mount).is_none() && !space.mounts.is_left_out(mount)) {
                    self.forget_tended(id, mount).await?;
                }
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Ends the note that a mount has work in the background.
    pub(crate) async fn forget_tended(&self, id: &str, mount: &str) -> Result<(), Error> {
        if id.is_empty() {
            return Ok(());
        }
        let tx = Tx::new(self.store());
        tx.delete(record::tended_key(id, mount));
        tx.commit().await?;
        Ok(())
    }

    /// Ends a note of [`Running::note_work`].
    pub(crate) async fn note_done(&self, id: &str, mount: &str) -> Result<(), Error> {
        if id.is_empty() {
            return Ok(());
        }
        let tx = Tx::new(self.store());
        tx.delete(record::work_key(id, mount));
        tx.commit().await?;
        Ok(())
    }

    async fn clear_namespace(self: Arc<Self>, space: Arc<Space>) {
        loop {
            match self.try_clear(&space).await {
                Ok(true) | Err(Error::Sealed) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(namespace = space.namespace.path(), %error, "a namespace is not deleted yet");
                }
            }
            self.clock.sleep(AGAIN).await;
        }
    }

    /// Whether all is gone. Each step may be done again.
    async fn try_clear(&self, space: &Arc<Space>) -> Result<bool, Error> {
        let mut left = false;
        for uuid in space.mounts.uuids() {
            self.rotations.forget_mount(&uuid).await?;
            self.lockout.forget_mount(&uuid).await?;
            let Some(mounted) = space.mounts.by_uuid(&uuid) else { continue };
            left |= mounted.is_in_use();
            if !mounted.builtin {
                left |= !self.clear_mount(space, &mounted).await?;
            }
        }
        left |= self.end_tokens(space).await?;
        left |= self.end_leases(space).await?;
        if left {
            return Ok(false);
        }
        self.wipe(space).await?;
        self.move_limits(space.namespace.path(), None).await?;
        self.spaces.forget(space).await?;
        tracing::info!(namespace = space.namespace.path(), "a namespace is deleted");
        Ok(true)
    }

    async fn clear_mount(&self, space: &Arc<Space>, mounted: &Arc<Mounted>) -> Result<bool, Error> {
        let tainted = match mounted.entry.tainted {
            true => Some(Arc::clone(mounted)),
            false => space.mounts.taint(&mounted.info.path).await?,
        };
        match tainted {
            Some(tainted) => self.try_remove(space, &tainted).await,
            None => Ok(true),
        }
    }

    /// Revokes all tokens of the namespace. Whether there are any, also such as are at their end.
    async fn end_tokens(&self, space: &Space) -> Result<bool, Error> {
        let id = space.namespace.suffix();
        let (accessors, _) = self.tokens.accessors(id, None, PAGE).await?;
        for accessor in &accessors {
            if let Some(token) = self.tokens.by_accessor(accessor).await? {
                self.tokens.revoke_now(&token).await?;
            }
        }
        // A token's record is the last of it that goes.
        Ok(!accessors.is_empty() || self.has_any(space, "sys/token/id/").await?)
    }

    /// Whether leases are left; all of them are marked for revocation.
    async fn end_leases(&self, space: &Space) -> Result<bool, Error> {
        let id = space.namespace.suffix();
        let mut after: Option<String> = None;
        loop {
            let (leases, more) = self.leases.ids(id, "", after.as_deref(), PAGE).await?;
            for lease in &leases {
                if self.leases.is_active(lease).await? {
                    self.leases.revoke(lease).await?;
                }
            }
            after = leases.last().map(|lease| lease.0.to_string());
            if !more {
                return self.has_any(space, "sys/lease/id/").await;
            }
        }
    }

    async fn has_any(&self, space: &Space, prefix: &str) -> Result<bool, Error> {
        let scan = Scan { prefix: prefix.to_owned(), after: None, limit: 1, values: false };
        Ok(!space.store.scan(&scan).await?.entries.is_empty())
    }

    /// Deletes all that the namespace stored.
    async fn wipe(&self, space: &Space) -> Result<(), Error> {
        // Its engines have ended with their mounts.
        let prefix = namespace::scope(space.namespace.suffix());
        if prefix.is_empty() {
            return Err(Error::internal("the root namespace was to be deleted"));
        }
        self.wipe_below(&prefix).await
    }

    /// Deletes all that is stored below a prefix of the whole store.
    pub(super) async fn wipe_below(&self, prefix: &str) -> Result<(), Error> {
        loop {
            let scan = Scan { prefix: prefix.to_owned(), after: None, limit: PAGE, values: false };
            let page = self.store().scan(&scan).await?;
            let tx = Tx::new(self.store());
            for (key, _) in &page.entries {
                tx.delete(key.clone());
            }
            tx.commit().await?;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Forgets the leases of a namespace that is being deleted and whose revocation fails, leaving orphan records.
    pub(crate) async fn force_namespace(&self, space: &Space) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let (leases, more) = self.leases.ids(space.namespace.suffix(), "", after.as_deref(), PAGE).await?;
            for lease in &leases {
                self.leases.force(lease).await?;
            }
            after = leases.last().map(|lease| lease.0.to_string());
            if !more {
                return Ok(());
            }
        }
    }
}

const AGAIN: Duration = Duration::from_secs(1);
const PAGE: usize = 500;
