//! `sys/remount`: a mount moves to another path. The storage of a mount does not depend on its path, so the move is one
//! commit; leases made at the old path keep their ids and are revoked by them.

use engine::{Answer, Data};
use gate::Error;
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, mounts, mounts::flat, running, space};

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
    if from.starts_with("auth/") != to.starts_with("auth/") {
        return Err(Error::invalid("from and to: cannot move between secrets engines and auth methods"));
    }
    let (running, space) = (running(&cx)?, space(&cx)?);
    let _names = space.naming.lock().await;
    mounts::check_name(&space, to).await?;
    space.mounts.rename(from, to).await?;
    let above = space.namespace.path();
    running.move_limits(&format!("{above}{from}/"), Some(&format!("{above}{to}/"))).await?;
    let id = crypto::random::uuid();
    let record =
        Moved { source_mount: format!("{from}/"), target_mount: format!("{to}/"), status: "success".to_owned() };
    cx.view().put_json(&format!("remount/{id}"), &record)?;
    flat(Begun { migration_id: id })
}

#[derive(Serialize, Deserialize)]
struct Moved {
    source_mount: String,
    target_mount: String,
    status: String,
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
