//! What tokens may be made of which, and what they may then do: the rules of `auth/token/`, over the wire.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

use crate::kit::{names, policy, start, token};

const MAKER: &str = "path \"auth/token/create*\" { capabilities = [\"update\"] }";
const MASTER: &str = "path \"auth/token/create*\" { capabilities = [\"update\", \"sudo\"] }";

fn world() -> (Server, Wire, Wire, Wire) {
    let (server, root) = start();
    policy(&root, "maker", MAKER);
    policy(&root, "master", MASTER);
    policy(&root, "other", "path \"cubbyhole/*\" { capabilities = [\"read\"] }");
    let make = |policies: &[&str]| {
        root.with_token(&root.post("auth/token/create", json!({ "policies": policies })).client_token())
    };
    let (maker, master) = (make(&["maker"]), make(&["master"]));
    (server, root, maker, master)
}

/// The token that a request makes, as its holder sees it.
fn made(wire: &Wire, path: &str, ask: Value) -> Value {
    let child = wire.post(path, ask).client_token();
    wire.with_token(&child).get("auth/token/lookup-self").data()
}

#[test]
fn a_child_has_no_more_rights_than_its_parent() {
    let (_server, root, maker, master) = world();
    let create = "auth/token/create";
    assert_eq!(made(&maker, create, json!({}))["policies"], json!(["default", "maker"]));
    assert_eq!(made(&maker, create, json!({ "policies": ["maker"] }))["policies"], json!(["default", "maker"]));
    let child = made_without_lookup(&maker, json!({ "policies": ["maker"], "no_default_policy": true }));
    assert_eq!(child["policies"], json!(["maker"]));
    for more in [json!(["other"]), json!(["root"]), json!(["maker", "other"])] {
        maker.post(create, json!({ "policies": more })).refused(400, "child policies must be subset of parent");
    }
    maker.post("auth/token/create-orphan", json!({ "policies": ["other"] })).refused(400, "subset of parent");
    // A token that was made without the default policy could give it to its children.
    let bare = token(&root, &["maker"]);
    let child = made_without_lookup(&bare, json!({}));
    assert_eq!(names(&child["policies"]), ["maker"]);
    bare.post(create, json!({ "policies": ["default"] })).refused(400, "subset of parent");
    assert_eq!(names(&made_without_lookup(&bare, json!({ "policies": ["maker"] }))["policies"]), ["maker"]);

    // With sudo on the path any, but never root.
    assert_eq!(made(&master, create, json!({ "policies": ["other"] }))["policies"], json!(["default", "other"]));
    master.post(create, json!({ "policies": ["root"] })).refused(400, "without parent token being root");
    root.post(create, json!({ "policies": ["response-wrapping"] })).refused(400, "cannot be assigned");
    let warned = root.post(create, json!({ "policies": ["none-such"] })).ok();
    assert!(warned["warnings"][0].as_str().unwrap().contains("\"none-such\" does not exist"), "{warned}");

    for (field, value) in [("no_parent", json!(true)), ("period", json!("1h")), ("id", json!("chosen"))] {
        maker.post(create, json!({ field: value })).refused(400, "sudo privileges required");
    }
    assert_eq!(made(&master, create, json!({ "no_parent": true }))["orphan"], true);
    assert_eq!(made(&master, create, json!({ "period": "1h" }))["period"], 3600);
    assert_eq!(made(&master, create, json!({ "id": "chosen" }))["id"], "chosen");
    master.post(create, json!({ "id": "chosen" })).refused(400, "duplicate");
    for id in ["hvs.x", "s.x", "with.dot", ""] {
        master.post(create, json!({ "id": id })).refused(400, "custom token ID");
    }
    assert_eq!(made(&maker, "auth/token/create-orphan", json!({}))["orphan"], true);

    let once = root.with_token(&root.post(create, json!({ "policies": ["maker"], "num_uses": 5 })).client_token());
    once.post(create, json!({})).refused(400, "restricted use token cannot generate child tokens");
    let batch = root.with_token(&root.post(create, json!({ "policies": ["maker"], "type": "batch" })).client_token());
    batch.post(create, json!({})).refused(400, "batch tokens cannot create more tokens");
}

/// As the reply to the creation has it: for tokens that may not look themselves up.
fn made_without_lookup(wire: &Wire, ask: Value) -> Value {
    wire.post("auth/token/create", ask).ok()["auth"].clone()
}

#[test]
fn a_child_is_bound_to_the_addresses_of_its_parent() {
    // A token bound to an address made children that could be used from anywhere.
    let (_server, root, ..) = world();
    let role = json!({ "token_bound_cidrs": ["127.0.0.0/8", "10.1.2.3"], "allowed_policies": "maker,master" });
    root.post("auth/token/roles/bound", role).done();
    let by_role = |policies: &str| {
        root.with_token(&root.post("auth/token/create/bound", json!({ "policies": policies })).client_token())
    };
    let (maker, master) = (by_role("maker"), by_role("master"));
    let bound = json!(["127.0.0.0/8", "10.1.2.3/32"]);
    assert_eq!(maker.get("auth/token/lookup-self").data()["bound_cidrs"], bound);
    for wire in [&maker, &master] {
        assert_eq!(made(wire, "auth/token/create", json!({}))["bound_cidrs"], bound);
    }
    assert_eq!(made(&maker, "auth/token/create-orphan", json!({}))["bound_cidrs"], bound);
    // Who has sudo may cut the tie.
    assert_eq!(made(&master, "auth/token/create", json!({ "no_parent": true }))["bound_cidrs"], Value::Null);
}

#[test]
fn lives_and_limits_follow_the_rules() {
    let (_server, root, maker, _) = world();
    let create = "auth/token/create";
    let plain = made(&maker, create, json!({ "ttl": "90s" }));
    assert_eq!(
        (&plain["creation_ttl"], &plain["explicit_max_ttl"], &plain["renewable"]),
        (&json!(90), &json!(0), &json!(true))
    );
    assert_eq!(made(&maker, create, json!({ "lease": "80s" }))["creation_ttl"], 80);
    assert_eq!(made(&maker, create, json!({}))["creation_ttl"], 2_764_800);
    assert_eq!(made(&maker, create, json!({ "renewable": "false" }))["renewable"], false);
    let long = maker.post(create, json!({ "ttl": "800h" })).ok();
    assert_eq!(long["auth"]["lease_duration"], 2_764_800);
    assert!(long["warnings"][0].as_str().unwrap().contains("max_ttl"), "{long}");
    // A hard end is kept by the first life and by every renewal.
    let hard = root.with_token(&maker.post(create, json!({ "ttl": "10m", "explicit_max_ttl": "15m" })).client_token());
    let renewed = hard.post("auth/token/renew-self", json!({ "increment": "2h" })).ok();
    assert!((601..=900).contains(&renewed["auth"]["lease_duration"].as_u64().unwrap()), "{renewed}");
    assert!(renewed["warnings"][0].as_str().unwrap().contains("max_ttl"), "{renewed}");
    assert_eq!(made(&maker, create, json!({ "ttl": "10m", "explicit_max_ttl": "1m" }))["creation_ttl"], 60);
    let capped = maker.post(create, json!({ "explicit_max_ttl": "9000h" })).ok();
    assert!(capped["warnings"].to_string().contains("Explicit max TTL of 32400000 seconds"), "{capped}");
    let fixed = root.with_token(&maker.post(create, json!({ "renewable": false })).client_token());
    fixed.post("auth/token/renew-self", json!({})).refused(400, "lease is not renewable");
    // A period is what each renewal gives, whatever is asked for.
    let period = root.with_token(&root.post(create, json!({ "policies": "default", "period": "1h" })).client_token());
    let renewed = period.post("auth/token/renew-self", json!({ "increment": "5m" })).ok();
    assert_eq!(renewed["auth"]["lease_duration"], 3600);

    // Root tokens have no end unless one is asked for, and one with an end makes none without.
    let root_child = made(&root, create, json!({}));
    assert_eq!(
        (&root_child["ttl"], &root_child["expire_time"], &root_child["policies"]),
        (&json!(0), &Value::Null, &json!(["root"]))
    );
    let ending = root.with_token(&root.post(create, json!({ "ttl": "1h" })).client_token());
    ending.post(create, json!({})).refused(400, "expiring root tokens cannot create non-expiring root tokens");
    assert_eq!(made(&ending, create, json!({ "ttl": "5m" }))["creation_ttl"], 300);
    root.post("auth/token/renew-self", json!({})).refused(400, "lease is not renewable");

    let meta = json!({ "display_name": "web / 1!", "meta": { "team": "a" }, "num_uses": 9 });
    let shown = made(&maker, create, meta);
    assert_eq!(
        (&shown["display_name"], &shown["meta"], &shown["num_uses"]),
        (&json!("token-web---1"), &json!({ "team": "a" }), &json!(8))
    );
    for (field, value) in [
        ("ttl", json!("-1h")),
        ("ttl", json!("soon")),
        ("explicit_max_ttl", json!([])),
        ("num_uses", json!(-1)),
        ("num_uses", json!("many")),
        ("type", json!("odd")),
        ("meta", json!(7)),
        ("renewable", json!("perhaps")),
        ("policies", json!({ "a": 1 })),
    ] {
        let reply = root.post(create, json!({ field: value }));
        reply.refused(400, if field == "type" { "token_type" } else { field });
    }
}

#[test]
fn batch_tokens_are_refused_what_they_cannot_have() {
    let (_server, root, ..) = world();
    let create = "auth/token/create";
    for (field, value) in [
        ("period", json!("1h")),
        ("explicit_max_ttl", json!("1h")),
        ("num_uses", json!(3)),
        ("policies", json!("root")),
    ] {
        let mut ask = json!({ "type": "batch", "policies": "default" });
        ask[field] = value;
        root.post(create, ask).refused(400, "batch tokens cannot be root tokens or have");
    }
    let batch = root.post(create, json!({ "type": "batch", "policies": "default", "ttl": "1h" })).ok()["auth"].clone();
    assert_eq!(
        (&batch["token_type"], &batch["accessor"], &batch["renewable"]),
        (&json!("batch"), &json!(""), &json!(false))
    );
    let token = batch["client_token"].as_str().unwrap();
    assert!(token.starts_with("hvb."));
    let holder = root.with_token(token);
    assert_eq!(holder.get("auth/token/lookup-self").data()["type"], "batch");
    holder.post("auth/token/renew-self", json!({})).refused(400, "batch tokens cannot be renewed");
    holder.post("auth/token/revoke-self", json!({})).refused(400, "batch tokens cannot be revoked");
    for path in ["revoke", "revoke-orphan"] {
        root.post(&format!("auth/token/{path}"), json!({ "token": token }))
            .refused(400, "batch tokens cannot be revoked");
    }
    root.post("auth/token/renew", json!({ "token": token })).refused(400, "batch tokens cannot be renewed");
    holder.post("cubbyhole/x", json!({ "a": 1 })).refused(400, "cubbyhole");
}

#[test]
fn roles_govern_what_is_made_through_them() {
    let (_server, root, maker, master) = world();
    let role = |name: &str, role: Value| root.post(&format!("auth/token/roles/{name}"), role).done();
    let by = |wire: &Wire, name: &str, ask: Value| made(wire, &format!("auth/token/create/{name}"), ask);
    let refused = |wire: &Wire, name: &str, ask: Value, text: &str| {
        wire.post(&format!("auth/token/create/{name}"), ask).refused(400, text);
    };
    role("plain", json!({}));
    assert_eq!(by(&maker, "plain", json!({}))["policies"], json!(["default", "maker"]));
    refused(&maker, "plain", json!({ "policies": "other" }), "subset of parent");
    // Sudo counts on the path that was asked for, with a role too.
    assert_eq!(by(&master, "plain", json!({ "policies": "other" }))["policies"], json!(["default", "other"]));
    let shown = root.get("auth/token/roles/plain").data();
    for (field, value) in [
        ("name", json!("plain")),
        ("orphan", json!(false)),
        ("renewable", json!(true)),
        ("path_suffix", json!("")),
        ("token_type", json!("default-service")),
        ("allowed_policies", json!([])),
        ("disallowed_policies_glob", json!([])),
        ("token_period", json!(0)),
        ("period", json!(0)),
        ("explicit_max_ttl", json!(0)),
        ("token_explicit_max_ttl", json!(0)),
        ("allowed_entity_aliases", json!([])),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown}");
    }

    role("allowed", json!({ "allowed_policies": "other,extra", "token_no_default_policy": true }));
    let child = maker.post("auth/token/create/allowed", json!({})).ok()["auth"].clone();
    assert_eq!(child["token_policies"], json!(["extra", "other"]));
    refused(&maker, "allowed", json!({ "policies": "maker" }), "allowed policies");
    role("globs", json!({ "allowed_policies_glob": "team-*", "disallowed_policies_glob": "team-admin*" }));
    assert_eq!(by(&maker, "globs", json!({ "policies": "team-a" }))["policies"], json!(["default", "team-a"]));
    assert_eq!(by(&maker, "globs", json!({}))["policies"], json!(["default"]));
    refused(&maker, "globs", json!({ "policies": "team-admins" }), "disallowed");
    // A role that only forbids gave root a root token where nothing was asked for.
    role("forbids", json!({ "disallowed_policies": "other" }));
    assert_eq!(by(&root, "forbids", json!({}))["policies"], json!(["default"]));
    refused(&root, "forbids", json!({ "policies": "root" }), "root");
    refused(&root, "forbids", json!({ "policies": "other" }), "disallowed");

    // Limits: the lesser of what the role and the caller say, with a word about it.
    role("limits", json!({ "token_period": "1h", "token_explicit_max_ttl": "5h", "token_num_uses": 4 }));
    let child = by(&maker, "limits", json!({}));
    assert_eq!(
        (&child["period"], &child["explicit_max_ttl"], &child["num_uses"], &child["role"]),
        (&json!(3600), &json!(18_000), &json!(3), &json!("limits"))
    );
    let asked = json!({ "period": "2h", "explicit_max_ttl": "9h", "num_uses": 9 });
    let reply = maker.post("auth/token/create/limits", asked).ok();
    let warnings = reply["warnings"].to_string();
    assert!(
        warnings.contains("period specified both") && warnings.contains("Explicit max TTL specified both"),
        "{reply}"
    );
    assert_eq!((&reply["auth"]["lease_duration"], &reply["auth"]["num_uses"]), (&json!(3600), &json!(4)));
    let less = by(&maker, "limits", json!({ "period": "10m", "num_uses": 2 }));
    assert_eq!((&less["period"], &less["num_uses"]), (&json!(600), &json!(1)));
    refused(&maker, "plain", json!({ "period": "1h" }), "sudo privileges required to create periodic token");
    assert_eq!(by(&master, "plain", json!({ "period": "1h" }))["period"], 3600);

    role("orphans", json!({ "orphan": true, "renewable": false, "path_suffix": "batch-7" }));
    let child = by(&maker, "orphans", json!({}));
    assert_eq!((&child["orphan"], &child["renewable"]), (&json!(true), &json!(false)));
    let path = child["path"].as_str().unwrap().to_owned();
    assert!(path.starts_with("auth/token/create/orphans") && path.ends_with("batch-7"), "{path}");
    let token = maker.post("auth/token/create/orphans", json!({})).client_token();
    root.post(&format!("sys/leases/revoke-prefix/{path}"), json!({ "sync": true })).done();
    root.with_token(&token).get("auth/token/lookup-self").refused(403, "permission denied");

    role("batch", json!({ "token_type": "batch", "orphan": true, "renewable": false }));
    assert_eq!(by(&maker, "batch", json!({}))["type"], "batch");
    for (wrong, text) in [
        (json!({ "token_type": "batch" }), "non-orphan"),
        (json!({ "token_type": "batch", "orphan": true }), "renewable"),
        (json!({ "token_type": "batch", "orphan": true, "renewable": false, "token_period": "1h" }), "periodic"),
        (
            json!({ "token_type": "batch", "orphan": true, "renewable": false, "token_explicit_max_ttl": "1h" }),
            "explicit max",
        ),
        (json!({ "token_type": "batch", "orphan": true, "renewable": false, "token_num_uses": 2 }), "number of uses"),
        (json!({ "token_type": "odd" }), "token_type"),
        (json!({ "path_suffix": "a/b" }), "path_suffix"),
        (json!({ "token_bound_cidrs": "nowhere" }), "CIDR"),
        (json!({ "token_period": "-1h" }), "token_period"),
    ] {
        root.post("auth/token/roles/wrong", wrong).refused(400, text);
        assert_eq!(root.get("auth/token/roles/wrong").status, 404);
    }
    maker.post("auth/token/create/none", json!({})).refused(400, "unknown role none");
    root.delete("auth/token/roles/plain").done();
    assert!(!names(&root.list("auth/token/roles").data()["keys"]).contains(&"plain"));
}

#[test]
fn a_role_lets_tokens_speak_for_an_entity() {
    let (_server, root, maker, _) = world();
    root.post("auth/token/roles/people", json!({ "allowed_entity_aliases": ["Web-*", "db"] })).done();
    maker
        .post("auth/token/create", json!({ "entity_alias": "db" }))
        .refused(400, "only allowed in combination with token role");
    let path = "auth/token/create/people";
    maker.post(path, json!({ "entity_alias": "other" })).refused(400, "invalid 'entity_alias' value");
    let first = made(&maker, path, json!({ "entity_alias": "WEB-1" }));
    let second = made(&maker, path, json!({ "entity_alias": "web-1" }));
    let third = made(&maker, path, json!({ "entity_alias": "db" }));
    assert!(first["entity_id"].as_str().is_some_and(|id| !id.is_empty()), "{first}");
    assert_eq!(first["entity_id"], second["entity_id"]);
    assert_ne!(first["entity_id"], third["entity_id"]);
    assert_eq!(made(&maker, path, json!({}))["entity_id"], "");
}

#[test]
fn accessors_do_everything_but_tell_the_token() {
    let (_server, root, maker, _) = world();
    let child = maker.post("auth/token/create", json!({ "ttl": "1h" })).ok()["auth"].clone();
    let (token, accessor) = (child["client_token"].as_str().unwrap(), &child["accessor"]);
    let by = |path: &str, ask: Value| root.post(&format!("auth/token/{path}"), ask);
    let seen = by("lookup-accessor", json!({ "accessor": accessor })).data();
    assert_eq!((&seen["id"], &seen["accessor"]), (&json!(""), accessor));
    let renewed = by("renew-accessor", json!({ "accessor": accessor, "increment": "2h" })).ok();
    assert_eq!((&renewed["auth"]["client_token"], &renewed["auth"]["lease_duration"]), (&json!(""), &json!(7200)));
    assert!(root.list("auth/token/accessors").data()["keys"].as_array().unwrap().contains(accessor));
    maker.list("auth/token/accessors").refused(403, "permission denied");
    by("revoke-accessor", json!({ "accessor": accessor })).done();
    root.with_token(token).get("auth/token/lookup-self").refused(403, "permission denied");
    for path in ["lookup-accessor", "renew-accessor", "revoke-accessor"] {
        by(path, json!({ "accessor": accessor })).refused(403, "invalid accessor");
        by(path, json!({})).refused(400, "accessor");
    }
    by("lookup", json!({ "token": "hvs.none" })).refused(403, "bad token");
    by("revoke", json!({})).refused(400, "missing token");
    by("revoke-orphan", json!({ "token": "hvs.none" })).refused(400, "not found");
    by("revoke", json!({ "token": "hvs.none" })).done();
    assert_eq!(by("tidy", json!({})).status, 202);
}

#[test]
fn a_login_is_a_lease_too() {
    let (_server, root, maker, _) = world();
    let (role_id, secret_id) = crate::kit::approle(&root, "web", "default");
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    let holder = root.with_token(&root.with_token("").post("auth/approle/login", login).client_token());
    assert!(names(&root.list("sys/leases/lookup").data()["keys"]).contains(&"auth/"));
    let listed = root.list("sys/leases/lookup/auth/approle/login").data();
    let lease = format!("auth/approle/login/{}", names(&listed["keys"])[0]);
    assert!(!lease.contains(holder.token()), "the id of the lease is the token");
    let ask = json!({ "lease_id": lease });
    let seen = root.post("sys/leases/lookup", ask.clone()).data();
    assert_eq!((&seen["id"], &seen["renewable"]), (&json!(lease), &json!(true)));
    assert!((300..=600).contains(&seen["ttl"].as_u64().unwrap()) && seen["expire_time"].is_string(), "{seen}");
    root.post("sys/leases/renew", ask.clone()).refused(400, "tokens cannot be renewed through this endpoint");
    // The id of a token at another path is none.
    let elsewhere = lease.replace("approle/login", "token/create");
    root.post("sys/leases/lookup", json!({ "lease_id": elsewhere })).refused(400, "invalid lease");
    maker.post("sys/leases/revoke", ask.clone()).refused(403, "permission denied");
    root.post("sys/leases/revoke", json!({ "lease_id": lease, "sync": true })).done();
    holder.get("auth/token/lookup-self").refused(403, "permission denied");
    root.post("sys/leases/lookup", ask.clone()).refused(400, "invalid lease");
    assert_eq!(root.post("sys/leases/revoke", ask).status, 202);
}
