//! `oidc/scope`: which claims a scope adds.

use api::Name;
use engine::{Cx, Data, Done, Error, Keys, Scope};
use identity::{Standing, claims};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use storage::{Key, Tx};

use super::record;
use crate::{Identity, Paging, Routes, Verb, oidc::checked_template};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "oidc/scope", "List the scopes.", list)
        .on(Verb::Read, "oidc/scope/{name}", "Show a scope.", read)
        .on(Verb::Write, "oidc/scope/{name}", "Create or change a scope.", write)
        .exists(exists)
        .on(Verb::Delete, "oidc/scope/{name}", "Remove a scope that no provider supports.", delete)
}

/// A scope, as stored and shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Claimed {
    template: String,
    description: String,
}

const PREFIX: &str = "sys/identity/oidc/scope/";
/// The scope that every request has to ask for.
pub(crate) const OPENID: &str = "openid";

fn at(name: &str) -> Key {
    Key::from(format!("{PREFIX}{name}"))
}

pub(crate) async fn load(tx: &Tx, name: &str) -> Result<Option<Claimed>, Error> {
    Ok(tx.get_json(&at(name)).await?)
}

/// What the scopes say of an entity. Of two that say the same, the first counts.
pub(crate) async fn claims(
    cx: &Scope<Identity>,
    scopes: &[String],
    standing: &Standing,
) -> Result<Map<String, Value>, Error> {
    let mut all = Map::new();
    for name in scopes {
        let Some(scope) = load(cx.view().tx(), name).await? else { continue };
        if scope.template.is_empty() {
            continue;
        }
        let claims = claims::render(&scope.template, &standing.subject, cx.now().as_second());
        let claims = claims.map_err(|why| Error::internal(format!("the template of a scope cannot be used: {why}")))?;
        for (name, value) in claims {
            all.entry(name).or_insert(value);
        }
    }
    Ok(all)
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let scopes = cx.view().tx().view(PREFIX);
    Ok(scopes.list("", paging.after(), paging.limit()).await?.into())
}

async fn exists(cx: Cx<Identity>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view().tx(), name.as_str()).await?.is_some())
}

async fn read(cx: Cx<Identity>, name: Name) -> Result<Option<Data<Claimed>>, Error> {
    Ok(load(cx.view().tx(), name.as_str()).await?.map(Data))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScopeBody {
    template: Option<String>,
    description: Option<String>,
}

async fn write(cx: Cx<Identity>, name: Name, body: ScopeBody) -> Result<Done, Error> {
    if name.as_str() == OPENID {
        return Err(Error::invalid("the \"openid\" scope name is reserved"));
    }
    let tx = cx.view().tx();
    let mut scope = load(tx, name.as_str()).await?.unwrap_or_default();
    if let Some(template) = body.template {
        scope.template = checked_template(template)?;
    }
    scope.description = body.description.unwrap_or(scope.description);
    tx.put_json(at(name.as_str()), &scope)?;
    Ok(Done)
}

async fn delete(cx: Cx<Identity>, name: Name) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let users = record::all(tx).await?.into_iter();
    let users = users.filter(|(_, provider)| provider.scopes_supported.iter().any(|scope| scope == name.as_str()));
    let users: Vec<String> = users.map(|(user, _)| user).collect();
    if !users.is_empty() {
        return Err(Error::invalid(format!(
            "unable to delete scope {:?} because it is currently referenced by these providers: {}",
            name.as_str(),
            users.join(", ")
        )));
    }
    tx.delete(at(name.as_str()));
    Ok(Done)
}
