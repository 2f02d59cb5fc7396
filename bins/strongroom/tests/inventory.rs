//! The inventory of tokens and leases, over the wire and by the command line.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};
use testkit::wire::Wire;

use crate::kit::{policy, start, token, world::World};

fn list(root: &Wire, what: &str, query: &str) -> Value {
    root.get(&format!("sys/inventory/{what}?{query}")).data()
}

fn names(page: &Value, list: &str, field: &str) -> Vec<String> {
    page[list].as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn tokens_are_found_by_who_and_where_and_when_and_never_shown() {
    let (server, root) = start();
    root.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
    root.post("auth/userpass/users/alice", json!({ "password": "right", "token_max_ttl": "2h", "token_ttl": "1h" }))
        .done();
    let anybody = root.with_token("");
    let auth = anybody.post("auth/userpass/login/alice", json!({ "password": "right" })).ok()["auth"].clone();
    root.post("auth/token/roles/job", json!({ "allowed_policies": "default", "token_explicit_max_ttl": "10m" })).done();
    let job = root.post("auth/token/create/job", json!({ "ttl": "5m" })).ok()["auth"].clone();

    let all = list(&root, "tokens", "");
    assert_eq!((all["tokens"].as_array().unwrap().len(), &all["more"], &all["after"]), (3, &json!(false), &json!("")));
    for secret in [server.root_token(), auth["client_token"].as_str().unwrap(), job["client_token"].as_str().unwrap()] {
        assert!(!all.to_string().contains(secret), "a token is shown");
    }
    let entity = auth["entity_id"].as_str().unwrap();
    let alice = list(&root, "tokens", &format!("entity_id={entity}"));
    assert_eq!(names(&alice, "tokens", "accessor"), [auth["accessor"].as_str().unwrap()]);
    let shown = &alice["tokens"][0];
    assert_eq!(
        [&shown["display_name"], &shown["path"], &shown["renewable"], &shown["orphan"]],
        [&json!("userpass-alice"), &json!("auth/userpass/login/alice"), &json!(true), &json!(true)]
    );
    let seconds = |text: &Value| text.as_str().unwrap().parse::<clock::Timestamp>().unwrap().as_second();
    assert_eq!(seconds(&shown["hard_expire_time"]) - seconds(&shown["issue_time"]), 7200);
    assert_eq!(seconds(&shown["expire_time"]) - seconds(&shown["issue_time"]), 3600);
    for (query, expected) in [
        ("role=job".to_owned(), vec![job["accessor"].as_str().unwrap()]),
        ("mount=auth/userpass".to_owned(), vec![auth["accessor"].as_str().unwrap()]),
        ("mount=/auth/userpass/".to_owned(), vec![auth["accessor"].as_str().unwrap()]),
        ("mount=auth/user".to_owned(), vec![]),
        ("ends_within=15m".to_owned(), vec![job["accessor"].as_str().unwrap()]),
        ("older_than=1h".to_owned(), vec![]),
    ] {
        assert_eq!(names(&list(&root, "tokens", &query), "tokens", "accessor"), expected, "{query}");
    }
    let of_root = list(&root, "tokens", "mount=auth/token/root");
    assert_eq!((&of_root["tokens"][0]["hard_expire_time"], &of_root["tokens"][0]["ttl"]), (&Value::Null, &json!(0)));

    policy(&root, "look", "path \"sys/inventory/*\" { capabilities = [\"read\"] }");
    token(&root, &["look"]).get("sys/inventory/tokens").refused(403, "permission denied");
    root.get("sys/inventory/tokens?older_than=soon").refused(400, "older_than");
    root.get("sys/inventory/tokens?limit=-1").refused(400, "limit");
}

#[test]
fn pages_hold_everything_once() {
    let (_server, root) = start();
    for _ in 0..7 {
        token(&root, &["default"]);
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&root, "tokens", &format!("limit=3&after={after}"));
        let accessors = names(&page, "tokens", "accessor");
        assert!(accessors.len() <= 3);
        found.extend(accessors);
        if page["more"] == false {
            break;
        }
        after = page["after"].as_str().unwrap().to_owned();
    }
    assert_eq!(found.len(), 8);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 8);
}

#[test]
fn leases_are_found_with_their_holder() {
    let world = World::new();
    let caller = world.caller();
    let user = World::user(&caller, "app");
    World::user(&caller, "app");
    let accessor = caller.get("auth/token/lookup-self").data()["accessor"].clone();
    let page = list(&world.root, "leases", "mount=database/creds/app");
    assert_eq!(page["leases"].as_array().unwrap().len(), 2);
    let shown = page["leases"].as_array().unwrap().iter().find(|one| one["lease_id"] == user.lease).unwrap();
    assert_eq!(
        [&shown["mount"], &shown["role"], &shown["accessor"], &shown["renewable"]],
        [&json!("database/"), &json!("app"), &accessor, &json!(true)]
    );
    assert!(!page.to_string().contains(&user.password) && shown["revoke_error"].is_null());
    for (query, count) in [("role=app", 2), ("role=other", 0), ("mount=data", 0), ("ends_within=1s", 0), ("limit=1", 1)]
    {
        assert_eq!(list(&world.root, "leases", query)["leases"].as_array().unwrap().len(), count, "{query}");
    }
    let out = world.server.cli(world.root.token(), &["lease", "list", "-mount=database/creds/app"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && text.contains(&user.lease) && text.lines().count() == 4, "{text}");
    let out = world.server.cli(world.root.token(), &["token", "list", "-format=json", "-limit=1"]);
    let json: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert!(String::from_utf8(out.stderr).unwrap().contains("There are more than 1"));
    let out = world.server.cli(world.root.token(), &["lease", "list", "-older-than=100h"]);
    assert_eq!(out.status.code(), Some(2));
}
