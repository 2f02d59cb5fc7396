//! Keeps the table in memory in step with what is stored, where other nodes change it too.
//!
//! Every change of a table also writes one entry beside it, and expects that entry as it was when the table was read last.
//! So of two nodes that change the table at the same time one meets a conflict; when it tries again, it reads the table anew.

use std::{collections::BTreeSet, sync::Arc};

use gate::Error;
use storage::{Key, Revision, Tx};
use tokio::sync::MutexGuard;

use crate::{Entry, Mounted, Mounts, PREFIX, Table, key};

/// The right to change the table.
pub(crate) type Known<'m> = MutexGuard<'m, Option<Revision>>;

impl Mounts {
    /// Takes over what another node did to the mount with this id.
    pub async fn sync(&self, uuid: &str) -> Result<(), Error> {
        let _one = self.changing.lock().await;
        let entry = self.store.get(&key(uuid)).await?;
        let entry = entry.map(|entry| parse(uuid, &entry.value)).transpose()?;
        self.take_over(uuid, entry).await;
        Ok(())
    }

    /// Takes over whatever other nodes did.
    pub async fn sync_all(&self) -> Result<(), Error> {
        let mut known = self.changing.lock().await;
        let changed = self.store.get(&changed()).await?.map(|entry| entry.revision);
        self.read_anew(&mut known, changed).await
    }

    /// The id of the mount that a key of the namespace's part of the store is the entry of.
    pub fn id_of(key: &str) -> Option<&str> {
        key.strip_prefix(PREFIX)
    }

    /// Has `tx` commit only if no mount is made or moved meanwhile, for what must not have the name of a mount.
    pub async fn hold(&self, tx: &Tx) -> Result<(), Error> {
        let known = self.up_to_date().await?;
        self.expect(tx, *known).await
    }

    /// The table as it is stored now, and the right to change it.
    pub(crate) async fn up_to_date(&self) -> Result<Known<'_>, Error> {
        let mut known = self.changing.lock().await;
        let changed = self.store.get(&changed()).await?.map(|entry| entry.revision);
        if changed != *known {
            self.read_anew(&mut known, changed).await?;
        }
        Ok(known)
    }

    async fn read_anew(&self, known: &mut Option<Revision>, changed: Option<Revision>) -> Result<(), Error> {
        let stored = self.stored().await?;
        let ids: BTreeSet<String> = stored.iter().map(|entry| entry.uuid.clone()).collect();
        for uuid in self.uuids().iter().filter(|uuid| !ids.contains(&***uuid)) {
            self.take_over(uuid, None).await;
        }
        for entry in stored {
            let uuid = entry.uuid.clone();
            self.take_over(&uuid, Some(entry)).await;
        }
        *known = changed;
        Ok(())
    }

    /// Writes a mount down. A conflict means that another node has changed the table.
    pub(crate) async fn save(&self, entry: &Entry, known: &mut Option<Revision>) -> Result<(), Error> {
        let tx = Tx::new(Arc::clone(&self.store));
        tx.put_json(key(&entry.uuid), entry)?;
        self.commit(&tx, known).await
    }

    /// Takes a mount's entry out.
    pub(crate) async fn erase(&self, uuid: &str, known: &mut Option<Revision>) -> Result<(), Error> {
        let tx = Tx::new(Arc::clone(&self.store));
        tx.delete(key(uuid));
        self.commit(&tx, known).await
    }

    async fn commit(&self, tx: &Tx, known: &mut Option<Revision>) -> Result<(), Error> {
        self.expect(tx, *known).await?;
        *known = tx.commit().await?;
        Ok(())
    }

    async fn expect(&self, tx: &Tx, known: Option<Revision>) -> Result<(), Error> {
        let found = tx.get_entry(&changed()).await?.map(|entry| entry.revision);
        if found != known {
            return Err(Error::Conflict);
        }
        tx.put(changed(), bytes::Bytes::new());
        Ok(())
    }

    /// Brings one mount of the table in line with its entry. The caller holds `changing`.
    async fn take_over(&self, uuid: &str, entry: Option<Entry>) {
        let known = self.by_uuid(uuid);
        let next = match (entry, &known) {
            (None, None) => return self.change(|table| drop(table.left_out.remove(uuid))),
            (None, Some(known)) => {
                self.change(|table| table.take_out(known));
                return known.backend.close().await;
            }
            (Some(entry), Some(known)) if same(&entry, &known.entry) => return,
            (Some(entry), Some(known)) if known.builtin || !is_reopened(&entry, &known.entry) => {
                Some(self.tuned(entry, known))
            }
            (Some(entry), Some(known)) => self.opened(entry, Arc::clone(&known.requests)),
            (Some(entry), None) => {
                let path: Arc<str> = entry.path.as_str().into();
                let opened = self.opened(entry, Arc::default());
                if opened.is_none() {
                    self.change(|table| drop(table.left_out.insert(uuid.to_owned(), path)));
                }
                opened
            }
        };
        let Some(next) = next else { return };
        let reopened = known.as_ref().filter(|known| !Arc::ptr_eq(&known.backend, &next.backend)).cloned();
        self.change(|table| {
            if let Some(known) = &known {
                table.take_out(known);
            }
            table.insert(next);
        });
        if let Some(before) = reopened {
            before.backend.close().await;
        }
    }
}

impl Table {
    fn take_out(&mut self, mounted: &Mounted) {
        self.by_uuid.remove(&mounted.info.uuid);
        let own = self.by_path.get(&mounted.info.path).is_some_and(|at| at.info.uuid == mounted.info.uuid);
        if own {
            self.by_path.remove(&mounted.info.path);
        }
    }
}

/// Whether the engine has to begin anew: it is told its path and the form of what it stored only when it is opened.
fn is_reopened(after: &Entry, before: &Entry) -> bool {
    (&after.path, &after.options, after.upgrading) != (&before.path, &before.options, before.upgrading)
}

fn same(a: &Entry, b: &Entry) -> bool {
    serde_json::to_vec(a).ok() == serde_json::to_vec(b).ok()
}

fn parse(uuid: &str, stored: &[u8]) -> Result<Entry, Error> {
    serde_json::from_slice(stored).map_err(|_| Error::internal(format!("{PREFIX}{uuid} does not hold a mount")))
}

/// Beside the entries.
pub(crate) fn changed() -> Key {
    Key::new("sys/mounts-changed")
}
