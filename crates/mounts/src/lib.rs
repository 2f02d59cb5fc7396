//! What is mounted where.
//!
//! Each mount is one entry at `sys/mount/<uuid>`, so enabling one does not rewrite the others, and their number is not
//! limited by the size of an entry. In memory there is a table by path; finding a mount costs a look-up per segment of
//! the path, whatever the number of mounts.

mod entry;
mod sync;
mod transfer;
mod upgrade;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use clock::Clock;
use engine::{Kind, Opening};
use gate::{Backend, Error, MountClass, MountInfo, Namespace};
use storage::{Key, Revision, Scan, Store, Tx};

pub use entry::{Config, Entry, Moving, UserLockout};

/// The life of leases where the mount says nothing: 32 days.
pub const DEFAULT_TTL: Duration = Duration::from_secs(2_764_800);
/// The longest life of leases where the mount says nothing: 32 days.
pub const MAX_TTL: Duration = Duration::from_secs(2_764_800);

/// The mounts of one namespace.
pub struct Mounts {
    store: Arc<dyn Store>,
    clock: Clock,
    kinds: &'static [Kind],
    limits: Limits,
    namespace: Namespace,
    table: ArcSwap<Table>,
    /// Held while the table is changed; which change of the stored table is known.
    changing: tokio::sync::Mutex<Option<Revision>>,
}

/// The lives of leases where a mount says nothing, from the configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The life of a lease.
    pub default_ttl: Duration,
    /// The longest life of a lease.
    pub max_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { default_ttl: DEFAULT_TTL, max_ttl: MAX_TTL }
    }
}

#[derive(Clone, Default)]
struct Table {
    by_path: HashMap<Arc<str>, Arc<Mounted>>,
    by_uuid: HashMap<Arc<str>, Arc<Mounted>>,
    /// The paths of the mounts, by uuid, whose kind this build does not know.
    left_out: HashMap<String, Arc<str>>,
}

/// What was mounted where at one moment; see [`Mounts::is_at`].
pub struct Snapshot(Arc<Table>);

/// A mount with its engine.
pub struct Mounted {
    /// The stored entry.
    pub entry: Entry,
    /// What engines and the audit log may know.
    pub info: Arc<MountInfo>,
    /// The engine.
    pub backend: Arc<dyn Backend>,
    /// Where its storage lies.
    pub prefix: Arc<str>,
    /// Whether it is part of the program.
    pub builtin: bool,
    /// How many requests it is answering.
    requests: Arc<AtomicUsize>,
}

/// A request that a mount answers, for as long as this value lives.
#[derive(Debug)]
pub struct InUse(Arc<AtomicUsize>);

impl Mounted {
    fn enter(&self) -> InUse {
        self.requests.fetch_add(1, Ordering::SeqCst);
        InUse(Arc::clone(&self.requests))
    }

    /// Whether requests are under way that came in before the mount was taken out of the routes, or still come in.
    pub fn is_in_use(&self) -> bool {
        self.requests.load(Ordering::SeqCst) > 0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A mount that is part of the program.
pub struct Builtin {
    /// Its path.
    pub path: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// Its class.
    pub class: MountClass,
    /// What it is.
    pub description: &'static str,
    /// The engine.
    pub backend: Arc<dyn Backend>,
}

/// What to mount.
#[derive(Clone, Debug, Default)]
pub struct NewMount {
    /// The path, with or without slashes around; auth methods without `auth/`.
    pub path: String,
    /// The type.
    pub kind: String,
    /// What it is for.
    pub description: String,
    /// Its settings.
    pub config: Config,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// Kept and shown; there is one node.
    pub local: bool,
    /// Kept and shown.
    pub seal_wrap: bool,
}

impl Mounts {
    /// Loads the table of a namespace from its part of the store. Mounts of a kind that this build does not know are kept
    /// in storage and left out.
    pub async fn load(
        namespace: Namespace,
        store: Arc<dyn Store>,
        clock: Clock,
        kinds: &'static [Kind],
        limits: Limits,
        builtins: Vec<Builtin>,
    ) -> Result<Self, Error> {
        let (table, changing) = (ArcSwap::default(), tokio::sync::Mutex::default());
        let mounts = Self { store, clock, kinds, limits, namespace, table, changing };
        let mut stored = loop {
            match mounts.stored_with(&builtins).await {
                // Another node makes them at this moment.
                Err(Error::Conflict) => tokio::task::yield_now().await,
                stored => break stored?,
            }
        };
        let mut table = Table::default();
        for builtin in builtins {
            let at = stored.iter().position(|entry| entry.path == builtin.path);
            let Some(entry) = at.map(|at| stored.swap_remove(at)) else { continue };
            table.insert(mounts.mounted_builtin(entry, builtin));
        }
        for entry in stored {
            let (uuid, path) = (entry.uuid.clone(), entry.path.clone());
            match mounts.mounted(entry) {
                Some(mounted) => table.insert(mounted),
                None => {
                    tracing::error!(path, "a mount is of a kind that this version does not know; it is left out");
                    table.left_out.insert(uuid, path.into());
                }
            }
        }
        mounts.table.store(Arc::new(table));
        Ok(mounts)
    }

    /// The mount of a path, and the path inside it.
    pub fn find<'a>(&self, path: &'a str) -> Option<(Arc<Mounted>, &'a str)> {
        let table = self.table.load();
        for (at, _) in path.match_indices('/') {
            let (mount, rest) = path.split_at(at + 1);
            if let Some(mounted) = table.by_path.get(mount) {
                return Some((Arc::clone(mounted), rest));
            }
        }
        // A path that names the mount itself without its slash.
        table.by_path.get(format!("{path}/").as_str()).map(|mounted| (Arc::clone(mounted), ""))
    }

    /// What is mounted where at this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.table.load_full())
    }

    /// Whether nothing was mounted, tuned, moved or taken away since.
    pub fn is_at(&self, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&self.table.load(), &snapshot.0)
    }

    /// Like [`Mounts::find`], and counts the request as one of the mount's until the last value is dropped.
    pub fn enter<'a>(&self, path: &'a str) -> Option<(Arc<Mounted>, &'a str, InUse)> {
        loop {
            let (mounted, rest) = self.find(path)?;
            let in_use = mounted.enter();
            // One that was taken out of the routes before it was entered may be removed already.
            let still = self.table.load().by_path.get(&mounted.info.path).cloned();
            if still.is_some_and(|still| Arc::ptr_eq(&still.requests, &mounted.requests)) {
                return Some((mounted, rest, in_use));
            }
        }
    }

    /// Whether there is a mount with this id whose kind this build does not know. What it leased and planned is kept
    /// for a build that does.
    pub fn is_left_out(&self, uuid: &str) -> bool {
        self.table.load().left_out.contains_key(uuid)
    }

    /// The mount with this unchanging id, also one that is being removed.
    pub fn by_uuid(&self, uuid: &str) -> Option<Arc<Mounted>> {
        self.table.load().by_uuid.get(uuid).cloned()
    }

    /// The mount with this accessor.
    pub fn by_accessor(&self, accessor: &str) -> Option<Arc<Mounted>> {
        self.table.load().by_path.values().find(|mounted| &*mounted.info.accessor == accessor).cloned()
    }

    /// All mounts of a class by path.
    pub fn list(&self, class: MountClass) -> BTreeMap<Arc<str>, Arc<Mounted>> {
        let table = self.table.load();
        let of_class = table.by_path.iter().filter(|(_, mounted)| mounted.info.class == class);
        of_class.map(|(path, mounted)| (Arc::clone(path), Arc::clone(mounted))).collect()
    }

    /// The uuids of all mounts, also of those that are being removed or left out.
    pub fn uuids(&self) -> Vec<Arc<str>> {
        let table = self.table.load();
        let left_out = table.left_out.keys().map(|uuid| uuid.as_str().into());
        table.by_uuid.keys().cloned().chain(left_out).collect()
    }

    /// The mounts that were being removed when the server stopped.
    pub fn leaving(&self) -> Vec<Arc<Mounted>> {
        self.table.load().by_uuid.values().filter(|mounted| mounted.entry.tainted).cloned().collect()
    }

    /// The kinds that can be mounted.
    pub fn kinds(&self) -> &'static [Kind] {
        self.kinds
    }

    /// Mounts something. The commit is its own.
    pub async fn enable(&self, class: MountClass, new: NewMount) -> Result<Arc<Mounted>, Error> {
        let mut known = self.up_to_date().await?;
        let kind_name = match new.kind.as_str() {
            "kv-v1" | "kv-v2" | "generic" => "kv",
            name => name,
        };
        let mut options = new.options;
        match new.kind.as_str() {
            "kv-v2" => drop(options.insert("version".to_owned(), "2".to_owned())),
            "kv-v1" => drop(options.insert("version".to_owned(), "1".to_owned())),
            _ => {}
        }
        let kind = self.kind(class, kind_name)?;
        upgrade::check_version(kind, new.kind.as_str(), &options)?;
        let path = mount_path(class, &new.path)?;
        self.check_free(&path)?;
        let entry = Entry {
            uuid: crypto::random::uuid(),
            accessor: accessor(class, kind.name),
            path,
            former_paths: Vec::new(),
            kind: kind.name.to_owned(),
            class: class.as_str().to_owned(),
            description: new.description,
            config: new.config,
            options,
            local: new.local,
            seal_wrap: new.seal_wrap,
            tainted: false,
            upgrading: false,
            moving: None,
            created: self.clock.now(),
        };
        entry.config.check(self.limits)?;
        self.save(&entry, &mut known).await?;
        let mounted = self.mounted(entry).ok_or_else(|| Error::internal("a kind just found is not known"))?;
        self.change(|table| table.insert(Arc::clone(&mounted)));
        Ok(mounted)
    }

    /// Changes a mount's settings. The engine goes on with the new ones.
    ///
    /// If they ask for another form of what it stored, gives the mount as it was: as soon as no request of it is under
    /// way, [`Mounts::upgrade`] has to be called.
    pub async fn tune(
        &self,
        path: &str,
        change: impl FnOnce(&mut Entry) -> Result<(), Error>,
    ) -> Result<Option<Arc<Mounted>>, Error> {
        let mut known = self.up_to_date().await?;
        let mounted = self.exactly(path)?;
        let mut entry = mounted.entry.clone();
        change(&mut entry)?;
        entry.config.check(self.limits)?;
        if self.is_upgrade(&mounted.entry, &entry)? {
            entry.upgrading = true;
            self.save(&entry, &mut known).await?;
            let waiting = self.mounted(entry).ok_or_else(|| Error::internal("a kind just used is not known"))?;
            self.change(|table| table.insert(waiting));
            return Ok(Some(mounted));
        }
        self.save(&entry, &mut known).await?;
        let tuned = self.tuned(entry, &mounted);
        self.change(|table| table.insert(tuned));
        Ok(None)
    }

    /// Ends the engine of a mount and opens it anew, with whatever it held in memory made again.
    pub async fn reopen(&self, mounted: &Mounted) -> Result<(), Error> {
        let _one = self.changing.lock().await;
        let Some(known) = self.by_uuid(&mounted.info.uuid).filter(|known| !known.builtin && !known.entry.tainted)
        else {
            return Ok(());
        };
        let opened = self.opened(known.entry.clone(), Arc::clone(&known.requests));
        let opened = opened.ok_or_else(|| Error::internal("a kind just used is not known"))?;
        self.change(|table| table.insert(opened));
        known.backend.close().await;
        Ok(())
    }

    /// Moves a mount to another path of the same class.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let mut known = self.up_to_date().await?;
        let mounted = self.exactly(from)?;
        if mounted.builtin {
            return Err(Error::invalid(format!("cannot remount \"{from}\"")));
        }
        let to = mount_path(mounted.info.class, to.trim_start_matches("auth/"))?;
        self.check_free(&to)?;
        let mut entry = mounted.entry.clone();
        let from = std::mem::replace(&mut entry.path, to);
        entry.former_paths.retain(|path| *path != entry.path && *path != from);
        entry.former_paths.push(from);
        self.save(&entry, &mut known).await?;
        let moved = self.opened(entry, Arc::clone(&mounted.requests));
        let moved = moved.ok_or_else(|| Error::internal("a kind just used is not known"))?;
        self.change(|table| {
            table.by_path.remove(&mounted.info.path);
            table.insert(moved);
        });
        mounted.backend.close().await;
        Ok(())
    }

    /// Takes a mount out of the routes, durably, and marks it for removal; `None` if nothing is mounted there.
    pub async fn taint(&self, path: &str) -> Result<Option<Arc<Mounted>>, Error> {
        let mut known = self.up_to_date().await?;
        let Ok(mounted) = self.exactly(path) else { return Ok(None) };
        if mounted.builtin {
            return Err(Error::invalid(format!("cannot unmount \"{path}\"")));
        }
        let mut entry = mounted.entry.clone();
        entry.tainted = true;
        self.leave(entry, &mounted, &mut known).await.map(Some)
    }

    /// Takes a mount out of the routes; it stays known by its id.
    async fn leave(
        &self,
        entry: Entry,
        mounted: &Mounted,
        known: &mut Option<Revision>,
    ) -> Result<Arc<Mounted>, Error> {
        self.save(&entry, known).await?;
        let tainted = self.mounted_with(entry, mounted);
        self.change(|table| {
            table.by_path.remove(&mounted.info.path);
            table.by_uuid.insert(Arc::clone(&tainted.info.uuid), Arc::clone(&tainted));
        });
        Ok(tainted)
    }

    /// Deletes what a tainted mount stored, and then the mount itself. Can be called again after an interruption.
    pub async fn remove(&self, mounted: &Mounted) -> Result<(), Error> {
        mounted.backend.close().await;
        loop {
            let scan = Scan { prefix: mounted.prefix.to_string(), after: None, limit: 500, values: false };
            let page = self.store.scan(&scan).await?;
            let tx = Tx::new(Arc::clone(&self.store));
            for (key, _) in &page.entries {
                tx.delete(key.clone());
            }
            tx.commit().await?;
            if !page.more {
                break;
            }
        }
        let mut known = self.up_to_date().await?;
        self.erase(&mounted.entry.uuid, &mut known).await?;
        self.change(|table| drop(table.by_uuid.remove(&mounted.info.uuid)));
        Ok(())
    }

    /// Ends the engines: the server seals.
    pub async fn close(&self) {
        let table = self.table.swap(Arc::default());
        for mounted in table.by_uuid.values() {
            mounted.backend.close().await;
        }
    }

    /// The mount at exactly this path.
    pub fn exactly(&self, path: &str) -> Result<Arc<Mounted>, Error> {
        let wanted = format!("{}/", path.trim_matches('/'));
        let found = self.table.load().by_path.get(wanted.as_str()).cloned();
        found.ok_or_else(|| Error::invalid(format!("no mount at \"{wanted}\"")))
    }

    fn kind(&self, class: MountClass, name: &str) -> Result<&'static Kind, Error> {
        let of_class = || self.kinds.iter().filter(move |kind| kind.class == class);
        of_class().find(|kind| kind.name == name).ok_or_else(|| {
            let known = of_class().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
            Error::invalid(format!("plugin not found in the catalog: {name}; the {} kinds are {known}", class.as_str()))
        })
    }

    /// Whether a mount is at this path, which ends in a slash, or below it.
    pub fn is_taken(&self, path: &str) -> bool {
        self.check_free(path).is_err()
    }

    fn check_free(&self, path: &str) -> Result<(), Error> {
        let table = self.table.load();
        let clash = table
            .by_path
            .keys()
            .chain(table.left_out.values())
            .find(|other| path.starts_with(&***other) || other.starts_with(path));
        match clash {
            None => Ok(()),
            Some(other) if **other == *path => Err(Error::invalid(format!("path is already in use at {path}"))),
            Some(other) => Err(Error::invalid(format!("existing mount at {other} conflicts with {path}"))),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = Table::clone(&self.table.load());
        change(&mut table);
        self.table.store(Arc::new(table));
    }

    async fn stored(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.scan(&Scan { prefix: PREFIX.to_owned(), after, limit: 500, values: true }).await?;
            for (key, stored) in &page.entries {
                let entry = serde_json::from_slice(&stored.value)
                    .map_err(|_| Error::internal(format!("{} does not hold a mount", key.as_str())))?;
                entries.push(entry);
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(entries);
            }
        }
    }

    /// The stored entries, among them those of the parts of the program, which are made if they are not there.
    async fn stored_with(&self, builtins: &[Builtin]) -> Result<Vec<Entry>, Error> {
        let mut known = self.changing.lock().await;
        // Read first: what is read afterwards is at least that new.
        *known = self.store.get(&sync::changed()).await?.map(|entry| entry.revision);
        let mut stored = self.stored().await?;
        for builtin in builtins {
            if !stored.iter().any(|entry| entry.path == builtin.path) {
                let entry = self.entry_of(builtin);
                self.save(&entry, &mut known).await?;
                stored.push(entry);
            }
        }
        Ok(stored)
    }

    fn entry_of(&self, builtin: &Builtin) -> Entry {
        Entry {
            uuid: crypto::random::uuid(),
            accessor: accessor(builtin.class, builtin.kind),
            path: builtin.path.to_owned(),
            former_paths: Vec::new(),
            kind: builtin.kind.to_owned(),
            class: builtin.class.as_str().to_owned(),
            description: builtin.description.to_owned(),
            config: Config::default(),
            options: BTreeMap::new(),
            local: false,
            seal_wrap: false,
            tainted: false,
            upgrading: false,
            moving: None,
            created: self.clock.now(),
        }
    }

    fn mounted_builtin(&self, entry: Entry, builtin: Builtin) -> Arc<Mounted> {
        let info = Arc::new(entry.info(builtin.kind, self.limits, &self.namespace));
        // Parts of the program share the top of the store; they name their own keys in full.
        let prefix = if builtin.kind == "cubbyhole" { "cubbyhole/" } else { "sys/" };
        Arc::new(Mounted {
            entry,
            info,
            backend: builtin.backend,
            prefix: prefix.into(),
            builtin: true,
            requests: Arc::default(),
        })
    }

    fn mounted(&self, entry: Entry) -> Option<Arc<Mounted>> {
        self.opened(entry, Arc::default())
    }

    fn opened(&self, entry: Entry, requests: Arc<AtomicUsize>) -> Option<Arc<Mounted>> {
        let kind = self.kinds.iter().find(|kind| kind.name == entry.kind && kind.class.as_str() == entry.class)?;
        let info = Arc::new(entry.info(kind.name, self.limits, &self.namespace));
        let clock = self.clock.clone();
        let backend = kind.open(Opening { mount: Arc::clone(&info), clock, upgrading: entry.upgrading });
        let prefix = format!("mount/{}/", entry.uuid).into();
        Some(Arc::new(Mounted { entry, info, backend, prefix, builtin: false, requests }))
    }

    /// A mount with other settings, whose engine goes on.
    fn tuned(&self, entry: Entry, before: &Mounted) -> Arc<Mounted> {
        let info = Arc::new(entry.info(kind_text(&before.info), self.limits, &self.namespace));
        Arc::new(Mounted {
            entry,
            info,
            backend: Arc::clone(&before.backend),
            prefix: Arc::clone(&before.prefix),
            builtin: before.builtin,
            requests: Arc::clone(&before.requests),
        })
    }

    fn mounted_with(&self, entry: Entry, before: &Mounted) -> Arc<Mounted> {
        Arc::new(Mounted {
            entry,
            info: Arc::clone(&before.info),
            backend: Arc::clone(&before.backend),
            prefix: Arc::clone(&before.prefix),
            builtin: before.builtin,
            requests: Arc::clone(&before.requests),
        })
    }
}

impl Table {
    fn insert(&mut self, mounted: Arc<Mounted>) {
        self.by_uuid.insert(Arc::clone(&mounted.info.uuid), Arc::clone(&mounted));
        if !mounted.entry.tainted {
            self.by_path.insert(Arc::clone(&mounted.info.path), mounted);
        }
    }
}

const PREFIX: &str = "sys/mount/";

fn key(uuid: &str) -> Key {
    Key::from(format!("{PREFIX}{uuid}"))
}

fn kind_text(info: &MountInfo) -> &'static str {
    info.kind
}

fn accessor(class: MountClass, kind: &str) -> String {
    let random: String = crypto::random::bytes::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
    match class {
        MountClass::Auth => format!("auth_{kind}_{random}"),
        MountClass::Secret => format!("{kind}_{random}"),
    }
}

/// The full path of a new mount.
fn mount_path(class: MountClass, text: &str) -> Result<String, Error> {
    let path = text.trim_matches('/');
    let parsed = api::ReqPath::new(path).map_err(|why| Error::invalid(format!("mount path: {why}")))?;
    if path.is_empty() || path.contains(['*', '+']) || parsed.as_str().chars().any(char::is_whitespace) {
        return Err(Error::invalid("mount path: it must not be empty nor contain '*', '+' or spaces"));
    }
    let first = path.split('/').next().unwrap_or_default();
    if class == MountClass::Secret && matches!(first, "sys" | "auth" | "identity" | "cubbyhole" | "audit") {
        return Err(Error::invalid(format!("cannot mount under the reserved path \"{first}/\"")));
    }
    Ok(match class {
        MountClass::Auth => format!("auth/{path}/"),
        MountClass::Secret => format!("{path}/"),
    })
}
