//! The program as an engine under test sees it: rooms that know their caller, and services that remember.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use api::{Operation, ReqPath};
use clock::{Clock, Timestamp};
use futures::{FutureExt, future};
use gate::{
    Authenticate, Authorise, Backend, Call, Caller, Decision, Endpoint, Error, Facts, IntentSpec, LeaseGrant, LeaseId,
    MountInfo, Neighbour, PartAnswer, PartId, PartRequest, Plan, Record, Refusal, Request, RotationStatus, RotationTry,
    Route, Services, Sight, Target, TokenId, TokenKind, Watch,
};
use parking_lot::Mutex;
use secret::{SecretBytes, SecretString};
use serde::{Deserialize, Serialize};
use storage::{BoxFuture, Key, Scan, Store, Tx};

use super::{PREFIX, next_after, untried};

/// A lease as it was granted, or one that is only intended.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Its id.
    pub id: LeaseId,
    /// Whether its credential may not have been made yet.
    pub pending: bool,
    /// The wished life; `None` takes the mount's default.
    pub ttl: Option<Duration>,
    /// The longest life; `None` takes the mount's.
    pub max_ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// A planned rotation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// When to rotate.
    pub plan: Plan,
    /// How it stands.
    pub status: RotationStatus,
}

pub(super) struct HeldLease {
    pub(super) granted: Granted,
    data: Vec<u8>,
}

/// What all requests of a mount share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) leases: Mutex<BTreeMap<LeaseId, HeldLease>>,
    pub(super) rules: Mutex<HashMap<String, Rules>>,
    clock: Clock,
}

type Rules = Vec<(String, Vec<Operation>)>;

impl Shared {
    pub(super) fn new(clock: Clock, store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, leases: Mutex::default(), rules: Mutex::default(), clock })
    }

    pub(super) fn lease_data(&self, lease: &LeaseId) -> Option<(Vec<u8>, bool)> {
        self.leases.lock().get(lease).map(|held| (held.data.clone(), held.granted.pending))
    }

    pub(super) fn grant(&self, path: &str, grant: LeaseGrant) -> Granted {
        let LeaseGrant { intent, revocation, ttl, max_ttl, renewable } = grant;
        let mut leases = self.leases.lock();
        let id = intent.unwrap_or_else(|| lease_id(path));
        // EXPOSE: kept for the engine that gave it.
        let given = revocation.expose().clone();
        let granted = Granted { id: id.clone(), pending: false, ttl, max_ttl, renewable };
        let intended = leases.remove(&id).map(|held| held.data);
        leases.insert(id, HeldLease { granted: granted.clone(), data: intended.unwrap_or(given) });
        granted
    }

    pub(super) async fn planned(&self) -> Vec<(String, Planned)> {
        let scan = Scan { prefix: PLANS.to_owned(), after: None, limit: usize::MAX, values: true };
        let page = self.store.scan(&scan).await.unwrap_or_default();
        let read = |(key, entry): &(Key, storage::Entry)| {
            let id = key.as_str().strip_prefix(PLANS)?.to_owned();
            Some((id, serde_json::from_slice(&entry.value).ok()?))
        };
        page.entries.iter().filter_map(read).collect()
    }

    pub(super) async fn settle(&self, id: &str, error: Option<String>) {
        let tx = Tx::new(Arc::clone(&self.store));
        let settled = async {
            note(&tx, id, self.clock.now(), error).await?;
            tx.commit().await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = settled.await {
            tracing::warn!(id, %error, "a rotation could not be settled");
        }
    }

    fn may(&self, caller: &Caller, path: &str, operation: Operation) -> bool {
        let fits = |rule: &str| match rule.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == rule,
        };
        let rules = self.rules.lock();
        let mut rules = rules.get(&*caller.display_name).into_iter().flatten();
        caller.is_root || rules.any(|(rule, operations)| fits(rule) && operations.contains(&operation))
    }
}

async fn note(tx: &Tx, id: &str, now: Timestamp, error: Option<String>) -> Result<(), Error> {
    let Some(mut planned) = tx.get_json::<Planned>(&plan_key(id)).await? else { return Ok(()) };
    let status = &mut planned.status;
    match &error {
        None => {
            status.last = Some(now);
            status.failures = 0;
            status.next = Some(next_after(&planned.plan, now));
        }
        Some(_) => {
            status.failures += 1;
            status.next = Some(clock::after(now, RETRY));
        }
    }
    status.last_error.clone_from(&error);
    status.history.insert(0, RotationTry { at: now, error });
    tx.put_json(plan_key(id), &planned)?;
    Ok(())
}

const PLANS: &str = "plan/";
/// After how long a failed rotation is due again.
const RETRY: Duration = Duration::from_secs(5);

fn plan_key(id: &str) -> Key {
    Key::from(format!("{PLANS}{id}"))
}

fn lease_id(path: &str) -> LeaseId {
    LeaseId(format!("{path}/{}", crypto::random::base62(24).as_str()).into())
}

pub(super) fn root(now: Timestamp) -> Arc<Caller> {
    Arc::new(Caller { is_root: true, ..named("root", now) })
}

pub(super) fn caller(name: &str, now: Timestamp) -> Arc<Caller> {
    Arc::new(named(name, now))
}

fn named(name: &str, now: Timestamp) -> Caller {
    Caller {
        namespace: gate::Namespace::root(),
        id: TokenId(name.into()),
        accessor: format!("accessor-{name}").into(),
        display_name: name.into(),
        token_policies: Arc::new([name.to_owned()]),
        identity_policies: Arc::new([]),
        entity_id: format!("entity-{name}").into(),
        metadata: Arc::default(),
        kind: TokenKind::Service,
        is_root: false,
        no_default_policy: false,
        issued: now,
        ttl: Duration::ZERO,
        expires: None,
        num_uses: 0,
        remaining_uses: None,
        path: "auth/token/create".into(),
        kept: Default::default(),
        all_policies: Default::default(),
    }
}

/// The mount under test.
#[derive(Clone)]
pub(super) struct Mount {
    pub(super) info: Arc<MountInfo>,
    pub(super) backend: Arc<dyn Backend>,
}

/// The rooms of one request.
pub(super) struct Rooms {
    pub(super) offered: Arc<Offered>,
    pub(super) caller: Arc<Caller>,
}

impl Route for Rooms {
    fn find(&self, request: &Request) -> Result<Target, Error> {
        let path = request.path.as_str().strip_prefix(&*self.offered.mount.info.path);
        let path = path.ok_or_else(|| Error::NoRoute(request.path.to_string()))?;
        Ok(Target {
            info: Arc::clone(&self.offered.mount.info),
            backend: Arc::clone(&self.offered.mount.backend),
            services: Arc::clone(&self.offered) as Arc<dyn Services>,
            path: path.into(),
            prefix: PREFIX.into(),
            sees_token: false,
        })
    }
}

impl Authenticate for Rooms {
    fn holder<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Arc<Caller>, Error>> {
        future::ready(Ok(Arc::clone(&self.caller))).boxed()
    }
}

impl Authorise for Rooms {
    fn decide<'a>(
        &'a self,
        caller: &'a Caller,
        operation: Operation,
        _: &'a Endpoint,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Decision, Error>> {
        let allowed = self.offered.shared.may(caller, request.path.as_str(), operation);
        let reason = if allowed { String::new() } else { format!("no rule allows {operation}") };
        future::ready(Ok(Decision { allowed, rules: Vec::new(), reason, conditions: None })).boxed()
    }
}

impl Record for Rooms {
    fn enter<'a>(&'a self, _: &'a Facts) -> BoxFuture<'a, Result<(), Error>> {
        future::ready(Ok(())).boxed()
    }
}

/// What a caller may see, for as long as it is not taken out of the rules.
struct Watching {
    shared: Arc<Shared>,
    mount: MountInfo,
    caller: Arc<Caller>,
}

impl Watch for Watching {
    fn look(&self) -> BoxFuture<'_, Result<Sight, Error>> {
        let known = self.caller.is_root || self.shared.rules.lock().contains_key(&*self.caller.display_name);
        let (shared, caller) = (Arc::clone(&self.shared), Arc::clone(&self.caller));
        let allows = move |path: &str, operation: Operation| shared.may(&caller, path, operation);
        let sight = known.then(|| Sight::new(self.mount.clone(), allows));
        future::ready(sight.ok_or(Error::Denied(Refusal::InvalidToken))).boxed()
    }
}

/// The services of one request.
pub(super) struct Offered {
    shared: Arc<Shared>,
    mount: Mount,
    intents: Mutex<Vec<LeaseId>>,
    parts: Mutex<Vec<Option<gate::Admitted>>>,
    this: Weak<Self>,
}

impl Offered {
    pub(super) fn new(shared: &Arc<Shared>, mount: Mount) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            shared: Arc::clone(shared),
            mount,
            intents: Mutex::default(),
            parts: Mutex::default(),
            this: Weak::clone(this),
        })
    }

    pub(super) fn take_intents(&self) -> Vec<LeaseId> {
        std::mem::take(&mut *self.intents.lock())
    }
}

impl Services for Offered {
    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn intent<'a>(&'a self, mount: &'a Arc<MountInfo>, spec: IntentSpec) -> BoxFuture<'a, Result<LeaseId, Error>> {
        async move {
            let id = lease_id(&format!("{}{}", mount.path, spec.path));
            let granted = Granted { id: id.clone(), pending: true, ttl: None, max_ttl: None, renewable: false };
            // EXPOSE: kept for the engine that gave it.
            let data = spec.revocation.expose().clone();
            self.shared.leases.lock().insert(id.clone(), HeldLease { granted, data });
            self.intents.lock().push(id.clone());
            Ok(id)
        }
        .boxed()
    }

    /// `missing` is the one policy that does not exist.
    fn password<'a>(&'a self, policy: &'a str) -> BoxFuture<'a, Result<SecretString, Error>> {
        let made = match policy {
            "missing" => Err(Error::invalid("no password policy is named \"missing\"")),
            name => Ok(SecretString::new(format!("{name}-{}", crypto::random::base62(16).as_str()))),
        };
        future::ready(made).boxed()
    }

    fn plan<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        _: &'a Arc<MountInfo>,
        id: &'a str,
        plan: Option<Plan>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let Some(plan) = plan else {
                tx.delete(plan_key(id));
                return Ok(());
            };
            let before: Option<Planned> = tx.get_json(&plan_key(id)).await?;
            let mut status = before.map_or_else(untried, |planned| planned.status);
            let now = self.shared.clock.now();
            let at_once = plan.first_now && status.last.is_none();
            status.next = Some(if at_once { now } else { next_after(&plan, status.last.unwrap_or(now)) });
            tx.put_json(plan_key(id), &Planned { plan, status })?;
            Ok(())
        }
        .boxed()
    }

    fn rotated<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        _: &'a Arc<MountInfo>,
        id: &'a str,
        outcome: Result<(), String>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        note(tx, id, self.shared.clock.now(), outcome.err()).boxed()
    }

    fn rotation<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        _: &'a Arc<MountInfo>,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<RotationStatus>, Error>> {
        async move {
            let planned: Option<Planned> = tx.get_json(&plan_key(id)).await?;
            Ok(planned.map(|planned| planned.status))
        }
        .boxed()
    }

    fn renew_login<'a>(
        &'a self,
        _: &'a Arc<Tx>,
        _: &'a str,
        _: &'a str,
        _: SecretString,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<(), Error>> {
        future::ready(Err(Error::Denied(Refusal::InvalidToken))).boxed()
    }

    fn allows(&self, caller: &Caller, path: &str, operation: Operation) -> bool {
        self.shared.may(caller, path, operation)
    }

    /// Secrets engines have no logins.
    fn check_lock<'a>(&'a self, _: &'a Arc<MountInfo>, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        future::ready(Ok(())).boxed()
    }

    fn attempted(&self, _: &Arc<MountInfo>, _: gate::Attempt<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn has_sudo(&self, caller: &Caller, _: &str) -> bool {
        caller.is_root
    }

    fn leases<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<LeaseId>, Error>> {
        let leases = self.shared.leases.lock();
        let wanted = |id: &&LeaseId| id.0.starts_with(prefix) && after.is_none_or(|after| &*id.0 > after);
        future::ready(Ok(leases.keys().filter(wanted).take(limit).cloned().collect())).boxed()
    }

    fn lease_data<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<Option<SecretBytes>, Error>> {
        let data = self.shared.lease_data(lease).map(|(data, _)| SecretBytes::new(data));
        future::ready(Ok(data)).boxed()
    }

    fn admit_part<'a>(&'a self, call: &'a Call, part: PartRequest) -> BoxFuture<'a, Result<PartId, Error>> {
        async move {
            let offered = self.this.upgrade().ok_or_else(|| Error::internal("the request is over"))?;
            let caller = call.caller.clone().ok_or_else(|| Error::internal("there is no caller"))?;
            let rooms = Rooms { offered, caller };
            let path = ReqPath::new(&part.path).map_err(|error| Error::invalid(error.to_string()))?;
            let request = Request {
                id: Arc::clone(&call.request.id),
                verb: part.verb,
                namespace: call.request.namespace.clone(),
                path,
                query: part.query,
                body: part.body,
                upload: gate::Upload::default(),
                token: call.request.token.clone(),
                wrap_ttl: call.request.wrap_ttl,
                remote: call.request.remote,
                headers: Vec::new(),
                help: false,
                inline: gate::Inline::default(),
                received: call.request.received,
            };
            let tx = call.view.tx();
            let admitted = async {
                let limited = Arc::new(request).route(&rooms)?.limit(&gate::Unlimited, tx).await?;
                limited.join(call)?.authorise(&rooms, tx).await?.enter(&rooms).await
            };
            let admitted = admitted.await.map_err(|refused| refused.error)?;
            let mut parts = self.parts.lock();
            parts.push(Some(admitted));
            Ok(PartId(parts.len() - 1))
        }
        .boxed()
    }

    fn answer_part<'a>(&'a self, call: &'a Call, part: PartId) -> BoxFuture<'a, Result<PartAnswer, Error>> {
        async move {
            let admitted = self.parts.lock().get_mut(part.0).and_then(Option::take);
            let admitted = admitted.ok_or_else(|| Error::internal("there is no such part"))?;
            let own;
            let tx = match admitted.facts().only_reads() {
                true => {
                    own = Tx::new(Arc::clone(&self.shared.store));
                    &own
                }
                false => call.view.tx(),
            };
            let answer = admitted.call(tx).await?;
            let json = match answer.body {
                gate::Body::Json(json) | gate::Body::Bare(json) => json,
                gate::Body::Empty | gate::Body::Raw { .. } | gate::Body::Stream(_) => bytes::Bytes::new(),
            };
            Ok(PartAnswer { status: answer.status, json, warnings: answer.warnings })
        }
        .boxed()
    }

    fn watch(&self, call: &Call) -> Option<Arc<dyn Watch>> {
        let (shared, mount) = (Arc::clone(&self.shared), MountInfo::clone(&self.mount.info));
        Some(Arc::new(Watching { shared, mount, caller: call.caller.clone()? }))
    }

    fn neighbour(&self, call: &Call, path: &str) -> Option<Neighbour> {
        let inside = path.strip_prefix(&*self.mount.info.path)?;
        let mount = Arc::clone(&self.mount.info);
        Some(Neighbour { mount, path: inside.into(), view: call.view.tx().view(PREFIX) })
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.shared.store)
    }
}
