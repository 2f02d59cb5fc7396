//! `creds/{name}`: users made on demand, and their end.

use std::time::Duration;

use api::Name;
use clock::Timestamp;
use engine::{Error, Lease, Leased};
use secret::Disclosed;
use serde::{Deserialize, Serialize};

use crate::{
    Call, Databases, Here, Targets, config, connections, failed, fault,
    kept::ARRIVAL,
    make_password, orphans,
    role::{self, Role},
    statements::Statements,
    target::{Error as TargetError, NewUser, Opened, Removed},
    username::Names,
};

/// A new user.
#[derive(Serialize)]
pub(crate) struct Creds {
    pub(crate) username: String,
    pub(crate) password: Disclosed<String>,
    /// The same, ready for a driver.
    pub(crate) connection_url: Disclosed<String>,
}

/// What the end of a user needs to know.
#[derive(Serialize, Deserialize)]
pub(crate) struct Undo {
    connection: String,
    /// The connection's id, which no later connection of this name has.
    pub(crate) connection_id: String,
    pub(crate) username: String,
    role: String,
    /// When the making began.
    made: Timestamp,
    /// The role's statements at that time, in case the role is deleted.
    #[serde(default, skip_serializing_if = "Statements::is_empty")]
    statements: Statements,
}

pub(crate) async fn read<T: Targets>(cx: Call<T>, name: Name) -> Result<Leased<Creds>, Error> {
    let name = name.as_str();
    let role = role::load(cx.view(), name).await?.ok_or_else(|| Error::invalid(format!("unknown role: {name}")))?;
    let (connection, target) = connections::open(&cx, &role.db_name).await?;
    if !connection.allows(name) {
        return Err(Error::Target(format!("\"{name}\" is not an allowed role")));
    }
    let policy = match role.credential_config.password_policy.as_str() {
        "" => &connection.password_policy,
        policy => policy,
    };
    let password = make_password(&cx, policy).await?;
    let names = Names { display_name: cx.caller().map_or("", |caller| &caller.display_name), role_name: name };
    let username =
        connection.template::<T>()?.make(&names, cx.now()).map_err(|error| Error::invalid(error.to_string()))?;
    let undo = Undo {
        connection: role.db_name.clone(),
        connection_id: connection.id.clone(),
        username: username.clone(),
        role: name.to_owned(),
        made: cx.now(),
        statements: role.revocation_statements.clone(),
    };
    fault::reach("create.before-intent")?;
    let intent = cx.intent(name, &undo).await?;
    fault::reach("create.after-intent")?;
    let user = NewUser {
        username: &username,
        password: &password,
        expiration: expiration(&cx, &role),
        statements: &role.creation_statements,
        rollback: &role.rollback_statements,
    };
    let mut made = target.create_user(user).await;
    if let Err(error) = &made
        && let Some(target) = connections::recovered(&cx, &role.db_name, &connection, error).await?
    {
        made = target.create_user(user).await;
    }
    if let Err(error) = made {
        if !error.outcome_unknown() {
            cx.engine().was_never_made(&username);
        }
        return Err(failed(error));
    }
    fault::reach("create.after-user")?;
    let connection_url = target.connection_url(&username, &password).disclose();
    Ok(Leased {
        data: Creds { username, password: password.disclose(), connection_url },
        intent,
        ttl: role.default_ttl.0,
        max_ttl: role.max_ttl.0,
        renewable: true,
    })
}

/// Until when the database itself lets the user in: a little longer than the lease, never shorter.
fn expiration<T: Targets>(cx: &Call<T>, role: &Role) -> Timestamp {
    let mount = cx.mount();
    let wished = role.default_ttl.set().unwrap_or(mount.default_ttl);
    let ceiling = role.max_ttl.set().map_or(mount.max_ttl, |max| max.min(mount.max_ttl));
    clock::after(cx.now(), wished.min(ceiling) + GRACE)
}

pub(crate) async fn renew<T: Targets>(cx: Here<T>, lease: Lease) -> Result<(), Error> {
    let undo: Undo = lease.data()?;
    let until = lease.until.ok_or_else(|| Error::internal("a renewal came without a time"))?;
    let role = role::load(cx.view(), &undo.role).await?;
    let role = role.ok_or_else(|| Error::invalid(format!("unknown role: {}", undo.role)))?;
    let (connection, target) = connections::open(&cx, &undo.connection).await?;
    fault::reach("renew.before-change")?;
    let until = clock::after(until, GRACE);
    let mut renewed = target.renew_user(&undo.username, until, &role.renew_statements).await;
    if let Err(error) = &renewed
        && let Some(target) = connections::recovered(&cx, &undo.connection, &connection, error).await?
    {
        renewed = target.renew_user(&undo.username, until, &role.renew_statements).await;
    }
    renewed.map_err(failed)?;
    fault::reach("renew.after-change")
}

pub(crate) async fn revoke<T: Targets>(cx: Here<T>, lease: Lease) -> Result<(), Error> {
    let undo: Undo = lease.data()?;
    if lease.pending && cx.engine().never_made.lock().remove(&undo.username) {
        return Ok(());
    }
    let (connection, target) = connections::open_for_undo(&cx, &undo.connection, &undo.connection_id).await?;
    let statements = match role::load(cx.view(), &undo.role).await? {
        Some(role) if role.db_name == undo.connection => role.revocation_statements,
        _ => undo.statements,
    };
    fault::reach("revoke.before-drop")?;
    let mut removed = remove(&target, &undo.username, &statements).await;
    if let Err(error) = &removed
        && let Some(target) = connections::recovered(&cx, &undo.connection, &connection, error).await?
    {
        removed = remove(&target, &undo.username, &statements).await;
    }
    let removed = removed.map_err(failed)?;
    fault::reach("revoke.after-drop")?;
    let age = clock::between(undo.made, cx.now());
    if lease.pending && removed == Removed::AlreadyGone && age < ARRIVAL {
        // The statements of a request that was cut off may still be on their way to the database.
        return Err(Error::Unavailable("the user may still come into being; looked at again shortly".to_owned()));
    }
    let retired = config::retired_key(&undo.connection, &undo.connection_id);
    if cx.view().get(&retired).await?.is_some() && orphans::is_last(&cx, &undo.connection_id, &lease.id).await? {
        cx.view().delete(&retired);
        cx.engine().connections.forget(&retired);
    }
    Ok(())
}

pub(crate) async fn remove(target: &Opened, username: &str, statements: &Statements) -> Result<Removed, TargetError> {
    target.drop_user(username, statements).await
}

impl<T> Databases<T> {
    fn was_never_made(&self, username: &str) {
        let mut never_made = self.never_made.lock();
        // Only a memory of what need not be asked; without it the database is asked.
        if never_made.len() < MAX_REMEMBERED {
            never_made.insert(username.to_owned());
        }
    }
}

/// The lease is reckoned anew after the user was made.
const GRACE: Duration = Duration::from_secs(5);
const MAX_REMEMBERED: usize = 10_000;
