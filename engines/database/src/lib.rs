//! Database users made on demand, and accounts whose passwords rotate.
//!
//! A connection says where a database is and who we are there; a role says by which statements users are made and how
//! long they live; a static role names an account that exists and whose password is changed by the server. How to undo
//! a user is durable before the user exists; a new password is durable before the database knows it. Which databases
//! there are is told by [`Targets`]; each kind is a crate of its own.

mod config;
mod connections;
mod creds;
mod fault;
mod kept;
mod orphans;
mod plan;
mod role;
mod root;
pub mod sql;
pub mod statements;
mod static_creds;
mod static_role;
pub mod target;
pub mod username;

use std::{collections::HashSet, marker::PhantomData};

use api::Verb;
use engine::{Cx, Due, Engine, Error, Kind, Lease, Opening, Routes, Scope};
use parking_lot::Mutex;
use password_policy::PasswordPolicy;

pub use fault::FAULT_POINTS;

use crate::{
    connections::Connections,
    target::{DatabaseKind, Error as TargetError},
};

/// The list of databases, given by the catalogue.
pub trait Targets: Send + Sync + 'static {
    /// The kinds, sorted by name.
    const KINDS: &'static [DatabaseKind];
}

/// The kind of this engine, as it stands in the catalogue.
pub const fn kind<T: Targets>() -> Kind {
    Kind::secret::<Databases<T>>("database", "Database users made on demand, and accounts whose passwords rotate.")
}

/// What a mount holds in memory: connections, and which users were never made.
pub struct Databases<T> {
    connections: Connections,
    /// Users whose creation the database refused for sure: their pending leases have nothing to revoke.
    never_made: Mutex<HashSet<String>>,
    targets: PhantomData<T>,
}

impl<T: Targets> Engine for Databases<T> {
    fn open(_: Opening) -> Self {
        Self { connections: Connections::default(), never_made: Mutex::default(), targets: PhantomData }
    }

    fn routes() -> Routes<Self> {
        let routes = Routes::default()
            .on(Verb::List, "config", "List the connections.", config::list)
            .on(Verb::Write, "config/{name}", "Create or change a connection.", config::write)
            .exists(config::exists)
            .on(Verb::Read, "config/{name}", "Read a connection, without its password.", config::read)
            .on(Verb::Delete, "config/{name}", "Delete a connection.", config::delete)
            .on(Verb::Write, "reset/{name}", "Close a connection and make it anew at the next use.", config::reset)
            .on(Verb::Write, "reload/{plugin}", "Close all connections to one kind of database.", config::reload)
            .on(Verb::Write, "rotate-root/{name}", "Rotate the password of a connection.", root::rotate);
        let routes = routes
            .on(Verb::List, "roles", "List the roles.", role::list)
            .on(Verb::Write, "roles/{name}", "Create or change a role.", role::write)
            .exists(role::exists)
            .on(Verb::Read, "roles/{name}", "Read a role.", role::read)
            .on(Verb::Delete, "roles/{name}", "Delete a role.", role::delete)
            .on(Verb::Read, "creds/{name}", "Make a database user.", creds::read)
            .clear(&["username"]);
        routes
            .on(Verb::List, "static-roles", "List the static roles.", static_role::list)
            .on(Verb::Write, "static-roles/{name}", "Create or change a static role.", static_role::write)
            .exists(static_role::exists)
            .on(Verb::Read, "static-roles/{name}", "Read a static role and how its rotation stands.", static_role::read)
            .on(Verb::Delete, "static-roles/{name}", "Delete a static role.", static_role::delete)
            .on(Verb::Read, "static-creds/{name}", "Read the login of a static role.", static_creds::read)
            .clear(&["username"])
            .on(Verb::Write, "rotate-role/{name}", "Rotate the password of a static role.", static_creds::rotate)
            .on(Verb::Read, "orphans/{name}", "List users that look like ours and have no lease.", orphans::read)
            .on(Verb::Write, "orphans/{name}", "Remove users that have no lease.", orphans::remove)
    }

    async fn revoke(cx: Scope<Self>, lease: Lease) -> Result<(), Error> {
        creds::revoke(cx, lease).await
    }

    async fn renew(cx: Scope<Self>, lease: Lease) -> Result<(), Error> {
        creds::renew(cx, lease).await
    }

    async fn rotate(cx: Scope<Self>, due: Due) -> Result<(), Error> {
        match due.id.split_once('/') {
            Some((plan::ROOT, name)) => root::rotate_now(&cx, name).await,
            Some((plan::STATIC, name)) => static_creds::rotate_now(&cx, name).await,
            _ => Err(Error::internal(format!("{} was not planned by this engine", due.id))),
        }
    }

    async fn close(&self) {
        self.connections.close();
    }
}

impl<T: Targets> Databases<T> {
    /// The kind of database with this name.
    fn kind(name: &str) -> Result<&'static DatabaseKind, Error> {
        T::KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
            let names = T::KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
            Error::invalid(format!("plugin_name: \"{name}\" is no kind of database; there are: {names}"))
        })
    }
}

type Call<T> = Cx<Databases<T>>;
type Here<T> = Scope<Databases<T>>;

/// The `limit` and `after` of a listing.
#[derive(serde::Deserialize)]
struct Paging {
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<api::Count>,
}

/// The names below a folder of the mount.
async fn names<T: Targets>(cx: &Call<T>, folder: &str, paging: Paging) -> Result<engine::Keys, Error> {
    let limit = paging.limit.map(|limit| limit.0).filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX - 1);
    Ok(cx.view().list(folder, paging.after.as_deref(), limit).await?.into())
}

/// A target's error as the caller reads it. A wrong setting or statement is the operator's, but comes to light in
/// anybody's request.
fn failed(error: TargetError) -> Error {
    Error::Target(error.to_string())
}

/// A password by the named policy, or by the standard one.
async fn make_password<T: Targets>(cx: &Here<T>, policy: &str) -> Result<secret::SecretString, Error> {
    match policy {
        "" => PasswordPolicy::standard().generate().map_err(|error| Error::internal(error.to_string())),
        policy => cx.password(policy).await,
    }
}

/// Waits for its turn: at most one task of this process changes the passwords of `what` at a time.
async fn turn<T: Targets>(cx: &Here<T>, what: &str) -> tokio::sync::OwnedMutexGuard<()> {
    cx.engine().connections.turn(what).lock_owned().await
}
