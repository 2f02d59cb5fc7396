//! A mount moves from one namespace to another, in the background. What it leased is revoked first, for leases are of their
//! namespace; then what it stored is copied, and when the mount is there, deleted where it was. Each step may be done again.

use std::sync::Arc;

use gate::{Error, MountClass, namespace};
use mounts::{Mounted, Moving};
use serde::{Deserialize, Serialize};
use storage::{Key, Scan, Tx};

use super::Space;
use crate::running::Running;

/// A move of a mount, as stored at `sys/remount/<migration id>` in the namespace where it was asked for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) source_mount: String,
    pub(crate) target_mount: String,
    pub(crate) status: String,
}

/// Where the moves lie.
pub(crate) const MOVES: &str = "sys/remount/";
pub(crate) const SUCCESS: &str = "success";
pub(crate) const UNDER_WAY: &str = "in-progress";
const FAILURE: &str = "failure";
const PAGE: usize = 200;

/// A mount and where it is to go.
pub(crate) struct Journey<'j> {
    pub(crate) from: &'j Arc<Space>,
    /// The path of the mount there.
    pub(crate) mount: &'j str,
    pub(crate) to: &'j Arc<Space>,
    /// The full path there, with its slash.
    pub(crate) path: String,
    /// Where it was asked for.
    pub(crate) asked_in: &'j Space,
    pub(crate) migration: &'j str,
}

impl Running {
    /// Takes a mount out of service where it is and moves it in the background.
    pub(crate) async fn move_mount(self: &Arc<Self>, journey: Journey<'_>) -> Result<(), Error> {
        let Journey { from, mount, to, path, asked_in, migration } = journey;
        let mounted = from.mounts.exactly(mount)?;
        let record = Moved {
            source_mount: format!("{}{}", from.namespace.path(), mounted.info.path),
            target_mount: format!("{}{path}", to.namespace.path()),
            status: UNDER_WAY.to_owned(),
        };
        let tx = asked_in.tx();
        tx.put_json(key(migration), &record)?;
        tx.commit().await?;
        let moving = Moving {
            namespace: to.namespace.suffix().to_owned(),
            path,
            migration: migration.to_owned(),
            asked_in: asked_in.namespace.suffix().to_owned(),
        };
        self.note_work(from, &mounted.info.uuid).await?;
        let departed = from.mounts.depart(mount, moving).await?;
        self.spawn(Arc::clone(self).remove_mount(Arc::clone(from), departed));
        Ok(())
    }

    /// Whether the mount has arrived, or will stay where it was.
    pub(crate) async fn try_move(&self, from: &Arc<Space>, mounted: &Mounted, moving: &Moving) -> Result<bool, Error> {
        if self.end_leased(from, mounted).await? {
            return Ok(false);
        }
        let to = self.spaces.by_id(&moving.namespace).await?.filter(|to| !to.is_leaving());
        let status = match &to {
            Some(to) if self.bring(from, to, mounted, moving).await? => SUCCESS,
            Some(_) | None => {
                from.mounts.stay(mounted).await?;
                FAILURE
            }
        };
        self.note_done(from.namespace.suffix(), &mounted.info.uuid).await?;
        self.note_move(moving, status).await?;
        Ok(true)
    }

    /// Copies what a mount stored, opens it at its new place and deletes it at the old one; `false` if something else
    /// has taken the place.
    async fn bring(&self, from: &Space, to: &Space, mounted: &Mounted, moving: &Moving) -> Result<bool, Error> {
        let uuid = &mounted.info.uuid;
        if to.mounts.by_uuid(uuid).is_none() {
            let class = mounted.info.class;
            if to.mounts.free_path(class, inside(class, &moving.path)).is_err() {
                return Ok(false);
            }
            mounted.backend.close().await;
            self.copy(from, to, &mounted.prefix).await?;
            self.rotations.move_mount(uuid, &to.namespace).await?;
            self.move_tended(from, to, uuid).await?;
            let _names = to.naming.lock().await;
            to.mounts.arrive(mounted).await?;
        }
        let before = format!("{}{}", from.namespace.path(), mounted.info.path);
        self.move_limits(&before, Some(&format!("{}{}", to.namespace.path(), moving.path))).await?;
        from.mounts.remove(mounted).await?;
        self.rotations.wake();
        Ok(true)
    }

    async fn copy(&self, from: &Space, to: &Space, prefix: &str) -> Result<(), Error> {
        let scope = |space: &Space| namespace::scope(space.namespace.suffix());
        let (source, target) = (format!("{}{prefix}", scope(from)), format!("{}{prefix}", scope(to)));
        // What a try that was interrupted has left may be outdated.
        self.wipe_below(&target).await?;
        let mut after = None;
        loop {
            let scan = Scan { prefix: source.clone(), after, limit: PAGE, values: true };
            let page = self.store().scan(&scan).await?;
            let tx = Tx::new(self.store());
            for (key, entry) in &page.entries {
                let rest = key.as_str().get(source.len()..).unwrap_or_default();
                tx.put(Key::from(format!("{target}{rest}")), entry.value.clone());
            }
            tx.commit().await?;
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn move_tended(&self, from: &Space, to: &Space, uuid: &str) -> Result<(), Error> {
        let tx = Tx::new(self.store());
        // Of a mount of the root namespace it is not known: whoever has nothing to do says so when it is looked in on.
        let before = super::tended_key(from.namespace.suffix(), uuid);
        let is_tended = from.part.is_none() || tx.get(&before).await?.is_some();
        tx.delete(before);
        if is_tended && to.part.is_some() {
            tx.put(super::tended_key(to.namespace.suffix(), uuid), bytes::Bytes::new());
        }
        tx.commit().await?;
        Ok(())
    }

    async fn note_move(&self, moving: &Moving, status: &str) -> Result<(), Error> {
        let Some(asked_in) = self.spaces.by_id(&moving.asked_in).await? else { return Ok(()) };
        let tx = asked_in.tx();
        if let Some(record) = tx.get_json::<Moved>(&key(&moving.migration)).await? {
            tx.put_json(key(&moving.migration), &Moved { status: status.to_owned(), ..record })?;
        }
        tx.commit().await?;
        Ok(())
    }
}

fn key(migration: &str) -> Key {
    Key::from(format!("{MOVES}{migration}"))
}

/// A full path as a mount of its class is named.
fn inside(class: MountClass, path: &str) -> &str {
    match class {
        MountClass::Auth => path.strip_prefix("auth/").unwrap_or(path),
        MountClass::Secret => path,
    }
}
