//! What the author of a secrets engine or an auth method imports.
//!
//! An engine is a type that implements [`Engine`]: it has state, a table of [`Routes`], and, if it leases or rotates,
//! callbacks. Handlers are plain async functions of owned values:
//!
//! ```ignore
//! async fn write(cx: Cx<Totp>, name: Name, new: NewKey) -> Result<Done, Error>
//! Routes::default().on(Verb::Write, "keys/{name}", "Create or replace a key.", keys::write)
//! ```
//! The second argument is made from the captures of the path ([`FromPath`]), the third, if there is one, from the body
//! or, for reads, lists and deletions, from the query string. Unknown fields become warnings, wrong ones a 400 that
//! names the field and never quotes the value.

mod answer;
mod cx;
mod fields;
mod input;
mod routes;
#[cfg(feature = "testing")]
pub mod testing;

use std::{collections::BTreeMap, future::Future, sync::Arc};

pub use answer::{Data, Done, IntoAnswer, Keys, Leased};
use clock::Timestamp;
pub use cx::{Cx, Intent, Scope};
pub use gate::{
    Answer, Attempt, Backend, Body, Caller, Error, IntentSpec, LeaseGrant, LeaseId, Login, MAX_DEPTH, MountClass,
    MountInfo, Neighbour, PartAnswer, PartId, PartRequest, Plan, Refusal, RotationStatus, RotationTry, Sight, Steady,
    TokenKind, TokenParams, Watch,
};
pub use input::{FromPath, parse_body, parse_input, query_body};
pub use routes::{Handler, Routes, backend};
use secret::SecretBytes;
use storage::{BoxFuture, View};

/// A kind of secrets engine or auth method, as it stands in the catalogue.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The type that mounts name.
    pub name: &'static str,
    /// Secrets engine or auth method.
    pub class: MountClass,
    /// One sentence.
    pub summary: &'static str,
    open: fn(Opening) -> Arc<dyn Backend>,
    upgrade: Option<Upgrade>,
}

/// Brings a part of what a mount stored into the form that its new options ask for. Gives whether there is more. Each
/// call is a unit of work of its own, and no request sees the mount meanwhile.
pub type Upgrade = fn(View, Timestamp) -> BoxFuture<'static, Result<bool, Error>>;

impl Kind {
    /// A secrets engine.
    pub const fn secret<E: Engine>(name: &'static str, summary: &'static str) -> Self {
        Self { name, class: MountClass::Secret, summary, open: routes::open::<E>, upgrade: None }
    }

    /// An auth method.
    pub const fn auth<E: Engine>(name: &'static str, summary: &'static str) -> Self {
        Self { name, class: MountClass::Auth, summary, open: routes::open::<E>, upgrade: None }
    }

    /// A secrets engine that is another one according to the mount's options; `open` makes it with [`backend`].
    pub const fn choose(name: &'static str, summary: &'static str, open: fn(Opening) -> Arc<dyn Backend>) -> Self {
        Self { name, class: MountClass::Secret, summary, open, upgrade: None }
    }

    /// The same kind, whose mounts can change their option `version` to a higher one: `upgrade` is called until nothing
    /// is left to do, and meanwhile the mount is opened with [`Opening::upgrading`].
    pub const fn upgraded_by(self, upgrade: Upgrade) -> Self {
        Self { upgrade: Some(upgrade), ..self }
    }

    /// How its mounts are upgraded, if they can be.
    pub fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade
    }

    /// Makes the engine of a mount.
    pub fn open(&self, opening: Opening) -> Arc<dyn Backend> {
        (self.open)(opening)
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind").field("name", &self.name).field("class", &self.class).finish_non_exhaustive()
    }
}

/// What an engine gets when its mount is opened: at mounting and at each unseal.
#[derive(Clone)]
pub struct Opening {
    /// The mount.
    pub mount: Arc<MountInfo>,
    /// The time.
    pub clock: clock::Clock,
    /// Whether what it stored is still in an older form, see [`Kind::upgraded_by`].
    pub upgrading: bool,
}

/// A secrets engine or auth method: the state that one mount holds in memory, and what it can do.
///
/// State that must last lives in storage, see [`Scope::view`]; the value itself holds only what can be made again, such
/// as connection pools.
pub trait Engine: Sized + Send + Sync + 'static {
    /// The engine of a mount. No I/O: a dead target must not keep the server from starting.
    fn open(opening: Opening) -> Self;

    /// What the engine answers.
    fn routes() -> Routes<Self>;

    /// Revokes what a lease stands for. Success means it is gone, also if it was gone before. An error is tried again
    /// for as long as it takes.
    fn revoke(_cx: Scope<Self>, lease: Lease) -> impl Future<Output = Result<(), Error>> + Send {
        async move { Err(Error::internal(format!("this engine has no leases, {} cannot be revoked", lease.id))) }
    }

    /// Makes what a lease stands for live until `lease.until`. For an auth method: checks that the holder may still
    /// log in; an error refuses the renewal.
    fn renew(_cx: Scope<Self>, _lease: Lease) -> impl Future<Output = Result<(), Error>> + Send {
        async move { Ok(()) }
    }

    /// Does a rotation that [`Scope::plan`] planned.
    fn rotate(_cx: Scope<Self>, due: Due) -> impl Future<Output = Result<(), Error>> + Send {
        async move { Err(Error::internal(format!("this engine has no rotations, {} cannot be rotated", due.id))) }
    }

    /// The role that a login asks for, for limits that tell roles apart; empty if it names none.
    fn role(cx: Cx<Self>) -> impl Future<Output = Result<String, Error>> + Send {
        async move { input::role(cx.body()) }
    }

    /// Whether mounts want to be looked in on, see [`Engine::tend`].
    const TENDED: bool = false;

    /// Does what is to be done in the background: called soon after the start and then every second or so, one call of a
    /// mount at a time. What is written is committed by [`Scope::checkpoint`] alone.
    fn tend(_cx: Scope<Self>) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Whether the reads of the engine leave out the fields that a rule hides, see [`Cx::shows`]. Where they do not, a rule
    /// that hides fields refuses to read.
    const HIDES_FIELDS: bool = false;

    /// The custom metadata of the secret that a request is about, for rules with conditions on it; `None` if it is about
    /// no secret that there is, which such a rule refuses.
    fn metadata(_cx: Cx<Self>) -> impl Future<Output = Result<Option<BTreeMap<String, String>>, Error>> + Send {
        async { Ok(None) }
    }

    /// Ends connections and background work.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A lease that must be revoked or renewed.
#[derive(Debug)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// What the engine stored with it.
    pub data: SecretBytes,
    /// For a renewal: until when it shall live.
    pub until: Option<clock::Timestamp>,
    /// Whether the credential may never have been made.
    pub pending: bool,
}

impl Lease {
    /// What the engine stored with the lease, decoded from JSON.
    pub fn data<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        // EXPOSE: the engine reads back what it stored for this very purpose.
        serde_json::from_slice(self.data.expose())
            .map_err(|_| Error::internal(format!("the data of lease {} cannot be understood", self.id)))
    }
}

/// A rotation that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// What to rotate, as it was planned.
    pub id: String,
    /// How often it has failed since it became due.
    pub failures: u32,
}
