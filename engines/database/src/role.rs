//! `roles/{name}`: how users are made.

use std::collections::BTreeMap;

use api::{Name, Ttl};
use engine::{Data, Done, Error, Keys};
use serde::{Deserialize, Serialize};
use storage::View;

use crate::{
    Call, Databases, Paging, Targets, config, names,
    statements::Statements,
    static_role,
    target::{DatabaseKind, Purpose},
};

/// A role as it is stored and shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) db_name: String,
    pub(crate) creation_statements: Statements,
    pub(crate) revocation_statements: Statements,
    pub(crate) rollback_statements: Statements,
    pub(crate) renew_statements: Statements,
    pub(crate) default_ttl: Ttl,
    pub(crate) max_ttl: Ttl,
    pub(crate) credential_type: String,
    pub(crate) credential_config: CredentialConfig,
}

/// What else there is to say about passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialConfig {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) password_policy: String,
}

impl CredentialConfig {
    /// From the fields of a request.
    pub(crate) fn read(fields: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut config = Self::default();
        for (field, value) in fields {
            match field.as_str() {
                "password_policy" => config.password_policy = value,
                other => {
                    return Err(Error::invalid(format!(
                        "credential_config: {other} is unknown; there is password_policy"
                    )));
                }
            }
        }
        Ok(config)
    }
}

#[derive(Deserialize)]
pub(crate) struct Write {
    db_name: Option<String>,
    creation_statements: Option<Statements>,
    revocation_statements: Option<Statements>,
    rollback_statements: Option<Statements>,
    renew_statements: Option<Statements>,
    default_ttl: Option<Ttl>,
    max_ttl: Option<Ttl>,
    credential_type: Option<String>,
    credential_config: Option<api::Pairs>,
}

pub(crate) async fn list<T: Targets>(cx: Call<T>, _: (), paging: Paging) -> Result<Keys, Error> {
    names(&cx, FOLDER, paging).await
}

pub(crate) async fn exists<T: Targets>(cx: Call<T>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view(), name.as_str()).await?.is_some())
}

pub(crate) async fn read<T: Targets>(cx: Call<T>, name: Name) -> Result<Option<Data<Role>>, Error> {
    Ok(load(cx.view(), name.as_str()).await?.map(Data))
}

pub(crate) async fn write<T: Targets>(cx: Call<T>, name: Name, write: Write) -> Result<Done, Error> {
    let name = name.as_str();
    if static_role::load(cx.view(), name).await?.is_some() {
        return Err(Error::invalid(format!("Role and Static Role names must be unique: \"{name}\" is a static role")));
    }
    let before = load(cx.view(), name).await?;
    let role = merge(before.unwrap_or_default(), write)?;
    if role.db_name.is_empty() {
        return Err(Error::invalid("db_name: is missing; name a connection"));
    }
    check_type(&role.credential_type)?;
    if !role.max_ttl.is_zero() && role.default_ttl > role.max_ttl {
        return Err(Error::invalid("default_ttl: must not exceed max_ttl"));
    }
    if !role.credential_config.password_policy.is_empty() {
        cx.password(&role.credential_config.password_policy)
            .await
            .map_err(|error| error.of_part("credential_config.password_policy"))?;
    }
    match config::load(cx.view(), &role.db_name).await? {
        Some(connection) => {
            for warning in check(&role, Databases::<T>::kind(&connection.plugin_name)?)? {
                cx.warn(warning);
            }
            if !connection.allows(name) {
                cx.warn(format!(
                    "the connection \"{}\" does not have \"{name}\" among its allowed_roles",
                    role.db_name
                ));
            }
        }
        None => cx.warn(format!("there is no connection \"{}\" yet, so the statements were not checked", role.db_name)),
    }
    cx.view().put_json(&key(name), &role)?;
    Ok(Done)
}

fn merge(mut role: Role, write: Write) -> Result<Role, Error> {
    fn set<V>(to: &mut V, value: Option<V>) {
        if let Some(value) = value {
            *to = value;
        }
    }
    set(&mut role.db_name, write.db_name);
    set(&mut role.creation_statements, write.creation_statements);
    set(&mut role.revocation_statements, write.revocation_statements);
    set(&mut role.rollback_statements, write.rollback_statements);
    set(&mut role.renew_statements, write.renew_statements);
    set(&mut role.default_ttl, write.default_ttl);
    set(&mut role.max_ttl, write.max_ttl);
    set(&mut role.credential_type, write.credential_type);
    if let Some(fields) = write.credential_config {
        role.credential_config = CredentialConfig::read(fields.0)?;
    }
    if role.credential_type.is_empty() {
        role.credential_type = PASSWORD.to_owned();
    }
    Ok(role)
}

fn check(role: &Role, kind: &DatabaseKind) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    for (statements, purpose) in [
        (&role.creation_statements, Purpose::Create),
        (&role.revocation_statements, Purpose::Revoke),
        (&role.rollback_statements, Purpose::Rollback),
        (&role.renew_statements, Purpose::Renew),
    ] {
        let found = (kind.check)(statements, purpose).map_err(|error| Error::invalid(error.to_string()))?;
        warnings.extend(found);
    }
    Ok(warnings)
}

pub(crate) fn check_type(credential_type: &str) -> Result<(), Error> {
    match credential_type {
        PASSWORD => Ok(()),
        _ => Err(Error::invalid("credential_type: this kind of database has \"password\" only")),
    }
}

/// Deletes a role. Users that it made live on until their leases end.
pub(crate) async fn delete<T: Targets>(cx: Call<T>, name: Name) -> Result<Done, Error> {
    cx.view().delete(&key(name.as_str()));
    Ok(Done)
}

pub(crate) async fn load(view: &View, name: &str) -> Result<Option<Role>, Error> {
    Ok(view.get_json(&key(name)).await?)
}

fn key(name: &str) -> String {
    format!("{FOLDER}{name}")
}

const FOLDER: &str = "roles/";
pub(crate) const PASSWORD: &str = "password";
