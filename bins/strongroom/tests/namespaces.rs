//! Namespaces: own mounts, policies, tokens, leases and identities, and no way out of the tree.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

use crate::kit::{names, policy, start, token};

/// A namespace below the one that `above` asks in, asked in with the same token.
fn make(above: &Wire, at: &str, name: &str) -> Wire {
    above.post(&format!("sys/namespaces/{name}"), json!({})).ok();
    above.within(&format!("{at}{name}"))
}

/// KV version 1 at `secret/` with one value.
fn secrets(wire: &Wire, value: &str) {
    wire.post("sys/mounts/secret", json!({ "type": "kv" })).done();
    wire.post("secret/x", json!({ "value": value })).done();
}

const EVERYTHING: &str =
    r#"path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }"#;

/// A token of the namespace with every right that its policies can give.
fn admin(wire: &Wire) -> Wire {
    policy(wire, "admin", EVERYTHING);
    token(wire, &["admin"])
}

#[test]
fn namespaces_are_made_shown_changed_and_deleted() {
    let (_server, root) = start();
    root.list("sys/namespaces").refused(404, "");
    root.get("sys/namespaces/team").refused(404, "");
    let made = root.post("sys/namespaces/team", json!({ "custom_metadata": { "owner": "ops" } })).data();
    let id = made["id"].as_str().unwrap();
    assert_eq!((made["path"].as_str(), id.len()), (Some("team/"), 6));
    assert_eq!(made["custom_metadata"], json!({ "owner": "ops" }));
    assert_eq!((&made["locked"], &made["tainted"]), (&json!(false), &json!(false)));
    assert_eq!(root.get("sys/namespaces/team").data(), made);
    assert_eq!(root.get("sys/namespaces/team/").data(), made);
    // Made once; the metadata is replaced if it is given.
    assert_eq!(root.post("sys/namespaces/team", json!({})).data(), made);
    let again = root.post("sys/namespaces/team", json!({ "custom_metadata": { "a": "1", "b": "2" } })).data();
    assert_eq!((&again["id"], &again["custom_metadata"]), (&made["id"], &json!({ "a": "1", "b": "2" })));
    let patched = root.patch("sys/namespaces/team", json!({ "custom_metadata": { "a": null, "c": "3" } })).data();
    assert_eq!(patched["custom_metadata"], json!({ "b": "2", "c": "3" }));
    root.patch("sys/namespaces/none", json!({ "custom_metadata": {} })).refused(400, "no namespace");

    let team = root.within("team");
    let inner = team.post("sys/namespaces/inner", json!({})).data();
    assert_eq!(inner["path"], "team/inner/");
    assert_eq!(root.get("sys/namespaces/team/inner").data(), inner);
    let listed = root.list("sys/namespaces").data();
    assert_eq!(listed["keys"], json!(["team/"]));
    assert_eq!(listed["key_info"]["team/"], patched);
    assert_eq!(team.list("sys/namespaces").data()["keys"], json!(["inner/"]));
    assert_eq!(root.get("sys/internal/ui/namespaces").data(), json!({ "keys": ["team/"] }));

    root.delete("sys/namespaces/team").refused(400, "delete them first");
    assert_eq!(team.delete("sys/namespaces/inner").data(), json!({ "status": "in-progress" }));
    team.get("sys/namespaces/inner").refused(404, "");
    Server::eventually("the inner one is gone", || (team.list("sys/namespaces").status == 404).then_some(()));
    root.delete("sys/namespaces/team").ok();
    team.get("sys/mounts").refused(404, "no handler for route \"team/sys/mounts\"");
    let gone = Server::eventually("a namespace of the same name can be made", || {
        let reply = root.post("sys/namespaces/team", json!({}));
        (reply.status == 200).then(|| reply.data())
    });
    assert_ne!(gone["id"], made["id"]);
    assert_eq!(gone["custom_metadata"], json!({}));
    let warned = root.delete("sys/namespaces/none").ok();
    assert_eq!(warned["warnings"], json!(["requested namespace does not exist"]));
}

#[test]
fn what_cannot_be_a_namespace_is_refused_with_what_is_wrong() {
    let (_server, root) = start();
    for name in
        ["sys", "Root", "auth", "audit", "cubbyhole", "identity", "api-lock", "a/b", "a%20b", "%20a", "a%2a", "a%252fb"]
    {
        root.post(&format!("sys/namespaces/{name}"), json!({})).refused(400, "path: ");
    }
    for name in ["..", ".", "a/../b", "%2e%2e"] {
        root.post(&format!("sys/namespaces/{name}"), json!({})).fails(400);
    }
    root.post("sys/namespaces/a", json!({ "custom_metadata": { "": "x" } })).refused(400, "custom_metadata");
    root.post("sys/namespaces/a", json!({ "custom_metadata": 7 })).refused(400, "custom_metadata");
    root.get("sys/namespaces/a").refused(404, "");
    // A name means one thing: a mount, or a namespace.
    secrets(&root, "root");
    root.post("sys/mounts/deep/er", json!({ "type": "kv" })).done();
    for taken in ["secret", "deep"] {
        root.post(&format!("sys/namespaces/{taken}"), json!({})).refused(400, "mounted");
    }
    root.post("sys/namespaces/team", json!({})).ok();
    for path in ["team", "team/kv"] {
        root.post(&format!("sys/mounts/{path}"), json!({ "type": "kv" })).refused(400, "team/ is a namespace");
    }
    root.post("sys/remount", json!({ "from": "secret", "to": "team" })).refused(400, "team/ is a namespace");
    // An auth method lies below auth/ and is in nobody's way.
    root.post("sys/auth/team", json!({ "type": "userpass" })).done();
    for bad in ["../team", "team/..", "a//b", "./team"] {
        root.within(bad).get("sys/mounts").fails(400);
    }
}

#[test]
fn a_namespace_is_named_by_header_by_path_or_by_both() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let b = make(&a, "a/", "b");
    secrets(&root, "root");
    secrets(&a, "of a");
    secrets(&b, "of b");
    let value = |reply: Reply| reply.data()["value"].as_str().unwrap().to_owned();
    for (header, path, expected) in [
        ("", "secret/x", "root"),
        ("root", "secret/x", "root"),
        ("/", "secret/x", "root"),
        ("a", "secret/x", "of a"),
        ("/a/", "secret/x", "of a"),
        ("", "a/secret/x", "of a"),
        ("root", "a/secret/x", "of a"),
        ("a/b", "secret/x", "of b"),
        ("a", "b/secret/x", "of b"),
        ("", "a/b/secret/x", "of b"),
    ] {
        assert_eq!(value(root.within(header).get(path)), expected, "{header:?} {path}");
    }
    for (header, path) in [
        ("b", "secret/x"),
        ("a/a", "secret/x"),
        ("a/root", "secret/x"),
        ("A", "secret/x"),
        ("secret", "x"),
        ("a/secret", "x"),
        ("sys", "mounts"),
        ("", "a/a/secret/x"),
        ("a", "a/secret/x"),
        ("", "b/secret/x"),
        ("", "a"),
        ("", "a/"),
    ] {
        root.within(header).get(path).refused(404, "no handler for route");
    }
    // Mounts are those of the namespace, and nobody else's.
    let mounts = a.get("sys/mounts").data();
    let mut paths: Vec<_> = mounts.as_object().unwrap().keys().map(String::as_str).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["cubbyhole/", "identity/", "secret/", "sys/"]);
    assert_ne!(mounts["sys/"]["uuid"], root.get("sys/mounts").data()["sys/"]["uuid"]);
    assert_eq!(a.get("sys/internal/ui/mounts/secret/x").data()["path"], "secret/");
    let preflight = root.get("sys/internal/ui/mounts/a/secret/x").data();
    assert_eq!((&preflight["path"], &preflight["type"]), (&json!("a/secret/"), &json!("kv")));
    a.delete("sys/mounts/secret").done();
    a.get("secret/x").refused(404, "no handler");
    assert_eq!(value(b.get("secret/x")), "of b");
    assert_eq!(value(root.get("secret/x")), "root");
}

#[test]
fn what_is_about_the_whole_server_is_answered_in_the_root_namespace_alone() {
    let (_server, root) = start();
    let team = make(&root, "", "team");
    let admin = admin(&team);
    for wire in [&team, &admin] {
        for path in [
            "sys/audit",
            "sys/config/cors",
            "sys/config/state/sanitized",
            "sys/host-info",
            "sys/in-flight-req",
            "sys/internal/counters/tokens",
            "sys/key-status",
            "sys/loggers",
            "sys/metrics",
            "sys/quotas/config",
            "sys/quotas/rate-limit/x",
            "sys/rekey/backup",
            "sys/rotate/config",
            "sys/version-history",
            "sys/ha-status",
        ] {
            wire.get(path).refused(400, "root namespace only");
            wire.within("").get(&format!("team/{path}")).refused(400, "root namespace only");
        }
        for path in ["sys/audit/file", "sys/rotate", "sys/seal", "sys/step-down", "sys/quotas/config", "sys/raw/x"] {
            wire.post(path, json!({})).refused(400, "root namespace only");
        }
    }
    // Key holders have no namespace; how the server is may be asked from everywhere.
    for path in ["sys/unseal", "sys/init", "sys/rekey/init", "sys/generate-root/attempt"] {
        root.within("team").post(path, json!({})).refused(400, "root namespace only");
    }
    root.within("team").get("sys/health").ok();
    assert_eq!(root.get("sys/seal-status").json()["sealed"], json!(false));
    // What a tenant needs is there.
    for path in ["sys/mounts", "sys/auth", "sys/policies/acl", "sys/internal/ui/mounts", "sys/internal/specs/openapi"] {
        admin.get(path).ok();
    }
    admin.post("sys/tools/random/8", json!({})).ok();
    admin.post("sys/capabilities-self", json!({ "path": "sys/audit" })).ok();
}

#[test]
fn policies_are_of_the_tokens_namespace_and_name_paths_from_there() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let b = make(&a, "a/", "b");
    secrets(&root, "root");
    secrets(&a, "of a");
    secrets(&b, "of b");
    // The same name, three policies.
    let read = |path: &str| format!(r#"path "{path}" {{ capabilities = ["read"] }}"#);
    policy(&root, "app", &read("a/secret/*"));
    policy(&a, "app", &read("secret/*"));
    policy(&b, "app", &read("secret/nothing"));
    let (of_root, of_a, of_b) = (token(&root, &["app"]), token(&a, &["app"]), token(&b, &["app"]));
    let status = |wire: &Wire, at: &str, path: &str| wire.within(at).get(path).status;
    for (wire, at, path, expected) in [
        (&of_root, "", "secret/x", 403),
        (&of_root, "a", "secret/x", 200),
        (&of_root, "", "a/secret/x", 200),
        (&of_root, "a/b", "secret/x", 403),
        (&of_a, "a", "secret/x", 200),
        (&of_a, "", "a/secret/x", 200),
        (&of_a, "", "secret/x", 403),
        (&of_a, "a/b", "secret/x", 403),
        (&of_a, "a", "b/secret/x", 403),
        (&of_b, "a/b", "secret/x", 403),
        (&of_b, "a", "secret/x", 403),
        (&of_b, "", "secret/x", 403),
    ] {
        assert_eq!(status(wire, at, path), expected, "{at:?} {path}");
    }
    // A policy of a grants in b by the path from a.
    policy(&a, "app", &read("b/secret/*"));
    assert_eq!(status(&of_a, "a/b", "secret/x"), 200);
    assert_eq!(status(&of_a, "a", "secret/x"), 403);
    // What one may do is told in the same way as it is decided.
    let capabilities = |wire: &Wire, at: &str, path: &str| {
        wire.within(at).post("sys/capabilities-self", json!({ "path": path })).data()["capabilities"].clone()
    };
    policy(
        &a,
        "app",
        &format!(r#"{} path "b/sys/capabilities-self" {{ capabilities = ["update"] }}"#, read("b/secret/*")),
    );
    assert_eq!(capabilities(&of_a, "a/b", "secret/x"), json!(["read"]));
    assert_eq!(capabilities(&of_a, "a/b", "b/secret/x"), json!(["deny"]));
    let of = |wire: &Wire, path: &str| {
        let ask = json!({ "path": path, "token": of_a.token() });
        wire.post("sys/capabilities", ask).data()["capabilities"].clone()
    };
    assert_eq!(of(&a, "b/secret/x"), json!(["read"]));
    assert_eq!(of(&b, "secret/x"), json!(["read"]));
    root.post("sys/capabilities", json!({ "path": "a/b/secret/x", "token": of_a.token() }))
        .refused(400, "invalid token");
    let explained = b.post("sys/policies/explain", json!({ "path": "secret/x", "token": of_a.token() })).data();
    assert_eq!((&explained["allowed"], &explained["mount"]), (&json!(true), &json!("secret/")));
    assert_eq!(names(&b.list("sys/policies/acl").data()["keys"]), ["app", "default", "root"]);
}

/// Everything by which somebody who has all rights in one namespace may try to reach another.
#[test]
fn no_token_reaches_out_of_its_tree() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let b = make(&root, "", "b");
    let inner = make(&a, "a/", "inner");
    for (wire, value) in [(&root, "root"), (&a, "of a"), (&b, "of b"), (&inner, "of inner")] {
        secrets(wire, value);
    }
    let attacker = admin(&a);
    let victim = admin(&b);
    let of_root = token(&root, &["default"]);
    assert_eq!(attacker.get("secret/x").data()["value"], "of a");
    assert_eq!(attacker.within("a/inner").get("secret/x").data()["value"], "of inner");

    // Places: above, beside, and every spelling of them.
    for (header, path) in [
        ("", "secret/x"),
        ("root", "secret/x"),
        ("b", "secret/x"),
        ("", "b/secret/x"),
        ("", "sys/mounts"),
        ("b", "sys/mounts"),
        ("", "auth/token/lookup-self"),
        ("b", "auth/token/lookup-self"),
        ("b", "cubbyhole/x"),
        ("", "cubbyhole/x"),
        ("", "sys/namespaces"),
        ("", "sys/namespaces/a"),
        ("", "sys/internal/ui/resultant-acl"),
        ("b", "identity/entity/id"),
        ("", "sys/policies/acl/default"),
        ("", "nothing/here"),
        ("b", "nothing/here"),
        ("nothing", "here"),
    ] {
        attacker.within(header).get(path).refused(403, "permission denied");
    }
    attacker.get("b/secret/x").refused(404, "no handler for route");
    for header in ["a/..", "../b", "a/../b", "a/./", "./b", "a//b", "%2e%2e"] {
        let reply = attacker.within(header).get("secret/x");
        assert!(matches!(reply.status, 400 | 403 | 404), "{header}: {reply}");
    }
    for path in ["../b/secret/x", "a/../b/secret/x", "%2e%2e/b/secret/x", "inner/../../b/secret/x"] {
        let reply = attacker.get(path);
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply}");
    }
    // Routes that need no token answer with nothing of others.
    attacker.within("b").get("sys/internal/ui/mounts").refused(403, "permission denied");
    attacker.within("").get("sys/internal/ui/namespaces").refused(403, "permission denied");
    attacker.within("b").get("sys/internal/ui/mounts/secret").refused(403, "permission denied");

    // Tokens: by themselves and by accessor.
    for other in [&victim, &of_root] {
        let shown = other.with_token(root.token()).post("auth/token/lookup", json!({ "token": other.token() })).data();
        let accessor = shown["accessor"].as_str().unwrap();
        for (path, body) in [
            ("auth/token/lookup", json!({ "token": other.token() })),
            ("auth/token/lookup-accessor", json!({ "accessor": accessor })),
            ("auth/token/renew", json!({ "token": other.token() })),
            ("auth/token/renew-accessor", json!({ "accessor": accessor })),
            ("auth/token/revoke", json!({ "token": other.token() })),
            ("auth/token/revoke-accessor", json!({ "accessor": accessor })),
            ("auth/token/revoke-orphan", json!({ "token": other.token() })),
            ("sys/capabilities-accessor", json!({ "accessor": accessor, "path": "x" })),
            ("sys/policies/explain", json!({ "accessor": accessor, "path": "x" })),
        ] {
            let reply = attacker.post(path, body);
            assert!(matches!(reply.status, 400 | 403), "{path}: {reply}");
        }
        let own = names(&attacker.list("auth/token/accessors").data()["keys"]).contains(&accessor);
        assert!(!own, "{accessor} is listed in a");
        other.get("auth/token/lookup-self").ok();
    }
    // A token of b does not show its capabilities in a; the accessor of a's own does not work without its end.
    attacker.post("sys/capabilities", json!({ "token": victim.token(), "path": "x" })).refused(400, "invalid token");
    let accessor = attacker.get("auth/token/lookup-self").data()["accessor"].as_str().unwrap().to_owned();
    let (bare, id) = accessor.rsplit_once('.').unwrap();
    assert_eq!(id.len(), 6);
    attacker.post("auth/token/lookup-accessor", json!({ "accessor": accessor })).ok();
    attacker.post("auth/token/lookup-accessor", json!({ "accessor": bare })).refused(403, "invalid accessor");
    // A token with its end cut off, or with that of another namespace, is no token.
    let (text, _) = attacker.token().rsplit_once('.').unwrap();
    let other = victim.token().rsplit_once('.').unwrap().1;
    for forged in [text.to_owned(), format!("{text}.{other}"), format!("{}.{id}", root.token())] {
        for at in ["", "a", "b"] {
            root.with_token(&forged).within(at).get("auth/token/lookup-self").refused(403, "permission denied");
        }
    }
    root.get("auth/token/lookup-self").ok();

    // Wrapped replies.
    let wrapped = |wire: &Wire| {
        let reply = wire.wrapped("60s", "sys/wrapping/wrap", json!({ "s": 1 })).ok();
        reply["wrap_info"]["token"].as_str().unwrap().to_owned()
    };
    let wrapping = wrapped(&victim);
    for path in ["sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/wrapping/rewrap"] {
        attacker.post(path, json!({ "token": wrapping })).refused(400, "not valid or does not exist");
    }
    assert_eq!(victim.post("sys/wrapping/unwrap", json!({ "token": wrapping })).data(), json!({ "s": 1 }));
    let wrapping = wrapped(&attacker);
    root.with_token(&wrapping).post_nothing("sys/wrapping/unwrap").refused(400, "not valid or does not exist");
    assert_eq!(attacker.with_token(&wrapping).post_nothing("sys/wrapping/unwrap").data(), json!({ "s": 1 }));

    // Policies of the same name are others.
    policy(&b, "only-b", EVERYTHING);
    attacker.get("sys/policies/acl/only-b").refused(404, "");
    attacker.delete("sys/policies/acl/only-b").done();
    b.get("sys/policies/acl/only-b").ok();
    let weak = token(&a, &["only-b"]);
    weak.get("secret/x").refused(403, "permission denied");

    // Nobody makes a root token in a namespace, nor takes policies of one into another.
    for ask in [json!({ "policies": ["root"] }), json!({ "policies": "ROOT " })] {
        a.post("auth/token/create", ask.clone()).refused(400, "root");
        attacker.post("auth/token/create", ask).refused(400, "root");
    }
    assert_eq!(a.post("auth/token/create", json!({})).ok()["auth"]["policies"], json!(["default"]));
    let carrier = token(&root, &["carrier"]);
    policy(&root, "carrier", r#"path "a/auth/token/create" { capabilities = ["update"] }"#);
    let carried = carrier.within("a").post("auth/token/create", json!({}));
    assert_eq!(carried.ok()["auth"]["policies"], json!(["default"]));
    carrier.within("a").post("auth/token/create", json!({ "policies": ["carrier"] })).refused(400, "sudo");
    carrier.within("a").post("auth/token/create", json!({ "policies": ["admin"] })).refused(400, "sudo");

    // What is private to a token stays so.
    of_root.post("cubbyhole/x", json!({ "mine": 1 })).done();
    root.within("a").get("cubbyhole/x").refused(404, "");
    attacker.post("cubbyhole/x", json!({ "mine": 2 })).done();
    attacker.within("a/inner").get("cubbyhole/x").ok();
    assert_eq!(of_root.get("cubbyhole/x").data(), json!({ "mine": 1 }));

    // None of all this has touched anybody else.
    for (wire, value) in [(&root, "root"), (&a, "of a"), (&b, "of b"), (&inner, "of inner")] {
        assert_eq!(wire.get("secret/x").data()["value"], value);
    }
}

#[test]
fn a_parents_token_has_children_in_namespaces_below_that_end_with_it() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    secrets(&a, "of a");
    policy(&root, "boss", r#"path "a/*" { capabilities = ["create", "read", "update", "list", "sudo"] }"#);
    let boss = token(&root, &["boss"]);
    policy(&a, "app", r#"path "secret/*" { capabilities = ["read"] }"#);
    let child = boss.within("a").post("auth/token/create", json!({ "policies": ["app"] }));
    let child = boss.within("a").with_token(&child.client_token());
    assert_eq!(child.get("secret/x").data()["value"], "of a");
    let shown = child.get("auth/token/lookup-self").data();
    assert_eq!((&shown["namespace_path"], &shown["orphan"]), (&json!("a/"), &json!(false)));
    root.post("auth/token/revoke", json!({ "token": boss.token() })).done();
    kit::soon_refused(&child);
    // A batch token is of its namespace, too.
    let batch = a.post("auth/token/create", json!({ "policies": ["app"], "type": "batch" })).client_token();
    let batch = a.with_token(&batch);
    assert_eq!(batch.get("secret/x").data()["value"], "of a");
    batch.within("").get("auth/token/lookup-self").refused(403, "permission denied");
}

#[test]
fn all_is_there_after_a_restart_and_nothing_was_read_for_it() {
    let (mut server, root) = start();
    let a = make(&root, "", "a");
    secrets(&a, "of a");
    policy(&a, "app", r#"path "secret/*" { capabilities = ["read"] }"#);
    let app = token(&a, &["app"]);
    server.kill();
    server.launch();
    server.unseal();
    assert_eq!(app.get("secret/x").data()["value"], "of a");
    assert_eq!(names(&root.list("sys/namespaces").data()["keys"]), ["a/"]);
}

#[test]
fn a_deleted_namespace_is_cleared_to_the_last_also_after_a_kill() {
    let (mut server, root) = start();
    let a = make(&root, "", "a");
    secrets(&a, "of a");
    a.post("sys/auth/approle", json!({ "type": "approle" })).done();
    let app = admin(&a);
    for index in 0..40 {
        app.post("auth/token/create", json!({ "policies": ["default"] })).ok();
        app.post(&format!("secret/{index}"), json!({ "value": "x" })).done();
    }
    let id = root.get("sys/namespaces/a").data()["id"].as_str().unwrap().to_owned();
    root.delete("sys/namespaces/a").ok();
    server.kill();
    server.launch();
    server.unseal();
    app.get("secret/x").refused(403, "permission denied");
    Server::eventually("the namespace is gone", || (root.list("sys/namespaces").status == 404).then_some(()));
    let made = root.post("sys/namespaces/a", json!({})).data();
    assert_ne!(made["id"], json!(id));
    let mounts = a.get("sys/mounts").data();
    assert!(mounts.get("secret/").is_none(), "{mounts}");
    app.get("secret/x").refused(403, "permission denied");
}

#[test]
fn a_locked_namespace_answers_nobody_until_it_is_unlocked() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let inner = make(&a, "a/", "inner");
    let b = make(&root, "", "b");
    for wire in [&a, &inner, &b] {
        secrets(wire, "x");
    }
    let admin = admin(&a);
    let locked = |wire: &Wire, path: &str| {
        wire.get(path).refused(503, "API access to this namespace has been locked by an administrator");
    };
    let key = root.post("sys/namespaces/api-lock/lock/a", json!({})).data()["unlock_key"].as_str().unwrap().to_owned();
    for wire in [&a, &inner, &admin] {
        locked(wire, "secret/x");
        locked(wire, "sys/mounts");
    }
    root.get("a/secret/x").fails(503);
    b.get("secret/x").ok();
    assert_eq!(root.get("sys/namespaces/a").data()["locked"], json!(true));
    root.post("sys/namespaces/api-lock/lock/a", json!({})).refused(400, "locked already");
    // With the key from inside, by whoever has the right; wrong keys open nothing.
    policy(&root, "opener", r#"path "a/sys/namespaces/api-lock/unlock" { capabilities = ["update"] }"#);
    let opener = token(&root, &["opener"]).within("a");
    let unlock = "sys/namespaces/api-lock/unlock";
    opener.post(unlock, json!({})).refused(400, "unlock_key: missing");
    opener.post(unlock, json!({ "unlock_key": "wrong" })).refused(400, "not the one");
    opener.post(&format!("{unlock}/inner"), json!({})).refused(403, "permission denied");
    locked(&a, "secret/x");
    opener.post(unlock, json!({ "unlock_key": key })).done();
    a.get("secret/x").ok();
    opener.post(unlock, json!({ "unlock_key": key })).refused(400, "not locked");
    // From inside, and opened by root without a key, with a warning.
    admin.post("sys/namespaces/api-lock/lock", json!({})).ok();
    locked(&inner, "secret/x");
    inner.post(unlock, json!({})).fails(503);
    let warned = root.post(&format!("{unlock}/a"), json!({})).ok();
    assert!(warned["warnings"][0].as_str().unwrap().contains("without its unlock key"), "{warned}");
    inner.get("secret/x").ok();
    root.post("sys/namespaces/api-lock/lock", json!({})).refused(400, "root namespace cannot be locked");
    root.post(&format!("{unlock}/none"), json!({})).refused(400, "no namespace");
}

#[test]
fn leases_are_of_their_namespace() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let b = make(&root, "", "b");
    let login = |wire: &Wire| {
        wire.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
        wire.post("auth/userpass/users/bob", json!({ "password": "a-long-password", "token_policies": "admin" }))
            .done();
        policy(wire, "admin", EVERYTHING);
        wire.with_token("").post("auth/userpass/login/bob", json!({ "password": "a-long-password" })).ok()["auth"]
            .clone()
    };
    let (of_a, of_b) = (login(&a), login(&b));
    // The same user name on a method of the same path is another person.
    assert_ne!(of_a["entity_id"], of_b["entity_id"]);
    let tokens = |auth: &Value| auth["client_token"].as_str().unwrap().to_owned();
    let (at_a, at_b) = (a.with_token(&tokens(&of_a)), b.with_token(&tokens(&of_b)));
    at_a.get("auth/token/lookup-self").ok();
    at_a.within("b").get("auth/token/lookup-self").refused(403, "permission denied");
    let listed = |wire: &Wire| wire.list("sys/leases/lookup/auth/userpass/login/bob").data()["keys"].clone();
    let lease = format!("auth/userpass/login/bob/{}", names(&listed(&b))[0]);
    assert_ne!(listed(&a), listed(&b));
    for (path, body) in [
        ("sys/leases/lookup", json!({ "lease_id": lease })),
        ("sys/leases/renew", json!({ "lease_id": lease })),
        ("sys/leases/revoke", json!({ "lease_id": lease })),
        ("sys/revoke", json!({ "lease_id": lease })),
    ] {
        at_a.post(path, body).refused(400, "invalid lease");
    }
    at_a.post(&format!("sys/leases/revoke/{lease}"), json!({})).refused(400, "invalid lease");
    at_b.post("sys/leases/lookup", json!({ "lease_id": lease })).ok();
    // By prefix only one's own; the mount's end ends its own logins alone.
    at_a.post("sys/leases/revoke-prefix/auth/userpass", json!({ "sync": true }));
    kit::soon_refused(&at_a);
    at_b.get("auth/token/lookup-self").ok();
    b.delete("sys/auth/userpass").done();
    kit::soon_refused(&at_b);
}

#[test]
fn a_thousand_namespaces_are_not_read_at_the_start() {
    let (mut server, root) = start();
    for index in 0..1000 {
        root.post(&format!("sys/namespaces/n{index}"), json!({})).ok();
    }
    let in_memory = |root: &Wire| {
        let metrics = root.get("sys/metrics?format=prometheus").text();
        let line = metrics.lines().find(|line| line.starts_with("strongroom_namespaces_in_memory ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{metrics}")).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    server.stop();
    server.launch();
    server.unseal();
    assert_eq!(in_memory(&root), 0.0);
    assert_eq!(root.list("sys/namespaces").data()["keys"].as_array().unwrap().len(), 1000);
    assert_eq!(in_memory(&root), 0.0);
    root.within("n500").get("sys/mounts").ok();
    assert_eq!(in_memory(&root), 1.0);
}

#[test]
fn identities_are_of_their_namespace() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let b = make(&root, "", "b");
    let entity = |wire: &Wire| {
        let made = wire.post("identity/entity", json!({ "name": "bob", "policies": ["admin"] })).data();
        made["id"].as_str().unwrap().to_owned()
    };
    let (of_root, of_a, of_b) = (entity(&root), entity(&a), entity(&b));
    let attacker = admin(&a);
    let shown = attacker.get("identity/entity/name/bob").data();
    let id = root.get("sys/namespaces/a").data()["id"].clone();
    assert_eq!((&shown["id"], &shown["namespace_id"]), (&json!(of_a), &id));
    assert_eq!(attacker.list("identity/entity/id").data()["keys"], json!([of_a]));
    for other in [&of_root, &of_b] {
        attacker.get(&format!("identity/entity/id/{other}")).refused(404, "");
        attacker.post("identity/lookup/entity", json!({ "id": other })).done();
        attacker.delete(&format!("identity/entity/id/{other}"));
        attacker.post("identity/entity/merge", json!({ "to_entity_id": of_a, "from_entity_ids": [other] })).fails(400);
        attacker.post("identity/group", json!({ "name": "g", "member_entity_ids": [other] })).fails(400);
    }
    // An alias can only be made on a mount of the namespace.
    b.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
    let accessor = b.get("sys/auth").data()["userpass/"]["accessor"].as_str().unwrap().to_owned();
    let alias = json!({ "name": "bob", "canonical_id": of_a, "mount_accessor": accessor });
    attacker.post("identity/entity-alias", alias).refused(400, "invalid mount accessor");
    b.get(&format!("identity/entity/id/{of_b}")).ok();
    root.get(&format!("identity/entity/id/{of_root}")).ok();
    // What is signed says where.
    let configuration = a.get("identity/oidc/.well-known/openid-configuration").json();
    assert!(configuration["issuer"].as_str().unwrap().ends_with("/v1/a/identity/oidc"), "{configuration}");
    a.post("identity/oidc/key/k", json!({ "allowed_client_ids": "*", "algorithm": "ES256" })).done();
    b.post("identity/oidc/role/r", json!({ "key": "k" })).fails(400);
    a.post("identity/oidc/role/r", json!({ "key": "k" })).done();
    assert_ne!(a.get("identity/oidc/.well-known/keys").json()["keys"], json!([]));
    assert_eq!(b.get("identity/oidc/.well-known/keys").json()["keys"], json!([]));
    assert_eq!(root.get("identity/oidc/.well-known/keys").json()["keys"], json!([]));
}

#[test]
fn the_audit_log_names_the_namespaces_of_request_and_policies() {
    let (server, root) = start();
    let log = server.folder().join("audit.log");
    root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": log } })).done();
    let a = make(&root, "", "a");
    let b = make(&a, "a/", "b");
    secrets(&b, "x");
    let of_a = admin(&a);
    of_a.within("").get("a/b/secret/x").ok();
    of_a.within("").get("secret/x").refused(403, "permission denied");
    let text = std::fs::read_to_string(&log).unwrap();
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let accessor_of = |entry: &Value| entry["auth"]["policy_results"]["granting_policies"][0].clone();
    let ids = [&a, &root].map(|wire| {
        let name = if std::ptr::eq(wire, &root) { "a" } else { "b" };
        wire.get(&format!("sys/namespaces/{name}")).data()["id"].clone()
    });
    let read = entries.iter().rfind(|entry| {
        entry["type"] == "response"
            && entry["request"]["path"] == "secret/x"
            && entry["request"]["operation"] == "read"
            && entry["request"]["namespace"]["path"] == "a/b/"
    });
    let read = read.unwrap_or_else(|| panic!("{text}"));
    assert_eq!(read["request"]["namespace"], json!({ "id": ids[0], "path": "a/b/" }));
    let granting = accessor_of(read);
    assert_eq!((&granting["namespace_id"], &granting["namespace_path"]), (&ids[1], &json!("a/")));
    let refused = entries.iter().rfind(|entry| entry["request"]["namespace"] == json!({ "id": "root" }));
    assert!(refused.unwrap()["error"].as_str().unwrap().contains("belongs to another namespace"), "{refused:?}");
}

#[test]
fn quotas_of_the_root_namespace_hold_in_a_namespace() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let b = make(&root, "", "b");
    for wire in [&root, &a, &b] {
        secrets(wire, "x");
    }
    let limit = |name: &str, path: &str| {
        let ask = json!({ "path": path, "rate": 2, "interval": "1h" });
        root.post(&format!("sys/quotas/rate-limit/{name}"), ask).done();
        assert_eq!(root.get(&format!("sys/quotas/rate-limit/{name}")).data()["path"], path);
    };
    limit("mount", "a/secret/");
    limit("whole", "b/");
    a.get("secret/x").ok();
    a.get("secret/x").ok();
    a.get("secret/x").fails(429);
    a.get("sys/mounts").ok();
    b.get("secret/x").ok();
    b.get("sys/mounts").ok();
    b.get("secret/x").fails(429);
    root.get("secret/x").ok();
    root.post("sys/quotas/rate-limit/none", json!({ "path": "a/none/", "rate": 1 })).refused(400, "nothing is mounted");
    let child = json!({ "path": "a/secret/", "rate": 1, "inheritable": true });
    root.post("sys/quotas/rate-limit/mount", child).refused(400, "inheritable");
    // A namespace that goes takes its limits along.
    root.delete("sys/namespaces/a").ok();
    Server::eventually("the limit is gone", || {
        (names(&root.list("sys/quotas/rate-limit").data()["keys"]) == ["whole"]).then_some(())
    });
}
