//! Walks the route table: each route is told apart, and the page of the book shows all of them.

use std::collections::{BTreeMap, BTreeSet};

use api::Verb;
use gate::{MountClass, MountInfo, RouteInfo};

use super::System;
use crate::{
    Bare,
    openapi::{Document, Mount},
};

fn table() -> Vec<RouteInfo> {
    engine::backend(System::new()).routes().to_vec()
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Delete => "delete",
        Verb::List => "list",
        Verb::Patch => "patch",
        Verb::Read => "read",
        Verb::Scan => "scan",
        Verb::Write => "write",
    }
}

#[test]
fn each_route_stands_once_and_says_what_it_does() {
    let mut known = BTreeSet::new();
    for route in table().iter().chain(&Bare::routes()) {
        assert!(known.insert((route.pattern, route.verb)), "{} {}", word(route.verb), route.pattern);
        assert!(route.summary.ends_with('.'), "{}: {}", route.pattern, route.summary);
        assert!(!(route.open && route.sudo), "{}", route.pattern);
    }
}

#[test]
fn every_route_and_each_of_its_fields_is_in_the_document() {
    let info = MountInfo {
        namespace: gate::Namespace::root(),
        uuid: "".into(),
        accessor: "".into(),
        path: "sys/".into(),
        kind: "system",
        class: MountClass::Secret,
        options: std::sync::Arc::default(),
        default_ttl: std::time::Duration::ZERO,
        max_ttl: std::time::Duration::ZERO,
        clear_request_keys: std::sync::Arc::new([]),
        clear_response_keys: std::sync::Arc::new([]),
        passed_headers: std::sync::Arc::default(),
        reply_headers: std::sync::Arc::default(),
    };
    let (mount, mut document) = (Mount::new(&info, false), Document::new());
    let routes: Vec<_> = table().into_iter().chain(Bare::routes()).collect();
    document.add(&mount, &routes.iter().collect::<Vec<_>>());
    let document = document.finish("1.16.3");
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<_> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
    assert!(ids.len() >= routes.len());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    for id in ["mounts-tune-configuration-parameters", "read-health-status", "system-write-namespaces-path"] {
        assert!(ids.contains(&id), "{id}: {ids:?}");
    }
    for schema in document["components"]["schemas"].as_object().unwrap().keys() {
        let used = document["paths"].to_string().contains(&format!("#/components/schemas/{schema}\""));
        assert!(used, "{schema}");
    }
    for (path, item) in paths {
        let captured: BTreeSet<_> = path.split('/').filter(|part| part.starts_with('{')).collect();
        let told: Vec<_> = item["parameters"].as_array().into_iter().flatten().collect();
        assert_eq!(captured.len(), told.len(), "{path}");
    }
    let shape = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    for route in &routes {
        let slash = if route.verb == Verb::List { "/" } else { "" };
        let wanted = shape(&format!("/sys/{}{slash}", route.pattern));
        let path = paths.keys().find(|path| shape(path) == wanted);
        let path = path.unwrap_or_else(|| panic!("{wanted} is not in the document"));
        let method = match route.verb {
            Verb::Delete => "delete",
            Verb::Write => "post",
            Verb::Patch => "patch",
            Verb::List | Verb::Read | Verb::Scan => "get",
        };
        let operation = &paths[path][method];
        assert!(operation["operationId"].is_string(), "{method} {path}");
        let kind = if route.verb == Verb::Patch { "application/merge-patch+json" } else { "application/json" };
        let text = match operation["requestBody"]["content"][kind]["schema"]["$ref"].as_str() {
            Some(name) => document["components"]["schemas"][name.rsplit('/').next().unwrap()].to_string(),
            None => operation["parameters"].to_string(),
        };
        for field in route.fields {
            assert!(text.contains(&format!("\"{field}\"")), "{path}: {field}: {text}");
        }
    }
}

#[test]
fn the_page_shows_every_route() {
    let mut page = String::from(HEAD);
    let routes: Vec<_> = table().into_iter().chain(Bare::routes()).collect();
    let mut by_path: BTreeMap<&str, Vec<&RouteInfo>> = BTreeMap::new();
    routes.iter().for_each(|route| by_path.entry(route.pattern).or_default().push(route));
    for (pattern, routes) in by_path {
        for route in routes {
            let needs = match (route.open, route.sudo) {
                (true, _) => "nothing",
                (false, true) => "`sudo`",
                (false, false) => "a policy",
            };
            let fields: Vec<_> = route.fields.iter().map(|field| format!("`{field}`")).collect();
            let verb = word(route.verb);
            let row = format!("| `{pattern}` | {verb} | {needs} | {} | {} |\n", route.summary, fields.join(", "));
            page.push_str(&row);
        }
    }
    page.push_str(END);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/sys.md");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page, "docs/src/sys.md differs from the route table: run this test with STRONGROOM_BLESS=1");
}

const HEAD: &str = r#"# The routes below `sys/`

Every route of the server itself. The table is made from the server's own route table, and a test keeps the two alike;
the server tells the same of itself at `sys/internal/specs/openapi`, as far as the caller can reach it, and at each path with
`?help=1`.

Paths are those below `/v1/sys/`. `{name}` stands for one part of a path, `{path...}` for the rest of it. *list* is the verb
`LIST`, or `GET` with `?list=true`; *write* is `POST` or `PUT`. What needs *nothing* answers without a token; some of it shows more
to those who send one.

| Path | Verb | Needs | What it does | Takes |
|---|---|---|---|---|
"#;

const END: &str = r#"
## Rate limits

`quotas/rate-limit/{name}` limits how many requests each client address may send: `rate` in each `interval` (one second if it
is left out). `path` is empty for everything, or the path of a mount, or a path inside it; a `*` at its end takes all that
begins so. `role`, with the path of an auth method alone, limits the logins of a role. Of all limits one counts: that of the
role, else of the path, else of the mount, else of everything.

A client beyond its limit is answered 429 with `Retry-After`; with `block_interval` it is shut out for that long. Each node counts for
itself. A node keeps 65,536 addresses of each limit apart; when more ask at a time, the others share a count.

`quotas/config` names paths that no limit counts. The routes that need no token and answer outside of policies (health, seal
status, unseal and those like them) are never limited. With `enable_rate_limit_response_headers` each reply says what is left, in
`X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds). A refusal by a limit stands in the audit log only with
`enable_rate_limit_audit_logging`: a flood would otherwise go on in the log.

## Headers in the audit log

`config/auditing/request-headers/{header}` has a header of requests written into the audit log: in clear, or as its keyed hash
with `hmac`. Names are in lower case. The headers that carry tokens are never there.

## Origins of browsers

`config/cors` lets pages of other origins call the server. `allowed_origins` lists them; `*` alone is all. A request from an origin that
is not listed is answered 403, before anything else is looked at. A sealed server does not know the list: it gives no page leave to read its
replies.

## Metrics

`metrics` answers with JSON, or with `format=prometheus` in the text format of Prometheus. Each node counts for itself, from its start.
Every metric is there from the start.

| Metric | What it is |
|---|---|
| `strongroom_requests_total{outcome}` | Requests that were answered. |
| `strongroom_lease_revocations_total{outcome}` | Tries to revoke a lease. |
| `strongroom_rotations_total{outcome}` | Tries to rotate something. |
| `strongroom_rate_limited_total` | Requests that a rate limit refused. |
| `strongroom_recalled_total` | Replies that were given again, since nothing had changed that they depend on. They count as requests too. |
| `strongroom_in_flight_requests` | Requests that are under way. |
| `strongroom_unsealed` | 1. |
| `strongroom_mounts_secret`, `strongroom_mounts_auth` | Mounts of the root namespace. |
| `strongroom_namespaces_in_memory` | Namespaces below the root one that were asked for since the server was unsealed. |
| `strongroom_audit_devices`, `strongroom_audit_devices_healthy` | Audit devices, and those that take entries. |
| `strongroom_storage_commits`, `_syncs`, `_bytes`, `_conflicts` | Counted by the embedded store since it was opened. |

What means the same in Vault has Vault's name too, in both forms, so that dashboards and alerts work: `vault.core.unsealed`,
`vault.core.active`, `vault.core.in_flight_requests`, `vault.core.mount_table.num_entries`, `vault.core.handle_request` and
`vault.core.handle_login_request` (number and sum of milliseconds, no quantiles), `vault.token.count`, `vault.token.creation`,
`vault.expire.num_leases`, `vault.expire.num_irrevocable_leases`, `vault.identity.num_entities`, `vault.audit.log_request_failure`,
`vault.audit.log_response_failure`, `vault.quota.rate_limit.violation`, `vault.quota.lease_count.violation`. Tokens, leases and entities lie on
disk; they are counted when the metrics are read, for at most a fiftieth of the time, so with very many of them the numbers are some
minutes old.

## Inventory

`inventory/tokens` and `inventory/leases` list what there is, a page at a time: `limit` (100, at most 1000) and `after`, which is the `after` of the page before
as long as `more` is true. Filters are `entity_id`, `role`, `mount` (a path; what was made at it or below), `older_than`, and `ends_within`: those that no
renewal keeps longer. Each comes with its age, when it ends, and with `hard_expire_time` when it ends at the latest. Tokens are shown by accessor. One
page looks at 10,000 at most, so with a filter that fits few a page may be empty and still have `more`. Batch tokens are not stored, and not listed.

## The log

`loggers` shows and sets how much each part of the server logs on standard error, until it is started again; deleting a level takes
that of the configuration. The parts are named after the crates of the program. `monitor` is the log as a stream without end, at `log_level`
(`info` if it is left out) and above, as lines for people or, with `log_format=json`, one object a line. It shows what the parts above log, whatever
level standard error has. A follower that reads too slowly loses lines.

## Rekey and root tokens with a token

`rotate/root/…` and `generate-root-token/…` are `rekey/…` and `generate-root/…` for holders of a token with `sudo`: policies and the audit log see
them. Both forms ask for key shares, and what begins in the one can go on in the other.

## Snapshots

`storage/raft/snapshot…` work with every store, see [snapshots and moving](snapshots.md). A server that was never initialised takes a snapshot without a token.

## What is not here

These answer with the reason, so that a client can tell: `storage/raft/…` but for [snapshots](snapshots.md), `pprof/…`; everything about recovery keys
where the seal is made of key shares; plugins from outside. Paths of parts that are not built (`license/status`, `managed-keys`, `sync` and others) answer 404.
Clients are not counted: `internal/counters/activity` has nothing to say.
"#;
