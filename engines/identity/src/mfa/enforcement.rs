//! `mfa/login-enforcement`: which logins need a second factor.

use std::collections::BTreeSet;

use api::{CommaList, Name};
use engine::{Cx, Data, Done, Error, Keys, MountClass};
use identity::mfa::{Enforcement, EnforcementInput};
use serde::{Deserialize, Serialize};

use crate::{Identity, Paging, Routes, Verb, directory, shown};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "mfa/login-enforcement", "List the login enforcements.", list)
        .on(Verb::Read, "mfa/login-enforcement/{name}", "Show a login enforcement.", read)
        .on(Verb::Write, "mfa/login-enforcement/{name}", "Say which logins need a second factor.", write)
        .on(Verb::Delete, "mfa/login-enforcement/{name}", "Remove a login enforcement.", delete)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EnforcementBody {
    mfa_method_ids: Option<CommaList>,
    auth_method_accessors: Option<CommaList>,
    auth_method_types: Option<CommaList>,
    identity_group_ids: Option<CommaList>,
    identity_entity_ids: Option<CommaList>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    id: String,
    mfa_method_ids: BTreeSet<String>,
    auth_method_accessors: BTreeSet<String>,
    auth_method_types: BTreeSet<String>,
    identity_group_ids: BTreeSet<String>,
    identity_entity_ids: BTreeSet<String>,
    namespace_id: &'static str,
    namespace_path: &'static str,
}

fn show(enforcement: Enforcement) -> Shown {
    Shown {
        name: enforcement.name,
        id: enforcement.id,
        mfa_method_ids: enforcement.methods,
        auth_method_accessors: enforcement.accessors,
        auth_method_types: enforcement.kinds,
        identity_group_ids: enforcement.groups,
        identity_entity_ids: enforcement.entities,
        namespace_id: "root",
        namespace_path: "",
    }
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let all = directory(&cx).mfa_enforcements().await?.into_iter();
    let page = all.filter(|one| paging.after().is_none_or(|after| one.name.as_str() > after)).take(paging.limit());
    shown::keys(page.map(|one| (one.name.clone(), show(one))))
}

async fn read(cx: Cx<Identity>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    Ok(directory(&cx).mfa_enforcement(name.as_str()).await?.map(|one| Data(show(one))))
}

async fn write(cx: Cx<Identity>, name: Name, body: EnforcementBody) -> Result<Done, Error> {
    let program = &cx.engine().program;
    for accessor in body.auth_method_accessors.iter().flat_map(|list| list.iter()) {
        if program.mount(accessor).is_none_or(|mount| mount.class != MountClass::Auth) {
            return Err(Error::invalid("auth_method_accessors: one of them is not the accessor of an auth method"));
        }
    }
    let kinds = program.login_kinds();
    for kind in body.auth_method_types.iter().flat_map(|list| list.iter()) {
        if !kinds.contains(&kind.as_str()) {
            return Err(Error::invalid(format!("auth_method_types: use {}", kinds.join(", "))));
        }
    }
    let list = |list: Option<CommaList>| list.map(|list| list.0);
    let input = EnforcementInput {
        methods: list(body.mfa_method_ids),
        accessors: list(body.auth_method_accessors),
        kinds: list(body.auth_method_types),
        groups: list(body.identity_group_ids),
        entities: list(body.identity_entity_ids),
    };
    directory(&cx).write_mfa_enforcement(name.as_str(), input).await?;
    Ok(Done)
}

async fn delete(cx: Cx<Identity>, name: Name) -> Result<Done, Error> {
    directory(&cx).delete_mfa_enforcement(name.as_str()).await?;
    Ok(Done)
}
