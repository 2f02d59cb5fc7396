//! What a request becomes in the audit log, on its way in and on its way out.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use api::{Operation, Verb};
use audit::{Auth, Body, Data, Entry, Granting, Handed, Header, Memo, Namespace, PolicyResults, Sensitive, Unwritten};
use bytes::Bytes;
use gate::{Admitted, Caller, Error, Facts, Record, Refused, RequestId, TokenKind};
use parking_lot::Mutex;
use secret::SecretString;
use serde_json::value::RawValue;
use storage::BoxFuture;

use crate::{Bare, Success, live::Live, pipeline::json_of, running::Running};

/// Writes the two entries of one request.
pub(crate) struct Recorder {
    running: Arc<Running>,
    /// How who asks and what is asked were written the first time.
    memo: Memo,
    /// From where the request comes, as text.
    address: OnceLock<Arc<str>>,
    /// The first entry of a request that only reads, until it is waited for together with the second.
    owed: Mutex<Option<Handed>>,
}

impl Recorder {
    pub(crate) fn new(running: &Arc<Running>) -> Self {
        Self { running: Arc::clone(running), memo: Memo::default(), address: OnceLock::new(), owed: Mutex::default() }
    }

    /// Writes down how a request ended. Only what is written down is sent.
    pub(crate) async fn leave(
        &self,
        outcome: Result<(Admitted, Box<Success>), Refused>,
    ) -> Result<Box<Success>, Error> {
        match outcome {
            Ok((admitted, success)) => {
                self.settle_reply(self.hand_over_leave(admitted.facts(), Some(&success), "")).await?;
                Ok(success)
            }
            Err(refused) => {
                let why = why(&refused.error);
                if self.is_recorded(&refused.error) {
                    if !refused.entered {
                        self.settle(self.hand_over_enter(&refused.facts, &why)).await?;
                    }
                    self.settle_reply(self.hand_over_leave(&refused.facts, None, &why)).await?;
                }
                if let Error::Internal(text) = &refused.error {
                    tracing::error!(
                        request = &*refused.facts.request().id,
                        text,
                        "a request failed for a fault of the server"
                    );
                }
                Err(refused.error)
            }
        }
    }

    /// A flood that a rate limit holds back is written down only if that is wanted: it would flood the log instead.
    fn is_recorded(&self, error: &Error) -> bool {
        match error {
            Error::Unaudited => false,
            Error::RateLimit { .. } => self.running.live.load().quotas.enable_rate_limit_audit_logging,
            _ => true,
        }
    }

    fn hand_over_enter(&self, facts: &Facts, error: &str) -> Handed {
        if self.running.audit.is_empty() {
            return Handed::default();
        }
        let parts = Parts::new(facts, &self.running.live.load(), &self.address);
        let auth = parts.auth(facts);
        let request = parts.request(facts);
        let entry = Entry::request(self.running.clock.now(), &request);
        self.running.audit.hand_over(&entry.auth(auth.as_ref()).error(error).memo(&self.memo))
    }

    fn hand_over_leave(&self, facts: &Facts, success: Option<&Success>, error: &str) -> Handed {
        if self.running.audit.is_empty() {
            return Handed::default();
        }
        let parts = Parts::new(facts, &self.running.live.load(), &self.address);
        let auth = parts.auth(facts);
        let request = parts.request(facts);
        let made = success.and_then(|success| success.auth.as_deref()).map(made);
        let response = success.map(|success| response(facts, success, made.as_ref()));
        // After a login, who asked is who logged in.
        let who = auth.as_ref().or(made.as_ref());
        let entry = Entry::response(self.running.clock.now(), &request, response.as_ref());
        self.running.audit.hand_over(&entry.auth(who).error(error).memo(&self.memo))
    }

    /// Both records of a request that was answered, to be written again. `None` if the devices are closed.
    pub(crate) fn template(&self, facts: &Facts, success: &Success) -> Option<audit::Template> {
        let parts = Parts::new(facts, &self.running.live.load(), &self.address);
        let auth = parts.auth(facts);
        let request = parts.request(facts);
        let response = response(facts, success, None);
        let now = self.running.clock.now();
        let way_in = Entry::request(now, &request).auth(auth.as_ref());
        let way_out = Entry::response(now, &request, Some(&response)).auth(auth.as_ref());
        self.running.audit.template(&way_in, &way_out)
    }

    async fn settle_reply(&self, entry: Handed) -> Result<(), Error> {
        let settled = self.settle(entry).await;
        if settled.is_err() {
            self.running.metrics.unaudited_replies.fetch_add(1, Ordering::Relaxed);
        }
        settled
    }

    /// Waits until an entry is written, and the one before it, if that is still owed.
    async fn settle(&self, entry: Handed) -> Result<(), Error> {
        let owed = self.owed.lock().take().unwrap_or_default();
        self.running.audit.settle([owed, entry]).await.map_err(|unwritten| unaudited(&unwritten))
    }
}

impl Record for Recorder {
    fn enter<'a>(&'a self, facts: &'a Facts) -> BoxFuture<'a, Result<(), Error>> {
        let entry = self.hand_over_enter(facts, "");
        if facts.only_reads() {
            *self.owed.lock() = Some(entry);
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            let settled = self.settle(entry).await;
            if settled.is_err() {
                self.running.metrics.unaudited_requests.fetch_add(1, Ordering::Relaxed);
            }
            settled
        })
    }
}

/// Texts that the entries borrow.
struct Parts<'f> {
    headers: Vec<Header<'f>>,
    granting: Vec<Granting<'f>>,
    address: &'f str,
    policies: &'f [String],
    path: Cow<'f, str>,
    /// What was asked for in the query.
    query: Option<Bytes>,
}

impl<'f> Parts<'f> {
    fn new(facts: &'f Facts, live: &Live, address: &'f OnceLock<Arc<str>>) -> Self {
        let remote = facts.request().remote;
        let rules = facts.decision().map(|decision| decision.rules.as_slice()).unwrap_or_default();
        // The rules are of policies of the token's namespace.
        let home = facts.caller().map(|caller| &caller.namespace);
        let granting = rules.iter().map(|rule| Granting {
            name: &rule.policy,
            namespace_id: home.map_or("root", |home| home.id()),
            namespace_path: home.map_or("", |home| home.path()),
            kind: "acl",
            rule: &rule.path,
            line: u32::try_from(rule.line).unwrap_or_default(),
        });
        Self {
            headers: headers(&facts.request().headers, live),
            granting: granting.collect(),
            address: address.get_or_init(|| remote.map(|(address, _)| address_text(address)).unwrap_or_default()),
            policies: facts.caller().map(|caller| caller.policies()).unwrap_or_default(),
            path: path(facts.request()),
            query: query(facts.request()),
        }
    }

    fn auth(&'f self, facts: &'f Facts) -> Option<Auth<'f>> {
        let caller: &Caller = facts.caller()?;
        let results = facts
            .decision()
            .map(|decision| PolicyResults { allowed: decision.allowed, granting_policies: &self.granting });
        Some(Auth {
            client_token: token(facts),
            accessor: &caller.accessor,
            display_name: &caller.display_name,
            policies: self.policies.into(),
            token_policies: (&*caller.token_policies).into(),
            identity_policies: (&*caller.identity_policies).into(),
            no_default_policy: caller.no_default_policy,
            policy_results: results,
            metadata: (&*caller.metadata).into(),
            num_uses: caller.num_uses,
            remaining_uses: caller.remaining_uses.unwrap_or_default(),
            entity_id: &caller.entity_id,
            entity_created: false,
            token_type: kind_text(caller.kind),
            token_ttl: caller.ttl.as_secs(),
            token_issue_time: Some(caller.issued),
            kept: Some(&caller.kept),
        })
    }

    fn request(&'f self, facts: &'f Facts) -> audit::Request<'f> {
        let request = facts.request();
        let mount = facts.mount();
        let clear = mount.map(|mount| &*mount.clear_request_keys).unwrap_or_default();
        audit::Request {
            id: &request.id,
            client_id: facts.caller().map_or("", |caller| &caller.entity_id),
            operation: if request.help { "help" } else { facts.operation().as_str() },
            mount_point: mount.map_or("", |mount| &mount.path),
            mount_type: mount.map_or("", |mount| mount.kind),
            mount_accessor: mount.map_or("", |mount| &mount.accessor),
            mount_running_version: mount.map_or("", |_| RUNNING_VERSION),
            mount_class: mount.map_or("", |mount| mount.class.as_str()),
            client_token: token(facts),
            client_token_accessor: facts.caller().map_or("", |caller| &caller.accessor),
            namespace: Namespace { id: request.namespace.id(), path: request.namespace.path() },
            path: &self.path,
            data: Data {
                body: json(self.query.as_ref().unwrap_or(&request.body)),
                unhashed: clear.into(),
                ..Data::default()
            },
            remote_address: self.address,
            remote_port: request.remote.map_or(0, |(_, port)| port),
            wrap_ttl: request.wrap_ttl.map_or(0, |ttl| ttl.as_secs()),
            headers: &self.headers,
            ..audit::Request::default()
        }
    }
}

thread_local! {
    /// The last address and its text: connections send many requests.
    static LAST_ADDRESS: RefCell<Option<(IpAddr, Arc<str>)>> = const { RefCell::new(None) };
}

fn address_text(address: IpAddr) -> Arc<str> {
    LAST_ADDRESS.with_borrow_mut(|last| match last {
        Some((known, text)) if *known == address => Arc::clone(text),
        _ => {
            let text: Arc<str> = address.to_string().into();
            *last = Some((address, Arc::clone(&text)));
            text
        }
    })
}

/// The headers that the operator wants to have recorded; those of one name stand together.
fn headers<'f>(sent: &'f [(String, String)], live: &Live) -> Vec<Header<'f>> {
    if live.audited.is_empty() {
        return Vec::new();
    }
    let recorded = sent.iter().filter_map(|(name, value)| {
        let audited = live.audited.get(name)?;
        Some(Header { name, value, hashed: audited.hmac })
    });
    let mut recorded: Vec<_> = recorded.collect();
    recorded.sort_by_key(|header| header.name);
    recorded
}

fn response<'f>(facts: &'f Facts, success: &'f Success, made: Option<&'f Auth<'f>>) -> audit::Response<'f> {
    let mount = facts.mount();
    let unhashed = mount.map(|mount| &*mount.clear_response_keys).unwrap_or_default();
    let body = match (&success.content, json_of(&success.content)) {
        (_, Some(bytes)) => json(bytes),
        (crate::Content::Raw(_, bytes), None) => Body::Raw(bytes),
        _ => Body::None,
    };
    audit::Response {
        auth: made,
        mount_point: mount.map_or("", |mount| &mount.path),
        mount_type: mount.map_or("", |mount| mount.kind),
        mount_accessor: mount.map_or("", |mount| &mount.accessor),
        mount_running_plugin_version: mount.map_or("", |_| RUNNING_VERSION),
        mount_class: mount.map_or("", |mount| mount.class.as_str()),
        lease_id: &success.lease_id,
        data: Data {
            body,
            unhashed: unhashed.into(),
            clear: facts.endpoint().map(|endpoint| endpoint.clear).unwrap_or_default(),
            kept: success.kept.as_deref(),
        },
        warnings: (&success.warnings).into(),
        wrap_info: success.wrap_info.as_ref().map(|info| audit::WrapInfo {
            ttl: info.ttl,
            token: Sensitive::new(&info.token),
            accessor: &info.accessor,
            creation_time: info.creation_time.parse().ok(),
            creation_path: &info.creation_path,
            wrapped_accessor: info.wrapped_accessor.as_deref().unwrap_or_default(),
        }),
        ..audit::Response::default()
    }
}

/// A token that the reply hands out.
fn made(auth: &api::Auth) -> Auth<'_> {
    Auth {
        client_token: Sensitive::new(&auth.client_token),
        accessor: &auth.accessor,
        display_name: &auth.display_name,
        policies: (&auth.policies).into(),
        token_policies: (&auth.token_policies).into(),
        identity_policies: (&auth.identity_policies).into(),
        metadata: auth.metadata.as_ref().map(Into::into).unwrap_or_default(),
        num_uses: auth.num_uses,
        entity_id: &auth.entity_id,
        token_type: &auth.token_type,
        token_ttl: auth.lease_duration,
        ..Auth::default()
    }
}

fn token(facts: &Facts) -> Sensitive<'_> {
    sensitive(facts.request().token.as_ref())
}

fn sensitive(token: Option<&Arc<SecretString>>) -> Sensitive<'_> {
    match token {
        // EXPOSE: lent to the audit log, which writes its keyed hash alone.
        Some(token) => Sensitive::new(token.expose()),
        None => Sensitive::default(),
    }
}

/// The body of a request of key holders, or of its reply, without what opens the server: not even a device that writes
/// everything in clear shall have that.
fn without_keys(body: &[u8]) -> Vec<u8> {
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body) else { return Vec::new() };
    fields.retain(|name, _| !OPENS.contains(&name.as_str()));
    serde_json::to_vec(&fields).unwrap_or_default()
}

const OPENS: [&str; 7] = ["encoded_root_token", "encoded_token", "key", "keys", "keys_base64", "otp", "root_token"];

fn operation(verb: Verb) -> Operation {
    match verb {
        Verb::Delete => Operation::Delete,
        Verb::List => Operation::List,
        Verb::Patch => Operation::Patch,
        Verb::Read => Operation::Read,
        Verb::Scan => Operation::Scan,
        Verb::Write => Operation::Update,
    }
}

fn json(bytes: &[u8]) -> Body<'_> {
    if bytes.is_empty() { Body::None } else { Body::Json(bytes) }
}

fn kind_text(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Batch => "batch",
        _ => "service",
    }
}

/// The version of every engine: all are part of the program.
const RUNNING_VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), "+builtin.strongroom");

/// The path as the log has it: what is listed is a folder, with or without a slash at its end.
fn path(request: &gate::Request) -> Cow<'_, str> {
    let path = request.path.as_str();
    match request.verb {
        Verb::List | Verb::Scan if !path.ends_with('/') => Cow::Owned(format!("{path}/")),
        _ => Cow::Borrowed(path),
    }
}

/// The query as the engine reads it; none if there is a body, which is what counts then.
fn query(request: &gate::Request) -> Option<Bytes> {
    if request.query.is_empty() || !request.body.is_empty() {
        return None;
    }
    engine::query_body(&request.query).ok()
}

/// The reason as the audit log has it: what the caller reads, and for refusals what is behind it. That nothing is there
/// is an answer and no error.
fn why(error: &Error) -> String {
    match error {
        Error::NotFound => String::new(),
        Error::Denied(refusal) => format!("1 error occurred:\n\t* permission denied ({refusal})\n\n"),
        error => error.to_string(),
    }
}

/// What becomes of a request that could not be written down.
fn unaudited(unwritten: &Unwritten) -> Error {
    if unwritten.is_closed() {
        return Error::Sealed;
    }
    tracing::error!(%unwritten, "a request is refused because no audit device can write");
    Error::Unaudited
}

/// An act that the server started by itself, for the audit log.
pub(crate) struct Act<'a> {
    pub(crate) operation: &'static str,
    pub(crate) mount: Option<&'a gate::MountInfo>,
    pub(crate) path: &'a str,
    pub(crate) lease_id: &'a str,
    pub(crate) username: &'a str,
    pub(crate) error: &'a str,
}

/// A request that the listener could not read: a bad path, header or body.
#[derive(Debug)]
pub struct Misread {
    /// Its id.
    pub id: RequestId,
    /// What it asks for, if the method says so.
    pub verb: Option<Verb>,
    /// The path below `/v1/`, as it came.
    pub path: String,
    /// The token, if one was sent.
    pub token: Option<Arc<SecretString>>,
    /// The peer of the connection.
    pub remote: (IpAddr, u16),
}

impl Running {
    /// Waits until both records of a reply that is given again are written.
    pub(crate) async fn settle_again(&self, records: Handed) -> Result<(), Error> {
        let settled = self.audit.settle([records]).await.map_err(|unwritten| unaudited(&unwritten));
        if settled.is_err() {
            self.metrics.unaudited_replies.fetch_add(1, Ordering::Relaxed);
        }
        settled
    }

    /// Writes a request that could not be read into the audit log, on its way in and on its way out.
    pub(crate) async fn record_misread(&self, misread: &Misread, why: &str) -> Result<(), Error> {
        if self.audit.is_empty() {
            return Ok(());
        }
        let address = misread.remote.0.to_string();
        let request = audit::Request {
            id: &misread.id,
            operation: misread.verb.map_or("", |verb| operation(verb).as_str()),
            client_token: sensitive(misread.token.as_ref()),
            namespace: Namespace { id: "root", path: "" },
            path: &misread.path,
            remote_address: &address,
            remote_port: misread.remote.1,
            ..audit::Request::default()
        };
        let now = self.clock.now();
        self.write_entry(&Entry::request(now, &request).error(why)).await?;
        self.write_entry(&Entry::response(now, &request, None).error(why)).await
    }

    /// Writes a request of key holders into the audit log: its way in, or its outcome.
    pub(crate) async fn record_bare(&self, bare: &Bare, outcome: Option<Result<&Bytes, &Error>>) -> Result<(), Error> {
        if self.audit.is_empty() {
            return Ok(());
        }
        let asked = without_keys(&bare.body);
        let address = bare.remote.map(|(address, _)| address.to_string()).unwrap_or_default();
        let request = audit::Request {
            id: &bare.id,
            operation: operation(bare.verb).as_str(),
            mount_point: "sys/",
            mount_type: "system",
            mount_class: "secret",
            namespace: Namespace { id: "root", path: "" },
            path: &bare.path,
            data: Data { body: json(&asked), ..Data::default() },
            remote_address: &address,
            remote_port: bare.remote.map_or(0, |(_, port)| port),
            ..audit::Request::default()
        };
        let now = self.clock.now();
        match outcome {
            None => self.write_entry(&Entry::request(now, &request)).await,
            Some(Ok(body)) => {
                let said = without_keys(body);
                let response = audit::Response {
                    mount_point: request.mount_point,
                    mount_type: request.mount_type,
                    mount_class: request.mount_class,
                    data: Data { body: json(&said), ..Data::default() },
                    ..audit::Response::default()
                };
                self.write_entry(&Entry::response(now, &request, Some(&response))).await
            }
            Some(Err(error)) => {
                let why = error.to_string();
                self.write_entry(&Entry::response(now, &request, None).error(&why)).await
            }
        }
    }

    async fn write_entry(&self, entry: &Entry<'_>) -> Result<(), Error> {
        self.audit.record(entry).await.map_err(|unwritten| unaudited(&unwritten))
    }

    /// Writes an act of the server itself into the audit log. A log that cannot be written does not stop revocations.
    pub(crate) async fn record_act(&self, act: Act<'_>) {
        if self.audit.is_empty() {
            return;
        }
        let id = crypto::random::uuid();
        let request = audit::Request {
            id: &id,
            operation: act.operation,
            actor: "system",
            mount_point: act.mount.map_or("", |mount| &mount.path),
            mount_type: act.mount.map_or("", |mount| mount.kind),
            mount_accessor: act.mount.map_or("", |mount| &mount.accessor),
            mount_class: act.mount.map_or("", |mount| mount.class.as_str()),
            namespace: act.mount.map_or(Namespace { id: "root", path: "" }, |mount| Namespace {
                id: mount.namespace.id(),
                path: mount.namespace.path(),
            }),
            path: act.path,
            lease_id: act.lease_id,
            username: act.username,
            ..audit::Request::default()
        };
        let entry = Entry::response(self.clock.now(), &request, None).error(act.error);
        if let Err(unwritten) = self.audit.record(&entry).await {
            tracing::error!(%unwritten, "an act of the server could not be recorded");
        }
    }
}
