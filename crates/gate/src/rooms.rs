//! The rooms. Each function here takes the value of the room before and is the only maker of the next.

use std::{collections::BTreeMap, sync::Arc};

use api::{Operation, Verb};
use storage::{BoxFuture, Tx};

use crate::{Answer, Backend, Call, Caller, Endpoint, Error, Matched, MountInfo, Request, RouteInfo, Services};

/// Everything that is known about a request so far. The audit log is written from it.
#[derive(Debug)]
pub struct Facts {
    request: Arc<Request>,
    mount: Option<Target>,
    endpoint: Option<Endpoint>,
    caller: Option<Arc<Caller>>,
    operation: Option<Operation>,
    decision: Option<Decision>,
    /// How many requests this one is nested in.
    depth: u8,
}

impl Facts {
    /// The request itself.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The mount, once it is routed.
    pub fn mount(&self) -> Option<&Arc<MountInfo>> {
        self.mount.as_ref().map(|target| &target.info)
    }

    /// The route, once it is routed.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// What the request's path can do, for help: a route for each verb that it takes, or all routes of the mount if it
    /// is the mount itself.
    pub fn routes(&self) -> Vec<&RouteInfo> {
        let Some(target) = &self.mount else { return Vec::new() };
        let all = target.backend.routes();
        if target.path.is_empty() {
            return all.iter().collect();
        }
        let verbs = [Verb::List, Verb::Scan, Verb::Read, Verb::Write, Verb::Patch, Verb::Delete];
        let route = |verb| match target.backend.matches(verb, &target.path) {
            Matched::Found(endpoint) => all.get(endpoint.index),
            Matched::Nothing | Matched::OtherVerb => None,
        };
        verbs.into_iter().filter_map(route).collect()
    }

    /// Whether to answer it is only to read what is stored, so that nothing has happened as long as no reply is sent.
    pub fn only_reads(&self) -> bool {
        let request = &self.request;
        let route = self.endpoint.as_ref().is_some_and(|endpoint| endpoint.only_reads);
        // To wrap the reply is to write.
        route && request.wrap_ttl.is_none() && !request.help
    }

    /// Who asks, once authenticated.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// The decision, once made.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// What is done: exact once authorised, before that as far as the verb tells.
    pub fn operation(&self) -> Operation {
        self.operation.unwrap_or(match self.request.verb {
            Verb::Delete => Operation::Delete,
            Verb::List => Operation::List,
            Verb::Patch => Operation::Patch,
            Verb::Read => Operation::Read,
            Verb::Scan => Operation::Scan,
            Verb::Write => Operation::Update,
        })
    }
}

/// What the policies say about a request, and by which rules.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// The rules that decided: those that allow, or those that forbid. None where nothing matched, and for root.
    pub rules: Vec<Rule>,
    /// Why not, for the audit log and for `explain`; empty if allowed.
    pub reason: String,
    /// What the rules say about the secret itself, if they do.
    pub conditions: Option<Arc<dyn Conditions>>,
}

/// What rules say about a secret, beyond the request.
pub trait Conditions: std::fmt::Debug + Send + Sync {
    /// Whether its custom metadata has to be looked at.
    fn on_metadata(&self) -> bool;

    /// Whether some fields may have to be left out of what is read.
    fn on_fields(&self) -> bool;

    /// Whether a secret with this custom metadata may be dealt with; if not, why.
    fn admits(&self, custom: &BTreeMap<String, String>) -> Result<(), String>;

    /// Whether a field may be seen.
    fn shows(&self, field: &str) -> bool;
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The path as the policy writes it.
    pub path: Arc<str>,
    /// The line of the policy's text where the rule begins, from 1.
    pub line: usize,
}

/// A mount as the router found it.
#[derive(Clone)]
pub struct Target {
    /// What the mount is.
    pub info: Arc<MountInfo>,
    /// The engine behind it.
    pub backend: Arc<dyn Backend>,
    /// What the program offers to it.
    pub services: Arc<dyn Services>,
    /// The path inside the mount.
    pub path: Arc<str>,
    /// The storage prefix of the mount.
    pub prefix: Arc<str>,
    /// Whether the engine is part of the program and sees the caller's token.
    pub sees_token: bool,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("info", &self.info).field("path", &self.path).finish_non_exhaustive()
    }
}

/// A request that was turned away, with what was known by then.
#[derive(Debug)]
pub struct Refused {
    /// What was known.
    pub facts: Box<Facts>,
    /// Why.
    pub error: Error,
    /// Whether the request already stands in the audit log.
    pub entered: bool,
}

/// Finds the mount of a path.
pub trait Route: Sync {
    /// The mount, or why there is none.
    fn find(&self, request: &Request) -> Result<Target, Error>;
}

/// Limits how often may be asked.
pub trait Limit: Sync {
    /// Whether limits on this mount tell the roles of its logins apart.
    fn knows_roles(&self, mount: &MountInfo) -> bool;

    /// Counts a request, or refuses it. `role` is that of a login, if [`Limit::knows_roles`] asked for it.
    fn admit(&self, request: &Request, mount: Option<&MountInfo>, role: &str) -> Result<(), Error>;
}

/// No limits at all, for where engines are tried out alone.
pub struct Unlimited;

impl Limit for Unlimited {
    fn knows_roles(&self, _: &MountInfo) -> bool {
        false
    }

    fn admit(&self, _: &Request, _: Option<&MountInfo>, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// Finds the holder of a token.
pub trait Authenticate: Sync {
    /// The holder of the request's token, with one use counted.
    fn holder<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Arc<Caller>, Error>>;
}

/// Decides what a caller may do.
pub trait Authorise: Sync {
    /// The decision about this request.
    fn decide<'a>(
        &'a self,
        caller: &'a Caller,
        operation: Operation,
        endpoint: &'a Endpoint,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Decision, Error>>;
}

/// Writes a request into the audit log.
pub trait Record: Sync {
    /// Returns once the entry is written, or, for a request that [only reads](Facts::only_reads), once it has its place
    /// in the log; its second entry then waits for both. An error means that it is not written.
    fn enter<'a>(&'a self, facts: &'a Facts) -> BoxFuture<'a, Result<(), Error>>;
}

/// A request whose mount and route are known.
#[derive(Debug)]
pub struct Routed(Box<Facts>);

/// A routed request that is within the limits.
#[derive(Debug)]
pub struct Limited(Box<Facts>);

/// A limited request whose caller is known, or whose route is open.
#[derive(Debug)]
pub struct Authenticated(Box<Facts>);

/// A request that the policies allow.
#[derive(Debug)]
pub struct Permitted(Box<Facts>);

/// A permitted request that stands in the audit log, or has its place there: the only kind that an engine sees.
#[derive(Debug)]
pub struct Admitted(Box<Facts>);

impl Request {
    /// Finds the mount and the route. An unknown path or verb is not refused yet: who may not know what exists is
    /// refused in a later room, by [`Permitted::enter`].
    pub fn route(self: Arc<Self>, router: &impl Route) -> Result<Routed, Refused> {
        let mut facts = Box::new(Facts {
            request: self,
            mount: None,
            endpoint: None,
            caller: None,
            operation: None,
            decision: None,
            depth: 0,
        });
        match router.find(&facts.request) {
            Ok(target) => {
                // Help is not a call: no route of the engine is taken, and none is open.
                let wanted = (!facts.request.help).then(|| target.backend.matches(facts.request.verb, &target.path));
                if let Some(Matched::Found(endpoint)) = wanted {
                    facts.endpoint = Some(endpoint);
                }
                facts.mount = Some(target);
                Ok(Routed(facts))
            }
            // A path without a mount needs a valid token too, before it is said that nothing is there.
            Err(Error::NoRoute(_)) => Ok(Routed(facts)),
            Err(error) => Err(Refused { facts, error, entered: false }),
        }
    }
}

impl Routed {
    /// Refuses who asks too often; before anything is looked up, so that guessing tokens and passwords is limited, too.
    pub async fn limit(self, quotas: &impl Limit, tx: &Arc<Tx>) -> Result<Limited, Refused> {
        let facts = &self.0;
        let mount = facts.mount().map(|mount| &**mount);
        let role = match facts.mount.as_ref().zip(facts.endpoint.as_ref()) {
            Some((target, endpoint)) if endpoint.open && quotas.knows_roles(&target.info) => {
                // What is wrong with the login is said by its handler.
                target.backend.role(call(facts, target, endpoint.clone(), tx)).await.unwrap_or_default()
            }
            _ => String::new(),
        };
        match quotas.admit(&facts.request, mount, &role) {
            Ok(()) => Ok(Limited(self.0)),
            Err(error) => Err(Refused { facts: self.0, error, entered: false }),
        }
    }
}

impl Limited {
    /// Finds out who asks. Open routes are passed without a token.
    pub async fn authenticate(mut self, tokens: &impl Authenticate) -> Result<Authenticated, Refused> {
        if self.0.endpoint.as_ref().is_some_and(|endpoint| endpoint.open) {
            return Ok(Authenticated(self.0));
        }
        let holder = tokens.holder(&self.0.request).await;
        match holder {
            Ok(caller) => {
                self.0.caller = Some(caller);
                Ok(Authenticated(self.0))
            }
            Err(error) => Err(Refused { facts: self.0, error, entered: false }),
        }
    }
}

impl Limited {
    /// The way of a request that is a part of another one: who asks is known, and no further use is counted.
    pub fn join(mut self, whole: &Call) -> Result<Authenticated, Refused> {
        if !whole.admitted {
            let error = Error::internal("a request that is not admitted has no parts");
            return Err(Refused { facts: self.0, error, entered: false });
        }
        self.0.depth = whole.depth.saturating_add(1);
        if !self.0.endpoint.as_ref().is_some_and(|endpoint| endpoint.open) {
            self.0.caller.clone_from(&whole.caller);
            if self.0.caller.is_none() {
                let error = Error::Denied(crate::Refusal::MissingToken);
                return Err(Refused { facts: self.0, error, entered: false });
            }
        }
        Ok(Authenticated(self.0))
    }
}

impl Authenticated {
    /// Decides whether the caller may do this. Refuses first for the lack of a right and only then for the lack of a
    /// route, so that the unprivileged learn nothing about what exists.
    pub async fn authorise(mut self, policies: &impl Authorise, tx: &Arc<Tx>) -> Result<Permitted, Refused> {
        let operation = match self.operation(tx).await {
            Ok(operation) => operation,
            Err(error) => return Err(Refused { facts: self.0, error, entered: false }),
        };
        self.0.operation = Some(operation);
        let facts = &mut self.0;
        if let Some(caller) = &facts.caller {
            let nothing;
            let endpoint = match &facts.endpoint {
                Some(endpoint) => endpoint,
                None => {
                    nothing = Endpoint::nothing();
                    &nothing
                }
            };
            match policies.decide(caller, operation, endpoint, &facts.request).await {
                Ok(mut decision) => {
                    if let Some(conditions) = decision.conditions.as_deref().filter(|_| decision.allowed) {
                        match unmet(facts, conditions, operation, tx).await {
                            Ok(None) => {}
                            Ok(Some(why)) => {
                                decision.allowed = false;
                                decision.reason = format!("refused: {why}");
                            }
                            Err(error) => return Err(Refused { facts: self.0, error, entered: false }),
                        }
                    }
                    let refusal = (!decision.allowed).then(|| crate::Refusal::Policy(decision.reason.clone()));
                    facts.decision = Some(decision);
                    if let Some(refusal) = refusal {
                        return Err(Refused { facts: self.0, error: Error::Denied(refusal), entered: false });
                    }
                }
                Err(error) => return Err(Refused { facts: self.0, error, entered: false }),
            }
        }
        match self.missing_route() {
            Some(error) => Err(Refused { facts: self.0, error, entered: false }),
            None => Ok(Permitted(self.0)),
        }
    }

    async fn operation(&self, tx: &Arc<Tx>) -> Result<Operation, Error> {
        let facts = &self.0;
        let Some((target, endpoint)) = facts.mount.as_ref().zip(facts.endpoint.as_ref()) else {
            return Ok(facts.operation());
        };
        if !endpoint.existence || facts.request.verb != Verb::Write {
            return Ok(facts.operation());
        }
        let exists = match target.backend.exists(call(facts, target, endpoint.clone(), tx)).await {
            Ok(exists) => exists,
            // What is wrong with the request is said by its handler, to those who may ask it.
            Err(Error::Invalid(_) | Error::Denied(_)) => true,
            Err(error) => return Err(error),
        };
        Ok(if exists { Operation::Update } else { Operation::Create })
    }

    fn missing_route(&self) -> Option<Error> {
        let facts = &self.0;
        let Some(target) = &facts.mount else {
            let path = facts.request.path.as_str();
            return Some(Error::NoRoute(format!("no handler for route \"{path}\". route entry not found.")));
        };
        if facts.endpoint.is_some() || facts.request.help && !facts.routes().is_empty() {
            return None;
        }
        Some(match target.backend.matches(facts.request.verb, &target.path) {
            Matched::OtherVerb => Error::Unsupported,
            _ => Error::NoRoute(format!("no handler for route \"{}\". unsupported path", facts.request.path)),
        })
    }
}

impl Permitted {
    /// Writes the request down, or stops.
    pub async fn enter(self, audit: &impl Record) -> Result<Admitted, Refused> {
        let entered = audit.enter(&self.0).await;
        match entered {
            Ok(()) => Ok(Admitted(self.0)),
            Err(error) => Err(Refused { facts: self.0, error, entered: false }),
        }
    }
}

impl Admitted {
    /// Lets the engine answer, within this unit of work.
    pub async fn call(&self, tx: &Arc<Tx>) -> Result<Answer, Error> {
        let facts = &self.0;
        let Some((target, endpoint)) = facts.mount.as_ref().zip(facts.endpoint.as_ref()) else {
            return Err(Error::internal("a request was admitted without a route"));
        };
        if facts.only_reads() {
            // Its first entry may not be written yet.
            tx.forbid_writes();
        }
        let call = Call { admitted: true, ..call(facts, target, endpoint.clone(), tx) };
        let mut answer = target.backend.call(call).await?;
        if !target.sees_token {
            answer.headers.retain(|(name, _)| target.info.lets_out(name));
        }
        Ok(answer)
    }

    /// What is known about the request.
    pub fn facts(&self) -> &Facts {
        &self.0
    }

    /// Ends the way of a request that an error stopped after it was admitted.
    pub fn refuse(self, error: Error) -> Refused {
        Refused { facts: self.0, error, entered: true }
    }
}

/// Why a request that the rules allow under conditions does not meet them. Where they cannot be checked it does not.
async fn unmet(
    facts: &Facts,
    conditions: &dyn Conditions,
    operation: Operation,
    tx: &Arc<Tx>,
) -> Result<Option<String>, Error> {
    let Some((target, endpoint)) = facts.mount.as_ref().zip(facts.endpoint.as_ref()) else {
        return Ok(Some("the rule has conditions, and there is nothing to hold them against".to_owned()));
    };
    if conditions.on_fields() && operation == Operation::Read && !target.backend.hides_fields() {
        return Ok(Some("the rule hides fields, and this mount cannot".to_owned()));
    }
    if !conditions.on_metadata() {
        return Ok(None);
    }
    match target.backend.metadata(call(facts, target, endpoint.clone(), tx)).await? {
        Some(custom) => Ok(conditions.admits(&custom).err()),
        None => Ok(Some("the rule has conditions on custom metadata, and there is none here".to_owned())),
    }
}

fn call(facts: &Facts, target: &Target, endpoint: Endpoint, tx: &Arc<Tx>) -> Call {
    Call {
        endpoint,
        path: Arc::clone(&target.path),
        request: Arc::clone(&facts.request),
        caller: facts.caller.clone(),
        sees_token: target.sees_token,
        mount: Arc::clone(&target.info),
        view: tx.view(Arc::clone(&target.prefix)),
        services: Arc::clone(&target.services),
        depth: facts.depth,
        conditions: facts.decision.as_ref().and_then(|decision| decision.conditions.clone()),
        admitted: false,
    }
}
