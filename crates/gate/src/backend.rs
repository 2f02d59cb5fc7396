//! What a mounted engine is to the rest of the program, and what the program is to an engine.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::Verb;
use clock::{Clock, Timestamp};
use secret::SecretBytes;
use serde::{Deserialize, Serialize};
use storage::{BoxFuture, Tx, View};

use crate::{
    Answer, Caller, Conditions, Error, LeaseId, MountInfo, Neighbour, PartAnswer, PartId, PartRequest, Request, Watch,
};

/// A mounted engine or auth method, with the types of its routes erased. Made by the `engine` crate out of a route
/// table.
pub trait Backend: Send + Sync + 'static {
    /// The route for a verb and a path inside the mount.
    fn matches(&self, verb: Verb, path: &str) -> Matched;

    /// Whether the target of a write exists, for routes that tell create from update.
    fn exists(&self, call: Call) -> BoxFuture<'_, Result<bool, Error>>;

    /// The role that a login asks for, before anything else is known about it; empty if it names none. For limits that
    /// tell roles apart.
    fn role(&self, call: Call) -> BoxFuture<'_, Result<String, Error>>;

    /// The custom metadata of the secret that a request is about, for rules with conditions on it; `None` if it is about
    /// no secret that there is.
    fn metadata(&self, _call: Call) -> BoxFuture<'_, Result<Option<BTreeMap<String, String>>, Error>> {
        Box::pin(async { Ok(None) })
    }

    /// Whether its reads leave out the fields that [`Call::conditions`] hide.
    fn hides_fields(&self) -> bool {
        false
    }

    /// Answers an admitted request.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Answer, Error>>;

    /// Revokes what a lease stands for. "Already gone" is success.
    fn revoke(&self, call: LeaseCall) -> BoxFuture<'_, Result<(), Error>>;

    /// Makes what a lease stands for live until `call.until`.
    fn renew(&self, call: LeaseCall) -> BoxFuture<'_, Result<(), Error>>;

    /// Does a planned rotation.
    fn rotate(&self, call: RotateCall) -> BoxFuture<'_, Result<(), Error>>;

    /// Whether the mount wants to be looked in on, see [`Backend::tend`].
    fn is_tended(&self) -> bool {
        false
    }

    /// Does what is to be done in the background, soon after the start and then every second or so, one call at a time. The
    /// unit of work is the engine's own to commit.
    fn tend(&self, _call: TendCall) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// The route table, for help and for tests that walk it.
    fn routes(&self) -> &[RouteInfo];

    /// Ends background work and connections: the mount goes away or the server seals.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A route as help, tests and audit see it.
#[derive(Clone, Debug)]
pub struct RouteInfo {
    /// The verb.
    pub verb: Verb,
    /// The pattern: `creds/{name}`; a last capture `{path...}` takes the rest, slashes included.
    pub pattern: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Whether it answers without a token.
    pub open: bool,
    /// Whether it needs the `sudo` capability.
    pub sudo: bool,
    /// Whether writes are told apart into create and update.
    pub existence: bool,
    /// Whether it only reads what is stored: it writes nothing and reaches nothing outside.
    pub only_reads: bool,
    /// Top-level keys of the reply that the audit log keeps in clear: issued names, never values.
    pub clear: &'static [&'static str],
    /// The fields of the input, where a struct describes it.
    pub fields: &'static [&'static str],
    /// What each of the fields takes, in their order.
    pub types: fn() -> Vec<FieldType>,
}

/// What a field of an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A value of any type.
    Any,
    /// A list.
    Array,
    /// True or false.
    Boolean,
    /// Seconds, or a text with units.
    Duration,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// An object.
    Object,
    /// A text.
    String,
}

/// A route that was found.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its place in the route table.
    pub index: usize,
    /// Answers without a token.
    pub open: bool,
    /// Needs `sudo`.
    pub sudo: bool,
    /// Tells create from update.
    pub existence: bool,
    /// Only reads what is stored: writes nothing and reaches nothing outside.
    pub only_reads: bool,
    /// Keys of the reply that the audit log keeps in clear.
    pub clear: &'static [&'static str],
    /// The captured parts of the path, in the order of the pattern.
    pub captures: Arc<[String]>,
}

impl Endpoint {
    /// The route of a request that has none; policies are asked about it all the same.
    pub(crate) fn nothing() -> Self {
        Self {
            index: usize::MAX,
            open: false,
            sudo: false,
            existence: false,
            only_reads: false,
            clear: &[],
            captures: Arc::new([]),
        }
    }
}

/// What a path and verb lead to.
#[derive(Clone, Debug)]
pub enum Matched {
    /// A route.
    Found(Endpoint),
    /// The path is there, this verb is not.
    OtherVerb,
    /// Nothing.
    Nothing,
}

/// An admitted request as it reaches an engine. Only the gate makes one for a request.
#[non_exhaustive]
pub struct Call {
    /// The route.
    pub endpoint: Endpoint,
    /// The path inside the mount.
    pub path: Arc<str>,
    /// The request as it came in.
    pub request: Arc<Request>,
    /// Who asks; `None` on open routes without a token.
    pub caller: Option<Arc<Caller>>,
    /// Whether the engine is a part of the program that may see the caller's token.
    pub sees_token: bool,
    /// The mount.
    pub mount: Arc<MountInfo>,
    /// The mount's part of the unit of work.
    pub view: View,
    /// What the program offers.
    pub services: Arc<dyn Services>,
    /// How many requests this one is nested in, as a part of a part.
    pub depth: u8,
    /// What the rules say about the secret itself.
    pub conditions: Option<Arc<dyn Conditions>>,
    /// Whether it was admitted; before that it can have no parts.
    pub(crate) admitted: bool,
}

/// A lease that must be revoked or renewed.
pub struct LeaseCall {
    /// The lease; for a renewal of a login, the path of the login.
    pub lease: LeaseId,
    /// What the engine said revocation needs; for a login, what it said renewal needs.
    pub data: SecretBytes,
    /// Until when it shall live, for a renewal.
    pub until: Option<Timestamp>,
    /// Whether the credential may never have been made: the lease is only an intent.
    pub pending: bool,
    /// The mount.
    pub mount: Arc<MountInfo>,
    /// The mount's part of a unit of work that is committed after success.
    pub view: View,
    /// What the program offers.
    pub services: Arc<dyn Services>,
}

/// A rotation that is due.
pub struct RotateCall {
    /// What to rotate: the engine's own id of it, as it was planned.
    pub id: String,
    /// How often this rotation has failed since it became due.
    pub failures: u32,
    /// The mount.
    pub mount: Arc<MountInfo>,
    /// The mount's part of a unit of work that is committed after success.
    pub view: View,
    /// What the program offers.
    pub services: Arc<dyn Services>,
}

/// A look in on a mount.
pub struct TendCall {
    /// The mount.
    pub mount: Arc<MountInfo>,
    /// The mount's part of a unit of work.
    pub view: View,
    /// What the program offers.
    pub services: Arc<dyn Services>,
}

/// What the program offers to engines.
pub trait Services: Send + Sync + 'static {
    /// The time.
    fn clock(&self) -> &Clock;

    /// Makes a pending lease durable, in a commit of its own, before the credential it stands for is made.
    fn intent<'a>(&'a self, mount: &'a Arc<MountInfo>, spec: IntentSpec) -> BoxFuture<'a, Result<LeaseId, Error>>;

    /// Makes the text of a password by the named policy.
    fn password<'a>(&'a self, policy: &'a str) -> BoxFuture<'a, Result<secret::SecretString, Error>>;

    /// Plans, changes or (with `None`) ends the rotation of `id` in the same commit as the rest of `tx`.
    fn plan<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a Arc<MountInfo>,
        id: &'a str,
        plan: Option<Plan>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Records a rotation that the engine did by itself (by hand, on read) and plans the next.
    fn rotated<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a Arc<MountInfo>,
        id: &'a str,
        outcome: Result<(), String>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// How the rotation of `id` stands.
    fn rotation<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a Arc<MountInfo>,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<RotationStatus>, Error>>;

    /// Asks the login method of a mount whether a token that it made may be renewed until `until`. A mount that is gone
    /// refuses.
    fn renew_login<'a>(
        &'a self,
        tx: &'a Arc<Tx>,
        mount: &'a str,
        path: &'a str,
        data: secret::SecretString,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Before the secret of a login is checked: refuses a holder, by the alias that the login would have, whose secret
    /// was guessed wrong too often.
    fn check_lock<'a>(&'a self, mount: &'a Arc<MountInfo>, alias: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Once it is known whether the secret was right: counts it, and refuses, right or wrong, if the holder is locked by
    /// now. A method answers what it found only after this.
    fn attempted(&self, mount: &Arc<MountInfo>, attempt: Attempt<'_>) -> Result<(), Error>;

    /// What the caller may do at a full path (mount included): for listings that show only what the caller may see.
    fn allows(&self, caller: &Caller, path: &str, operation: api::Operation) -> bool;

    /// As [`Services::allows`], and nothing of what is there is hidden from the caller.
    fn allows_plainly(&self, caller: &Caller, path: &str, operation: api::Operation) -> bool {
        self.allows(caller, path, operation)
    }

    /// Whether the caller has the `sudo` capability at a full path.
    fn has_sudo(&self, caller: &Caller, path: &str) -> bool;

    /// The lease ids below `prefix`, for engines that compare a target with what is known.
    fn leases<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<LeaseId>, Error>>;

    /// The data that the engine stored with a lease, or `None` if there is no such lease.
    fn lease_data<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<Option<SecretBytes>, Error>>;

    /// Takes another request of the same caller into `call` as a part of it. It goes through all rooms by itself, as if
    /// it had been sent alone, and has its own two audit entries; only that no further use of the token is counted. An
    /// error is why it was refused. Who only wants to know whether the caller may, and to have that written down, asks
    /// for no [answer](Services::answer_part).
    fn admit_part<'a>(&'a self, _call: &'a Call, _part: PartRequest) -> BoxFuture<'a, Result<PartId, Error>> {
        Box::pin(async { Err(Error::internal("there are no parts of requests here")) })
    }

    /// Has a part answered that was admitted before. What it writes becomes part of the whole's commit.
    fn answer_part<'a>(&'a self, _call: &'a Call, _part: PartId) -> BoxFuture<'a, Result<PartAnswer, Error>> {
        Box::pin(async { Err(Error::internal("there are no parts of requests here")) })
    }

    /// What shows a stream, for as long as it goes on, what the caller of `call` may see.
    fn watch(&self, _call: &Call) -> Option<Arc<dyn Watch>> {
        None
    }

    /// The mount of a full path, with its storage in the unit of work of `call`; `None` if nothing is mounted there or
    /// if it is no mount of the same kind.
    fn neighbour(&self, _call: &Call, _path: &str) -> Option<Neighbour> {
        None
    }

    /// Says, as part of `tx`, whether the mount has work for [`Backend::tend`]. In a namespace that is not in memory only
    /// mounts that say so are looked in on; elsewhere it means nothing.
    fn note_tended(&self, _tx: &Tx, _mount: &MountInfo, _is_tended: bool) {}

    /// The store below the mount's view, for work outside a request; commits there are the engine's own.
    fn store(&self) -> Arc<dyn storage::Store>;
}

/// A login whose secret was checked.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The holder, by the alias that the login would have.
    pub alias: &'a str,
    /// Whether anybody has this name.
    pub known: bool,
    /// Whether the secret was right.
    pub right: bool,
}

/// A lease that will stand for a credential about to be made.
pub struct IntentSpec {
    /// The path of the request inside the mount, such as `creds/app`; the lease id begins with it.
    pub path: String,
    /// What revocation needs to know.
    pub revocation: SecretBytes,
    /// The token that will own the lease.
    pub owner: Option<Arc<Caller>>,
    /// The role, for quotas.
    pub role: String,
}

/// When to rotate: by a period, by a schedule, or by hand only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The time between rotations.
    pub period: Option<Duration>,
    /// Five cron fields, UTC.
    pub schedule: Option<String>,
    /// How long after its time a scheduled rotation may still start; `None` is any time.
    pub window: Option<Duration>,
    /// Whether the first rotation is due at once instead of after a period.
    pub first_now: bool,
}

impl Plan {
    /// Whether nothing is ever due by itself.
    pub fn is_by_hand(&self) -> bool {
        self.period.is_none() && self.schedule.is_none()
    }
}

/// How a rotation stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotationStatus {
    /// When the next one is due.
    pub next: Option<Timestamp>,
    /// When the last one succeeded.
    pub last: Option<Timestamp>,
    /// Why the last try failed; `None` after a success.
    pub last_error: Option<String>,
    /// Tries that failed since the last success.
    pub failures: u32,
    /// The last tries, newest first.
    pub history: Vec<RotationTry>,
}

/// One try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotationTry {
    /// When it ended.
    pub at: Timestamp,
    /// Why it failed; `None` if it succeeded.
    pub error: Option<String>,
}
