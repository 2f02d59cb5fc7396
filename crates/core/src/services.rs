//! What the program is to an engine while it answers one request, and how a request finds its engine.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use api::Operation;
use clock::{Clock, Timestamp};
use gate::{
    Attempt, Authenticate, Authorise, Call, Caller, Conditions, Decision, Endpoint, Error, IntentSpec, LeaseCall,
    LeaseId, MountInfo, Neighbour, PartAnswer, PartId, PartRequest, Plan, Refusal, Request, RotationStatus, Route,
    Rule, Services, Target, TokenId, Watch,
};
use mounts::InUse;
use parking_lot::Mutex;
use policy::{Acl, Ask, RequestParameters};
use quotas::Allowance;
use secret::{SecretBytes, SecretString};
use storage::{BoxFuture, Store, Tx};

use crate::{
    help, limits,
    namespaces::{Found, Space, check_open, tended_key},
    parts::Parts,
    running::Running,
    watch::Watching,
};

/// The services of one request: the program's, and what has to be undone if the request fails.
pub(crate) struct RequestServices {
    running: Arc<Running>,
    /// The namespace of the request.
    space: Arc<Space>,
    /// The namespace of the caller's token: that of the request, or one above it.
    home: OnceLock<Arc<Space>>,
    /// What is at the path of the request, until the router takes it.
    found: Mutex<Option<Result<Option<Found>, Error>>>,
    acl: OnceLock<Arc<Acl>>,
    intents: Mutex<Vec<LeaseId>>,
    spent: OnceLock<TokenId>,
    planned: AtomicBool,
    allowance: OnceLock<Allowance>,
    /// Holds the mount back from being removed while the request is under way.
    in_use: OnceLock<InUse>,
    /// The same for the mounts of its parts.
    also_in_use: Mutex<Vec<InUse>>,
    parts: Parts,
    this: Weak<Self>,
}

impl RequestServices {
    /// For work in a namespace that no request asks for.
    pub(crate) fn new(running: &Arc<Running>, space: &Arc<Space>) -> Arc<Self> {
        Self::for_request(running, space, Ok(None))
    }

    pub(crate) fn for_request(
        running: &Arc<Running>,
        space: &Arc<Space>,
        found: Result<Option<Found>, Error>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            running: Arc::clone(running),
            space: Arc::clone(space),
            home: OnceLock::new(),
            found: Mutex::new(Some(found)),
            acl: OnceLock::new(),
            intents: Mutex::default(),
            spent: OnceLock::new(),
            planned: AtomicBool::new(false),
            allowance: OnceLock::new(),
            in_use: OnceLock::new(),
            also_in_use: Mutex::default(),
            parts: Parts::default(),
            this: Weak::clone(this),
        })
    }

    /// Gives up the intents made so far.
    pub(crate) async fn abandon_intents(&self) {
        let intents = std::mem::take(&mut *self.intents.lock());
        for intent in intents {
            if let Err(error) = self.running.leases.abandon(&intent).await {
                tracing::warn!(lease = %intent, %error, "an intent could not be given up; it ends by itself");
            }
        }
    }

    /// The server, while it is unsealed.
    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Writes down how the parts of the request ended, if there are any.
    pub(crate) async fn leave_parts(&self, failed: Option<&Error>) -> Result<(), Error> {
        if self.parts.is_empty() {
            return Ok(());
        }
        Box::pin(self.parts.leave(failed)).await
    }

    /// Whether the request planned a rotation.
    pub(crate) fn has_planned(&self) -> bool {
        self.planned.load(Ordering::Relaxed)
    }

    /// The request was counted against a rate limit.
    pub(crate) fn limited(&self, allowance: Allowance) {
        // A request is counted once.
        let _ = self.allowance.set(allowance);
    }

    /// The headers that tell the client how much it has left, where that is wanted, and how far this node is, where there are
    /// others.
    pub(crate) fn limit_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = match self.allowance.get() {
            Some(allowance) if self.running.live.load().quotas.enable_rate_limit_response_headers => {
                limits::headers(allowance)
            }
            _ => Vec::new(),
        };
        headers.extend(self.running.index().map(|index| ("x-vault-index", index)));
        headers
    }

    /// When too many failed logins lock a user of this mount out.
    fn lockout_rules(&self, mount: &MountInfo) -> lockout::Rules {
        let mounted = self.space.mounts.by_uuid(&mount.uuid);
        let own = mounted.and_then(|mounted| mounted.entry.config.user_lockout_config.as_ref().map(settings));
        self.running.settings.lockout.rules(mount.kind, &own.unwrap_or_default())
    }

    /// A path inside the namespace of the request, as the policies of the caller name it.
    fn path_for<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match self.home.get() {
            Some(home) => self.space.path_from(home, path),
            None => Cow::Borrowed(path),
        }
    }

    /// The token whose last use this request was.
    pub(crate) fn spent_token(&self) -> Option<&TokenId> {
        self.spent.get()
    }
}

impl Services for RequestServices {
    fn clock(&self) -> &Clock {
        &self.running.clock
    }

    fn intent<'a>(&'a self, mount: &'a Arc<MountInfo>, spec: IntentSpec) -> BoxFuture<'a, Result<LeaseId, Error>> {
        Box::pin(async move {
            let id = self.running.leases.intent(mount, spec).await.inspect_err(|error| {
                if matches!(error, Error::Quota { .. }) {
                    self.running.metrics.leases_refused.fetch_add(1, Ordering::Relaxed);
                }
            })?;
            self.intents.lock().push(id.clone());
            Ok(id)
        })
    }

    fn password<'a>(&'a self, policy: &'a str) -> BoxFuture<'a, Result<SecretString, Error>> {
        Box::pin(crate::passwords::generate(Arc::clone(&self.space.store), policy))
    }

    fn plan<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a Arc<MountInfo>,
        id: &'a str,
        plan: Option<Plan>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.planned.store(true, Ordering::Relaxed);
        Box::pin(self.running.rotations.plan(tx, mount, id, plan))
    }

    fn rotated<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a Arc<MountInfo>,
        id: &'a str,
        outcome: Result<(), String>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.planned.store(true, Ordering::Relaxed);
        self.running.metrics.rotation(outcome.is_ok());
        Box::pin(self.running.rotations.rotated(tx, mount, id, outcome))
    }

    fn rotation<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a Arc<MountInfo>,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<RotationStatus>, Error>> {
        Box::pin(self.running.rotations.status(tx, mount, id))
    }

    fn renew_login<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a str,
        path: &'a str,
        data: SecretString,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // The token is of this namespace, or it is the caller's own, from one above.
            let mut mounts = self.space.upwards().filter_map(|space| Some((space, space.mounts.by_uuid(mount)?)));
            let found = mounts.next().filter(|(_, mounted)| !mounted.entry.tainted);
            let (space, mounted) =
                found.ok_or_else(|| Error::invalid("the auth method that made the token is gone"))?;
            // EXPOSE: given back to the method that stored it.
            let data = SecretBytes::new(data.expose().clone().into_bytes());
            let call = LeaseCall {
                lease: LeaseId(path.into()),
                data,
                until: Some(until),
                pending: false,
                mount: Arc::clone(&mounted.info),
                view: space.within(Arc::clone(tx.outer())).view(Arc::clone(&mounted.prefix)),
                services: RequestServices::new(&self.running, space) as Arc<dyn Services>,
            };
            mounted.backend.renew(call).await
        })
    }

    fn check_lock<'a>(&'a self, mount: &'a Arc<MountInfo>, alias: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.running.lockout.check(&mount.uuid, alias, &self.lockout_rules(mount)).await })
    }

    fn attempted(&self, mount: &Arc<MountInfo>, attempt: Attempt<'_>) -> Result<(), Error> {
        let Attempt { alias, known, right } = attempt;
        self.running.lockout.settle(&mount.uuid, alias, known, right, &self.lockout_rules(mount))
    }

    fn allows(&self, caller: &Caller, path: &str, operation: Operation) -> bool {
        caller.is_root || self.acl.get().is_some_and(|acl| acl.allows(&self.path_for(path), operation))
    }

    fn allows_plainly(&self, caller: &Caller, path: &str, operation: Operation) -> bool {
        caller.is_root || self.acl.get().is_some_and(|acl| acl.allows_plainly(path, operation))
    }

    fn watch(&self, call: &Call) -> Option<Arc<dyn Watch>> {
        Some(Arc::new(Watching::new(&self.running, call)?))
    }

    fn has_sudo(&self, caller: &Caller, path: &str) -> bool {
        let sudo = |acl: &Arc<Acl>| acl.capabilities(&self.path_for(path)).contains(&"sudo");
        caller.is_root || self.acl.get().is_some_and(sudo)
    }

    fn leases<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<LeaseId>, Error>> {
        Box::pin(
            async move { Ok(self.running.leases.ids(self.space.namespace.suffix(), prefix, after, limit).await?.0) },
        )
    }

    fn lease_data<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<Option<SecretBytes>, Error>> {
        Box::pin(self.running.leases.data(lease))
    }

    fn admit_part<'a>(&'a self, call: &'a Call, part: PartRequest) -> BoxFuture<'a, Result<PartId, Error>> {
        Box::pin(async move {
            let this =
                self.this.upgrade().ok_or_else(|| Error::internal("a part came after the end of its request"))?;
            self.parts.admit(&this, call, part).await
        })
    }

    fn answer_part<'a>(&'a self, call: &'a Call, part: PartId) -> BoxFuture<'a, Result<PartAnswer, Error>> {
        Box::pin(self.parts.answer(call, part))
    }

    fn neighbour(&self, call: &Call, path: &str) -> Option<Neighbour> {
        self.this.upgrade()?.neighbour_of(call, path)
    }

    fn note_tended(&self, tx: &Tx, mount: &MountInfo, is_tended: bool) {
        if mount.namespace.is_root() {
            return;
        }
        let key = tended_key(mount.namespace.suffix(), &mount.uuid);
        match is_tended {
            true => tx.whole().put(key, bytes::Bytes::new()),
            false => tx.whole().delete(key),
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.space.store)
    }
}

/// What a mount says of locking users out; zero leaves it to the server.
fn settings(of: &mounts::UserLockout) -> lockout::Settings {
    lockout::Settings {
        threshold: (of.lockout_threshold > 0).then_some(of.lockout_threshold),
        duration: of.lockout_duration.set(),
        counter_reset: of.lockout_counter_reset.set(),
        disabled: of.lockout_disable.then_some(true),
    }
}

/// Finds the mount, the caller and the decision for one request.
pub(crate) struct Router<'r> {
    running: &'r Arc<Running>,
    services: &'r Arc<RequestServices>,
}

impl<'r> Router<'r> {
    pub(crate) fn new(running: &'r Arc<Running>, services: &'r Arc<RequestServices>) -> Self {
        Self { running, services }
    }

    pub(crate) fn running(&self) -> &'r Arc<Running> {
        self.running
    }

    pub(crate) fn services(&self) -> &'r Arc<RequestServices> {
        self.services
    }
}

impl Route for Router<'_> {
    fn find(&self, request: &Request) -> Result<Target, Error> {
        let path = request.path.as_str();
        if request.verb == api::Verb::Write && request.path.is_folder() {
            return Err(Error::invalid("cannot write to a path ending in '/'"));
        }
        // A request is placed before it comes here; its parts lie in the same namespace.
        let placed = self.services.found.lock().take();
        let found = placed.unwrap_or_else(|| Ok(Found::of(&self.services.space, path)))?;
        let Some(found) = found else {
            return Err(Error::NoRoute(format!("no handler for route \"{path}\". route entry not found.")));
        };
        check_open(&self.services.space, request, &found)?;
        let Found { mounted, path: local, in_use } = found;
        if let Err(in_use) = self.services.in_use.set(in_use) {
            self.services.also_in_use.lock().push(in_use);
        }
        Ok(Target {
            info: Arc::clone(&mounted.info),
            backend: Arc::clone(&mounted.backend),
            services: Arc::clone(self.services) as Arc<dyn Services>,
            path: local,
            prefix: Arc::clone(&mounted.prefix),
            sees_token: mounted.builtin,
        })
    }
}

impl Authenticate for Router<'_> {
    fn holder<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Arc<Caller>, Error>> {
        Box::pin(async move {
            let token = request.token.as_ref().ok_or(Error::Denied(Refusal::MissingToken))?;
            let space = &self.services.space;
            let foreign = || Error::Denied(Refusal::Namespace);
            // Before a use is counted.
            space.from(tokens::namespace_of(token)).ok_or_else(foreign)?;
            let mut caller = self.running.tokens.holder(token, request.remote.map(|(address, _)| address)).await?;
            let home = space.from(caller.namespace.suffix()).ok_or_else(foreign)?;
            let _ = self.services.home.set(Arc::clone(home));
            if caller.remaining_uses == Some(0) {
                // The first to set it wins; there is one caller to a request.
                let _ = self.services.spent.set(caller.id.clone());
            }
            if !caller.entity_id.is_empty() {
                let standing = home.identities.standing(&caller.entity_id).await?;
                caller = self.running.callers.join(caller, standing);
            }
            Ok(caller)
        })
    }
}

impl Authorise for Router<'_> {
    fn decide<'a>(
        &'a self,
        caller: &'a Caller,
        operation: Operation,
        endpoint: &'a Endpoint,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Decision, Error>> {
        Box::pin(async move {
            let home = self.services.home.get().unwrap_or(&self.services.space);
            let acl = home.policies.acl(caller).await?;
            let acl = self.services.acl.get_or_init(|| acl);
            let path = self.services.path_for(request.path.as_str());
            if request.help {
                return Ok(help::decision(acl, &path));
            }
            let parameters = RequestParameters { body: &request.body, query: &request.query };
            let mut ask = Ask::new(&path, operation);
            ask.parameters = Some(&parameters);
            ask.sudo_required = endpoint.sudo;
            ask.wrap_ttl = request.wrap_ttl;
            Ok(decision(&acl.decide(&ask)))
        })
    }
}

/// A policy's decision as the rooms carry it.
pub(crate) fn decision(from: &policy::Decision) -> Decision {
    let rule = |rule: &policy::RuleRef| Rule {
        policy: rule.policy.shared(),
        path: Arc::clone(&rule.path),
        line: usize::try_from(rule.line).unwrap_or_default(),
    };
    let rules = from.rules().iter().map(rule).collect();
    let reason = if from.allowed { String::new() } else { from.reason_text() };
    let conditions = from.conditions().map(|conditions| Arc::new(Held(Arc::clone(conditions))) as Arc<dyn Conditions>);
    Decision { allowed: from.allowed, rules, reason, conditions }
}

/// The conditions of a policy as the rooms ask them.
#[derive(Debug)]
struct Held(Arc<policy::Conditions>);

impl Conditions for Held {
    fn on_metadata(&self) -> bool {
        self.0.on_metadata()
    }

    fn on_fields(&self) -> bool {
        self.0.on_fields()
    }

    fn admits(&self, custom: &BTreeMap<String, String>) -> Result<(), String> {
        self.0
            .admits(custom)
            .map_err(|key| format!("custom metadata {key:?} does not fit the rule's required_metadata"))
    }

    fn shows(&self, field: &str) -> bool {
        self.0.shows(field)
    }
}
