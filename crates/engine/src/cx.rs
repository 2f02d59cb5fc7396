//! What a handler or callback sees of the program.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use clock::{Clock, Timestamp};
use gate::{
    Call, Caller, Error, IntentSpec, LeaseId, MountInfo, Neighbour, PartAnswer, PartId, PartRequest, Plan,
    RotationStatus, Services, Watch,
};
use parking_lot::Mutex;
use secret::{SecretBytes, SecretString, Zeroizing};
use serde::{Deserialize, Serialize};
use storage::View;

use crate::input;

/// The engine, its storage and the services of the program: what handlers and callbacks have in common.
pub struct Scope<E> {
    engine: Arc<E>,
    view: View,
    mount: Arc<MountInfo>,
    services: Arc<dyn Services>,
}

impl<E> Clone for Scope<E> {
    fn clone(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            view: self.view.clone(),
            mount: Arc::clone(&self.mount),
            services: Arc::clone(&self.services),
        }
    }
}

impl<E> Scope<E> {
    pub(crate) fn new(engine: Arc<E>, view: View, mount: Arc<MountInfo>, services: Arc<dyn Services>) -> Self {
        Self { engine, view, mount, services }
    }

    /// The state of the mount in memory.
    pub fn engine(&self) -> &Arc<E> {
        &self.engine
    }

    /// The mount's part of the unit of work. What is written here is committed together with the rest of the request.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The mount.
    pub fn mount(&self) -> &Arc<MountInfo> {
        &self.mount
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        self.services.clock()
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.services.clock().now()
    }

    /// The services, for what has no shorter name here.
    pub fn services(&self) -> &Arc<dyn Services> {
        &self.services
    }

    /// Makes everything written so far durable now, before an effect outside that must not go unrecorded. What comes
    /// after may be run again from the start, so the handler must find and continue what it has begun.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        self.view.tx().commit().await?;
        Ok(())
    }

    /// Makes a password by a named password policy.
    pub async fn password(&self, policy: &str) -> Result<SecretString, Error> {
        self.services.password(policy).await
    }

    /// Plans, changes or (with `None`) ends the rotation of `id`, in the same commit as the rest.
    pub async fn plan(&self, id: &str, plan: Option<Plan>) -> Result<(), Error> {
        self.services.plan(self.view.tx(), &self.mount, id, plan).await
    }

    /// Records a rotation done outside its plan or without one, and plans the next from now if there is a plan.
    pub async fn rotated(&self, id: &str, outcome: Result<(), String>) -> Result<(), Error> {
        self.services.rotated(self.view.tx(), &self.mount, id, outcome).await
    }

    /// How the rotation of `id` stands; `None` if none is planned and none was done by hand.
    pub async fn rotation(&self, id: &str) -> Result<Option<RotationStatus>, Error> {
        self.services.rotation(self.view.tx(), &self.mount, id).await
    }
}

/// An admitted request, as a handler sees it. Everything of [`Scope`] is there too.
pub struct Cx<E> {
    scope: Scope<E>,
    call: Call,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl<E> std::ops::Deref for Cx<E> {
    type Target = Scope<E>;

    fn deref(&self) -> &Scope<E> {
        &self.scope
    }
}

impl<E> Cx<E> {
    pub(crate) fn new(engine: Arc<E>, call: Call, warnings: Arc<Mutex<Vec<String>>>) -> Self {
        let scope = Scope::new(engine, call.view.clone(), Arc::clone(&call.mount), Arc::clone(&call.services));
        Self { scope, call, warnings }
    }

    /// The scope alone, for functions shared with callbacks.
    pub fn scope(&self) -> &Scope<E> {
        &self.scope
    }

    /// Who asks; `None` on open routes.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.call.caller.as_ref()
    }

    /// Who asks, on routes that need a token.
    pub fn holder(&self) -> Result<&Arc<Caller>, Error> {
        self.call.caller.as_ref().ok_or_else(|| Error::internal("a closed route was reached without a caller"))
    }

    /// The caller's token itself; `None` but for parts of the program.
    pub fn token(&self) -> Option<&Arc<SecretString>> {
        self.call.request.token.as_ref().filter(|_| self.call.sees_token)
    }

    /// From which address.
    pub fn remote(&self) -> Option<IpAddr> {
        self.call.request.remote.map(|(address, _)| address)
    }

    /// The path inside the mount.
    pub fn path(&self) -> &str {
        &self.call.path
    }

    /// The first query parameter with this name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.call.request.query(name)
    }

    /// A header, by its name in lower case. Engines that are no part of the program see those that the protocol and the
    /// mount's `passthrough_request_headers` let in.
    pub fn header(&self, name: &str) -> Option<&str> {
        if !self.call.sees_token && !self.call.mount.lets_in(name) {
            return None;
        }
        self.call.request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as it came: empty or a JSON object. For bodies that no struct describes.
    pub fn body(&self) -> &Bytes {
        &self.call.request.body
    }

    /// The body in pieces, once, on routes that take it so.
    pub fn upload(&self) -> Option<gate::Pieces> {
        self.call.request.upload.take()
    }

    /// Reads the body into a type that borrows from it, so that what is secret is not copied. Unknown fields become a
    /// warning.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        let (parsed, unknown) = input::parse_body(self.body())?;
        self.warnings.lock().extend(input::unknown_warning(&unknown));
        Ok(parsed)
    }

    /// The id of the request.
    pub fn request_id(&self) -> &str {
        &self.call.request.id
    }

    /// For how long the reply will be wrapped, if it will.
    pub fn wrap_ttl(&self) -> Option<Duration> {
        self.call.request.wrap_ttl
    }

    /// Adds a warning to the reply.
    pub fn warn(&self, warning: impl Into<String>) {
        self.warnings.lock().push(warning.into());
    }

    /// Whether the caller may do `operation` at `path` inside this mount.
    pub fn allows(&self, path: &str, operation: api::Operation) -> bool {
        let full = format!("{}{path}", self.mount().path);
        self.caller().is_some_and(|caller| self.services().allows(caller, &full, operation))
    }

    /// Takes another request of the caller into this one: it goes through the rooms by itself, as if it had been sent
    /// alone. An error is why it was refused.
    pub async fn admit(&self, part: PartRequest) -> Result<PartId, Error> {
        self.services().admit_part(&self.call, part).await
    }

    /// Has an admitted part answered; what it writes is committed with the rest of this request.
    pub async fn answer(&self, part: PartId) -> Result<PartAnswer, Error> {
        self.services().answer_part(&self.call, part).await
    }

    /// The mount of this kind at a full path, with its storage in this unit of work. What may be done there is to be
    /// asked with [`Cx::admit`].
    pub fn neighbour(&self, path: &str) -> Option<Neighbour> {
        self.services().neighbour(&self.call, path)
    }

    /// Whether the caller may see this field of the secret that is read.
    pub fn shows(&self, field: &str) -> bool {
        self.call.conditions.as_ref().is_none_or(|conditions| conditions.shows(field))
    }

    /// Whether there are fields that the caller may not see.
    pub fn hides_fields(&self) -> bool {
        self.call.conditions.as_ref().is_some_and(|conditions| conditions.on_fields())
    }

    /// As [`Cx::allows`] at a full path, and nothing of what is there is hidden from the caller.
    pub fn allows_plainly(&self, path: &str, operation: api::Operation) -> bool {
        self.caller().is_some_and(|caller| self.services().allows_plainly(caller, path, operation))
    }

    /// What shows a stream, after this request, what the caller may see.
    pub fn watch(&self) -> Option<Arc<dyn Watch>> {
        self.services().watch(&self.call)
    }

    /// How many requests this one is nested in, as a part of a part.
    pub fn depth(&self) -> u8 {
        self.call.depth
    }

    /// Makes a pending lease durable before the credential it stands for is made. If the request fails or the process
    /// dies, the lease is revoked with this data.
    pub async fn intent<T: Serialize>(&self, role: &str, revocation: &T) -> Result<Intent, Error> {
        let spec = IntentSpec {
            path: self.call.path.to_string(),
            revocation: to_secret(revocation)?,
            owner: self.call.caller.clone(),
            role: role.to_owned(),
        };
        let id = self.services().intent(self.mount(), spec).await?;
        Ok(Intent(id))
    }
}

/// A pending lease, see [`Cx::intent`].
#[derive(Clone, Debug)]
pub struct Intent(pub(crate) LeaseId);

impl Intent {
    /// The id that the lease will have.
    pub fn id(&self) -> &LeaseId {
        &self.0
    }
}

/// `value` as JSON in custody.
pub(crate) fn to_secret<T: Serialize>(value: &T) -> Result<SecretBytes, Error> {
    serde_json::to_vec(value).map(SecretBytes::new).map_err(|_| Error::internal("a value cannot be written as JSON"))
}

/// `value` as JSON bytes that wipe themselves.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(value).map_err(|_| Error::internal("a value cannot be written as JSON"))?;
    Ok(Bytes::from_owner(Zeroizing::new(json)))
}
