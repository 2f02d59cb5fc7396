//! Who guessed wrong too often, and may not log in for a while.
//!
//! A login is looked at twice: before its secret is checked ([`Lockout::check`]), and once it is known whether it was
//! right ([`Lockout::settle`]), where one after the other is counted. Only there a login learns how it went, so of any
//! number of guesses at the same time no more are answered than one after the other: when the threshold is reached, a
//! right one is refused like a wrong one.
//!
//! Failures are counted in memory, within a limit in bytes. Those of names that nobody has are counted apart, so that
//! making names up does not push out the count of a name that is guessed at. That somebody is locked is stored, too:
//!
//! ```text
//! sys/lockout/<mount uuid>/<hash of the alias>    the alias, and until when it is locked
//! ```

mod rules;
mod table;

use std::{collections::BTreeSet, sync::Arc};

use clock::{Clock, Timestamp};
use gate::{Error, Refusal};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Key, Scan, Store, Tx};

pub use rules::{KINDS, Rules, Settings, Stanzas};
use table::{Id, Table};

/// Counts failures and keeps locks.
pub struct Lockout {
    store: Arc<dyn Store>,
    clock: Clock,
    memory: Mutex<Memory>,
    /// One change of what is stored at a time, so that a lock does not come back after it was opened.
    storing: tokio::sync::Mutex<()>,
}

/// The failures of names that somebody has, and of all others.
struct Memory {
    known: Table,
    unknown: Table,
}

/// Somebody who is locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// The mount's unchanging id.
    pub mount: String,
    /// The name in the login method's terms.
    pub alias: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    alias: String,
    until: Timestamp,
}

impl Lockout {
    /// Nobody is locked but those of whom the store says so.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Arc<Self> {
        let memory = Memory { known: Table::new(MEMORY), unknown: Table::new(MEMORY) };
        Arc::new(Self { store, clock, memory: Mutex::new(memory), storing: tokio::sync::Mutex::default() })
    }

    /// Refuses whoever is locked.
    pub async fn check(&self, mount: &str, alias: &str, rules: &Rules) -> Result<(), Error> {
        if rules.disabled || alias.len() > LONGEST {
            return Ok(());
        }
        let now = self.clock.now();
        if self.memory.lock().is_locked(&Id::new(mount, alias), now) {
            return Err(refused());
        }
        let tx = Tx::new(Arc::clone(&self.store));
        match tx.get_json::<Stored>(&key(mount, alias)).await? {
            Some(stored) if stored.until > now => Err(refused()),
            _ => Ok(()),
        }
    }

    /// Counts a login whose secret was `right` or wrong; refuses it if the holder is locked by now. `known` is whether
    /// anybody has this name.
    pub fn settle(
        self: &Arc<Self>,
        mount: &str,
        alias: &str,
        known: bool,
        right: bool,
        rules: &Rules,
    ) -> Result<(), Error> {
        if rules.disabled || alias.len() > LONGEST {
            return Ok(());
        }
        let (id, now) = (Id::new(mount, alias), self.clock.now());
        let mut memory = self.memory.lock();
        if memory.is_locked(&id, now) {
            return Err(refused());
        }
        if right {
            memory.forget(&id);
            return Ok(());
        }
        let table = if known { &mut memory.known } else { &mut memory.unknown };
        let locked = table.fail(&id, now, rules);
        drop(memory);
        if let Some(until) = locked.filter(|_| known) {
            // Not waited for: how long the reply takes would tell that the name exists.
            tokio::spawn(Arc::clone(self).keep(id, until));
        }
        Ok(())
    }

    /// Who is locked now, in order.
    pub async fn locked(&self) -> Result<BTreeSet<Locked>, Error> {
        let now = self.clock.now();
        let mut locked: BTreeSet<Locked> = {
            let memory = self.memory.lock();
            let ids = memory.known.locked(now).chain(memory.unknown.locked(now));
            ids.map(|id| Locked { mount: id.mount.clone(), alias: id.alias.clone() }).collect()
        };
        for (key, stored) in self.stored("").await? {
            match mount_of(&key) {
                Some(mount) if stored.until > now => {
                    locked.insert(Locked { mount: mount.to_owned(), alias: stored.alias });
                }
                _ => self.drop_ended(&key, now).await?,
            }
        }
        Ok(locked)
    }

    /// Opens a lock, if there is one.
    pub async fn unlock(&self, mount: &str, alias: &str) -> Result<(), Error> {
        let _one = self.storing.lock().await;
        self.memory.lock().forget(&Id::new(mount, alias));
        let tx = Tx::new(Arc::clone(&self.store));
        tx.delete(key(mount, alias));
        tx.commit().await?;
        Ok(())
    }

    /// Forgets a mount that goes away.
    pub async fn forget_mount(&self, mount: &str) -> Result<(), Error> {
        let _one = self.storing.lock().await;
        {
            let mut memory = self.memory.lock();
            memory.known.forget_mount(mount);
            memory.unknown.forget_mount(mount);
        }
        let tx = Tx::new(Arc::clone(&self.store));
        for (key, _) in self.stored(mount).await? {
            tx.delete(key);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Stores a lock, unless it was opened in the meantime.
    async fn keep(self: Arc<Self>, id: Arc<Id>, until: Timestamp) {
        let _one = self.storing.lock().await;
        if !self.memory.lock().is_locked(&id, self.clock.now()) {
            return;
        }
        let tx = Tx::new(Arc::clone(&self.store));
        let put = tx.put_json(key(&id.mount, &id.alias), &Stored { alias: id.alias.clone(), until });
        let stored = match put {
            Ok(()) => tx.commit().await.map(drop).map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = stored {
            tracing::warn!(%error, "a lock of a user could not be stored; it holds until the server stops");
        }
    }

    async fn drop_ended(&self, key: &Key, now: Timestamp) -> Result<(), Error> {
        let _one = self.storing.lock().await;
        let tx = Tx::new(Arc::clone(&self.store));
        if tx.get_json::<Stored>(key).await?.is_some_and(|stored| stored.until <= now) {
            tx.delete(key.clone());
            tx.commit().await?;
        }
        Ok(())
    }

    /// What is stored of a mount, or of all.
    async fn stored(&self, mount: &str) -> Result<Vec<(Key, Stored)>, Error> {
        let prefix = if mount.is_empty() { PREFIX.to_owned() } else { format!("{PREFIX}{mount}/") };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.scan(&Scan { prefix: prefix.clone(), after, limit: 500, values: true }).await?;
            for (key, entry) in &page.entries {
                let stored = serde_json::from_slice(&entry.value)
                    .map_err(|_| Error::internal(format!("{} does not hold a lock", key.as_str())))?;
                found.push((key.clone(), stored));
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(found);
            }
        }
    }
}

impl Memory {
    fn is_locked(&self, id: &Id, now: Timestamp) -> bool {
        self.known.is_locked(id, now) || self.unknown.is_locked(id, now)
    }

    fn forget(&mut self, id: &Id) {
        self.known.forget(id);
        self.unknown.forget(id);
    }
}

const PREFIX: &str = "sys/lockout/";
/// How many bytes each table may take.
const MEMORY: usize = 8 * 1024 * 1024;
/// No login method has longer names.
const LONGEST: usize = 512;

fn refused() -> Error {
    Error::Denied(Refusal::Locked)
}

fn key(mount: &str, alias: &str) -> Key {
    let hash: String = crypto::hash::sha256(alias.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Key::from(format!("{PREFIX}{mount}/{hash}"))
}

fn mount_of(key: &Key) -> Option<&str> {
    key.as_str().strip_prefix(PREFIX)?.split('/').next()
}

#[cfg(test)]
mod tests;
