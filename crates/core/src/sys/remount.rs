//! `sys/remount`: a mount moves to another path. The storage of a mount does not depend on its path, so the move is one
//! commit; leases made at the old path keep their ids and are revoked by them. Into another namespace, whose storage lies
//! elsewhere, it moves in the background.

use std::sync::Arc;

use engine::{Answer, Data, MountClass};
use gate::Error;
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, mounts, mounts::flat, running, space};
use crate::namespaces::{Journey, Moved, SUCCESS};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes.on(Verb::Write, "remount", "Move a mount to another path.", remount).sudo().on(
        Verb::Read,
        "remount/status/{id}",
        "Show how a move went.",
        status,
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Move {
    from: String,
    to: String,
}

#[derive(Serialize)]
struct Begun {
    migration_id: String,
}

async fn remount(cx: Cx<System>, (): (), wanted: Move) -> Result<Answer, Error> {
    let (from, to) = (wanted.from.trim_matches('/'), wanted.to.trim_matches('/'));
    if from.is_empty() || to.is_empty() {
        return Err(Error::invalid("from and to: name the path of the mount and its new path"));
    }
    let (running, space) = (running(&cx)?, space(&cx)?);
    let (source, mount) = running.locate(&space, from).await?;
    let (target, path) = running.locate(&space, to).await?;
    for (field, inside, asked) in [("from", mount, from), ("to", path, to)] {
        if inside.is_empty() {
            return Err(Error::invalid(format!("{field}: {asked}/ is a namespace; name a mount of it")));
        }
    }
    let class = if mount.starts_with("auth/") { MountClass::Auth } else { MountClass::Secret };
    if (class == MountClass::Auth) != path.starts_with("auth/") {
        return Err(Error::invalid("from and to: cannot move between secrets engines and auth methods"));
    }
    let migration_id = crypto::random::uuid();
    let _names = target.naming.lock().await;
    mounts::check_name(&target, path).await?;
    if !Arc::ptr_eq(&source, &target) {
        let inside = path.strip_prefix("auth/").unwrap_or(path);
        let (from, to, path) = (&source, &target, target.mounts.free_path(class, inside)?);
        let journey = Journey { from, mount, to, path, asked_in: &space, migration: &migration_id };
        running.move_mount(journey).await?;
        return flat(Begun { migration_id });
    }
    source.mounts.rename(mount, path).await?;
    let above = source.namespace.path();
    running.move_limits(&format!("{above}{mount}/"), Some(&format!("{above}{path}/"))).await?;
    let record = Moved { source_mount: format!("{from}/"), target_mount: format!("{to}/"), status: SUCCESS.to_owned() };
    cx.view().put_json(&format!("remount/{migration_id}"), &record)?;
    flat(Begun { migration_id })
}

#[derive(Serialize)]
struct Status {
    migration_id: String,
    migration_info: Moved,
}

async fn status(cx: Cx<System>, id: String) -> Result<Option<Data<Status>>, Error> {
    let moved: Option<Moved> = cx.view().get_json(&format!("remount/{id}")).await?;
    Ok(moved.map(|moved| Data(Status { migration_id: id, migration_info: moved })))
}
