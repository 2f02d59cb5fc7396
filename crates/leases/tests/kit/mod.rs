//! Leases over a store in memory, with a target that fails or hangs on demand, and a clock moved by hand.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "each test uses its part")]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clock::{Simulated, Timestamp};
use gate::{Caller, Error, IntentSpec, LeaseGrant, LeaseId, MountClass, MountInfo, TokenId, TokenKind};
use leases::{Ends, Granted, Leases, Outcome, Ownership, Record};
use parking_lot::Mutex;
use secret::SecretBytes;
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Key, Page, Revision, Scan, Store, Tx};
use store_memory::Memory;

pub const START: i64 = 1_800_000_000;

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn mount(path: &str) -> Arc<MountInfo> {
    Arc::new(MountInfo {
        namespace: gate::Namespace::root(),
        uuid: format!("uuid-of-{}", path.trim_end_matches('/').replace('/', "-")).into(),
        accessor: "database_1".into(),
        path: path.into(),
        kind: "database",
        class: MountClass::Secret,
        options: Arc::default(),
        default_ttl: seconds(3600),
        max_ttl: seconds(7200),
        clear_request_keys: Arc::default(),
        clear_response_keys: Arc::default(),
        passed_headers: Arc::default(),
        reply_headers: Arc::default(),
    })
}

pub fn caller(id: &str) -> Arc<Caller> {
    Arc::new(Caller {
        namespace: gate::Namespace::root(),
        id: TokenId(id.into()),
        accessor: format!("accessor-{id}").into(),
        display_name: "token".into(),
        token_policies: Arc::default(),
        identity_policies: Arc::default(),
        entity_id: "".into(),
        metadata: Arc::new(BTreeMap::new()),
        kind: TokenKind::Service,
        is_root: false,
        no_default_policy: false,
        issued: Timestamp::from_second(START).unwrap(),
        ttl: seconds(3600),
        expires: None,
        num_uses: 0,
        remaining_uses: None,
        path: "auth/token/create".into(),
        kept: Default::default(),
        all_policies: Default::default(),
    })
}

/// The world outside: users made and removed.
#[derive(Default)]
pub struct Target {
    pub users: Mutex<HashSet<String>>,
    /// Ids that were revoked, in order, and whether they were intents.
    pub revoked: Mutex<Vec<(LeaseId, bool)>>,
    pub tried: Mutex<HashMap<LeaseId, u32>>,
    /// Beginnings of ids that fail.
    pub down: Mutex<HashSet<String>>,
    /// Beginnings of ids whose revocation never comes back.
    pub hanging: Mutex<HashSet<String>>,
    /// Mounts that are gone.
    pub gone: Mutex<HashSet<String>>,
    pub tokens: Mutex<Vec<TokenId>>,
    pub tokens_fail: Mutex<bool>,
    /// Runs of the server that go on.
    pub alive: Mutex<HashSet<String>>,
}

impl Target {
    fn has(set: &Mutex<HashSet<String>>, id: &LeaseId) -> bool {
        set.lock().iter().any(|prefix| id.0.starts_with(prefix.as_str()))
    }

    pub fn tries(&self, id: &LeaseId) -> u32 {
        self.tried.lock().get(id).copied().unwrap_or_default()
    }

    pub fn ids(&self) -> Vec<LeaseId> {
        self.revoked.lock().iter().map(|(id, _)| id.clone()).collect()
    }
}

impl Ends for Target {
    fn revoke_lease<'a>(&'a self, lease: &'a Record) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            *self.tried.lock().entry(lease.id.clone()).or_default() += 1;
            if Self::has(&self.hanging, &lease.id) {
                std::future::pending::<()>().await;
            }
            if Self::has(&self.gone, &lease.id) {
                return Outcome::NoMount;
            }
            if Self::has(&self.down, &lease.id) {
                return Outcome::Failed("connection refused".to_owned());
            }
            let user: String = serde_json::from_slice(lease.secret().expose()).unwrap();
            self.users.lock().remove(&user);
            self.revoked.lock().push((lease.id.clone(), lease.was_pending));
            Outcome::Revoked
        })
    }

    fn end_token<'a>(&'a self, token: &'a TokenId, _: Timestamp) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if *self.tokens_fail.lock() {
                return Err(Error::Unavailable("failed by the test".to_owned()));
            }
            self.tokens.lock().push(token.clone());
            Ok(())
        })
    }

    fn is_gone(&self, instance: &str) -> bool {
        !self.alive.lock().contains(instance)
    }

    fn is_over<'a>(&'a self, token: &'a TokenId) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { Ok(self.tokens.lock().contains(token)) })
    }
}

/// A store that takes its time, another each time: what runs beside each other meets in every order.
pub struct Uneven {
    below: Arc<dyn Store>,
    dice: AtomicU64,
}

impl Uneven {
    pub fn over(below: Arc<dyn Store>, seed: u64) -> Arc<dyn Store> {
        Arc::new(Self { below, dice: AtomicU64::new(seed.wrapping_mul(2).wrapping_add(1)) })
    }

    async fn take_time(&self) {
        let next = self.dice.load(Ordering::Relaxed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.dice.store(next, Ordering::Relaxed);
        for _ in 0..next >> 61 {
            tokio::task::yield_now().await;
        }
    }
}

impl Store for Uneven {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, storage::Error>> {
        Box::pin(async move {
            self.take_time().await;
            self.below.get(key).await
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, storage::Error>> {
        Box::pin(async move {
            self.take_time().await;
            self.below.scan(scan).await
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            self.take_time().await;
            self.below.commit(batch).await
        })
    }

    fn follow(&self) -> Changes {
        self.below.follow()
    }
}

pub struct World {
    pub disk: Arc<dyn Store>,
    pub time: Simulated,
    pub leases: Arc<Leases>,
    pub target: Arc<Target>,
    pub mount: Arc<MountInfo>,
    expirer: Option<tokio::task::JoinHandle<()>>,
}

impl World {
    pub fn new() -> Self {
        Self::over(Memory::new())
    }

    pub fn over(disk: Arc<dyn Store>) -> Self {
        Self::with(disk, Simulated::new(Timestamp::from_second(START).unwrap()), Arc::default())
    }

    pub fn with(disk: Arc<dyn Store>, time: Simulated, target: Arc<Target>) -> Self {
        let leases = Leases::new(Arc::clone(&disk), time.clock());
        Self { disk, time, leases, target, mount: mount("database/"), expirer: None }
    }

    /// The same, with the expirer at work.
    pub fn running(mut self) -> Self {
        let ends: Arc<dyn Ends> = Arc::<Target>::clone(&self.target);
        self.expirer = Some(tokio::spawn(Arc::clone(&self.leases).expire(ends)));
        self
    }

    /// The process dies; another starts over the same disk.
    pub fn restart(mut self) -> Self {
        self.stop();
        Self::with(Arc::clone(&self.disk), self.time.clone(), Arc::clone(&self.target)).running()
    }

    pub fn stop(&mut self) {
        if let Some(task) = self.expirer.take() {
            task.abort();
        }
    }

    pub async fn intent(&self, mount: &MountInfo, role: &str, user: &str) -> Result<LeaseId, Error> {
        let spec = IntentSpec {
            path: format!("creds/{role}"),
            revocation: SecretBytes::new(serde_json::to_vec(user).unwrap()),
            owner: Some(caller("token-1")),
            role: role.to_owned(),
        };
        self.leases.intent(mount, spec).await
    }

    pub async fn grant(&self, mount: &MountInfo, intent: &LeaseId, ttl: Duration) -> Result<Granted, Error> {
        let tx = Tx::new(Arc::clone(&self.disk));
        let path = format!("{}creds/app", mount.path);
        let owned = Ownership { mount, path: &path, owner: Some(TokenId("token-1".into())), owner_expires: None };
        let grant = LeaseGrant {
            intent: Some(intent.clone()),
            revocation: SecretBytes::new(Vec::new()),
            ttl: Some(ttl),
            max_ttl: None,
            renewable: true,
        };
        let granted = self.leases.grant(&tx, owned, grant).await?;
        tx.commit().await?;
        Ok(granted)
    }

    /// What a request for a user does: intent, user, lease.
    pub async fn lease(&self, user: &str, ttl: Duration) -> LeaseId {
        self.lease_at(&Arc::clone(&self.mount), user, ttl).await
    }

    pub async fn lease_at(&self, mount: &MountInfo, user: &str, ttl: Duration) -> LeaseId {
        let id = self.intent(mount, "app", user).await.unwrap();
        self.target.users.lock().insert(user.to_owned());
        self.grant(mount, &id, ttl).await.unwrap();
        id
    }

    pub async fn lookup(&self, id: &LeaseId) -> Option<Record> {
        self.leases.lookup(&Tx::new(Arc::clone(&self.disk)), id).await.unwrap()
    }

    /// Lets everything that can go on go on.
    pub async fn settle(&self) {
        for _ in 0..400 {
            tokio::task::yield_now().await;
        }
    }

    pub async fn pass(&self, time: Duration) {
        self.settle().await;
        self.time.advance(time);
        self.settle().await;
    }

    /// Whatever the store holds below a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let scan = Scan { prefix: prefix.to_owned(), after: None, limit: 100_000, values: false };
        let page = self.disk.scan(&scan).await.unwrap();
        page.entries.into_iter().map(|(key, _)| key.as_str().to_owned()).collect()
    }

    /// Nothing is left of any lease, in any index.
    pub async fn nothing_left(&self) {
        assert_eq!(self.keys("sys/lease/").await, Vec::<String>::new());
        assert_eq!(self.keys("sys/due/").await, Vec::<String>::new());
        assert_eq!(self.target.users.lock().len(), 0, "users are left");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}
