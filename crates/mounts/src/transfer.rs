//! A mount moves to another namespace: out of the table of one, into that of the other, with its id and its accessor. What
//! it stored is copied by the program, which knows both parts of the store.

use std::sync::Arc;

use gate::{Error, MountClass};

use crate::{Mounted, Mounts, entry::Moving, mount_path};

impl Mounts {
    /// The full path that a mount of this class would have, if it is a path for one and free.
    pub fn free_path(&self, class: MountClass, path: &str) -> Result<String, Error> {
        let path = mount_path(class, path)?;
        self.check_free(&path)?;
        Ok(path)
    }

    /// Takes a mount out of the routes, durably, for it is to go to another namespace.
    pub async fn depart(&self, path: &str, to: Moving) -> Result<Arc<Mounted>, Error> {
        let mut known = self.up_to_date().await?;
        let mounted = self.exactly(path)?;
        if mounted.builtin {
            return Err(Error::invalid(format!("cannot remount \"{path}\"")));
        }
        if mounted.entry.upgrading {
            return Err(Error::invalid("from: what the mount stored is being upgraded; try again in a moment"));
        }
        let mut entry = mounted.entry.clone();
        (entry.tainted, entry.moving) = (true, Some(to));
        self.leave(entry, &mounted, &mut known).await
    }

    /// Puts a mount of another namespace into the routes, whose storage is here already. Does nothing if it is there.
    pub async fn arrive(&self, departed: &Mounted) -> Result<(), Error> {
        let mut known = self.up_to_date().await?;
        let Some(moving) = &departed.entry.moving else { return Err(Error::internal("a mount came unasked")) };
        if self.by_uuid(&departed.info.uuid).is_some() {
            return Ok(());
        }
        self.check_free(&moving.path)?;
        let mut entry = departed.entry.clone();
        entry.path.clone_from(&moving.path);
        (entry.tainted, entry.moving, entry.former_paths) = (false, None, Vec::new());
        self.save(&entry, &mut known).await?;
        let mounted = self.mounted(entry).ok_or_else(|| Error::internal("a kind just used is not known"))?;
        self.change(|table| table.insert(mounted));
        Ok(())
    }

    /// Puts a mount back where it was: it could not go where it was to go.
    pub async fn stay(&self, departed: &Mounted) -> Result<(), Error> {
        let mut known = self.up_to_date().await?;
        self.check_free(&departed.entry.path)?;
        let mut entry = departed.entry.clone();
        (entry.tainted, entry.moving) = (false, None);
        self.save(&entry, &mut known).await?;
        let mounted = self.opened(entry, Arc::clone(&departed.requests));
        let mounted = mounted.ok_or_else(|| Error::internal("a kind just used is not known"))?;
        self.change(|table| table.insert(mounted));
        departed.backend.close().await;
        Ok(())
    }
}
