//! `oidc/assignment`: which entities and groups may sign in at a client.

use api::{CommaList, Name};
use engine::{Cx, Data, Done, Error, Keys};
use identity::Standing;
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};

use super::client;
use crate::{Identity, Paging, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "oidc/assignment", "List the assignments.", list)
        .on(Verb::Read, "oidc/assignment/{name}", "Show an assignment.", read)
        .on(Verb::Write, "oidc/assignment/{name}", "Create or change an assignment.", write)
        .exists(exists)
        .on(Verb::Delete, "oidc/assignment/{name}", "Remove an assignment that no client has.", delete)
}

/// An assignment, as stored and shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Assignment {
    entity_ids: Vec<String>,
    group_ids: Vec<String>,
}

impl Assignment {
    fn takes_in(&self, standing: &Standing) -> bool {
        let any = |ids: &[String], wanted: &str| ids.iter().any(|id| id == "*" || id == wanted);
        any(&self.entity_ids, &standing.id)
            || standing.subject.groups.iter().any(|group| any(&self.group_ids, &group.id))
    }
}

const PREFIX: &str = "sys/identity/oidc/assignment/";
/// The assignment that is always there, and takes in all.
const ALL: &str = "allow_all";

fn at(name: &str) -> Key {
    Key::from(format!("{PREFIX}{name}"))
}

pub(crate) async fn load(tx: &Tx, name: &str) -> Result<Option<Assignment>, Error> {
    if name == ALL {
        return Ok(Some(Assignment { entity_ids: vec!["*".to_owned()], group_ids: vec!["*".to_owned()] }));
    }
    Ok(tx.get_json(&at(name)).await?)
}

/// Whether one of the assignments takes the entity in.
pub(crate) async fn any_takes_in(tx: &Tx, names: &[String], standing: &Standing) -> Result<bool, Error> {
    for name in names {
        if load(tx, name).await?.is_some_and(|assignment| assignment.takes_in(standing)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let assignments = cx.view().tx().view(PREFIX);
    let mut names = assignments.list("", paging.after(), paging.limit()).await?.names;
    if paging.after().is_none_or(|after| after < ALL) {
        names.push(ALL.to_owned());
        names.sort();
        names.truncate(paging.limit());
    }
    Ok(names.into())
}

async fn exists(cx: Cx<Identity>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view().tx(), name.as_str()).await?.is_some())
}

async fn read(cx: Cx<Identity>, name: Name) -> Result<Option<Data<Assignment>>, Error> {
    Ok(load(cx.view().tx(), name.as_str()).await?.map(Data))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AssignmentBody {
    entity_ids: Option<CommaList>,
    group_ids: Option<CommaList>,
}

async fn write(cx: Cx<Identity>, name: Name, body: AssignmentBody) -> Result<Done, Error> {
    if name.as_str() == ALL {
        return Err(Error::invalid("modification of assignment \"allow_all\" not allowed"));
    }
    let tx = cx.view().tx();
    let mut assignment = load(tx, name.as_str()).await?.unwrap_or_default();
    assignment.entity_ids = body.entity_ids.map_or(assignment.entity_ids, |ids| ids.0);
    assignment.group_ids = body.group_ids.map_or(assignment.group_ids, |ids| ids.0);
    tx.put_json(at(name.as_str()), &assignment)?;
    Ok(Done)
}

async fn delete(cx: Cx<Identity>, name: Name) -> Result<Done, Error> {
    if name.as_str() == ALL {
        return Err(Error::invalid("deletion of assignment \"allow_all\" not allowed"));
    }
    let tx = cx.view().tx();
    let users = client::all(tx).await?.into_iter();
    let users = users.filter(|(_, client)| client.assignments.iter().any(|assignment| assignment == name.as_str()));
    let users: Vec<String> = users.map(|(user, _)| user).collect();
    if !users.is_empty() {
        return Err(Error::invalid(format!(
            "unable to delete assignment {:?} because it is currently referenced by these clients: {}",
            name.as_str(),
            users.join(", ")
        )));
    }
    tx.delete(at(name.as_str()));
    Ok(Done)
}
