//! `sys/namespaces`: the namespaces below the one that is asked in.

use std::{collections::BTreeMap, sync::Arc};

use api::{Flag, Pairs};
use engine::{Answer, Data, Done, IntoAnswer, Keys};
use gate::Error;
use secret::{Disclosed, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{Cx, Paging, Routes, System, Verb, running, space};
use crate::namespaces::{Change, Space, Stored, check_name};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::List, "namespaces", "List the namespaces right below this one.", list)
        .on(Verb::Read, "namespaces", "List the namespaces right below this one.", list)
        .on(Verb::Write, "namespaces/api-lock/lock", "Lock this namespace and those below it.", lock_self)
        .on(Verb::Write, "namespaces/api-lock/lock/{path...}", "Lock a namespace and those below it.", lock)
        .on(Verb::Write, "namespaces/api-lock/unlock", "Unlock this namespace.", unlock_self)
        .on(Verb::Write, "namespaces/api-lock/unlock/{path...}", "Unlock a namespace.", unlock)
        .on(Verb::Read, "namespaces/{path...}", "Show a namespace.", read)
        .on(Verb::Write, "namespaces/{path...}", "Create a namespace, or replace its metadata.", write)
        .on(Verb::Patch, "namespaces/{path...}", "Change single keys of a namespace's metadata.", patch)
        .on(Verb::Delete, "namespaces/{path...}", "Delete a namespace with all that is in it.", delete)
}

#[derive(Serialize)]
struct Shown {
    id: String,
    path: String,
    uuid: String,
    custom_metadata: BTreeMap<String, String>,
    created_time: String,
    locked: bool,
    tainted: bool,
}

impl From<&Stored> for Shown {
    fn from(stored: &Stored) -> Self {
        Self {
            id: stored.namespace.id().to_owned(),
            path: stored.namespace.path().to_owned(),
            uuid: stored.uuid.clone(),
            custom_metadata: stored.custom_metadata.clone(),
            created_time: stored.created.to_string(),
            locked: stored.lock.is_some(),
            tainted: stored.leaving,
        }
    }
}

/// As it is stored; the root namespace is not.
fn shown(found: &Space) -> Result<Data<Shown>, Error> {
    let stored = found.stored.as_ref().ok_or_else(|| Error::internal("the root namespace was to be shown"))?;
    Ok(Data(Shown::from(&**stored.load())))
}

async fn list(cx: Cx<System>, (): (), paging: Paging) -> Result<Keys, Error> {
    let below = space(&cx)?.below(paging.after.as_deref(), paging.limit(MOST)).await?;
    let mut keys = Keys::default();
    for (name, stored) in below {
        let json = serde_json::to_string(&Shown::from(&stored)).and_then(RawValue::from_string);
        let json = json.map_err(|_| Error::internal("a listing cannot be written as JSON"))?;
        let name = format!("{name}/");
        keys.key_info.insert(name.clone(), json);
        keys.keys.push(name);
    }
    Ok(keys)
}

const MOST: usize = 100_000;

/// The namespace at a path below the one that is asked in.
async fn at(cx: &Cx<System>, path: &str) -> Result<Option<Arc<Space>>, Error> {
    running(cx)?.spaces.at(&space(cx)?, path.trim_matches('/')).await
}

/// As [`at`], for what needs one that is there.
async fn there(cx: &Cx<System>, path: &str) -> Result<Arc<Space>, Error> {
    let found = at(cx, path).await?;
    found.ok_or_else(|| Error::invalid(format!("path: there is no namespace {:?}", path.trim_matches('/'))))
}

async fn read(cx: Cx<System>, path: String) -> Result<Option<Data<Shown>>, Error> {
    at(&cx, &path).await?.map(|found| shown(&found)).transpose()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    custom_metadata: Option<Pairs>,
}

async fn write(cx: Cx<System>, path: String, input: Input) -> Result<Data<Shown>, Error> {
    let above = space(&cx)?;
    let name = check_name(above.namespace.path(), &path)?;
    let metadata = input.custom_metadata.map(|pairs| pairs.0);
    let made = running(&cx)?.spaces.make(&above, name, metadata).await?;
    shown(&made)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Patch {
    custom_metadata: Change,
}

async fn patch(cx: Cx<System>, path: String, input: Patch) -> Result<Data<Shown>, Error> {
    let found = there(&cx, &path).await?;
    running(&cx)?.spaces.change(&found, |stored| stored.merge(input.custom_metadata.clone())).await?;
    shown(&found)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Deletion {
    force: Flag,
}

/// The namespace is out of reach at once; what it leased and stored goes in the background. With `force`, leases whose
/// revocation fails are forgotten, for a namespace that could not be deleted otherwise.
async fn delete(cx: Cx<System>, path: String, how: Deletion) -> Result<Answer, Error> {
    let (running, above) = (running(&cx)?, space(&cx)?);
    let found = running.spaces.any_at(&above, path.trim_matches('/')).await?;
    let Some(found) = found.filter(|found| !Arc::ptr_eq(found, &above)) else {
        return Ok(Answer {
            warnings: vec!["requested namespace does not exist".to_owned()],
            ..Data(json!({})).into_answer()?
        });
    };
    if !found.is_leaving() {
        running.remove_namespace(&found).await?;
    }
    if how.force.0 {
        running.force_namespace(&found).await?;
    }
    Data(json!({ "status": "in-progress" })).into_answer()
}

#[derive(Serialize)]
struct Locked {
    unlock_key: Disclosed<String>,
}

async fn lock_self(cx: Cx<System>, (): ()) -> Result<Data<Locked>, Error> {
    lock_at(&cx, space(&cx)?).await
}

async fn lock(cx: Cx<System>, path: String) -> Result<Data<Locked>, Error> {
    let found = there(&cx, &path).await?;
    lock_at(&cx, found).await
}

async fn lock_at(cx: &Cx<System>, found: Arc<Space>) -> Result<Data<Locked>, Error> {
    if found.part.is_none() {
        return Err(Error::invalid("the root namespace cannot be locked"));
    }
    let key = SecretString::new(crypto::random::base62(24).to_string());
    let hash = hash(&key);
    let change = |stored: &mut Stored| {
        if stored.lock.is_some() {
            return Err(Error::invalid("the namespace is locked already"));
        }
        stored.lock = Some(hash.clone());
        Ok(())
    };
    running(cx)?.spaces.change(&found, change).await?;
    Ok(Data(Locked { unlock_key: key.disclose() }))
}

/// The key is random and long, so a plain hash gives nothing away.
fn hash(key: &SecretString) -> String {
    // EXPOSE: hashed, which is all that is kept of it.
    let hash = crypto::hash::sha256(key.expose().as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Unlock {
    unlock_key: Option<SecretString>,
}

async fn unlock_self(cx: Cx<System>, (): (), with: Unlock) -> Result<Answer, Error> {
    let found = space(&cx)?;
    unlock_at(&cx, found, with).await
}

async fn unlock(cx: Cx<System>, path: String, with: Unlock) -> Result<Answer, Error> {
    let found = there(&cx, &path).await?;
    unlock_at(&cx, found, with).await
}

/// Whoever has `sudo` on the path needs no key.
async fn unlock_at(cx: &Cx<System>, found: Arc<Space>, with: Unlock) -> Result<Answer, Error> {
    if found.part.is_none() {
        return Err(Error::invalid("the root namespace cannot be locked, and so not unlocked"));
    }
    let caller = Arc::clone(cx.holder()?);
    let path = format!("{}{}", cx.mount().path, cx.path());
    let given = with.unlock_key.filter(|key| !key.is_empty());
    let keyless = given.is_none() && (caller.is_root || cx.services().has_sudo(&caller, &path));
    let hash = given.as_ref().map(hash);
    let change = |stored: &mut Stored| match (&stored.lock, &hash) {
        (None, _) => Err(Error::invalid("the namespace is not locked")),
        (Some(_), None) if !keyless => {
            Err(Error::invalid("unlock_key: missing; it was given when the namespace was locked"))
        }
        (Some(lock), Some(hash)) if !SecretString::new(lock.clone()).matches(hash) => {
            Err(Error::invalid("unlock_key: it is not the one that was given when the namespace was locked"))
        }
        (Some(_), _) => {
            stored.lock = None;
            Ok(())
        }
    };
    running(cx)?.spaces.change(&found, change).await?;
    let warning = "The namespace was unlocked without its unlock key, by a token with sudo.".to_owned();
    Ok(Answer { warnings: keyless.then_some(warning).into_iter().collect(), ..Done.into_answer()? })
}
