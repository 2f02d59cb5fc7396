//! `sys/audit-journal`: who did what, answered by the server's own audit journal.

use std::sync::Arc;

use api::{Count, Flag};
use audit::journal::{Check, Filter, Order, Reader};
use engine::Data;
use gate::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cx, Routes, System, Verb, running};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "audit-journal/holder", "Show who held an issued user name, and when.", holder)
        .on(Verb::Read, "audit-journal/query", "Search the audit journal.", query)
        .on(Verb::Read, "audit-journal/verify", "Check that the audit journal was not tampered with.", verify)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Query {
    journal: Option<String>,
    path: Option<String>,
    path_prefix: Option<String>,
    mount: Option<String>,
    entity: Option<String>,
    display_name: Option<String>,
    accessor: Option<String>,
    lease_id: Option<String>,
    username: Option<String>,
    request_id: Option<String>,
    since: Option<String>,
    until: Option<String>,
    operation: Option<String>,
    kind: Option<String>,
    failed: Option<Flag>,
    oldest_first: Flag,
    limit: Option<Count>,
    after: Option<Count>,
}

#[derive(Serialize)]
struct Found {
    records: Vec<Shown>,
    indexed: u64,
}

#[derive(Serialize)]
struct Shown {
    seq: u64,
    entry: Value,
}

fn reader(cx: &Cx<System>, path: Option<&str>) -> Result<(String, Arc<Reader>, [u8; 32]), Error> {
    let running = running(cx)?;
    let journals = running.journals.lock();
    let found = match path {
        Some(path) => journals.get_key_value(path.trim_matches('/')),
        None => journals.iter().next(),
    };
    let (path, (reader, key)) = found.ok_or_else(|| {
        Error::invalid(
            "no audit journal is enabled there; enable one with: strongroom audit enable journal path=DIRECTORY",
        )
    })?;
    Ok((path.clone(), Arc::clone(reader), *key))
}

fn moment(name: &str, text: Option<String>) -> Result<Option<clock::Timestamp>, Error> {
    let parse = |text: String| {
        text.parse().map_err(|_| Error::invalid(format!("{name}: use a time such as 2026-01-31T12:00:00Z")))
    };
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}

async fn query(cx: Cx<System>, (): (), query: Query) -> Result<Data<Found>, Error> {
    let (_, reader, _) = reader(&cx, query.journal.as_deref())?;
    let kind = match query.kind.as_deref() {
        None | Some("") => None,
        Some("request") => Some(audit::Kind::Request),
        Some("response") => Some(audit::Kind::Response),
        Some(_) => return Err(Error::invalid("kind: use request or response")),
    };
    let filter = Filter {
        path: query.path,
        path_prefix: query.path_prefix,
        mount: query.mount,
        entity: query.entity,
        display_name: query.display_name,
        accessor: query.accessor,
        lease_id: query.lease_id,
        username: query.username,
        request_id: query.request_id,
        since: moment("since", query.since)?,
        until: moment("until", query.until)?,
        operation: query.operation,
        kind,
        failed: query.failed.map(|flag| flag.0),
        order: if query.oldest_first.0 { Order::Oldest } else { Order::Newest },
        limit: query.limit.filter(|limit| limit.0 > 0).map(|limit| usize::try_from(limit.0).unwrap_or(usize::MAX)),
        after: query.after.map(|after| after.0),
    };
    let found = tokio::task::spawn_blocking(move || reader.query(&filter)).await;
    let found = found.map_err(|_| Error::internal("the search of the journal was interrupted"))?;
    let found = found.map_err(|error| Error::internal(error.to_string()))?;
    let shown = |record: &audit::journal::Record| Shown {
        seq: record.seq,
        entry: serde_json::from_str(&record.entry).unwrap_or(Value::Null),
    };
    Ok(Data(Found { records: found.records.iter().map(shown).collect(), indexed: found.indexed }))
}

#[derive(Debug, Deserialize)]
struct HolderQuery {
    username: String,
    journal: Option<String>,
    at: Option<String>,
}

#[derive(Serialize)]
struct Holders {
    holders: Vec<Holder>,
}

#[derive(Serialize)]
struct Holder {
    username: String,
    lease_id: Option<String>,
    from: String,
    until: Option<String>,
    issued: Value,
    ended: Option<Value>,
}

async fn holder(cx: Cx<System>, (): (), query: HolderQuery) -> Result<Data<Holders>, Error> {
    let (_, reader, _) = reader(&cx, query.journal.as_deref())?;
    let at = moment("at", query.at)?;
    let found = tokio::task::spawn_blocking(move || reader.held(&query.username, at)).await;
    let found = found.map_err(|_| Error::internal("the search of the journal was interrupted"))?;
    let found = found.map_err(|error| Error::internal(error.to_string()))?;
    let entry = |record: &audit::journal::Record| serde_json::from_str(&record.entry).unwrap_or(Value::Null);
    let show = |holding: &audit::journal::Holding| Holder {
        username: holding.username.clone(),
        lease_id: holding.lease_id.clone(),
        from: holding.issued.time.to_string(),
        until: holding.ended.as_ref().map(|record| record.time.to_string()),
        issued: entry(&holding.issued),
        ended: holding.ended.as_ref().map(entry),
    };
    Ok(Data(Holders { holders: found.iter().map(show).collect() }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verify {
    journal: Option<String>,
}

#[derive(Serialize)]
struct Verified {
    journal: String,
    directory: String,
    public_key: String,
    sound: bool,
    records: u64,
    heads: u64,
    unsigned: u64,
    faults: Vec<String>,
}

async fn verify(cx: Cx<System>, (): (), ask: Verify) -> Result<Data<Verified>, Error> {
    let (journal, reader, public_key) = reader(&cx, ask.journal.as_deref())?;
    // What came since the last head is signed first: so it is covered too, and a young journal has something to be checked by.
    if let Err(error) = reader.sign().await {
        tracing::warn!(%error, "the newest records of the journal could not be signed");
    }
    // The barrier knows how far the journal was signed: what was cut off together with its heads is missed.
    let check = Check { anchor: running(&cx)?.head(&journal, &public_key).await, ..Check::default() };
    let directory = reader.directory().to_owned();
    let path = directory.clone();
    let report = tokio::task::spawn_blocking(move || audit::journal::verify(&path, &public_key, &check)).await;
    let report = report.map_err(|_| Error::internal("the verification was interrupted"))?;
    let report = report.map_err(|error| Error::internal(error.to_string()))?;
    Ok(Data(Verified {
        journal: format!("{journal}/"),
        directory: directory.display().to_string(),
        public_key: public_key.iter().map(|byte| format!("{byte:02x}")).collect(),
        sound: report.is_sound(),
        records: report.records,
        heads: report.heads,
        unsigned: report.unsigned,
        faults: report.faults.iter().map(ToString::to_string).collect(),
    }))
}
