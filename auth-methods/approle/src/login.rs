//! `login`: a role id and a secret id in exchange for a token.

use std::net::IpAddr;

use api::Name;
use engine::{Attempt, Cx, Error, Lease, Login, Scope};
use secret::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    AppRole,
    stored::{Place, Role, SecretId, Stored},
};

/// The body of a login.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoginBody {
    role_id: Option<String>,
    secret_id: Option<SecretString>,
}

/// What is kept for renewals.
#[derive(Serialize, Deserialize)]
struct Renewal {
    role: String,
}

pub(crate) async fn login(cx: Cx<AppRole>, (): (), body: LoginBody) -> Result<Login, Error> {
    let role_id = body.role_id.filter(|role_id| !role_id.is_empty());
    let role_id = role_id.ok_or_else(|| Error::invalid("missing role_id"))?;
    cx.services().check_lock(cx.mount(), &role_id).await?;
    let stored = Stored::open(cx.view()).await?;
    let found = match stored.role_name(&role_id).await? {
        Some(name) => Role::load(cx.view(), &name).await?.map(|role| (name, role)),
        None => None,
    };
    let given = body.secret_id.filter(|secret_id| !secret_id.is_empty());
    let Some((name, role)) = found else {
        let refusal = refuse_unknown(&cx, &stored, given).await;
        attempted(&cx, &role_id, false, false)?;
        return Err(refusal);
    };
    let used = match role.bind_secret_id {
        true => {
            let secret_id = given.ok_or_else(|| Error::invalid("missing secret_id"))?;
            let used = spend(&cx, &stored, &name, &role, &secret_id).await?;
            attempted(&cx, &role_id, true, used.is_some())?;
            Some(used.ok_or_else(invalid)?)
        }
        false => {
            check_address(cx.remote(), &role.bound_cidrs, "role")?;
            None
        }
    };
    auth::check_address(&role.token.params.bound_cidrs, cx.remote())?;
    grant(name, role, used)
}

/// The role whose id a login shows; empty if there is none.
pub(crate) async fn role(cx: &Cx<AppRole>) -> Result<String, Error> {
    let (body, _) = engine::parse_input::<LoginBody>(cx.body())?;
    let stored = Stored::open(cx.view()).await?;
    Ok(stored.role_name(&body.role_id.unwrap_or_default()).await?.unwrap_or_default())
}

/// Does the same work as for a role that exists, so that its absence does not show in the time.
async fn refuse_unknown(cx: &Cx<AppRole>, stored: &Stored, given: Option<SecretString>) -> Error {
    let Some(secret_id) = given else {
        return invalid();
    };
    // EXPOSE: only its keyed hash is looked for, where nothing is.
    let place = stored.place("", secret_id.expose());
    match stored.secret_id(&place, cx.now()).await {
        Ok(_) => invalid(),
        Err(error) => error,
    }
}

/// Takes one use of the secret id, if there is such a one, within the commit that also makes the token: of two logins that see the last use,
/// one commits, and the other runs again and finds it gone.
async fn spend(
    cx: &Cx<AppRole>,
    stored: &Stored,
    name: &str,
    role: &Role,
    given: &SecretString,
) -> Result<Option<SecretId>, Error> {
    // EXPOSE: only its keyed hash is looked for.
    let place: Place = stored.place(name, given.expose());
    let Some(mut held) = stored.secret_id(&place, cx.now()).await? else { return Ok(None) };
    check_address(cx.remote(), &held.cidr_list, "secret ID")?;
    check_address(cx.remote(), &role.bound_cidrs, "role")?;
    match held.num_uses {
        0 => {}
        1 => stored.remove(&place, &held),
        uses => {
            held.num_uses = uses - 1;
            held.updated = cx.now();
            stored.update(&place, &held)?;
        }
    }
    Ok(Some(held))
}

/// Counts the login for the lockout.
fn attempted(cx: &Cx<AppRole>, role_id: &str, known: bool, right: bool) -> Result<(), Error> {
    cx.services().attempted(cx.mount(), Attempt { alias: role_id, known, right })
}

fn grant(name: String, mut role: Role, used: Option<SecretId>) -> Result<Login, Error> {
    let mut metadata = std::collections::BTreeMap::new();
    if let Some(used) = used {
        metadata = used.metadata;
        if !used.token_bound_cidrs.is_empty() {
            role.token.params.bound_cidrs = used.token_bound_cidrs;
        }
    }
    metadata.insert("role_name".to_owned(), name.clone());
    let renewal = serde_json::to_string(&Renewal { role: name.clone() })
        .map_err(|_| Error::internal("the renewal data cannot be written"))?;
    Ok(Login {
        // Vault gives approle tokens the mount's name and no more.
        display_name: String::new(),
        alias: role.role_id,
        metadata,
        groups: Vec::new(),
        params: role.token.params,
        renewal: Some(SecretString::new(renewal)),
        role: name,
    })
}

/// One text for every reason, so that nothing is learnt from it.
fn invalid() -> Error {
    Error::invalid("invalid role or secret ID")
}

fn check_address(remote: Option<IpAddr>, ranges: &[String], on: &str) -> Result<(), Error> {
    if auth::cidr::allows(ranges, remote) {
        return Ok(());
    }
    let address = remote.map(|address| address.to_canonical().to_string()).unwrap_or_default();
    Err(Error::invalid(format!("source address {address:?} unauthorized through CIDR restrictions on the {on}")))
}

pub(crate) async fn renew(cx: &Scope<AppRole>, lease: &Lease) -> Result<(), Error> {
    let Renewal { role } = lease.data()?;
    let held = match Name::new(&role) {
        Some(_) => Role::load(cx.view(), &role).await?,
        None => None,
    };
    held.map(drop).ok_or_else(|| Error::invalid(format!("role {role:?} does not exist during renewal")))
}
