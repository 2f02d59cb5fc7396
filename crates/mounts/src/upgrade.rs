//! Mounts whose option `version` is raised: what they stored is brought into the new form, step by step, and begun again
//! at the next unseal if that is interrupted.

use std::{collections::BTreeMap, sync::Arc};

use engine::Kind;
use gate::Error;
use storage::Tx;

use crate::{Entry, Mounted, Mounts};

impl Mounts {
    /// The mounts whose upgrade was interrupted when the server stopped.
    pub fn upgrading(&self) -> Vec<Arc<Mounted>> {
        let table = self.table.load();
        table.by_path.values().filter(|mounted| mounted.entry.upgrading).cloned().collect()
    }

    /// Does an upgrade to its end, and opens the mount. Can be called again after an interruption. Nothing may use the
    /// mount as it was before.
    pub async fn upgrade(&self, uuid: &str) -> Result<(), Error> {
        while self.upgrade_step(uuid).await? {}
        let mut known = self.up_to_date().await?;
        let Some(mounted) = self.to_upgrade(uuid) else { return Ok(()) };
        let entry = Entry { upgrading: false, ..mounted.entry.clone() };
        self.save(&entry, &mut known).await?;
        let upgraded = self.opened(entry, Arc::clone(&mounted.requests));
        let upgraded = upgraded.ok_or_else(|| Error::internal("a kind just used is not known"))?;
        self.change(|table| table.insert(upgraded));
        Ok(())
    }

    /// Whether there is more to do.
    async fn upgrade_step(&self, uuid: &str) -> Result<bool, Error> {
        let Some(mounted) = self.to_upgrade(uuid) else { return Ok(false) };
        let kind = self.kinds.iter().find(|kind| kind.name == mounted.entry.kind);
        let step =
            kind.and_then(Kind::upgrade).ok_or_else(|| Error::internal("a mount that has no upgrade has one"))?;
        let tx = Tx::new(Arc::clone(&self.store));
        let more = step(tx.view(Arc::clone(&mounted.prefix)), self.clock.now()).await?;
        tx.commit().await?;
        Ok(more)
    }

    /// The mount, unless it is upgraded already or being removed.
    fn to_upgrade(&self, uuid: &str) -> Option<Arc<Mounted>> {
        self.by_uuid(uuid).filter(|mounted| mounted.entry.upgrading && !mounted.entry.tainted)
    }

    /// Whether the change from one entry to the other asks for another form of what is stored.
    pub(crate) fn is_upgrade(&self, before: &Entry, after: &Entry) -> Result<bool, Error> {
        let (old, new) = (version(&before.options), version(&after.options));
        let kind = self.kinds.iter().find(|kind| kind.name == before.kind);
        let Some(kind) = kind.filter(|kind| kind.upgrade().is_some()) else { return Ok(false) };
        check_version(kind, kind.name, &after.options)?;
        match new.cmp(old) {
            std::cmp::Ordering::Equal => Ok(false),
            std::cmp::Ordering::Greater => Ok(true),
            std::cmp::Ordering::Less => Err(Error::invalid(
                "options.version: versions cannot be taken away again; make a new mount and write the secrets there",
            )),
        }
    }
}

/// The version that the options name; the first if they name none.
fn version(options: &BTreeMap<String, String>) -> &str {
    options.get(VERSION).map(String::as_str).filter(|version| !version.is_empty()).unwrap_or("1")
}

/// Refuses a version that the kind does not have. `name` is how the caller calls the kind.
pub(crate) fn check_version(kind: &Kind, name: &str, options: &BTreeMap<String, String>) -> Result<(), Error> {
    if kind.upgrade().is_none() {
        return Ok(());
    }
    match (name, version(options)) {
        ("generic", "1") => Ok(()),
        ("generic", _) => Err(Error::invalid("options.version: a generic mount has version 1 only; use the type kv")),
        (_, "1" | "2") => Ok(()),
        _ => Err(Error::invalid("options.version: use \"1\" or \"2\"")),
    }
}

const VERSION: &str = "version";
