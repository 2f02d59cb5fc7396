//! `login/{username}`: a password in exchange for a token.

use crypto::password::BCRYPT_BYTES;
use engine::{Attempt, Cx, Error, Lease, Login, Scope};
use secret::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    Userpass,
    names::Username,
    stored::{self, StoredHash, User},
};

/// The body of a login.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoginBody {
    password: Option<SecretString>,
}

/// What is kept for renewals.
#[derive(Serialize, Deserialize)]
struct Renewal {
    username: String,
    policies: Vec<String>,
}

pub(crate) async fn login(cx: Cx<Userpass>, name: Username, body: LoginBody) -> Result<Login, Error> {
    let password = body.password.filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| Error::invalid("missing password"))?;
    cx.services().check_lock(cx.mount(), name.as_str()).await?;
    let found = User::load(cx.view(), &name).await?;
    let hash = found.as_ref().map(|user| user.hash.read()).transpose()?;
    let cost = hash.as_ref().and_then(crypto::password::Hash::bcrypt_cost);
    let greatest = stored::greatest_cost(cx.view()).await?;
    let right = auth::passwords::verify(hash, &password, greatest).await?;
    let attempt = Attempt { alias: name.as_str(), known: found.is_some(), right };
    cx.services().attempted(cx.mount(), attempt)?;
    // One text for every reason, so that nothing is learnt from it.
    let mut user = found.filter(|_| right).ok_or_else(|| Error::invalid("invalid username or password"))?;
    auth::check_address(&user.token.params.bound_cidrs, cx.remote())?;
    // Of a longer one, bcrypt did not see the end: what was typed may not be the whole password, or more than it.
    if cost.is_some() && password.len() < BCRYPT_BYTES {
        user.hash = StoredHash::new(auth::passwords::hash(password).await?);
        user.save(cx.view(), &name)?;
    }
    grant(&name, user)
}

fn grant(name: &Username, user: User) -> Result<Login, Error> {
    let username = name.as_str().to_owned();
    let renewal = Renewal { username: username.clone(), policies: user.token.params.policies.clone() };
    let renewal = serde_json::to_string(&renewal).map_err(|_| Error::internal("the renewal data cannot be written"))?;
    Ok(Login {
        display_name: username.clone(),
        alias: username.clone(),
        metadata: [("username".to_owned(), username.clone())].into(),
        groups: Vec::new(),
        params: user.token.params,
        renewal: Some(SecretString::new(renewal)),
        role: username,
    })
}

pub(crate) async fn renew(cx: &Scope<Userpass>, lease: &Lease) -> Result<(), Error> {
    let Renewal { username, policies } = lease.data()?;
    let user = match Username::new(&username) {
        Some(name) => User::load(cx.view(), &name).await?,
        None => None,
    };
    let user = user.ok_or_else(|| Error::invalid(format!("user {username:?} does not exist during renewal")))?;
    match user.token.params.policies == policies {
        true => Ok(()),
        false => Err(Error::invalid("policies have changed, not renewing")),
    }
}
