//! A mount of one auth method, for its tests: requests go through the rooms of `gate` as in the server, with everything
//! allowed, and each is one commit that is tried again on conflict.
//!
//! The store yields before each read and commit, so requests that are joined interleave, and conflicts come about.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{Operation, ReqPath, Verb};
use bytes::Bytes;
use clock::{Clock, Simulated, Timestamp};
use engine::{Caller, Error, IntentSpec, Kind, LeaseId, Login, MountClass, MountInfo, Opening, Plan, RotationStatus};
use futures::{FutureExt, future};
use gate::{
    Attempt, Authenticate, Authorise, Backend, Body, Decision, Endpoint, Facts, LeaseCall, Namespace, Record, Request,
    Route, RouteInfo, Services, Target, TokenId, TokenKind, Unlimited,
};
use lockout::Lockout;
use secret::{SecretBytes, SecretString};
use serde_json::Value;
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Key, Page, Revision, Scan, Store, Tx};

/// The moment at which tests begin.
pub const START: i64 = 1_800_000_000;

/// A mount of an auth method over a store in memory.
pub struct Mounted {
    kind: Kind,
    backend: Arc<dyn Backend>,
    store: Arc<dyn Store>,
    info: Arc<MountInfo>,
    time: Simulated,
    lockout: Arc<Lockout>,
    locks: bool,
    conflicts: AtomicU64,
}

/// What a request led to.
#[derive(Debug)]
pub struct Outcome {
    /// The status that the listener would send.
    pub status: u16,
    /// The `data`, or null.
    pub data: Value,
    /// The warnings.
    pub warnings: Vec<String>,
    /// The token to be made.
    pub login: Option<Login>,
}

impl Mounted {
    /// Mounts `kind`; the time is [`START`].
    #[allow(clippy::expect_used, reason = "the constant is a valid moment")]
    pub fn new(kind: Kind) -> Self {
        let time = Simulated::new(Timestamp::from_second(START).expect("a valid moment"));
        Self::over(kind, Arc::new(Yielding(store_memory::Memory::new())), time)
    }

    /// The same mount, where no number of failed logins locks anybody.
    pub fn without_lockout(self) -> Self {
        let mut mounted = Self::over(self.kind, Arc::clone(&self.store), self.time.clone());
        mounted.locks = false;
        mounted
    }

    fn over(kind: Kind, store: Arc<dyn Store>, time: Simulated) -> Self {
        let info = Arc::new(MountInfo {
            namespace: gate::Namespace::root(),
            uuid: "test".into(),
            accessor: format!("auth_{}_test", kind.name).into(),
            path: format!("auth/{}/", kind.name).into(),
            kind: kind.name,
            class: MountClass::Auth,
            options: Arc::default(),
            default_ttl: Duration::from_secs(32 * 24 * 3600),
            max_ttl: Duration::from_secs(32 * 24 * 3600),
            clear_request_keys: Arc::new([]),
            clear_response_keys: Arc::new([]),
            passed_headers: Arc::default(),
            reply_headers: Arc::default(),
        });
        let backend = kind.open(Opening { mount: Arc::clone(&info), clock: time.clock(), upgrading: false });
        let lockout = Lockout::new(Arc::clone(&store), time.clock());
        Self { kind, backend, store, info, time, lockout, locks: true, conflicts: AtomicU64::new(0) }
    }

    /// The same mount after a restart.
    pub fn reopened(&self) -> Self {
        Self::over(self.kind, Arc::clone(&self.store), self.time.clone())
    }

    /// The time, to be moved.
    pub fn time(&self) -> &Simulated {
        &self.time
    }

    /// How many commits were refused because another request was first.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// Everything stored, as text: for tests that look for what must not be there.
    pub async fn dump(&self) -> Vec<(String, String)> {
        let scan = Scan { prefix: String::new(), after: None, limit: 1_000_000, values: true };
        let page = self.store.scan(&scan).await.unwrap_or_default();
        let text =
            |(key, entry): (Key, Entry)| (key.as_str().to_owned(), String::from_utf8_lossy(&entry.value).into_owned());
        page.entries.into_iter().map(text).collect()
    }

    /// A write from the loopback address.
    pub async fn write(&self, path: &str, body: Value) -> Result<Outcome, Error> {
        self.send(Verb::Write, path, body).await
    }

    /// A read.
    pub async fn read(&self, path: &str) -> Result<Outcome, Error> {
        self.send(Verb::Read, path, Value::Null).await
    }

    /// A request from the loopback address.
    pub async fn send(&self, verb: Verb, path: &str, body: Value) -> Result<Outcome, Error> {
        self.send_from(IpAddr::from([127, 0, 0, 1]), verb, path, body).await
    }

    /// A request from any address. Null is no body.
    pub async fn send_from(&self, remote: IpAddr, verb: Verb, path: &str, body: Value) -> Result<Outcome, Error> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let tx = Tx::new(Arc::clone(&self.store));
        let request = self.request(remote, verb, path, body)?;
        let admitted = async {
            let routed = Arc::new(request).route(self)?;
            let limited = routed.limit(&Unlimited, &tx).await?;
            limited.authenticate(&Everybody).await?.authorise(&Everybody, &tx).await?.enter(&Everybody).await
        };
        let admitted = admitted.await.map_err(|refused| refused.error)?;
        for _ in 0..MAX_TRIES {
            let answer = admitted.call(&tx).await?;
            match tx.commit().await.map_err(Error::from) {
                Ok(_) => return Ok(outcome(answer)),
                Err(Error::Conflict) => {
                    self.conflicts.fetch_add(1, Ordering::Relaxed);
                    tx.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unavailable("too many conflicts".to_owned()))
    }

    /// Asks the method whether the holder of this login may be renewed.
    pub async fn renew(&self, login: &Login) -> Result<(), Error> {
        // EXPOSE: handed back to the method that made it.
        let data = login.renewal.as_ref().map(|data| data.expose().as_bytes().to_vec()).unwrap_or_default();
        let tx = Tx::new(Arc::clone(&self.store));
        let call = LeaseCall {
            lease: LeaseId("auth/test/login/1".into()),
            data: SecretBytes::new(data),
            until: None,
            pending: false,
            mount: Arc::clone(&self.info),
            view: tx.view(PREFIX),
            services: self.services(),
        };
        self.backend.renew(call).await
    }

    /// Ends the mount's background work.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// The mount's routes.
    pub fn routes(&self) -> &[RouteInfo] {
        self.backend.routes()
    }

    fn request(&self, remote: IpAddr, verb: Verb, path: &str, body: Bytes) -> Result<Request, Error> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let path =
            ReqPath::new(&format!("{}{path}", self.info.path)).map_err(|error| Error::invalid(error.to_string()))?;
        Ok(Request {
            id: "test".into(),
            verb,
            namespace: Namespace::root(),
            path,
            query: query.split('&').filter_map(pair).collect(),
            body,
            upload: gate::Upload::default(),
            token: Some(SecretString::new("test".to_owned()).into()),
            wrap_ttl: None,
            remote: Some((remote, 50_000)),
            headers: Vec::new(),
            help: false,
            received: self.time.clock().now(),
            inline: gate::Inline::None,
        })
    }

    fn services(&self) -> Arc<dyn Services> {
        let (store, lockout) = (Arc::clone(&self.store), Arc::clone(&self.lockout));
        Arc::new(Offered { clock: self.time.clock(), store, lockout, locks: self.locks })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Closing an auth method has nothing to wait for.
        let _ = self.backend.close().now_or_never();
    }
}

impl Outcome {
    /// The token to be made. Panics if the request was no login.
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn login(self) -> Login {
        self.login.expect("a login")
    }
}

const PREFIX: &str = "mount/";
const MAX_TRIES: usize = 100;

fn outcome(answer: engine::Answer) -> Outcome {
    let data = match &answer.body {
        Body::Json(json) => serde_json::from_slice(json).unwrap_or_default(),
        _ => Value::Null,
    };
    let empty = data.is_null() && answer.login.is_none() && answer.warnings.is_empty();
    Outcome {
        status: answer.status.unwrap_or(if empty { 204 } else { 200 }),
        data,
        warnings: answer.warnings,
        login: answer.login,
    }
}

impl Route for Mounted {
    fn find(&self, request: &Request) -> Result<Target, Error> {
        let path = request.path.as_str().strip_prefix(&*self.info.path);
        let path = path.ok_or_else(|| Error::NoRoute(request.path.to_string()))?;
        Ok(Target {
            info: Arc::clone(&self.info),
            backend: Arc::clone(&self.backend),
            services: self.services(),
            path: path.into(),
            prefix: PREFIX.into(),
            sees_token: false,
        })
    }
}

/// Knows everybody, allows everything, writes nothing down.
struct Everybody;

impl Authenticate for Everybody {
    fn holder<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Arc<Caller>, Error>> {
        let caller = Caller {
            namespace: gate::Namespace::root(),
            id: TokenId("test".into()),
            accessor: "test".into(),
            display_name: "test".into(),
            token_policies: Arc::new(["root".to_owned()]),
            identity_policies: Arc::new([]),
            entity_id: "".into(),
            metadata: Arc::default(),
            kind: TokenKind::Service,
            is_root: true,
            no_default_policy: false,
            issued: request.received,
            ttl: Duration::ZERO,
            expires: None,
            num_uses: 0,
            remaining_uses: None,
            path: "auth/token/root".into(),
            kept: Default::default(),
            all_policies: Default::default(),
        };
        future::ready(Ok(Arc::new(caller))).boxed()
    }
}

impl Authorise for Everybody {
    fn decide<'a>(
        &'a self,
        _: &'a Caller,
        _: Operation,
        _: &'a Endpoint,
        _: &'a Request,
    ) -> BoxFuture<'a, Result<Decision, Error>> {
        let allowed = Decision { allowed: true, ..Decision::default() };
        future::ready(Ok(allowed)).boxed()
    }
}

impl Record for Everybody {
    fn enter<'a>(&'a self, _: &'a Facts) -> BoxFuture<'a, Result<(), Error>> {
        future::ready(Ok(())).boxed()
    }
}

/// The time, the store and the lockout; auth methods need no more.
struct Offered {
    clock: Clock,
    store: Arc<dyn Store>,
    lockout: Arc<Lockout>,
    locks: bool,
}

impl Offered {
    /// The rules of a server that was told nothing, unless the lockout is off.
    fn rules(&self, mount: &MountInfo) -> lockout::Rules {
        let stanzas = lockout::Stanzas { off: !self.locks, ..Default::default() };
        stanzas.rules(mount.kind, &lockout::Settings::default())
    }
}

fn none<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Error>> {
    future::ready(Err(Error::internal("an auth method asked for a service of secrets engines"))).boxed()
}

impl Services for Offered {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn intent<'a>(&'a self, _: &'a Arc<MountInfo>, _: IntentSpec) -> BoxFuture<'a, Result<LeaseId, Error>> {
        none()
    }

    fn password<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<SecretString, Error>> {
        none()
    }

    fn plan<'a>(
        &'a self,
        _: &'a Arc<Tx>,
        _: &'a Arc<MountInfo>,
        _: &'a str,
        _: Option<Plan>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        none()
    }

    fn rotated<'a>(
        &'a self,
        _: &'a Arc<Tx>,
        _: &'a Arc<MountInfo>,
        _: &'a str,
        _: Result<(), String>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        none()
    }

    fn rotation<'a>(
        &'a self,
        _: &'a Arc<Tx>,
        _: &'a Arc<MountInfo>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<RotationStatus>, Error>> {
        none()
    }

    fn renew_login<'a>(
        &'a self,
        _: &'a Arc<Tx>,
        _: &'a str,
        _: &'a str,
        _: SecretString,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<(), Error>> {
        none()
    }

    fn check_lock<'a>(&'a self, mount: &'a Arc<MountInfo>, alias: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move { self.lockout.check(&mount.uuid, alias, &self.rules(mount)).await }.boxed()
    }

    fn attempted(&self, mount: &Arc<MountInfo>, attempt: Attempt<'_>) -> Result<(), Error> {
        let Attempt { alias, known, right } = attempt;
        self.lockout.settle(&mount.uuid, alias, known, right, &self.rules(mount))
    }

    fn has_sudo(&self, _: &Caller, _: &str) -> bool {
        true
    }

    fn allows(&self, _: &Caller, _: &str, _: Operation) -> bool {
        true
    }

    fn leases<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: usize) -> BoxFuture<'a, Result<Vec<LeaseId>, Error>> {
        none()
    }

    fn lease_data<'a>(&'a self, _: &'a LeaseId) -> BoxFuture<'a, Result<Option<SecretBytes>, Error>> {
        none()
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }
}

/// A store whose readers and writers step aside for each other.
struct Yielding(Arc<store_memory::Memory>);

impl Store for Yielding {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, storage::Error>> {
        async move {
            tokio::task::yield_now().await;
            self.0.get(key).await
        }
        .boxed()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, storage::Error>> {
        async move {
            tokio::task::yield_now().await;
            self.0.scan(scan).await
        }
        .boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        async move {
            tokio::task::yield_now().await;
            self.0.commit(batch).await
        }
        .boxed()
    }

    fn follow(&self) -> Changes {
        self.0.follow()
    }
}
