//! `oidc/role`: what an identity token says, for whom it is, and which key signs it.

use std::time::Duration;

use api::{Name, Ttl};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::random;
use engine::{Cx, Data, Done, Error, Keys};
use identity::claims;
use policy::Subject;
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};

use super::ring;
use crate::{Identity, Paging, Routes, Verb, given};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "oidc/role", "List the roles for identity tokens.", list)
        .on(Verb::Read, "oidc/role/{name}", "Show a role.", read)
        .on(Verb::Write, "oidc/role/{name}", "Create or change a role.", write)
        .exists(exists)
        .on(Verb::Delete, "oidc/role/{name}", "Remove a role.", delete)
}

/// A role, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Role {
    /// The name of the key.
    pub(crate) key: String,
    /// The claims, as JSON with `{{…}}`; empty is none but the usual ones.
    pub(crate) template: String,
    /// The life of tokens.
    pub(crate) ttl: Duration,
    /// For whom the tokens are.
    pub(crate) client_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RoleBody {
    key: Option<String>,
    template: Option<String>,
    ttl: Option<Ttl>,
    client_id: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    key: String,
    template: String,
    ttl: u64,
    client_id: String,
}

const PREFIX: &str = "sys/identity/oidc/role/";

fn at(name: &str) -> Key {
    Key::from(format!("{PREFIX}{name}"))
}

pub(crate) async fn load(tx: &Tx, name: &Name) -> Result<Option<Role>, Error> {
    Ok(tx.get_json(&at(name.as_str())).await?)
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let roles = cx.view().tx().view(PREFIX);
    Ok(roles.list("", paging.after(), paging.limit()).await?.into())
}

async fn exists(cx: Cx<Identity>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view().tx(), &name).await?.is_some())
}

async fn read(cx: Cx<Identity>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let role = load(cx.view().tx(), &name).await?;
    Ok(role.map(|role| {
        Data(Shown { key: role.key, template: role.template, ttl: role.ttl.as_secs(), client_id: role.client_id })
    }))
}

async fn write(cx: Cx<Identity>, name: Name, body: RoleBody) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let known = load(tx, &name).await?;
    let former = known.as_ref().map(|role| role.key.clone());
    let mut role = match (known, given(body.key.clone())) {
        (Some(role), _) => role,
        (None, Some(key)) => Role { key, template: String::new(), ttl: DAY, client_id: random::base62(26).to_string() },
        (None, None) => return Err(Error::invalid("the key parameter is required")),
    };
    role.key = given(body.key).unwrap_or(role.key);
    if let Some(template) = body.template {
        role.template = checked(template)?;
    }
    role.ttl = body.ttl.map_or(role.ttl, |ttl| ttl.0);
    role.client_id = given(body.client_id).unwrap_or(role.client_id);
    if let Some(former) = former.filter(|former| *former != role.key) {
        leave(tx, &former, &name).await?;
    }
    let Some(mut key) = ring::load(tx, &role.key).await? else {
        return Err(Error::invalid("key: there is no named key with this name"));
    };
    if role.ttl > key.verification_ttl {
        return Err(Error::invalid(
            "a role's token ttl cannot be longer than the verification_ttl of the key it references",
        ));
    }
    key.roles.insert(name.as_str().to_owned(), role.ttl);
    ring::save(tx, &role.key, &key)?;
    tx.put_json(at(name.as_str()), &role)?;
    Ok(Done)
}

async fn delete(cx: Cx<Identity>, name: Name) -> Result<Done, Error> {
    let tx = cx.view().tx();
    if let Some(role) = load(tx, &name).await? {
        leave(tx, &role.key, &name).await?;
        tx.delete(at(name.as_str()));
    }
    Ok(Done)
}

/// A key is used by a role no more.
async fn leave(tx: &Tx, key: &str, role: &Name) -> Result<(), Error> {
    if let Some(mut named) = ring::load(tx, key).await? {
        named.roles.remove(role.as_str());
        ring::save(tx, key, &named)?;
    }
    Ok(())
}

/// The template, decoded from base64 if it is sent so; refused if it makes no claims for anybody.
pub(crate) fn checked(template: String) -> Result<String, Error> {
    let plain = STANDARD.decode(&template).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let template = plain.unwrap_or(template);
    if template.trim().is_empty() {
        return Ok(String::new());
    }
    let claims = claims::render(&template, &Subject::default(), 0);
    let claims = claims.map_err(|why| match why {
        // What was sent is not said again.
        claims::Error::Unknown(_) => Error::invalid("error parsing template: a {{…}} in it stands for nothing"),
        why => Error::invalid(format!("error parsing template: it {why}")),
    })?;
    match RESERVED.iter().find(|name| claims.contains_key(**name)) {
        Some(name) => {
            Err(Error::invalid(format!("top level key {name:?} not allowed. Restricted keys: {}", RESERVED.join(", "))))
        }
        None => Ok(template),
    }
}

/// What the server itself says in every token.
const RESERVED: &[&str] = &["iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash"];
const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_come_plain_or_in_base64_and_say_nothing_of_the_servers_own() {
        let text = r#"{"name": {{identity.entity.name}}}"#;
        assert_eq!(checked(text.to_owned()).unwrap(), text);
        assert_eq!(checked(STANDARD.encode(text)).unwrap(), text);
        assert_eq!(checked("  ".to_owned()).unwrap(), "");
        for bad in [r#"{"sub": "x"}"#, r#"{"exp": {{time.now}}}"#, "[]", "{{x}}", r#"{"a": {{identity.entity.name}"#] {
            assert!(checked(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
