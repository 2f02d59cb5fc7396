//! `role/{name}/secret-id` and its neighbours: the private half of a login, made, listed, looked up, destroyed.

use std::{collections::BTreeMap, time::Duration};

use api::{CommaList, Count, Name, Pairs, Ttl};
use clock::Timestamp;
use engine::{Answer, Cx, Data, Done, Error, IntoAnswer, Keys};
use secret::{Disclosed, SecretString};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    AppRole,
    roles::{canonical, missing},
    stored::{Place, Role, SecretId, Stored},
};

/// The body of an issue.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewSecretId {
    cidr_list: CommaList,
    metadata: Metadata,
    num_uses: Option<Count>,
    secret_id: Option<SecretString>,
    token_bound_cidrs: CommaList,
    ttl: Option<Ttl>,
}

/// The reply to an issue: the only time the secret id is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Issued {
    secret_id: Disclosed<String>,
    secret_id_accessor: String,
    secret_id_num_uses: u64,
    secret_id_ttl: u64,
}

/// What is known of a secret id.
#[derive(Debug, Serialize)]
pub(crate) struct Known {
    cidr_list: Vec<String>,
    creation_time: Timestamp,
    expiration_time: String,
    last_updated_time: Timestamp,
    metadata: BTreeMap<String, String>,
    secret_id_accessor: String,
    secret_id_num_uses: u64,
    secret_id_ttl: u64,
    token_bound_cidrs: Vec<String>,
}

/// A secret id in a body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BySecretId {
    secret_id: Option<SecretString>,
}

/// An accessor in a body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ByAccessor {
    secret_id_accessor: Option<String>,
}

pub(crate) async fn issue(cx: Cx<AppRole>, name: Name, new: NewSecretId) -> Result<Data<Issued>, Error> {
    if new.secret_id.is_some() {
        cx.warn("secret_id was ignored: a given text is taken at custom-secret-id");
    }
    add(cx, name, SecretString::new(crypto::random::uuid()), new).await
}

pub(crate) async fn register(cx: Cx<AppRole>, name: Name, mut new: NewSecretId) -> Result<Data<Issued>, Error> {
    let secret_id = given(new.secret_id.take())?;
    if secret_id.len() > MAX_SECRET_ID {
        return Err(Error::invalid(format!("secret_id must have at most {MAX_SECRET_ID} bytes")));
    }
    add(cx, name, secret_id, new).await
}

async fn add(cx: Cx<AppRole>, name: Name, secret_id: SecretString, new: NewSecretId) -> Result<Data<Issued>, Error> {
    let name = canonical(&name);
    let role = Role::load(cx.view(), &name).await?.ok_or_else(|| missing(&name))?;
    if !role.bind_secret_id {
        return Err(Error::invalid("bind_secret_id is not set on the role"));
    }
    let now = cx.now();
    let entry = new.entry(&role, cx.mount().max_ttl, now)?;
    let stored = Stored::open_or_begin(cx.view()).await?;
    // EXPOSE: only its keyed hash is kept.
    let place = stored.place(&name, secret_id.expose());
    stored.add(&place, &entry, now).await?;
    stored.sweep(now, SWEEP).await?;
    Ok(Data(Issued {
        secret_id: secret_id.disclose(),
        secret_id_accessor: entry.accessor,
        secret_id_num_uses: entry.num_uses,
        secret_id_ttl: entry.ttl.as_secs(),
    }))
}

impl NewSecretId {
    /// Checks the wishes against the role.
    fn entry(self, role: &Role, max_ttl: Duration, now: Timestamp) -> Result<SecretId, Error> {
        let num_uses = self.num_uses.map_or(role.secret_id_num_uses, |uses| uses.0);
        // Zero is without limit, so it exceeds every limit.
        if role.secret_id_num_uses != 0 && (num_uses == 0 || num_uses > role.secret_id_num_uses) {
            return Err(Error::invalid("num_uses cannot be higher than the role's secret_id_num_uses"));
        }
        let ttl = self.ttl.map_or(role.secret_id_ttl, |ttl| ttl.0);
        if !role.secret_id_ttl.is_zero() && (ttl.is_zero() || ttl > role.secret_id_ttl) {
            return Err(Error::invalid("ttl cannot be longer than the role's secret_id_ttl"));
        }
        let ttl = if max_ttl.is_zero() { ttl } else { ttl.min(max_ttl) };
        let cidr_list = within("cidr_list", &self.cidr_list, &role.bound_cidrs)?;
        let token_bound_cidrs = within("token_bound_cidrs", &self.token_bound_cidrs, &role.token.params.bound_cidrs)?;
        Ok(SecretId {
            accessor: crypto::random::uuid(),
            num_uses,
            ttl,
            created: now,
            expires: (!ttl.is_zero()).then(|| clock::after(now, ttl)),
            updated: now,
            metadata: self.metadata.0,
            cidr_list,
            token_bound_cidrs,
        })
    }
}

fn within(field: &str, wanted: &[String], of_role: &[String]) -> Result<Vec<String>, Error> {
    let wanted = auth::cidr::checked(field, wanted)?;
    if auth::cidr::within(&wanted, of_role) {
        return Ok(wanted);
    }
    Err(Error::invalid(format!(
        "failed to verify subset relationship between CIDR blocks on the role and CIDR blocks on the secret ID: {field} must lie within the role's"
    )))
}

pub(crate) async fn list(cx: Cx<AppRole>, name: Name) -> Result<Keys, Error> {
    let name = canonical(&name);
    Role::load(cx.view(), &name).await?.ok_or_else(|| missing(&name))?;
    Ok(Stored::open(cx.view()).await?.accessors(&name).await?.into())
}

/// A secret id that was looked up; nothing to say (204) where there is none.
pub(crate) struct Looked(Option<Known>);

impl IntoAnswer for Looked {
    fn into_answer(self) -> Result<Answer, Error> {
        match self.0 {
            Some(known) => Data(known).into_answer(),
            None => Done.into_answer(),
        }
    }
}

pub(crate) async fn lookup(cx: Cx<AppRole>, name: Name, body: BySecretId) -> Result<Looked, Error> {
    let (stored, place) = find(&cx, &name, body).await?;
    Ok(Looked(stored.secret_id(&place, cx.now()).await?.map(Known::from)))
}

pub(crate) async fn destroy(cx: Cx<AppRole>, name: Name, body: BySecretId) -> Result<Done, Error> {
    let (stored, place) = find(&cx, &name, body).await?;
    if let Some(held) = stored.secret_id(&place, cx.now()).await? {
        stored.remove(&place, &held);
    }
    Ok(Done)
}

async fn find(cx: &Cx<AppRole>, name: &Name, body: BySecretId) -> Result<(Stored, Place), Error> {
    let name = canonical(name);
    let secret_id = given(body.secret_id)?;
    Role::load(cx.view(), &name).await?.ok_or_else(|| missing(&name))?;
    let stored = Stored::open(cx.view()).await?;
    // EXPOSE: only its keyed hash is looked for.
    let place = stored.place(&name, secret_id.expose());
    Ok((stored, place))
}

pub(crate) async fn lookup_accessor(cx: Cx<AppRole>, name: Name, body: ByAccessor) -> Result<Data<Known>, Error> {
    let (_, _, held) = find_accessor(&cx, &name, body).await?;
    Ok(Data(held.into()))
}

pub(crate) async fn destroy_accessor(cx: Cx<AppRole>, name: Name, body: ByAccessor) -> Result<Done, Error> {
    let (stored, place, held) = find_accessor(&cx, &name, body).await?;
    stored.remove(&place, &held);
    Ok(Done)
}

async fn find_accessor(cx: &Cx<AppRole>, name: &Name, body: ByAccessor) -> Result<(Stored, Place, SecretId), Error> {
    let name = canonical(name);
    let accessor = body.secret_id_accessor.filter(|accessor| !accessor.is_empty());
    let accessor = accessor.ok_or_else(|| Error::invalid("missing secret_id_accessor"))?;
    Role::load(cx.view(), &name).await?.ok_or_else(|| missing(&name))?;
    let stored = Stored::open(cx.view()).await?;
    if let Some(place) = stored.by_accessor(&name, &accessor).await?
        && let Some(held) = stored.secret_id(&place, cx.now()).await?
    {
        return Ok((stored, place, held));
    }
    Err(Error::NoRoute(format!("failed to find accessor entry for secret_id_accessor: {accessor:?}")))
}

fn given(secret_id: Option<SecretString>) -> Result<SecretString, Error> {
    secret_id.filter(|secret_id| !secret_id.is_empty()).ok_or_else(|| Error::invalid("missing secret_id"))
}

impl From<SecretId> for Known {
    fn from(held: SecretId) -> Self {
        // A moment that never comes is written as Go's zero time, as clients expect.
        let expires = held.expires.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |expires| expires.to_string());
        Self {
            cidr_list: auth::cidr::shown(&held.cidr_list),
            creation_time: held.created,
            expiration_time: expires,
            last_updated_time: held.updated,
            metadata: held.metadata,
            secret_id_accessor: held.accessor,
            secret_id_num_uses: held.num_uses,
            secret_id_ttl: held.ttl.as_secs(),
            token_bound_cidrs: auth::cidr::shown(&held.token_bound_cidrs),
        }
    }
}

/// The longest secret id that can be given, in bytes.
const MAX_SECRET_ID: usize = 4096;
/// Expired secret ids that each issue removes, so that they cannot pile up.
const SWEEP: usize = 4;

/// Texts by name: a JSON object, or the text of one.
#[derive(Debug, Default)]
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |_| serde::de::Error::custom("failed to parse metadata: expected a JSON object of texts");
        Pairs::deserialize(deserializer).map(|pairs| Self(pairs.0)).map_err(wrong)
    }
}
