//! `sys/internal/ui`: what the command line and the user interface ask before they ask.

use std::{collections::BTreeMap, sync::Arc};

use engine::{Data, MountClass};
use gate::{Error, Refusal};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Cx, Rights, Routes, System, Verb, mounts, running, space};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "internal/ui/mounts", "List the mounts that the caller has any right on.", list)
        .open()
        .on(Verb::Read, "internal/ui/mounts/{path...}", "Show the mount of a path.", read)
        .open()
        .on(Verb::Read, "internal/ui/namespaces", "List the namespaces that the caller has any right in.", namespaces)
        .open()
        .on(Verb::Read, "internal/ui/feature-flags", "List what is switched on to be tried out.", feature_flags)
        .open()
        .on(Verb::Read, "internal/ui/version", "Show the version.", version)
        .on(Verb::Read, "internal/ui/resultant-acl", "Show all rights of the caller.", resultant)
        .on(Verb::Read, "internal/inspect/router/{tag}", "Show how the router knows its mounts.", inspect_router)
        .sudo()
}

/// A mount as the router holds it.
#[derive(Serialize)]
struct Routed {
    accessor: String,
    mount_namespace: &'static str,
    mount_path: String,
    mount_type: String,
    storage_prefix: String,
    tainted: bool,
    uuid: String,
}

/// The mounts in the order of what the tag names. They are found by path, id or accessor, and store below their prefix.
async fn inspect_router(cx: Cx<System>, tag: String) -> Result<Data<BTreeMap<String, Vec<Routed>>>, Error> {
    let space = space(&cx)?;
    let classes = [MountClass::Auth, MountClass::Secret];
    let mut routed: Vec<_> = classes.into_iter().flat_map(|class| space.mounts.list(class).into_values()).collect();
    routed.extend(space.mounts.leaving());
    match tag.as_str() {
        "root" => routed.sort_by_key(|mounted| Arc::clone(&mounted.info.path)),
        "uuid" => routed.sort_by_key(|mounted| Arc::clone(&mounted.info.uuid)),
        "accessor" => routed.sort_by_key(|mounted| Arc::clone(&mounted.info.accessor)),
        "storage" => routed.sort_by_key(|mounted| Arc::clone(&mounted.prefix)),
        _ => return Err(Error::invalid("tag: use root, uuid, accessor or storage")),
    }
    routed.dedup_by_key(|mounted| Arc::clone(&mounted.info.uuid));
    let shown = routed.iter().map(|mounted| Routed {
        accessor: mounted.entry.accessor.clone(),
        mount_namespace: "",
        mount_path: mounts::shown_path(mounted),
        mount_type: mounted.entry.kind.clone(),
        storage_prefix: mounted.prefix.to_string(),
        tainted: mounted.entry.tainted,
        uuid: mounted.entry.uuid.clone(),
    });
    Ok(Data(BTreeMap::from([(tag, shown.collect())])))
}

#[derive(Serialize)]
struct Listed {
    auth: BTreeMap<String, Value>,
    secret: BTreeMap<String, Value>,
}

/// What the caller's token allows; `None` without a token. The routes are open, so that no policy needs to name them.
pub(super) async fn own_rights(cx: &Cx<System>) -> Result<Option<Rights>, Error> {
    let Some(token) = cx.token() else { return Ok(None) };
    let found = running(cx)?.tokens.lookup(token).await?;
    let (_, record) = found.ok_or(Error::Denied(Refusal::InvalidToken))?;
    let rights = Rights::of_token(space(cx)?, &record).await?;
    rights.ok_or(Error::Denied(Refusal::Namespace)).map(Some)
}

/// The route is open: without a valid token, only mounts that are listed for everybody are shown.
async fn list(cx: Cx<System>, (): ()) -> Result<Data<Listed>, Error> {
    let (space, rights) = (space(&cx)?, own_rights(&cx).await?);
    let of = |class| {
        let mut shown = BTreeMap::new();
        for mounted in space.mounts.list(class).values() {
            let public = mounted.entry.config.listing_visibility == "unauth";
            let granted = rights.as_ref().is_some_and(|rights| rights.grants_below(&mounted.info.path));
            if granted {
                shown.insert(mounts::shown_path(mounted), json!(mounts::info(mounted)));
            } else if public {
                let entry = &mounted.entry;
                let options = (!entry.options.is_empty()).then(|| entry.options.clone());
                let info = json!({ "type": entry.kind, "description": entry.description, "options": options });
                shown.insert(mounts::shown_path(mounted), info);
            }
        }
        shown
    };
    Ok(Data(Listed { auth: of(MountClass::Auth), secret: of(MountClass::Secret) }))
}

/// The command line asks this before it reads or writes key/value secrets. Whoever has no right below the mount learns
/// nothing about it.
async fn read(cx: Cx<System>, path: String) -> Result<Data<Value>, Error> {
    let space = space(&cx)?;
    let rights = own_rights(&cx).await?.ok_or(Error::Denied(Refusal::MissingToken))?;
    let denied = || {
        let text = format!(
            "preflight capability check returned 403, please ensure client's policies grant access to path \"{}/\"",
            path.trim_end_matches('/')
        );
        Error::Denied(Refusal::Other(text))
    };
    // The path may begin with the names of namespaces.
    let wanted = format!("{}/", path.trim_end_matches('/'));
    let (inside, rest) = running(&cx)?.locate(&space, &wanted).await?;
    let (mounted, _) = inside.mounts.find(rest).ok_or_else(denied)?;
    let shown = inside.path_from(&space, &mounted.info.path);
    if !rights.grants_below(&shown) {
        return Err(denied());
    }
    let mut info = json!(mounts::info(&mounted));
    if let Some(object) = info.as_object_mut() {
        object.insert("path".to_owned(), json!(shown));
    }
    Ok(Data(info))
}

/// Namespaces right below the one that is asked in, as far as the caller has any right in them; without a token none.
async fn namespaces(cx: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    let rights = own_rights(&cx).await?.ok_or(Error::Denied(Refusal::MissingToken))?;
    let below = space(&cx)?.below(None, 100_000).await?;
    let shown = below.into_iter().filter(|(_, stored)| !stored.leaving).map(|(name, _)| format!("{name}/"));
    let keys: Vec<String> = shown.filter(|name| rights.grants_below(name)).collect();
    Ok(Data(json!({ "keys": keys })))
}

async fn feature_flags(_: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    Ok(Data(json!({ "feature_flags": [] })))
}

async fn version(cx: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    let settings = &running(&cx)?.settings;
    Ok(Data(json!({ "version": settings.compatibility, "strongroom_version": settings.version })))
}

#[derive(Serialize)]
struct Resultant {
    root: bool,
    exact_paths: BTreeMap<String, Value>,
    glob_paths: BTreeMap<String, Value>,
}

async fn resultant(cx: Cx<System>, (): ()) -> Result<Data<Resultant>, Error> {
    let caller = Arc::clone(cx.holder()?);
    let acl = Rights::of_caller(space(&cx)?, &caller).await?.acl;
    let mut shown = Resultant { root: acl.is_root(), exact_paths: BTreeMap::new(), glob_paths: BTreeMap::new() };
    for (path, capabilities) in acl.paths() {
        let names: Vec<String> = capabilities.names().into_iter().map(str::to_owned).collect();
        let value = json!({ "capabilities": names });
        match path.strip_suffix('*') {
            Some(prefix) => shown.glob_paths.insert(prefix.to_owned(), value),
            None if path.contains('+') => shown.glob_paths.insert(path.to_owned(), value),
            None => shown.exact_paths.insert(path.to_owned(), value),
        };
    }
    Ok(Data(shown))
}
