//! What holds of every route that the server says it has: it refuses a token of another namespace, and below `sys/` a
//! namespace has those that its tenants need and no other. What else holds of each is in `bad_input.rs` and `fuzz.rs`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::collections::BTreeSet;

use serde_json::json;
use testkit::wire::Wire;

use crate::kit::{
    logs::check_log,
    policy,
    routes::{OPEN, base, ends_the_test, routes, send, start_with_routes},
};

/// What is below `sys/` in every namespace.
const INSIDE: &[&str] = &[
    "auth",
    "capabilities",
    "capabilities-accessor",
    "capabilities-self",
    "internal/specs",
    "internal/ui",
    "inventory",
    "leases",
    "locked-users",
    "mfa/validate",
    "mounts",
    "namespaces",
    "plugins/catalog",
    "plugins/reload",
    "policies",
    "policy",
    "remount",
    "renew",
    "revoke",
    "revoke-force",
    "revoke-prefix",
    "rotation",
    "tools",
    "wrapping",
];

#[test]
fn every_route_knows_its_namespace() {
    const ALL: &str =
        r#"path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"] }"#;
    let (server, root, _) = start_with_routes();
    let admin_of = |name: &str| {
        root.post(&format!("sys/namespaces/{name}"), json!({})).ok();
        let wire = root.within(name);
        for (path, kind) in [("kv", "kv-v2"), ("kv1", "kv-v1"), ("database", "database")] {
            wire.post(&format!("sys/mounts/{path}"), json!({ "type": kind })).done();
        }
        for kind in ["approle", "jwt", "userpass"] {
            wire.post(&format!("sys/auth/{kind}"), json!({ "type": kind })).done();
        }
        policy(&wire, "all", ALL);
        wire.with_token(&wire.post("auth/token/create", json!({ "policies": ["all"] })).client_token())
    };
    let (own, stranger): (Wire, Wire) = (admin_of("team"), admin_of("other"));
    let at_team = stranger.within("team");
    let mut inside = BTreeSet::new();
    let mounts = [
        "sys",
        "cubbyhole",
        "kv",
        "kv1",
        "database",
        "identity",
        "auth/token",
        "auth/approle",
        "auth/jwt",
        "auth/userpass",
    ];
    // What a mount can do, its help tells; of `sys/` as a whole in the root namespace alone.
    let listing = |mount: &&str| if **mount == *"sys" { routes(&root, mount) } else { routes(&own, mount) };
    for route in mounts.iter().flat_map(listing) {
        if ends_the_test(&route.pattern) || route.pattern == "sys/namespaces/api-lock/lock" {
            continue;
        }
        let open = OPEN.contains(&route.pattern.as_str()) || route.pattern == "auth/userpass/login/{username}";
        let listed = |inside: &&&str| {
            route
                .pattern
                .strip_prefix("sys/")
                .and_then(|path| path.strip_prefix(**inside))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let in_list = INSIDE.iter().find(listed);
        let of_server = route.pattern.starts_with("sys/") && in_list.is_none();
        for verb in route.verbs.keys() {
            let body = base(&route.pattern).to_string();
            // First the stranger, while everything is as it was.
            let reply = send(&at_team, verb, &route.path("x"), body.as_bytes());
            let refused = match () {
                () if of_server => reply.status == 400 && reply.text().contains("root namespace only"),
                () if open => reply.status < 500,
                () => reply.status == 403,
            };
            assert!(refused, "{verb} {} by a stranger: {reply}", route.pattern);
            let reply = send(&own, verb, &route.path("x"), body.as_bytes());
            let is_refused = reply.text().contains("root namespace only");
            assert_eq!(is_refused, of_server, "{verb} {}: {reply}", route.pattern);
            // There is no database behind the connection.
            let away = reply.text().contains("the database cannot be reached");
            let fault = reply.status >= 500 && !away && !crate::kit::routes::names_no_connection(&reply);
            let turned_away = reply.status == 403 && reply.text().contains("permission denied");
            assert!(!fault && (of_server || !turned_away || open), "{verb} {}: {reply}", route.pattern);
            inside.extend(in_list.copied());
        }
    }
    // Nothing stands in the list that there is not.
    assert_eq!(inside, INSIDE.iter().copied().collect());
    // Nobody else was touched.
    stranger.get("auth/token/lookup-self").ok();
    assert_eq!(stranger.list("kv1").status, 404);
    root.get("auth/token/lookup-self").ok();
    check_log(&server);
}
