//! `sys/rotation`: what the server rotates, when, and how it went.

use engine::Data;
use gate::{Error, RotationTry};
use serde::Serialize;

use super::{Cx, Paging, Routes, System, Verb, running, space};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes.on(Verb::Read, "rotation", "List what is rotated, by plan or by hand, and how it went.", list)
}

#[derive(Serialize)]
struct Listed {
    rotations: Vec<Shown>,
    more: bool,
    after: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    path: String,
    mount_type: &'static str,
    period: Option<u64>,
    schedule: Option<String>,
    next_rotation: Option<String>,
    last_rotation: Option<String>,
    last_error: Option<String>,
    failures: u32,
    history: Vec<RotationTry>,
}

async fn list(cx: Cx<System>, (): (), paging: Paging) -> Result<Data<Listed>, Error> {
    let (running, space) = (running(&cx)?, space(&cx)?);
    let (items, more) = running.rotations.list(paging.after.as_deref(), paging.limit(1000)).await?;
    let after = items.last().filter(|_| more).map(|item| format!("{}/{}", item.mount, item.id));
    // Those of other namespaces are left out.
    let shown = items.into_iter().filter_map(|item| {
        let mounted = space.mounts.by_uuid(&item.mount)?;
        Some(Shown {
            path: format!("{}{}", mounted.info.path, item.id),
            mount_type: mounted.info.kind,
            period: item.plan.period.map(|period| period.as_secs()),
            schedule: item.plan.schedule,
            next_rotation: item.status.next.map(|at| at.to_string()),
            last_rotation: item.status.last.map(|at| at.to_string()),
            last_error: item.status.last_error,
            failures: item.status.failures,
            history: item.status.history,
        })
    });
    Ok(Data(Listed { rotations: shown.collect(), more, after }))
}
