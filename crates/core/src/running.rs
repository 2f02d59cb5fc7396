//! Everything that lives while the server is unsealed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use audit::{Broker, journal::Reader};
use barrier::Unsealed;
use clock::{Clock, Timestamp};
use futures::channel::oneshot;
use gate::{Error, MountClass, RotateCall, TokenId};
use leases::{Leases, Outcome};
use lockout::Lockout;
use mounts::Mounted;
use parking_lot::Mutex;
use rotation::Rotations;
use storage::{BoxFuture, Store, Tx};
use tokens::{Liveness, Tokens};

use crate::{
    Core, Settings,
    audit::Act,
    callers::Callers,
    census::Census,
    cluster,
    following::{self, Following},
    guests::Guests,
    in_flight::InFlight,
    live::Live,
    metrics::Metrics,
    namespaces::{Makings, Space, Spaces},
    nodes::{self, Nodes},
    recall::Recall,
    restoring,
    services::RequestServices,
    snapshots, tending,
};

/// The audit journals by path, each with its public key.
type Journals = BTreeMap<String, (Arc<Reader>, [u8; 32])>;

/// The services over the open barrier.
pub(crate) struct Running {
    pub(crate) core: Weak<Core>,
    pub(crate) cluster_id: String,
    pub(crate) barrier: Arc<Unsealed>,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) census: Census,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) live: ArcSwap<Live>,
    pub(crate) reloading: tokio::sync::Mutex<()>,
    pub(crate) following: Following,
    pub(crate) nodes: Nodes,
    pub(crate) audit: Broker,
    pub(crate) journals: Mutex<Journals>,
    /// Held while audit devices are enabled or disabled.
    pub(crate) devices: tokio::sync::Mutex<()>,
    pub(crate) keeping_heads: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) callers: Callers,
    pub(crate) recall: Recall,
    pub(crate) rotations: Arc<Rotations>,
    pub(crate) lockout: Arc<Lockout>,
    pub(crate) spaces: Spaces,
    pub(crate) guests: Guests,
    pub(crate) snapshots: snapshots::Account,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    endings: Mutex<HashMap<TokenId, Vec<oneshot::Sender<()>>>>,
}

impl Running {
    /// Starts the services and the background work over an open barrier.
    pub(crate) async fn start(core: &Arc<Core>, barrier: Arc<Unsealed>) -> Result<Arc<Self>, Error> {
        let store: Arc<dyn Store> = Arc::clone(&barrier) as Arc<dyn Store>;
        // What is changed from here on is read a second time.
        let changes = store.follow();
        let (clock, settings) = (core.clock().clone(), core.settings().clone());
        let since = clock.now();
        let leases = Leases::new(Arc::clone(&store), clock.clone());
        let tokens = Arc::new(Tokens::open(Arc::clone(&store), clock.clone(), Arc::clone(&leases)).await?);
        let liveness = Liveness::new(Arc::clone(&tokens));
        let makings = Makings::new(&store, &clock, &settings, &tokens, &liveness);
        let running_slot = Arc::clone(&makings.running);
        let spaces = Spaces::open(makings).await?;
        let running = Arc::new(Self {
            core: Arc::downgrade(core),
            cluster_id: cluster::id(&store).await?,
            rotations: Rotations::new(Arc::clone(&store), clock.clone()),
            lockout: Lockout::new(Arc::clone(&store), clock.clone()),
            metrics: Metrics::new(),
            census: Census::default(),
            in_flight: Arc::default(),
            live: ArcSwap::default(),
            reloading: tokio::sync::Mutex::default(),
            following: Following::new(settings.sharing.as_ref()),
            nodes: Nodes::default(),
            audit: Broker::new(clock.clone(), audit::Settings::default()),
            journals: Mutex::default(),
            devices: tokio::sync::Mutex::default(),
            keeping_heads: Mutex::default(),
            tasks: Mutex::default(),
            endings: Mutex::default(),
            guests: Guests::default(),
            recall: Recall::new(settings.cache_bytes / RECALLED),
            snapshots: snapshots::Account::default(),
            barrier,
            clock,
            settings,
            leases,
            tokens,
            liveness,
            callers: Callers::new(),
            spaces,
        });
        // The slot is new, so this is the first to fill it.
        let _ = running_slot.set(Arc::downgrade(&running));
        running.open_devices().await?;
        running.reload_live().await?;
        cluster::note_version(&store, &running.clock, &running.settings).await?;
        if let Some(sharing) = running.settings.sharing.clone() {
            // Whom to leave in peace has to be known before work is taken up.
            running.beat(&sharing.node, since).await?;
            let beating = nodes::keep_beating(Arc::downgrade(&running), sharing.node, since);
            running.tasks.lock().push(tokio::spawn(beating));
        }
        running.spawn_tasks();
        running.tasks.lock().push(tokio::spawn(restoring::watch(Arc::downgrade(core), core.store.follow())));
        running.tasks.lock().push(tokio::spawn(following::follow(Arc::downgrade(&running), changes)));
        Ok(running)
    }

    /// Lets the requests that are under way come to their end, ends the background work and the engines, and wipes the
    /// keys. No request comes in any more. One that takes too long fails: it finds no audit device and no store.
    pub(crate) async fn stop(&self) {
        if tokio::time::timeout(FAREWELL, self.guests.all_gone()).await.is_err() {
            tracing::warn!("some requests were cut off by the seal");
        }
        for task in std::mem::take(&mut *self.tasks.lock()) {
            task.abort();
        }
        if let Some(sharing) = &self.settings.sharing {
            // Without it the others find out by themselves. A store that does not answer holds up no end.
            let _ = tokio::time::timeout(LEAVE, self.leave_nodes(&sharing.node)).await;
        }
        for space in self.spaces.all() {
            space.mounts.close().await;
        }
        for (path, error) in self.audit.close().await {
            tracing::warn!(device = path, %error, "an audit device did not close cleanly");
        }
        self.last_heads().await;
        self.recall.clear();
        self.barrier.close();
    }

    /// The store above the barrier.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.barrier) as Arc<dyn Store>
    }

    /// Does work in the background for as long as the server is unsealed.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(work));
    }

    fn spawn_tasks(self: &Arc<Self>) {
        let ends: Arc<dyn leases::Ends> = Arc::new(Background(Arc::downgrade(self)));
        let rotate: Arc<dyn rotation::Rotate> = Arc::new(Background(Arc::downgrade(self)));
        let mut tasks = self.tasks.lock();
        tasks.push(tokio::spawn(Arc::clone(&self.leases).expire(ends)));
        tasks.push(tokio::spawn(Arc::clone(&self.rotations).run(rotate)));
        tasks.push(tokio::spawn(Arc::clone(self).resume_ties()));
        let (barrier, clock) = (Arc::clone(&self.barrier), self.clock.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                clock.sleep(UPKEEP).await;
                match barrier.rotate_if_due().await {
                    Ok(Some(term)) => tracing::info!(term, "the barrier has a new key"),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "the barrier's key could not be replaced yet"),
                }
            }
        }));
        tasks.push(tokio::spawn(tending::tend(Arc::downgrade(self))));
        tasks.push(tokio::spawn(snapshots::keep(Arc::downgrade(self))));
        let running = Arc::downgrade(self);
        tasks.push(tokio::spawn(async move {
            while let Some(running) = running.upgrade() {
                running.tend_seals().await;
                let clock = running.clock.clone();
                drop(running);
                clock.sleep(SEAL_CARE).await;
            }
        }));
        drop(tasks);
        self.resume_mounts();
    }

    /// Takes up the work on mounts and namespaces that an earlier run, or another node, did not finish.
    pub(crate) fn resume_mounts(self: &Arc<Self>) {
        let root = self.spaces.root();
        for mounted in root.mounts.leaving() {
            self.spawn(Arc::clone(self).remove_mount(Arc::clone(root), mounted));
        }
        for mounted in root.mounts.upgrading() {
            let uuid = Arc::clone(&mounted.info.uuid);
            self.spawn(Arc::clone(self).finish_upgrade(Arc::clone(root), uuid, None));
        }
        self.spawn(Arc::clone(self).resume_namespaces());
    }

    /// Watches the tied tokens of runs of the server that are over.
    pub(crate) async fn resume_ties(self: Arc<Self>) {
        let (liveness, running) = (Arc::clone(&self.liveness), Arc::downgrade(&self));
        drop(self);
        let gone = move |instance: &str| running.upgrade().is_some_and(|running| running.is_gone(instance));
        if let Err(error) = liveness.resume(gone).await {
            tracing::warn!(%error, "tied tokens of an earlier run could not be looked through");
        }
    }

    /// Whether a run of the server, which is not this one, is over.
    pub(crate) fn is_gone(&self, instance: &str) -> bool {
        !self.following.is_shared() || self.nodes.is_gone(instance)
    }

    /// Brings what a mount stored into the form that its new options ask for, in the background; it is waited for as
    /// long as a caller may like to wait. `before` is the mount as it was.
    pub(crate) async fn upgrade(self: &Arc<Self>, space: &Arc<Space>, before: Arc<Mounted>) {
        let uuid = Arc::clone(&before.info.uuid);
        let work = Arc::clone(self).finish_upgrade(Arc::clone(space), uuid, Some(before));
        let mut task = tokio::spawn(work);
        if tokio::time::timeout(UPGRADE, &mut task).await.is_err() {
            self.tasks.lock().push(task);
        }
    }

    pub(crate) async fn finish_upgrade(
        self: Arc<Self>,
        space: Arc<Space>,
        uuid: Arc<str>,
        before: Option<Arc<Mounted>>,
    ) {
        // What came in before may still write in the old form.
        while before.as_ref().is_some_and(|before| before.is_in_use()) {
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        if let Some(before) = before {
            before.backend.close().await;
        }
        loop {
            let upgraded = match space.mounts.upgrade(&uuid).await {
                Ok(()) => self.note_done(space.namespace.suffix(), &uuid).await,
                Err(error) => Err(error),
            };
            match upgraded {
                Ok(()) | Err(Error::Sealed) => return,
                Err(error) => tracing::warn!(mount = &*uuid, %error, "a mount is not upgraded yet"),
            }
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Takes a mount out of service at once and removes it in the background.
    pub(crate) async fn unmount(self: &Arc<Self>, space: &Arc<Space>, path: &str) -> Result<bool, Error> {
        let Ok(mounted) = space.mounts.exactly(path) else { return Ok(false) };
        self.note_work(space, &mounted.info.uuid).await?;
        let Some(mounted) = space.mounts.taint(path).await? else { return Ok(false) };
        self.spawn(Arc::clone(self).remove_mount(Arc::clone(space), mounted));
        Ok(true)
    }

    /// Revokes what a mount leased, then deletes what it stored. Begun again at the next unseal if it is interrupted.
    pub(crate) async fn remove_mount(self: Arc<Self>, space: Arc<Space>, mounted: Arc<Mounted>) {
        if let Some(sharing) = &self.settings.sharing {
            // By then no node lets requests in that do not know of it.
            self.clock.sleep(sharing.max_staleness * 2).await;
        }
        // A namespace that is being deleted removes its mounts itself.
        while !space.is_leaving() {
            let done = match &mounted.entry.moving {
                None => self.try_remove(&space, &mounted).await,
                Some(moving) => self.try_move(&space, &mounted, moving).await,
            };
            match done {
                Ok(true) => return,
                Ok(false) => {}
                Err(Error::Sealed) => return,
                Err(error) => tracing::warn!(mount = &*mounted.info.path, %error, "a mount is not removed yet"),
            }
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    pub(crate) async fn try_remove(&self, space: &Space, mounted: &Mounted) -> Result<bool, Error> {
        let namespace = space.namespace.suffix();
        self.rotations.forget_mount(&mounted.info.uuid).await?;
        if self.end_leased(space, mounted).await? {
            return Ok(false);
        }
        self.lockout.forget_mount(&mounted.info.uuid).await?;
        space.mounts.remove(mounted).await?;
        self.forget_tended(namespace, &mounted.info.uuid).await?;
        self.note_done(namespace, &mounted.info.uuid).await?;
        Ok(true)
    }

    /// Revokes the leases and logins of a mount. Whether there were any, or requests that may make some.
    pub(crate) async fn end_leased(&self, space: &Space, mounted: &Mounted) -> Result<bool, Error> {
        let namespace = space.namespace.suffix();
        // What came in before the mount was taken out of the routes may still write, and lease.
        let mut left = mounted.is_in_use();
        for path in std::iter::once(&mounted.entry.path).chain(&mounted.entry.former_paths) {
            if mounted.info.class == MountClass::Auth {
                left |= self.tokens.revoke_logins(namespace, path, &mounted.info.uuid).await?;
            }
            left |= self.revoke_leases(namespace, path, &mounted.info.uuid).await?;
        }
        Ok(left)
    }

    /// Revokes the leases below `path` that are of this mount: another may already stand at the same path. Whether there
    /// were any.
    async fn revoke_leases(&self, namespace: &str, path: &str, mount: &str) -> Result<bool, Error> {
        let mut found = false;
        let mut after: Option<String> = None;
        loop {
            let (ids, more) = self.leases.ids(namespace, path, after.as_deref(), 500).await?;
            for id in &ids {
                let tx = Tx::new(self.store());
                let record = self.leases.lookup(&tx, id).await?;
                if record.is_some_and(|record| *record.mount == *mount) {
                    found = true;
                    self.leases.revoke(id).await?;
                }
            }
            after = ids.last().map(|id| id.0.to_string());
            if !more {
                return Ok(found);
            }
        }
    }

    /// Resolves when a token is gone and the revocation of all that it leased was tried.
    pub(crate) fn ending(&self, token: TokenId) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        self.endings.lock().entry(token).or_default().push(done);
        ended
    }

    /// Revokes a token in a commit of its own. The receiver is that of [`Running::ending`]; `None` if there is no such
    /// token.
    pub(crate) async fn revoke_token(&self, token: &TokenId) -> Result<Option<oneshot::Receiver<()>>, Error> {
        let end = self.ending(token.clone());
        let revoked = self.tokens.revoke_now(token).await;
        if !matches!(revoked, Ok(true)) {
            self.endings.lock().remove(token);
        }
        Ok(revoked?.then_some(end))
    }

    /// Revokes a token whose last use is over.
    pub(crate) async fn end_spent(&self, token: &TokenId) {
        if let Err(error) = self.tokens.revoke_now(token).await {
            tracing::warn!(%error, "a spent token could not be removed yet; it is refused all the same");
        }
    }

    async fn revoke_lease(self: &Arc<Self>, record: &leases::Record) -> Outcome {
        let space = match self.spaces.by_id(record.id.namespace()).await {
            Ok(Some(space)) => space,
            Ok(None) => return Outcome::NoMount,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let Some(mounted) = space.mounts.by_uuid(&record.mount) else {
            return match space.mounts.is_left_out(&record.mount) {
                true => Outcome::Failed(LEFT_OUT.to_owned()),
                false => Outcome::NoMount,
            };
        };
        let tx = space.tx();
        let view = tx.view(Arc::clone(&mounted.prefix));
        let services = RequestServices::new(self, &space);
        let call = leases::revocation(record, Arc::clone(&mounted.info), view, services);
        let result = mounted.backend.revoke(call).await;
        let result = match result {
            Ok(()) => tx.commit().await.map(drop).map_err(Error::from),
            Err(error) => Err(error),
        };
        self.metrics.revocation(result.is_ok());
        let error = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let act = Act {
            operation: "revoke",
            mount: Some(&mounted.info),
            path: record.id.0.rsplit_once('/').map_or("", |(path, _)| path),
            lease_id: &record.id.0,
            username: "",
            error: &error,
        };
        self.record_act(act).await;
        match result {
            Ok(()) => Outcome::Revoked,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn end_token(self: &Arc<Self>, token: &TokenId, due: Timestamp) -> Result<(), Error> {
        let leases = self.tokens.end_waiting(token, due).await?;
        let waiters = self.endings.lock().remove(token).unwrap_or_default();
        if waiters.is_empty() {
            return Ok(());
        }
        // Not waited for here: the revocations need the expirer, which is at work on this token.
        tokio::spawn(async move {
            for lease in leases {
                // One that failed is tried again for as long as it takes; nobody waits for that.
                let _ = lease.await;
            }
            for waiter in waiters {
                // Whoever waited may have gone.
                let _ = waiter.send(());
            }
        });
        Ok(())
    }

    async fn rotate(self: &Arc<Self>, item: &rotation::Item) -> Result<bool, Error> {
        let Some(space) = self.spaces.by_id(item.namespace.suffix()).await? else { return Ok(false) };
        let Some(mounted) = space.mounts.by_uuid(&item.mount) else {
            return match space.mounts.is_left_out(&item.mount) {
                true => Err(Error::Unavailable(LEFT_OUT.to_owned())),
                false => Ok(false),
            };
        };
        let mut tries = 0;
        let result = loop {
            let tx = space.tx();
            let call = RotateCall {
                id: item.id.clone(),
                failures: item.status.failures,
                mount: Arc::clone(&mounted.info),
                view: tx.view(Arc::clone(&mounted.prefix)),
                services: RequestServices::new(self, &space),
            };
            let result = match mounted.backend.rotate(call).await {
                Ok(()) => tx.commit().await.map(drop).map_err(Error::from),
                Err(error) => Err(error),
            };
            tries += 1;
            // That a request was quicker is no failure, and what the rotation has done so far is gone on from.
            if !matches!(result, Err(Error::Conflict)) || tries >= ROTATION_TRIES {
                break result;
            }
            tokio::task::yield_now().await;
        };
        let error = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.metrics.rotation(result.is_ok());
        let path = format!("{}{}", mounted.info.path, item.id);
        let act = Act {
            operation: "rotate",
            mount: Some(&mounted.info),
            path: &path,
            lease_id: "",
            username: "",
            error: &error,
        };
        self.record_act(act).await;
        result.map(|()| true)
    }
}

/// The background work's way to the services; it does not keep them alive.
struct Background(Weak<Running>);

impl leases::Ends for Background {
    fn is_gone(&self, instance: &str) -> bool {
        self.0.upgrade().is_some_and(|running| running.is_gone(instance))
    }

    fn revoke_lease<'a>(&'a self, lease: &'a leases::Record) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.0.upgrade() {
                Some(running) => running.revoke_lease(lease).await,
                None => Outcome::Failed("the server is sealed".to_owned()),
            }
        })
    }

    fn end_token<'a>(&'a self, token: &'a TokenId, due: Timestamp) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            match self.0.upgrade() {
                Some(running) => running.end_token(token, due).await,
                None => Err(Error::Sealed),
            }
        })
    }

    fn is_over<'a>(&'a self, token: &'a TokenId) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            match self.0.upgrade() {
                Some(running) => running.tokens.is_over(token).await,
                None => Err(Error::Sealed),
            }
        })
    }
}

impl rotation::Rotate for Background {
    fn rotate<'a>(&'a self, item: &'a rotation::Item) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            match self.0.upgrade() {
                Some(running) => running.rotate(item).await,
                None => Err(Error::Sealed),
            }
        })
    }
}

/// Replies that may be given again take at most this part of what is kept of entries.
const RECALLED: u64 = 4;
/// How long the seal waits for requests that are under way.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long the others are told that this node leaves.
const LEAVE: Duration = Duration::from_secs(2);
/// How often a rotation is carried out again because requests keep changing what it read.
const ROTATION_TRIES: usize = 8;
/// How often it is looked whether the barrier's key has to be replaced.
const UPKEEP: Duration = Duration::from_secs(60);
/// How often the ways to the seals are kept open.
const SEAL_CARE: Duration = Duration::from_secs(600);
/// How long the upgrade of a mount is waited for.
const UPGRADE: Duration = Duration::from_secs(5);
const LEFT_OUT: &str = "the mount is of a kind that this version does not know";
