//! `orphans/{name}`: users in the database that bear names like ours and that no lease stands for.
//!
//! They come from leases that were forced away, from a storage that was restored to an earlier state, or from another
//! server with the same template. So reading only lists, and nothing is removed that is not named.

use std::collections::BTreeSet;

use api::{CommaList, Name};
use engine::{Data, Error, LeaseId};
use serde::{Deserialize, Serialize};

use crate::{
    Call, Here, Targets, config, connections,
    creds::{self, Undo},
    failed,
    statements::Statements,
    static_role,
};

/// What was found.
#[derive(Serialize)]
pub(crate) struct Found {
    /// What the names begin with.
    prefix: String,
    /// Users without a lease, ascending.
    orphans: Vec<String>,
    /// How many users have one.
    leased: usize,
}

pub(crate) async fn read<T: Targets>(cx: Call<T>, name: Name) -> Result<Data<Found>, Error> {
    find(&cx, name.as_str()).await.map(Data)
}

#[derive(Deserialize)]
pub(crate) struct Removal {
    usernames: CommaList,
    #[serde(default)]
    revocation_statements: Statements,
}

/// What was done.
#[derive(Serialize)]
pub(crate) struct Done {
    removed: Vec<String>,
    /// Why the others are still there.
    failed: std::collections::BTreeMap<String, String>,
}

pub(crate) async fn remove<T: Targets>(cx: Call<T>, name: Name, removal: Removal) -> Result<Data<Done>, Error> {
    let name = name.as_str();
    let found: BTreeSet<String> = find(&cx, name).await?.orphans.into_iter().collect();
    let target = connections::open(&cx, name).await?.1;
    let mut done = Done { removed: Vec::new(), failed: Default::default() };
    for username in removal.usernames.0 {
        if !found.contains(&username) {
            done.failed
                .insert(username, "is no orphan: it has a lease, is not there, or is not named like ours".to_owned());
            continue;
        }
        match creds::remove(&target, &username, &removal.revocation_statements).await {
            Ok(_) => done.removed.push(username),
            Err(error) => {
                done.failed.insert(username, error.to_string());
            }
        }
    }
    Ok(Data(done))
}

async fn find<T: Targets>(cx: &Here<T>, name: &str) -> Result<Found, Error> {
    let connection = config::required(cx, name).await?;
    let prefix = connection.template::<T>()?.prefix().to_owned();
    if prefix.len() < MIN_PREFIX {
        return Err(Error::invalid(format!(
            "username_template: its names do not begin with {MIN_PREFIX} fixed characters, so ours cannot be told from others"
        )));
    }
    let target = connections::open(cx, name).await?.1;
    // First the users, then the leases: a user that is made meanwhile is in neither or in both.
    let users = target.list_users(&prefix).await.map_err(failed)?;
    let mut known = leased_users(cx, &connection.id).await?;
    known.insert(connection.username);
    known.extend(static_users(cx, name).await?);
    let (leased, orphans): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| known.contains(user));
    Ok(Found { prefix, orphans, leased: leased.len() })
}

/// The users that leases of a connection stand for, pending ones included.
pub(crate) async fn leased_users<T: Targets>(cx: &Here<T>, connection_id: &str) -> Result<BTreeSet<String>, Error> {
    let (mut users, mut after) = (BTreeSet::new(), None);
    loop {
        let page = page(cx, after.as_ref()).await?;
        for id in &page {
            users.extend(user_of(cx, id, connection_id).await?);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(users),
        }
    }
}

/// Whether a lease is the last of its connection. Where there are so many leases that it takes long to tell: no.
pub(crate) async fn is_last<T: Targets>(cx: &Here<T>, connection_id: &str, lease: &LeaseId) -> Result<bool, Error> {
    let page = page(cx, None).await?;
    if page.len() == PAGE {
        return Ok(false);
    }
    for id in page.iter().filter(|id| *id != lease) {
        if user_of(cx, id, connection_id).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn page<T: Targets>(cx: &Here<T>, after: Option<&LeaseId>) -> Result<Vec<LeaseId>, Error> {
    let prefix = format!("{}creds/", cx.mount().path);
    cx.services().leases(&prefix, after.map(|id| &*id.0), PAGE).await
}

async fn user_of<T: Targets>(cx: &Here<T>, lease: &LeaseId, connection_id: &str) -> Result<Option<String>, Error> {
    let Some(data) = cx.services().lease_data(lease).await? else { return Ok(None) };
    // EXPOSE: our own record of whom the lease stands for.
    let undo: Option<Undo> = serde_json::from_slice(data.expose()).ok();
    Ok(undo.filter(|undo| undo.connection_id == connection_id).map(|undo| undo.username))
}

async fn static_users<T: Targets>(cx: &Here<T>, connection: &str) -> Result<Vec<String>, Error> {
    let mut users = Vec::new();
    for name in cx.view().list(static_role::FOLDER, None, usize::MAX - 1).await?.names {
        let role = static_role::load(cx.view(), &name).await?;
        for role in role.into_iter().filter(|role| role.db_name == connection) {
            users.extend([role.username, role.paired_username]);
        }
    }
    Ok(users)
}

const PAGE: usize = 512;
const MIN_PREFIX: usize = 2;
