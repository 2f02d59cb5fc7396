//! All namespaces: those that were asked for are in memory, the others are found in the store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock, Weak},
};

use arc_swap::ArcSwap;
use clock::Clock;
use engine::Kind;
use gate::{Error, MountClass, Namespace, namespace};
use identity::Identities;
use mounts::{Builtin, Limits, Mounts};
use parking_lot::RwLock;
use storage::{Part, Store, Tx};
use tokens::{Liveness, TokenEngine, Tokens};

use super::{
    Space,
    record::{self, Stored},
};
use crate::{cubbyhole::Cubbyhole, policies::Policies, running::Running, sys::System, whoever::Identifying};

/// The namespaces of the server.
pub(crate) struct Spaces {
    makings: Makings,
    root: Arc<Space>,
    loaded: RwLock<Loaded>,
    /// Held while one is loaded, made or deleted.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Loaded {
    by_path: HashMap<Box<str>, Arc<Space>>,
    by_id: HashMap<Box<str>, Arc<Space>>,
}

/// What every namespace is made with.
pub(crate) struct Makings {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) kinds: &'static [Kind],
    pub(crate) limits: Limits,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) running: Arc<OnceLock<Weak<Running>>>,
    /// One for all: they hold nothing.
    pub(crate) system: Arc<dyn gate::Backend>,
    pub(crate) cubbyhole: Arc<dyn gate::Backend>,
}

impl Makings {
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        clock: &Clock,
        settings: &crate::Settings,
        tokens: &Arc<Tokens>,
        liveness: &Arc<Liveness>,
    ) -> Self {
        let system = System::new();
        Self {
            store: Arc::clone(store),
            clock: clock.clone(),
            kinds: settings.kinds,
            limits: settings.limits,
            tokens: Arc::clone(tokens),
            liveness: Arc::clone(liveness),
            running: system.slot(),
            system: engine::backend(system),
            cubbyhole: engine::backend(Cubbyhole),
        }
    }

    async fn open(&self, stored: Option<Stored>, parent: Option<Arc<Space>>) -> Result<Arc<Space>, Error> {
        let named = stored.as_ref().map(|stored| stored.namespace.clone()).unwrap_or_default();
        let part = match named.suffix() {
            "" => None,
            id => Some(Part::new(Arc::clone(&self.store), namespace::scope(id))),
        };
        let store = part.as_ref().map_or_else(|| Arc::clone(&self.store), |part| Arc::clone(part) as Arc<dyn Store>);
        let identities = Arc::new(Identities::new(Arc::clone(&store), self.clock.clone()));
        let builtins = self.builtins(&named, &identities);
        let (clock, kinds) = (self.clock.clone(), self.kinds);
        let mounts = Mounts::load(named.clone(), Arc::clone(&store), clock, kinds, self.limits, builtins).await?;
        Ok(Arc::new(Space {
            policies: Policies::open(Arc::clone(&store), Arc::clone(&identities)).await?,
            namespace: named,
            parent,
            part,
            store,
            identities,
            mounts,
            stored: stored.map(ArcSwap::from_pointee),
            naming: tokio::sync::Mutex::default(),
        }))
    }

    fn builtins(&self, named: &Namespace, identities: &Arc<Identities>) -> Vec<Builtin> {
        let (tokens, liveness) = (Arc::clone(&self.tokens), Arc::clone(&self.liveness));
        let token = TokenEngine::new(tokens, liveness, Arc::clone(identities));
        let program = Arc::new(Identifying::new(Arc::clone(&self.running), named.clone()));
        let identity = engine_identity::Identity::new(Arc::clone(identities), program);
        vec![
            Builtin {
                path: "sys/",
                kind: "system",
                class: MountClass::Secret,
                description: "system endpoints used for control, policy and debugging",
                backend: Arc::clone(&self.system),
            },
            Builtin {
                path: "auth/token/",
                kind: tokens::KIND_NAME,
                class: MountClass::Auth,
                description: "token based credentials",
                backend: engine::backend(token),
            },
            Builtin {
                path: "cubbyhole/",
                kind: "cubbyhole",
                class: MountClass::Secret,
                description: "per-token private secret storage",
                backend: Arc::clone(&self.cubbyhole),
            },
            Builtin {
                path: "identity/",
                kind: engine_identity::KIND_NAME,
                class: MountClass::Secret,
                description: "identity store",
                backend: engine::backend(identity),
            },
        ]
    }
}

impl Spaces {
    /// The root namespace; no other is read.
    pub(crate) async fn open(makings: Makings) -> Result<Self, Error> {
        let root = makings.open(None, None).await?;
        Ok(Self { makings, root, loaded: RwLock::default(), loading: tokio::sync::Mutex::default() })
    }

    /// The root namespace.
    pub(crate) fn root(&self) -> &Arc<Space> {
        &self.root
    }

    /// The namespace with this id, if it is in memory: that of a request always is. Empty is the root namespace.
    pub(crate) fn known(&self, id: &str) -> Option<Arc<Space>> {
        if id.is_empty() { Some(Arc::clone(&self.root)) } else { self.loaded.read().by_id.get(id).cloned() }
    }

    /// How many namespaces are in memory besides the root one.
    pub(crate) fn in_memory(&self) -> usize {
        self.loaded.read().by_id.len()
    }

    /// The namespace right below `parent` with this name; none if there is none or it is being deleted.
    pub(crate) async fn child(&self, parent: &Arc<Space>, name: &str) -> Result<Option<Arc<Space>>, Error> {
        Ok(self.any_child(parent, name).await?.filter(|space| !space.is_leaving()))
    }

    async fn any_child(&self, parent: &Arc<Space>, name: &str) -> Result<Option<Arc<Space>>, Error> {
        let path = format!("{}{name}/", parent.namespace.path());
        if let Some(known) = self.loaded.read().by_path.get(path.as_str()) {
            return Ok(Some(Arc::clone(known)));
        }
        if !parent.has_below(name).await? {
            return Ok(None);
        }
        let _one = self.loading.lock().await;
        self.load(parent, name, path).await
    }

    /// Loads a namespace while `loading` is held.
    async fn load(&self, parent: &Arc<Space>, name: &str, path: String) -> Result<Option<Arc<Space>>, Error> {
        if let Some(known) = self.loaded.read().by_path.get(path.as_str()) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(entry) = parent.store.get(&record::key(name)).await? else { return Ok(None) };
        let stored: Stored = serde_json::from_slice(&entry.value)
            .map_err(|_| Error::internal(format!("what is stored of the namespace {path} cannot be understood")))?;
        let id = stored.namespace.suffix().into();
        let space = self.makings.open(Some(stored), Some(Arc::clone(parent))).await?;
        let mut loaded = self.loaded.write();
        loaded.by_id.insert(id, Arc::clone(&space));
        loaded.by_path.insert(path.into(), Arc::clone(&space));
        Ok(Some(space))
    }

    /// The namespace at a path below `from`, also one that is being deleted.
    pub(crate) async fn any_at(&self, from: &Arc<Space>, path: &str) -> Result<Option<Arc<Space>>, Error> {
        let mut space = Arc::clone(from);
        for name in path.split_terminator('/') {
            match Box::pin(self.any_child(&space, name)).await? {
                Some(child) => space = child,
                None => return Ok(None),
            }
        }
        Ok(Some(space))
    }

    /// The namespace at a path below `from`; none if it, or one between, is not there or being deleted.
    pub(crate) async fn at(&self, from: &Arc<Space>, path: &str) -> Result<Option<Arc<Space>>, Error> {
        let found = self.any_at(from, path).await?;
        Ok(found.filter(|space| !space.upwards().any(|space| space.is_leaving())))
    }

    /// The namespace with this id, also one that is being deleted. Empty is the root namespace.
    pub(crate) async fn by_id(&self, id: &str) -> Result<Option<Arc<Space>>, Error> {
        if let Some(known) = self.known(id) {
            return Ok(Some(known));
        }
        let Some(entry) = self.makings.store.get(&record::id_key(id)).await? else { return Ok(None) };
        let path = std::str::from_utf8(&entry.value).map_err(|_| Error::internal("a namespace's path is not text"))?;
        self.any_at(&self.root, path).await
    }

    /// Makes a namespace below `parent`, or changes the metadata of the one that is there. The commit is its own.
    pub(crate) async fn make(
        &self,
        parent: &Arc<Space>,
        name: &str,
        metadata: Option<BTreeMap<String, String>>,
    ) -> Result<Arc<Space>, Error> {
        let _names = parent.naming.lock().await;
        if parent.is_leaving() {
            return Err(Error::invalid("path: the namespace above is being deleted"));
        }
        if let Some(there) = self.any_child(parent, name).await? {
            if there.is_leaving() {
                let path = there.namespace.path();
                return Err(Error::invalid(format!(
                    "path: the namespace {path} is being deleted; wait until it is gone"
                )));
            }
            if let Some(metadata) = metadata {
                self.change(&there, |stored| stored.replace(metadata.clone())).await?;
            }
            return Ok(there);
        }
        let taken = format!("{name}/");
        let tx = parent.tx();
        parent.mounts.hold(&tx).await?;
        if parent.mounts.is_taken(&taken) {
            return Err(Error::invalid(format!("path: something is mounted at or below {taken} already")));
        }
        let path = format!("{}{taken}", parent.namespace.path());
        let id = self.free_id(&tx).await?;
        let mut stored = Stored {
            namespace: Namespace::known(&id, &path),
            uuid: crypto::random::uuid(),
            custom_metadata: BTreeMap::new(),
            created: self.makings.clock.now(),
            lock: None,
            leaving: false,
        };
        stored.replace(metadata.unwrap_or_default())?;
        // Read, so that the commit fails if another node gave the name away meanwhile.
        tx.get(&record::key(name)).await?;
        tx.put_json(record::key(name), &stored)?;
        tx.outer().put(record::id_key(&id), path.clone().into());
        tx.commit().await?;
        let _one = self.loading.lock().await;
        let made = self.load(parent, name, path).await?;
        made.ok_or_else(|| Error::internal("a namespace just made is not there"))
    }

    /// An id that no namespace has.
    async fn free_id(&self, tx: &Tx) -> Result<String, Error> {
        loop {
            let id = crypto::random::base62(namespace::ID_LENGTH).to_string();
            if tx.whole().get(&record::id_key(&id)).await?.is_none() {
                return Ok(id);
            }
        }
    }

    /// Changes what is stored of a namespace, in a commit of its own, and puts it in force.
    pub(crate) async fn change(
        &self,
        space: &Space,
        change: impl Fn(&mut Stored) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (Some(parent), Some(held)) = (&space.parent, &space.stored) else {
            return Err(Error::invalid("the root namespace cannot be changed"));
        };
        let _one = self.loading.lock().await;
        let key = record::key(last_name(space.namespace.path()));
        loop {
            let tx = parent.tx();
            let stored: Option<Stored> = tx.get_json(&key).await?;
            let mut stored = stored.ok_or_else(|| Error::invalid("path: the namespace is gone"))?;
            change(&mut stored)?;
            tx.put_json(key.clone(), &stored)?;
            if stored.leaving {
                tx.outer().put(record::work_key(space.namespace.suffix(), ""), bytes::Bytes::new());
            }
            match tx.commit().await.map_err(Error::from) {
                Ok(_) => {
                    held.store(Arc::new(stored));
                    return Ok(());
                }
                Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the last traces of a namespace out: nothing of it is left in its part of the store.
    pub(crate) async fn forget(&self, space: &Space) -> Result<(), Error> {
        let Some(parent) = &space.parent else { return Ok(()) };
        let _one = self.loading.lock().await;
        let (id, path) = (space.namespace.suffix(), space.namespace.path());
        let tx = parent.tx();
        tx.delete(record::key(last_name(path)));
        tx.outer().delete(record::id_key(id));
        tx.outer().delete(record::work_key(id, ""));
        tx.commit().await?;
        let mut loaded = self.loaded.write();
        loaded.by_id.remove(id);
        loaded.by_path.remove(path);
        Ok(())
    }

    /// Takes over what other nodes did to the namespaces in memory.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        let _one = self.loading.lock().await;
        for space in self.all() {
            let (Some(parent), Some(held)) = (&space.parent, &space.stored) else { continue };
            let path = space.namespace.path();
            let entry = parent.store.get(&record::key(last_name(path))).await?;
            let stored: Option<Stored> = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
            match stored.filter(|stored| stored.namespace.suffix() == space.namespace.suffix()) {
                Some(stored) => held.store(Arc::new(stored)),
                None => {
                    space.mounts.close().await;
                    let mut loaded = self.loaded.write();
                    loaded.by_id.remove(space.namespace.suffix());
                    loaded.by_path.remove(path);
                }
            }
        }
        Ok(())
    }

    /// All namespaces in memory, the root one first.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        let loaded = self.loaded.read();
        std::iter::once(&self.root).chain(loaded.by_id.values()).cloned().collect()
    }
}

/// The last name of a path that ends in a slash.
fn last_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
