//! `role`, `role/{name}` and `role/{name}/role-id`: who may log in, and as what.

use api::{CommaList, Count, Flag, Name, Ttl};
use engine::{Cx, Data, Done, Error, Keys};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    AppRole,
    stored::{Role, Stored},
};

/// The body of a write; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RoleFields {
    bind_secret_id: Option<Flag>,
    bound_cidr_list: Option<CommaList>,
    local_secret_ids: Option<Flag>,
    role_id: Option<String>,
    secret_id_bound_cidrs: Option<CommaList>,
    secret_id_num_uses: Option<Count>,
    secret_id_ttl: Option<Ttl>,
}

/// The former names of shared fields that this method takes.
pub(crate) const OLD_NAMES: &[&str] = &["period", "policies"];

/// Which part of a listing is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Paging {
    after: Option<String>,
    limit: Option<Count>,
}

/// Role names do not depend on case.
pub(crate) fn canonical(name: &Name) -> String {
    name.to_lowercase().as_str().to_owned()
}

/// What is said where a role is needed and there is none.
pub(crate) fn missing(name: &str) -> Error {
    Error::invalid(format!("role {name:?} does not exist"))
}

pub(crate) async fn list(cx: Cx<AppRole>, (): (), paging: Paging) -> Result<Keys, Error> {
    let limit = paging.limit.and_then(|limit| usize::try_from(limit.0).ok()).filter(|limit| *limit > 0);
    Ok(cx.view().list("role/", paging.after.as_deref(), limit.unwrap_or(usize::MAX)).await?.into())
}

pub(crate) async fn exists(cx: Cx<AppRole>, name: Name) -> Result<bool, Error> {
    Ok(Role::load(cx.view(), &canonical(&name)).await?.is_some())
}

pub(crate) async fn read(cx: Cx<AppRole>, name: Name) -> Result<Option<Data<Value>>, Error> {
    Ok(Role::load(cx.view(), &canonical(&name)).await?.map(|role| Data(role.show())))
}

pub(crate) async fn delete(cx: Cx<AppRole>, name: Name) -> Result<Done, Error> {
    let name = canonical(&name);
    if let Some(role) = Role::load(cx.view(), &name).await? {
        Stored::open(cx.view()).await?.delete_role(&name, &role).await?;
    }
    Ok(Done)
}

pub(crate) async fn write(cx: Cx<AppRole>, name: Name) -> Result<Done, Error> {
    let name = canonical(&name);
    let before = Role::load(cx.view(), &name).await?;
    let (fields, shared) = auth::role_body::<_, RoleFields>(&cx, OLD_NAMES)?;
    let mut role = before.clone().unwrap_or_else(Role::new);
    if let Some(local) = fields.local_secret_ids {
        if before.is_some() && local.0 != role.local_secret_ids {
            return Err(Error::invalid("local_secret_ids can only be modified during role creation"));
        }
        role.local_secret_ids = local.0;
    }
    fields.apply(&mut role)?;
    role.token.update(shared)?;
    if role.role_id.is_empty() {
        role.role_id = crypto::random::uuid();
    }
    role.check(&cx)?;
    Stored::open_or_begin(cx.view()).await?.save_role(&name, &role, before.as_ref()).await?;
    Ok(Done)
}

impl RoleFields {
    /// Takes over everything except `local_secret_ids`, which only a creation may set.
    pub(crate) fn apply(self, role: &mut Role) -> Result<(), Error> {
        if let Some(flag) = self.bind_secret_id {
            role.bind_secret_id = flag.0;
        }
        // The present name wins.
        if let Some(cidrs) = self.secret_id_bound_cidrs.or(self.bound_cidr_list) {
            role.bound_cidrs = auth::cidr::checked("secret_id_bound_cidrs", &cidrs)?;
        }
        if let Some(role_id) = self.role_id.filter(|role_id| !role_id.is_empty()) {
            role.role_id = checked_id(role_id)?;
        }
        if let Some(uses) = self.secret_id_num_uses {
            role.secret_id_num_uses = uses.0;
        }
        if let Some(ttl) = self.secret_id_ttl {
            role.secret_id_ttl = ttl.0;
        }
        Ok(())
    }
}

/// A role id becomes the name of an entity alias.
fn checked_id(role_id: String) -> Result<String, Error> {
    if role_id.len() > 512 || role_id.contains(char::is_control) {
        return Err(Error::invalid("role_id must have at most 512 bytes and no control characters"));
    }
    Ok(role_id)
}

impl Role {
    /// Whether the parts of the role go together.
    pub(crate) fn check(&self, cx: &Cx<AppRole>) -> Result<(), Error> {
        if !self.bind_secret_id && self.bound_cidrs.is_empty() && self.token.params.bound_cidrs.is_empty() {
            return Err(Error::invalid("at least one constraint should be enabled on the role"));
        }
        let (params, max) = (&self.token.params, cx.mount().max_ttl);
        if max.is_zero() {
            return Ok(());
        }
        if params.period > max {
            let (period, max) = (params.period.as_secs(), max.as_secs());
            return Err(Error::invalid(format!(
                "period of \"{period}s\" is greater than the backend's maximum lease TTL of \"{max}s\""
            )));
        }
        if params.max_ttl > max {
            cx.warn("token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be truncated");
        }
        Ok(())
    }

    fn show(&self) -> Value {
        let mut data = Map::new();
        let cidrs = auth::cidr::shown(&self.bound_cidrs);
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        put("bind_secret_id", json!(self.bind_secret_id));
        put("local_secret_ids", json!(self.local_secret_ids));
        put("secret_id_bound_cidrs", if cidrs.is_empty() { Value::Null } else { json!(cidrs) });
        put("secret_id_num_uses", json!(self.secret_id_num_uses));
        put("secret_id_ttl", json!(self.secret_id_ttl.as_secs()));
        self.token.show(&mut data);
        Value::Object(data)
    }
}

pub(crate) async fn read_id(cx: Cx<AppRole>, name: Name) -> Result<Option<Data<Value>>, Error> {
    let role = Role::load(cx.view(), &canonical(&name)).await?;
    Ok(role.map(|role| Data(json!({ "role_id": role.role_id }))))
}

/// The body of a change of the role id.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewId {
    role_id: Option<String>,
}

pub(crate) async fn write_id(cx: Cx<AppRole>, name: Name, new: NewId) -> Result<Done, Error> {
    let name = canonical(&name);
    let role_id = new.role_id.filter(|role_id| !role_id.is_empty());
    let role_id = checked_id(role_id.ok_or_else(|| Error::invalid("missing role_id"))?)?;
    let before = Role::load(cx.view(), &name).await?.ok_or(Error::NotFound)?;
    let role = Role { role_id, ..before.clone() };
    Stored::open_or_begin(cx.view()).await?.save_role(&name, &role, Some(&before)).await?;
    Ok(Done)
}

pub(crate) async fn read_local(cx: Cx<AppRole>, name: Name) -> Result<Option<Data<Value>>, Error> {
    let role = Role::load(cx.view(), &canonical(&name)).await?;
    Ok(role.map(|role| Data(json!({ "local_secret_ids": role.local_secret_ids }))))
}
