//! `static-creds/{name}` and `rotate-role/{name}`: the login of a static role, and its change.
//!
//! As for connections: pending, change, log in, current. Readers get a login that works at every moment, and never a
//! time to live that lies behind a change that has not happened.

use std::time::Duration;

use api::{Name, Ttl};
use clock::Timestamp;
use engine::{Data, Done, Error, Plan};
use secret::Disclosed;
use serde::Serialize;

use crate::{
    Call, Here, Targets, connections, failed, fault,
    kept::{Account, Kept},
    make_password,
    plan::{STATIC, left},
    root::note,
    static_role::{self, StaticRole, TimingShown},
    target::Opened,
    turn,
};

/// The login of a static role.
#[derive(Serialize)]
pub(crate) struct StaticCreds {
    username: String,
    password: Disclosed<String>,
    /// The same, ready for a driver.
    connection_url: Disclosed<String>,
    /// Until the next rotation, in seconds.
    ttl: Ttl,
    #[serde(flatten)]
    timing: TimingShown,
    last_vault_rotation: Option<Timestamp>,
}

pub(crate) async fn read<T: Targets>(cx: Call<T>, name: Name) -> Result<Option<Data<StaticCreds>>, Error> {
    let name = name.as_str();
    let id = format!("{STATIC}/{name}");
    let Some(mut role) = settled(&cx, name).await? else { return Ok(None) };
    if role.rotate_on_read && is_due_on_read(&role, cx.now()) {
        match rotate_and_note(&cx, name).await {
            // The old value is still in force; nobody is helped by keeping it back.
            Err(Error::Target(why)) => cx.warn(format!("the password could not be rotated: {why}")),
            rotated => rotated?,
        }
        role = required(&cx, name).await?;
    }
    let target = connections::open(&cx, &role.db_name).await?.1;
    let status = cx.rotation(&id).await?;
    let account = role.current.ok_or_else(|| {
        Error::invalid(format!("the password of \"{name}\" is not known yet: rotate it with rotate-role/{name}"))
    })?;
    let connection_url = target.connection_url(&account.username, &account.password.0).disclose();
    Ok(Some(Data(StaticCreds {
        username: account.username,
        password: account.password.copy().disclose(),
        connection_url,
        ttl: Ttl::seconds(left(status.as_ref(), cx.now()).as_secs()),
        timing: role.timing.into(),
        last_vault_rotation: role.last_rotation,
    })))
}

/// With a period, a login is read as it is until it is that old.
fn is_due_on_read(role: &StaticRole, now: Timestamp) -> bool {
    match (&role.current, role.timing.rotation_period.set()) {
        (Some(current), Some(period)) => clock::between(current.since, now) >= period,
        _ => true,
    }
}

pub(crate) async fn rotate<T: Targets>(cx: Call<T>, name: Name) -> Result<Done, Error> {
    let name = name.as_str();
    if static_role::load(cx.view(), name).await?.is_none() {
        return Err(Error::invalid(format!("no static role found for role name: {name}")));
    }
    rotate_and_note(&cx, name).await?;
    Ok(Done)
}

/// Rotates outside the plan; success and failure both stand in the history.
async fn rotate_and_note<T: Targets>(cx: &Here<T>, name: &str) -> Result<(), Error> {
    let id = format!("{STATIC}/{name}");
    let outcome = rotate_now(cx, name).await;
    note(cx, &id, &outcome).await?;
    outcome?;
    cx.rotated(&id, Ok(())).await
}

/// The first rotation of a role. If the role is new and the database refuses it, there is no role.
pub(crate) async fn import<T: Targets>(cx: &Here<T>, name: &str, first: bool) -> Result<(), Error> {
    let imported = rotate_now(cx, name).await;
    if let Err(Error::Target(why)) = &imported
        && first
    {
        let role = static_role::load(cx.view(), name).await?;
        // A password that may have reached the database is not forgotten.
        if role.is_some_and(|role| role.pending.is_none()) {
            cx.view().delete(&static_role::key(name));
            cx.plan(&format!("{STATIC}/{name}"), None::<Plan>).await?;
            cx.checkpoint().await?;
            return Err(Error::invalid(format!("the password could not be rotated at creation: {why}")));
        }
    }
    imported?;
    cx.rotated(&format!("{STATIC}/{name}"), Ok(())).await
}

/// The role as it stands: a rotation that was cut off is completed first, if the database has the new password.
async fn settled<T: Targets>(cx: &Call<T>, name: &str) -> Result<Option<StaticRole>, Error> {
    // Who reads while a rotation is going on waits for it, but not for a database that does not answer.
    let turn = tokio::time::timeout(PATIENCE, turn(cx, &turn_of(name))).await;
    let Some(mut role) = static_role::load(cx.view(), name).await? else { return Ok(None) };
    let Some(pending) = role.pending.as_ref().filter(|_| turn.is_ok()) else { return Ok(Some(role)) };
    let target = connections::open(cx, &role.db_name).await?.1;
    if target.verify().await.is_ok()
        && target.login_works(&pending.username, &pending.password.0).await.unwrap_or(false)
    {
        role.promote(cx.now());
        static_role::store(cx.view(), name, &role)?;
        cx.rotated(&format!("{STATIC}/{name}"), Ok(())).await?;
    }
    Ok(Some(role))
}

pub(crate) async fn rotate_now<T: Targets>(cx: &Here<T>, name: &str) -> Result<(), Error> {
    let _turn = turn(cx, &turn_of(name)).await;
    let mut role = required(cx, name).await?;
    let resumed = role.pending.is_some();
    let pending = match role.pending.clone() {
        Some(pending) => pending,
        None => {
            fault::reach("static.before-pending")?;
            let password = make_password(cx, &role.credential_config.password_policy).await?;
            let username = role.next_account().to_owned();
            let pending = Account { username, password: Kept(password), since: cx.now() };
            role.pending = Some(pending.clone());
            static_role::store(cx.view(), name, &role)?;
            cx.checkpoint().await?;
            pending
        }
    };
    fault::reach("static.after-pending")?;
    change(cx, name, &role, &pending, resumed).await?;
    fault::reach("static.after-login")?;
    // Read again: the checkpoint began a new unit of work.
    let mut role = required(cx, name).await?;
    role.promote(cx.now());
    static_role::store(cx.view(), name, &role)
}

/// Tells the database the pending password and tries it. One that the database has not taken for sure is forgotten, so
/// that the next try makes another.
async fn change<T: Targets>(
    cx: &Here<T>,
    name: &str,
    role: &StaticRole,
    pending: &Account,
    resumed: bool,
) -> Result<(), Error> {
    let (connection, target) = connections::open(cx, &role.db_name).await?;
    let mut changed = set(&target, role, pending).await;
    let mut trying = target;
    if let Err(error) = &changed
        && let Some(target) = connections::recovered(cx, &role.db_name, &connection, error).await?
    {
        changed = set(&target, role, pending).await;
        trying = target;
    }
    if let Err(error) = changed {
        if pending.is_void(&trying, resumed, &error, cx.now()).await {
            let mut role = required(cx, name).await?;
            role.pending = None;
            static_role::store(cx.view(), name, &role)?;
            cx.checkpoint().await?;
        }
        return Err(failed(error));
    }
    fault::reach("static.after-change")?;
    match trying.login_works(&pending.username, &pending.password.0).await.map_err(failed)? {
        true => Ok(()),
        false => Err(Error::Target(format!(
            "the database took the new password of {} but does not accept it at login: may the account log in?",
            pending.username
        ))),
    }
}

async fn set(target: &Opened, role: &StaticRole, pending: &Account) -> Result<(), crate::target::Error> {
    target.set_password(&pending.username, &pending.password.0, &role.rotation_statements).await
}

async fn required<T: Targets>(cx: &Here<T>, name: &str) -> Result<StaticRole, Error> {
    let role = static_role::load(cx.view(), name).await?;
    role.ok_or_else(|| Error::invalid(format!("no static role found for role name: {name}")))
}

fn turn_of(name: &str) -> String {
    format!("static-roles/{name}")
}

const PATIENCE: Duration = Duration::from_secs(2);
