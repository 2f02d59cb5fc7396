//! What the server is and does at the moment: nodes, versions, requests under way, the machine.

use std::collections::BTreeMap;

use engine::{Answer, Data, Done, Keys};
use gate::Error;
use serde::Serialize;
use serde_json::{Value, json, value::to_raw_value};

use super::{Cx, Routes, System, Verb, mounts::flat, running};
use crate::{cluster, host, nodes::Node};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    let routes = routes
        .on(Verb::Read, "ha-status", "List the nodes.", nodes)
        .on(Verb::List, "version-history", "List the versions that the server has run as.", versions)
        .on(Verb::Read, "in-flight-req", "Show the requests that are under way.", in_flight)
        .on(Verb::Read, "host-info", "Show the machine: processor, memory, disk.", host_info)
        .on(Verb::Read, "experiments", "List what is there to be tried out.", experiments)
        .on(Verb::Read, "replication/status", "Show that nothing is replicated.", replication)
        .open();
    absent(routes)
}

/// Parts of other servers that clients ask for: each says that it is not here.
fn absent(routes: Routes<System>) -> Routes<System> {
    let (raft, pprof) = ("Refused: the store is not raft.", "Refused: there are no profiles to take.");
    routes
        .on(Verb::Read, "storage/raft/{path...}", raft, no_raft)
        .on(Verb::Write, "storage/raft/{path...}", raft, no_raft)
        .on(Verb::Delete, "storage/raft/{path...}", raft, no_raft)
        .on(Verb::Read, "pprof/{path...}", pprof, no_pprof)
}

async fn no_raft(_: Cx<System>, _: String) -> Result<Done, Error> {
    Err(Error::invalid("raft storage is not in use"))
}

async fn no_pprof(_: Cx<System>, _: String) -> Result<Done, Error> {
    Err(Error::NoRoute("profiles are not supported: see sys/metrics, sys/host-info and sys/in-flight-req".to_owned()))
}

/// The nodes, each of which serves. One that has given no sign of life for a while is not active.
async fn nodes(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    let running = running(&cx)?;
    let shown = |(node, alive): (Node, bool)| {
        json!({
            "hostname": node.hostname,
            "node_id": node.name,
            "api_address": node.api_address,
            "cluster_address": node.api_address,
            "active_node": alive,
            "active_time": node.active_since.to_string(),
            "last_echo": node.last_echo.to_string(),
            "echo_duration_ms": 0,
            "clock_skew_ms": 0,
            "replication_primary_canary_age_ms": 0,
            "version": running.settings.compatibility,
            "upgrade_version": running.settings.compatibility,
            "strongroom_version": node.version,
        })
    };
    if running.following.is_shared() {
        let nodes: Vec<_> = running.nodes.list().into_iter().map(shown).collect();
        return flat(json!({ "nodes": nodes }));
    }
    let node = json!({
        "hostname": host::name(),
        "api_address": "",
        "cluster_address": "",
        "active_node": true,
        "last_echo": null,
        "echo_duration_ms": 0,
        "clock_skew_ms": 0,
        "replication_primary_canary_age_ms": 0,
        "version": running.settings.compatibility,
        "upgrade_version": running.settings.compatibility,
    });
    flat(json!({ "nodes": [node] }))
}

#[derive(Serialize)]
struct VersionInfo<'v> {
    timestamp_installed: &'v str,
    previous_version: Option<&'v str>,
    build_date: Option<&'v str>,
    strongroom_version: &'v str,
}

async fn versions(cx: Cx<System>, (): ()) -> Result<Keys, Error> {
    let mut keys = Keys::default();
    for version in cluster::versions(cx.view().tx()).await? {
        let info = VersionInfo {
            timestamp_installed: &version.timestamp_installed,
            previous_version: version.previous_version.as_deref(),
            build_date: None,
            strongroom_version: &version.strongroom_version,
        };
        let info = to_raw_value(&info).map_err(|_| Error::internal("a version cannot be written as JSON"))?;
        keys.key_info.insert(version.version.clone(), info);
        keys.keys.push(version.version);
    }
    Ok(keys)
}

async fn in_flight(cx: Cx<System>, (): ()) -> Result<Data<BTreeMap<String, Value>>, Error> {
    Ok(Data(running(&cx)?.in_flight.list()))
}

async fn host_info(cx: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    let now = cx.now();
    let folder = running(&cx)?.settings.journal_directory.clone();
    // Files are read.
    let info = tokio::task::spawn_blocking(move || host::info(folder.as_deref(), now)).await;
    info.map(Data).map_err(|_| Error::internal("the machine could not be asked"))
}

async fn experiments(_: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    Ok(Data(json!({ "available_experiments": [], "enabled": [] })))
}

async fn replication(_: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    Ok(Data(json!({ "mode": "disabled" })))
}
