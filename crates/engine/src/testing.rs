//! A mount of one engine, for its tests: requests go through the rooms of `gate` as in the server, each is one commit
//! that is tried again on conflict, and the services of the program are played by simple ones.
//!
//! The store yields before each read and commit, so requests that are joined interleave, and conflicts come about. The
//! time stands still until it is moved. A caller is root unless it is made by [`Mounted::caller`].

mod conforms;
mod services;
mod yielding;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{Operation, ReqPath, Verb};
use bytes::Bytes;
use clock::{Simulated, Timestamp};
use futures::FutureExt;
use gate::{
    Backend, Body, Caller, Error, LeaseCall, LeaseId, Login, MountClass, MountInfo, Namespace, Plan, Request,
    RotateCall, RotationStatus, RouteInfo, TendCall,
};
use secret::{SecretBytes, SecretString};
use serde_json::Value;
use storage::{Key, Scan, Store, Tx};

use crate::{Answer, Kind, Opening};
pub use conforms::conforms;
pub use services::{Granted, Planned};
use services::{Offered, Shared};
pub use yielding::Yielding;

/// The moment at which tests begin.
pub const START: i64 = 1_800_000_000;

/// A mount over a store in memory.
pub struct Mounted {
    kind: Kind,
    backend: Arc<dyn Backend>,
    info: Arc<MountInfo>,
    shared: Arc<Shared>,
    time: Simulated,
    conflicts: AtomicU64,
    headers: Vec<(String, String)>,
}

fn owned(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What a request led to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The status that the listener would send.
    pub status: u16,
    /// The `data`, or null.
    pub data: Value,
    /// The bytes of the body as the engine gave them.
    pub raw: Bytes,
    /// The warnings.
    pub warnings: Vec<String>,
    /// The lease that was granted.
    pub lease: Option<Granted>,
    /// The `lease_duration` of a reply without a lease of its own.
    pub lease_duration: Option<Duration>,
    /// The token to be made.
    pub login: Option<Login>,
    /// Headers of the reply.
    pub headers: Vec<(&'static str, String)>,
}

impl Mounted {
    /// Mounts `kind` without options; the time is [`START`].
    pub fn new(kind: Kind) -> Self {
        Self::with(kind, &[])
    }

    /// Mounts `kind` with options, such as `("version", "2")`.
    pub fn with(kind: Kind, options: &[(&str, &str)]) -> Self {
        Self::over(kind, options, Arc::new(Yielding::new(store_memory::Memory::new())))
    }

    /// Mounts `kind` over a given store, such as one that fails on demand.
    #[allow(clippy::expect_used, reason = "the constant is a valid moment")]
    pub fn over(kind: Kind, options: &[(&str, &str)], store: Arc<dyn Store>) -> Self {
        let time = Simulated::new(Timestamp::from_second(START).expect("a valid moment"));
        let path = match kind.class {
            MountClass::Auth => format!("auth/{}/", kind.name),
            MountClass::Secret => format!("{}/", kind.name),
        };
        let month = Duration::from_secs(32 * 24 * 3600);
        let info = MountInfo {
            namespace: gate::Namespace::root(),
            uuid: "test".into(),
            accessor: format!("{}_test", kind.name).into(),
            path: path.into(),
            kind: kind.name,
            class: kind.class,
            options: Arc::new(owned(options)),
            default_ttl: month,
            max_ttl: month,
            clear_request_keys: Arc::new([]),
            clear_response_keys: Arc::new([]),
            passed_headers: Arc::default(),
            reply_headers: Arc::default(),
        };
        let shared = Shared::new(time.clock(), store);
        Self::open(kind, Arc::new(info), shared, time)
    }

    fn open(kind: Kind, info: Arc<MountInfo>, shared: Arc<Shared>, time: Simulated) -> Self {
        let backend = kind.open(Opening { mount: Arc::clone(&info), clock: time.clock(), upgrading: false });
        Self { kind, backend, info, shared, time, conflicts: AtomicU64::new(0), headers: Vec::new() }
    }

    /// The same mount after a restart: what was in memory is gone.
    pub fn reopened(&self) -> Self {
        Self::open(self.kind, Arc::clone(&self.info), Arc::clone(&self.shared), self.time.clone())
    }

    /// The same mount after it was tuned. Each of its requests has these headers, names in lower case.
    pub fn tuned(&self, headers: &[(&str, &str)], change: impl FnOnce(&mut MountInfo)) -> Self {
        let mut info = MountInfo::clone(&self.info);
        change(&mut info);
        let mut mounted = Self::open(self.kind, Arc::new(info), Arc::clone(&self.shared), self.time.clone());
        mounted.headers = owned(headers).into_iter().collect();
        mounted
    }

    /// The same mount while its upgrade is under way: nothing of it is done yet.
    pub fn upgrading(&self, options: &[(&str, &str)]) -> Self {
        let info = Arc::new(MountInfo { options: Arc::new(owned(options)), ..MountInfo::clone(&self.info) });
        let opening = Opening { mount: Arc::clone(&info), clock: self.time.clock(), upgrading: true };
        let backend = self.kind.open(opening);
        let (shared, time) = (Arc::clone(&self.shared), self.time.clone());
        Self { kind: self.kind, backend, info, shared, time, conflicts: AtomicU64::new(0), headers: Vec::new() }
    }

    /// Does one step of the upgrade. Gives whether there is more to do.
    #[allow(clippy::expect_used, reason = "a kind without an upgrade is a mistake of the test")]
    pub async fn upgrade_step(&self) -> Result<bool, Error> {
        let step = self.kind.upgrade().expect("a kind that can be upgraded");
        let tx = Tx::new(Arc::clone(&self.shared.store));
        let more = step(tx.view(PREFIX), self.time.clock().now()).await?;
        tx.commit().await?;
        Ok(more)
    }

    /// The time, to be moved.
    pub fn time(&self) -> &Simulated {
        &self.time
    }

    /// What the engine knows of its mount.
    pub fn info(&self) -> &Arc<MountInfo> {
        &self.info
    }

    /// The mount's routes.
    pub fn routes(&self) -> &[RouteInfo] {
        self.backend.routes()
    }

    /// How many commits were refused because another request was first.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// Everything that the mount has stored, as text: for tests that look for what must not be there.
    pub async fn dump(&self) -> Vec<(String, String)> {
        let scan = Scan { prefix: PREFIX.to_owned(), after: None, limit: usize::MAX, values: true };
        let page = self.shared.store.scan(&scan).await.unwrap_or_default();
        let relative = |key: &Key| key.as_str().trim_start_matches(PREFIX).to_owned();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        page.entries.iter().map(|(key, entry)| (relative(key), text(&entry.value))).collect()
    }

    /// A caller who may do what the rules say and nothing else. A path is below `/v1/`, mount included; one that ends
    /// in `*` means all paths that begin with it.
    pub fn caller(&self, name: &str, rules: &[(&str, &[Operation])]) -> Arc<Caller> {
        let rules = rules.iter().map(|(path, operations)| ((*path).to_owned(), operations.to_vec())).collect();
        self.shared.rules.lock().insert(name.to_owned(), rules);
        services::caller(name, self.time.clock().now())
    }

    /// A write. Null is no body.
    pub async fn write(&self, path: &str, body: Value) -> Result<Outcome, Error> {
        self.send(Verb::Write, path, body).await
    }

    /// A read; the path may have a query.
    pub async fn read(&self, path: &str) -> Result<Outcome, Error> {
        self.send(Verb::Read, path, Value::Null).await
    }

    /// A listing; the path may have a query.
    pub async fn list(&self, path: &str) -> Result<Outcome, Error> {
        self.send(Verb::List, path, Value::Null).await
    }

    /// A merge patch.
    pub async fn patch(&self, path: &str, body: Value) -> Result<Outcome, Error> {
        self.send(Verb::Patch, path, body).await
    }

    /// A deletion; the path may have a query.
    pub async fn delete(&self, path: &str) -> Result<Outcome, Error> {
        self.send(Verb::Delete, path, Value::Null).await
    }

    /// A request of root from the loopback address. Null is no body.
    pub async fn send(&self, verb: Verb, path: &str, body: Value) -> Result<Outcome, Error> {
        self.send_as(None, verb, path, body).await
    }

    /// A request of `caller` from the loopback address.
    pub async fn send_as(
        &self,
        caller: Option<&Arc<Caller>>,
        verb: Verb,
        path: &str,
        body: Value,
    ) -> Result<Outcome, Error> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        self.send_bytes(caller, IpAddr::from([127, 0, 0, 1]), verb, path, body).await
    }

    /// A request with any address and body.
    pub async fn send_bytes(
        &self,
        caller: Option<&Arc<Caller>>,
        remote: IpAddr,
        verb: Verb,
        path: &str,
        body: Bytes,
    ) -> Result<Outcome, Error> {
        let caller = caller.map_or_else(|| services::root(self.time.clock().now()), Arc::clone);
        let offered = self.offered();
        let rooms = services::Rooms { offered: Arc::clone(&offered), caller };
        let tx = Tx::new(Arc::clone(&self.shared.store));
        let request = self.request(remote, verb, path, body)?;
        let admitted = async {
            let routed = Arc::new(request).route(&rooms)?;
            let limited = routed.limit(&gate::Unlimited, &tx).await?;
            limited.authenticate(&rooms).await?.authorise(&rooms, &tx).await?.enter(&rooms).await
        };
        let admitted = admitted.await.map_err(|refused| refused.error)?;
        for _ in 0..MAX_TRIES {
            let outcome = async {
                let answer = admitted.call(&tx).await?;
                tx.commit().await?;
                Ok(answer)
            };
            match outcome.await {
                Ok(answer) => return Ok(self.outcome(answer, admitted.facts().request().path.as_str())),
                Err(error) => {
                    tx.clear();
                    self.abandon(&offered).await;
                    if !matches!(error, Error::Conflict) {
                        return Err(error);
                    }
                    self.conflicts.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Err(Error::Unavailable("too many conflicts".to_owned()))
    }

    /// The leases that were granted or are pending, with their state.
    pub fn leases(&self) -> Vec<Granted> {
        self.shared.leases.lock().values().map(|lease| lease.granted.clone()).collect()
    }

    /// Revokes a lease; it is forgotten if that succeeds.
    pub async fn revoke(&self, lease: &LeaseId) -> Result<(), Error> {
        let tx = Tx::new(Arc::clone(&self.shared.store));
        self.backend.revoke(self.lease_call(lease, None, &tx)).await?;
        tx.commit().await?;
        self.shared.leases.lock().remove(lease);
        Ok(())
    }

    /// Renews a lease.
    pub async fn renew(&self, lease: &LeaseId, until: Timestamp) -> Result<(), Error> {
        let tx = Tx::new(Arc::clone(&self.shared.store));
        self.backend.renew(self.lease_call(lease, Some(until), &tx)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The planned rotations by their ids.
    pub async fn rotations(&self) -> Vec<(String, Planned)> {
        self.shared.planned().await
    }

    /// Rotates what is due now and settles it as the server does; gives the ids and how it went.
    pub async fn run_due(&self) -> Vec<(String, Result<(), Error>)> {
        let now = self.time.clock().now();
        let mut done = Vec::new();
        for (id, planned) in self.shared.planned().await {
            if planned.status.next.is_none_or(|next| next > now) {
                continue;
            }
            let tx = Tx::new(Arc::clone(&self.shared.store));
            let call = RotateCall {
                id: id.clone(),
                failures: planned.status.failures,
                mount: Arc::clone(&self.info),
                view: tx.view(PREFIX),
                services: self.offered(),
            };
            let result = match self.backend.rotate(call).await {
                Ok(()) => tx.commit().await.map(drop).map_err(Error::from),
                Err(error) => Err(error),
            };
            self.shared.settle(&id, result.as_ref().err().map(ToString::to_string)).await;
            done.push((id, result));
        }
        done
    }

    /// Looks in on the mount, as the server does every second.
    pub async fn tend(&self) -> Result<(), Error> {
        let view = Tx::new(Arc::clone(&self.shared.store)).view(PREFIX);
        self.backend.tend(TendCall { mount: Arc::clone(&self.info), view, services: self.offered() }).await
    }

    /// Ends the mount's background work.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    fn offered(&self) -> Arc<Offered> {
        let mount = services::Mount { info: Arc::clone(&self.info), backend: Arc::clone(&self.backend) };
        Offered::new(&self.shared, mount)
    }

    fn request(&self, remote: IpAddr, verb: Verb, path: &str, body: Bytes) -> Result<Request, Error> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let path = ReqPath::new(&format!("{}{path}", self.info.path));
        let path = path.map_err(|error| Error::invalid(error.to_string()))?;
        if verb == Verb::Write && path.is_folder() {
            return Err(Error::invalid("cannot write to a path ending in '/'"));
        }
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
            headers: self.headers.clone(),
            help: false,
            received: self.time.clock().now(),
            inline: gate::Inline::None,
        })
    }

    fn lease_call(&self, lease: &LeaseId, until: Option<Timestamp>, tx: &Arc<Tx>) -> LeaseCall {
        let (data, pending) = self.shared.lease_data(lease).unwrap_or_default();
        LeaseCall {
            lease: lease.clone(),
            data: SecretBytes::new(data),
            until,
            pending,
            mount: Arc::clone(&self.info),
            view: tx.view(PREFIX),
            services: self.offered(),
        }
    }

    /// What a failed try has begun is revoked, as in the server; an error leaves it pending.
    async fn abandon(&self, offered: &Offered) {
        for intent in offered.take_intents() {
            if let Err(error) = self.revoke(&intent).await {
                tracing::warn!(lease = %intent, %error, "an intent could not be given up");
            }
        }
    }

    fn outcome(&self, answer: Answer, path: &str) -> Outcome {
        let lease = answer.lease.map(|grant| self.shared.grant(path, grant));
        let raw = match answer.body {
            Body::Json(bytes) | Body::Bare(bytes) | Body::Raw { bytes, .. } => bytes,
            Body::Empty | Body::Stream(_) => Bytes::new(),
        };
        let empty = raw.is_empty() && answer.warnings.is_empty() && lease.is_none() && answer.login.is_none();
        Outcome {
            status: answer.status.unwrap_or(if empty { 204 } else { 200 }),
            data: serde_json::from_slice(&raw).unwrap_or_default(),
            raw,
            warnings: answer.warnings,
            lease,
            lease_duration: answer.renewed.map(|(_, duration, _)| duration),
            login: answer.login,
            headers: answer.headers,
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What does not end at once ends with the runtime.
        let _ = self.backend.close().now_or_never();
    }
}

/// A plan's next time as the simple services reckon it: a schedule counts as daily.
pub(crate) fn next_after(plan: &Plan, start: Timestamp) -> Timestamp {
    clock::after(start, plan.period.unwrap_or(Duration::from_secs(24 * 3600)))
}

/// A rotation that was never tried.
pub(crate) fn untried() -> RotationStatus {
    RotationStatus { next: None, last: None, last_error: None, failures: 0, history: Vec::new() }
}

const PREFIX: &str = "mount/test/";
const MAX_TRIES: usize = 100;
