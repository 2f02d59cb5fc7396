//! From a stored connection to a target that is ready, and back to one that works after a rotation was cut off.

use std::{collections::HashMap, sync::Arc};

use engine::Error;
use parking_lot::Mutex;
use storage::Tx;

use crate::{
    Databases, Here, Targets,
    config::{self, Connection},
    failed,
    kept::Account,
    target::{Error as TargetError, Opened},
    turn,
};

/// The open targets of a mount, and who is at work on which password.
#[derive(Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<String, Cached>>,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

struct Cached {
    /// The version of the connection that was opened.
    version: String,
    target: Opened,
}

impl Connections {
    /// The target of a connection, opened if the stored one is not the one that is open.
    pub(crate) fn target<T: Targets>(&self, name: &str, connection: &Connection) -> Result<Opened, Error> {
        let current = |open: &HashMap<String, Cached>| {
            let cached = open.get(name).filter(|cached| cached.version == connection.version);
            cached.map(|cached| Arc::clone(&cached.target))
        };
        if let Some(target) = current(&self.open.lock()) {
            return Ok(target);
        }
        // Opening may read files: not under the lock. One of two that are opened at once is dropped again.
        let kind = Databases::<T>::kind(&connection.plugin_name)?;
        let target = (kind.open)(&connection.settings(&connection.password)).map_err(failed)?;
        let mut open = self.open.lock();
        if let Some(other) = current(&open) {
            return Ok(other);
        }
        // Whoever still uses the one before goes on with it; its connections close with its last user.
        open.insert(name.to_owned(), Cached { version: connection.version.clone(), target: Arc::clone(&target) });
        Ok(target)
    }

    /// Keeps a target that was opened to be tried.
    pub(crate) fn keep(&self, name: &str, version: &str, target: Opened) {
        self.open.lock().insert(name.to_owned(), Cached { version: version.to_owned(), target });
    }

    /// Forgets the target of a connection.
    pub(crate) fn forget(&self, name: &str) {
        self.open.lock().remove(name);
    }

    /// The lock of a password.
    pub(crate) fn turn(&self, what: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        if turns.len() > MAX_TURNS {
            // Those that nobody holds or waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(what.to_owned()).or_default())
    }

    /// Closes everything.
    pub(crate) fn close(&self) {
        for (_, cached) in self.open.lock().drain() {
            cached.target.close();
        }
    }
}

/// The connection with this name and its target.
pub(crate) async fn open<T: Targets>(cx: &Here<T>, name: &str) -> Result<(Connection, Opened), Error> {
    let connection = config::load(cx.view(), name).await?.ok_or_else(|| missing(name))?;
    let target = cx.engine().connections.target::<T>(name, &connection)?;
    Ok((connection, target))
}

/// The connection that users were made through, also if it was deleted since, or another one now bears its name.
pub(crate) async fn open_for_undo<T: Targets>(
    cx: &Here<T>,
    name: &str,
    id: &str,
) -> Result<(Connection, Opened), Error> {
    let live = config::load(cx.view(), name).await?;
    if live.as_ref().is_none_or(|live| live.id != id)
        && let Some(retired) = config::load_retired(cx.view(), name, id).await?
    {
        let target = cx.engine().connections.target::<T>(&config::retired_key(name, id), &retired)?;
        return Ok((retired, target));
    }
    drop(live);
    open(cx, name).await
}

pub(crate) fn missing(name: &str) -> Error {
    Error::Target(format!("failed to find entry for connection with name: \"{name}\""))
}

/// What to do after an act failed: a target to try it on once more, if the login was refused because a rotation was cut
/// off between the database and our storage, or is just going on.
pub(crate) async fn recovered<T: Targets>(
    cx: &Here<T>,
    name: &str,
    used: &Connection,
    error: &TargetError,
) -> Result<Option<Opened>, Error> {
    if !matches!(error, TargetError::LoginRefused(_)) {
        return Ok(None);
    }
    let _turn = turn(cx, &turn_of(name)).await;
    // A unit of work of its own: it counts whatever becomes of the request.
    let tx = Tx::new(cx.services().store());
    let view = tx.view(cx.view().key("").as_str());
    let Some(mut connection) = config::load(&view, name).await? else { return Ok(None) };
    if connection.version != used.version {
        return cx.engine().connections.target::<T>(name, &connection).map(Some);
    }
    let Some(pending) = connection.pending.clone() else { return Ok(None) };
    let kind = Databases::<T>::kind(&connection.plugin_name)?;
    let target = (kind.open)(&connection.settings(&pending.password)).map_err(failed)?;
    if target.verify().await.is_err() {
        return Ok(None);
    }
    promote(&mut connection, pending, cx.now());
    config::store(&view, name, &connection)?;
    tx.commit().await?;
    cx.engine().connections.keep(name, &connection.version, Arc::clone(&target));
    tracing::info!(connection = name, "a password rotation that was cut off is complete");
    Ok(Some(target))
}

/// Makes the pending password the current one, and keeps the one before.
pub(crate) fn promote(connection: &mut Connection, pending: Account, now: clock::Timestamp) {
    let before = std::mem::replace(&mut connection.password, pending.password);
    connection.previous = Some(Account { username: connection.username.clone(), password: before, since: now });
    connection.pending = None;
    connection.owned = true;
    connection.last_rotation = Some(now);
    connection.renew_version();
}

/// The name of a connection's turn.
pub(crate) fn turn_of(connection: &str) -> String {
    format!("config/{connection}")
}

const MAX_TURNS: usize = 4096;
