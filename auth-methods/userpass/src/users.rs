//! `users`, `users/{username}` and below: who may log in, and as what.

use api::Count;
use auth::TokenSettings;
use crypto::password::Hash;
use engine::{Cx, Data, Done, Error, Keys};
use secret::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    Userpass,
    names::Username,
    stored::{StoredHash, User},
};

/// The body of a write; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UserFields {
    password: Option<SecretString>,
    password_hash: Option<SecretString>,
}

/// The former names of shared fields that this method takes.
const OLD_NAMES: &[&str] = &["bound_cidrs", "max_ttl", "policies", "ttl"];

/// Which part of a listing is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Paging {
    after: Option<String>,
    limit: Option<Count>,
}

pub(crate) async fn list(cx: Cx<Userpass>, (): (), paging: Paging) -> Result<Keys, Error> {
    let limit = paging.limit.and_then(|limit| usize::try_from(limit.0).ok()).filter(|limit| *limit > 0);
    Ok(cx.view().list("user/", paging.after.as_deref(), limit.unwrap_or(usize::MAX)).await?.into())
}

pub(crate) async fn exists(cx: Cx<Userpass>, name: Username) -> Result<bool, Error> {
    Ok(User::load(cx.view(), &name).await?.is_some())
}

pub(crate) async fn read(cx: Cx<Userpass>, name: Username) -> Result<Option<Data<Value>>, Error> {
    let user = User::load(cx.view(), &name).await?;
    Ok(user.map(|user| {
        let mut data = Map::new();
        user.token.show(&mut data);
        Data(Value::Object(data))
    }))
}

pub(crate) async fn delete(cx: Cx<Userpass>, name: Username) -> Result<Done, Error> {
    User::delete(cx.view(), &name);
    Ok(Done)
}

pub(crate) async fn write(cx: Cx<Userpass>, name: Username) -> Result<Done, Error> {
    let before = User::load(cx.view(), &name).await?;
    let (fields, shared) = auth::role_body::<_, UserFields>(&cx, OLD_NAMES)?;
    let hash = fields.hash().await?;
    let (held, mut token) = match before {
        Some(User { hash, token }) => (Some(hash), token),
        None => (None, TokenSettings::default()),
    };
    let hash = hash.or(held).ok_or_else(|| Error::invalid("missing password"))?;
    token.update(shared)?;
    if !cx.mount().max_ttl.is_zero() && token.params.max_ttl > cx.mount().max_ttl {
        cx.warn("token_max_ttl is greater than the mount's maximum TTL; issued tokens' max TTL will be truncated");
    }
    User { hash, token }.save(cx.view(), &name)?;
    Ok(Done)
}

pub(crate) async fn write_password(cx: Cx<Userpass>, name: Username, fields: UserFields) -> Result<Done, Error> {
    let hash = fields.hash().await?.ok_or_else(|| Error::invalid("missing password"))?;
    let user = User::load(cx.view(), &name).await?.ok_or_else(missing)?;
    User { hash, ..user }.save(cx.view(), &name)?;
    Ok(Done)
}

pub(crate) async fn write_policies(cx: Cx<Userpass>, name: Username) -> Result<Done, Error> {
    let (_, shared) = auth::role_body::<_, Nothing>(&cx, OLD_NAMES)?;
    let mut user = User::load(cx.view(), &name).await?.ok_or_else(missing)?;
    user.token.update(shared.only_policies())?;
    user.save(cx.view(), &name)?;
    Ok(Done)
}

/// No fields besides the shared ones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Nothing {}

fn missing() -> Error {
    Error::invalid("username does not exist")
}

impl UserFields {
    /// The hash to be stored, if a password or a hash is given.
    async fn hash(self) -> Result<Option<StoredHash>, Error> {
        let given = |text: Option<SecretString>| text.filter(|text| !text.is_empty());
        match (given(self.password), given(self.password_hash)) {
            (Some(_), Some(_)) => Err(Error::invalid("password and password_hash: give one of them")),
            (Some(password), None) => Ok(Some(StoredHash::new(auth::passwords::hash(password).await?))),
            (None, Some(hash)) => {
                // EXPOSE: only its form is looked at.
                let form = Hash::bcrypt(hash.expose());
                form.ok_or_else(|| {
                    Error::invalid(
                        "password_hash: it must be a bcrypt hash ($2a$, $2b$ or $2y$) of a cost from 4 to 14",
                    )
                })?;
                Ok(Some(StoredHash::new(hash)))
            }
            (None, None) => Ok(None),
        }
    }
}
