//! `sys/internal/specs/openapi`: what the caller can reach, as an OpenAPI document.

use std::collections::HashSet;

use api::Flag;
use engine::{Answer, Body, MountClass};
use gate::{Error, RouteInfo};
use serde::Deserialize;

use super::{Cx, Rights, Routes, System, Verb, internal::own_rights, running, space};
use crate::{
    Bare,
    openapi::{Document, Mount},
};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    let summary = "Describe the API as far as the caller can reach it.";
    routes
        .on(Verb::Read, "internal/specs/openapi", summary, document)
        .open()
        .on(Verb::Write, "internal/specs/openapi", summary, document)
        .open()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    generic_mount_paths: Flag,
    #[serde(rename = "context")]
    _context: Option<String>,
}

/// Without a token, only what answers without one.
async fn document(cx: Cx<System>, (): (), wanted: Wanted) -> Result<Answer, Error> {
    let running = running(&cx)?;
    let (space, rights) = (space(&cx)?, own_rights(&cx).await?);
    let mut document = Document::new();
    let mut known = HashSet::new();
    for class in [MountClass::Auth, MountClass::Secret] {
        for mounted in space.mounts.list(class).values() {
            let info = &mounted.info;
            let listed = &*info.path == "sys/" || mounted.entry.config.listing_visibility == "unauth";
            // A parameter stands for all mounts of a kind.
            if wanted.generic_mount_paths.0 && !known.insert((class, info.kind, info.options.get("version").cloned())) {
                continue;
            }
            let mount = Mount::new(info, wanted.generic_mount_paths.0);
            let bare = if &*info.path == "sys/" { Bare::routes() } else { Vec::new() };
            let reached = |route: &&RouteInfo| {
                let open = listed && route.open;
                reaches(rights.as_ref(), &info.path, route.pattern, open)
            };
            let routes: Vec<_> = mounted.backend.routes().iter().filter(reached).chain(&bare).collect();
            document.add(&mount, &routes);
        }
    }
    let document = document.finish(&running.settings.compatibility);
    let json = serde_json::to_vec(&document).map_err(|_| Error::internal("the document cannot be written as JSON"))?;
    Ok(Answer { body: Body::Bare(json.into()), ..Answer::default() })
}

/// Whether a caller has any right at what a pattern may stand for.
fn reaches(rights: Option<&Rights>, mount: &str, pattern: &str, open: bool) -> bool {
    let fixed = pattern.split('{').next().unwrap_or_default();
    open || rights.is_some_and(|rights| rights.grants_below(&format!("{mount}{fixed}")))
}
