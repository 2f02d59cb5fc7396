//! The API over the wire: envelope and verbs, tokens, policies, wrapping, mounts.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::json;
use testkit::{server::Server, wire::Wire};

use crate::kit::{approle, names, policy, soon_refused, start, token};

#[test]
fn replies_have_the_envelope_and_the_headers_that_clients_expect() {
    let (_server, root) = start();
    root.post("cubbyhole/a/b", json!({ "x": 1, "y": ["z"] })).done();
    let reply = root.get("cubbyhole/a/b");
    let json = reply.ok();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "auth",
        "data",
        "lease_duration",
        "lease_id",
        "mount_type",
        "renewable",
        "request_id",
        "warnings",
        "wrap_info",
    ];
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(reply.header("x-strongroom-request-id"), json["request_id"].as_str());
    assert_eq!(
        (&json["lease_id"], &json["renewable"], &json["lease_duration"]),
        (&json!(""), &json!(false), &json!(0))
    );
    assert!(["auth", "warnings", "wrap_info"].iter().all(|key| json[key].is_null()));
    assert_eq!((&json["data"], &json["mount_type"]), (&json!({ "x": 1, "y": ["z"] }), &json!("cubbyhole")));
    assert_eq!(reply.body.last(), Some(&b'\n'));

    // Each verb, and both spellings of a list.
    assert_eq!(root.list("cubbyhole/a").data()["keys"], json!(["b"]));
    assert_eq!(root.list("cubbyhole").data()["keys"], json!(["a/"]));
    assert_eq!(root.get("cubbyhole/a?list=true").data()["keys"], json!(["b"]));
    assert_eq!(root.get("cubbyhole/?list=true").data()["keys"], json!(["a/"]));
    root.list("cubbyhole/nothing").refused(404, "");
    root.get("cubbyhole/nothing").refused(404, "");
    root.send("PUT", "cubbyhole/a/b", &[], Some(br#"{"x":2}"#)).done();
    assert_eq!(root.get("cubbyhole/a/b").data(), json!({ "x": 2 }));
    root.delete("cubbyhole/a/b").done();
    root.delete("cubbyhole/a/b").done();
    root.get("cubbyhole/a/b").refused(404, "");

    // HEAD is GET without the body.
    root.post("cubbyhole/h", json!({ "x": 1 })).done();
    let head = root.send("HEAD", "cubbyhole/h", &[], None);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(root.get("cubbyhole/h").body.len().to_string().as_str()));
    assert_eq!(root.send("HEAD", "cubbyhole/none", &[], None).status, 404);
    assert_eq!(root.send("HEAD", "sys/health", &[], None).status, 200);

    // Who asks can be said in two ways; the one with the own header wins.
    let anybody = root.with_token("");
    let bearer = format!("Bearer {}", root.token());
    let get = |headers: &[(&str, &str)]| anybody.send("GET", "auth/token/lookup-self", headers, None);
    get(&[("Authorization", &bearer)]).ok();
    get(&[("Authorization", &bearer), ("X-Vault-Token", "nonsense")]).refused(403, "permission denied");
    get(&[("Authorization", "Basic eDp5")]).refused(403, "permission denied");
    get(&[]).refused(403, "permission denied");
    root.send("GET", "cubbyhole/h", &[("X-Vault-Namespace", "team")], None).refused(404, "no handler for route");
    root.send("GET", "cubbyhole/h", &[("X-Vault-Namespace", "/")], None).ok();

    // Statuses.
    root.get("nowhere/x").refused(404, "no handler for route \"nowhere/x\"");
    root.get("sys/nothing").refused(404, "unsupported path");
    root.delete("auth/token/create").refused(405, "unsupported operation");
    root.post("cubbyhole/", json!({ "a": 1 })).refused(400, "path ending in '/'");
    root.send("PATCH", "cubbyhole/h", &[], Some(b"{}")).refused(415, "application/merge-patch+json");
    root.send("BREW", "cubbyhole/h", &[], None).refused(405, "unsupported operation");
    let anybody_elsewhere = anybody.get("nowhere/x");
    anybody_elsewhere.refused(403, "permission denied");

    // Old clients read these from the top level.
    for path in ["sys/mounts", "sys/auth", "sys/policy", "sys/audit", "sys/key-status"] {
        let json = root.get(path).ok();
        for (key, value) in json["data"].as_object().unwrap() {
            assert_eq!(&json[key], value, "{path}: {key}");
        }
    }
    let warned = root.post("auth/token/create", json!({ "policies": ["default"], "colour": "red" })).ok();
    assert_eq!(warned["warnings"], json!(["Endpoint ignored these unrecognized parameters: [colour]"]));
}

#[test]
fn help_shows_what_a_path_can_do_and_does_nothing() {
    let (_server, root) = start();
    root.post("cubbyhole/h", json!({ "x": "value-not-to-be-seen" })).done();
    for reply in [root.get("cubbyhole/h?help=1"), root.send("HELP", "cubbyhole/h", &[], None)] {
        let json = reply.ok();
        assert!(json["help"].as_str().is_some_and(|help| !help.is_empty()), "{reply}");
        assert!(!reply.text().contains("value-not-to-be-seen"), "{reply}");
    }
    let before = root.list("auth/token/accessors").data()["keys"].as_array().unwrap().len();
    assert!(root.get("auth/token/create?help=1").ok()["help"].is_string());
    assert_eq!(root.list("auth/token/accessors").data()["keys"].as_array().unwrap().len(), before);
    root.with_token("").get("cubbyhole/h?help=1").refused(403, "permission denied");
}

#[test]
fn tokens_live_and_end_as_their_settings_say() {
    let (_server, root) = start();
    policy(&root, "reader", "path \"sys/mounts\" { capabilities = [\"read\"] }");
    let made = root.post("auth/token/create", json!({
        "policies": ["reader"], "ttl": "1h", "meta": { "team": "shop" }, "display_name": "web shop!", "num_uses": 0,
    })).ok();
    let auth = &made["auth"];
    assert_eq!(auth["token_policies"], json!(["default", "reader"]));
    assert_eq!(
        (&auth["lease_duration"], &auth["renewable"], &auth["token_type"], &auth["orphan"]),
        (&json!(3600), &json!(true), &json!("service"), &json!(false))
    );
    assert_eq!(
        (&auth["metadata"], &auth["num_uses"], &auth["entity_id"]),
        (&json!({ "team": "shop" }), &json!(0), &json!(""))
    );
    let text = auth["client_token"].as_str().unwrap().to_owned();
    assert!(text.starts_with("hvs.") && text.len() == 96, "{}", text.len());
    let own = root.with_token(&text);
    let seen = own.get("auth/token/lookup-self").data();
    assert_eq!(
        (&seen["display_name"], &seen["path"], &seen["type"], &seen["explicit_max_ttl"]),
        (&json!("token-web-shop"), &json!("auth/token/create"), &json!("service"), &json!(0))
    );
    assert_eq!((&seen["creation_ttl"], &seen["num_uses"], &seen["id"]), (&json!(3600), &json!(0), &json!(text)));
    assert!(seen["ttl"].as_u64().unwrap() > 3590 && seen["expire_time"].is_string());
    let accessor = seen["accessor"].as_str().unwrap().to_owned();
    let by_accessor = root.post("auth/token/lookup-accessor", json!({ "accessor": accessor })).data();
    assert_eq!((&by_accessor["id"], &by_accessor["accessor"]), (&json!(""), &json!(accessor)));
    assert_eq!(root.post("auth/token/lookup", json!({ "token": text })).data()["accessor"], accessor.as_str());
    root.post("auth/token/lookup", json!({ "token": "hvs.nothing" })).fails(403);
    root.post("auth/token/lookup-accessor", json!({ "accessor": "nothing" })).fails(403);
    assert!(names(&root.list("auth/token/accessors").data()["keys"]).contains(&accessor.as_str()));

    // Renewal: a wish within the limits.
    assert_eq!(own.post("auth/token/renew-self", json!({ "increment": "2h" })).ok()["auth"]["lease_duration"], 7200);
    let renewed = root.post("auth/token/renew-accessor", json!({ "accessor": accessor })).ok();
    assert_eq!((&renewed["auth"]["client_token"], &renewed["auth"]["lease_duration"]), (&json!(""), &json!(3600)));
    let capped = own.post("auth/token/renew-self", json!({ "increment": "9000h" })).ok();
    assert!(capped["warnings"][0].as_str().unwrap().contains("exceeded the effective max_ttl"), "{capped}");
    root.post("auth/token/renew-self", json!({})).refused(400, "not renewable");

    let max =
        root.post("auth/token/create", json!({ "policies": ["reader"], "explicit_max_ttl": "10m", "ttl": "1h" })).ok();
    assert_eq!(max["auth"]["lease_duration"], 600);
    let max = root.with_token(max["auth"]["client_token"].as_str().unwrap());
    let renewed = max.post("auth/token/renew-self", json!({ "increment": "1h" })).ok()["auth"]["lease_duration"]
        .as_u64()
        .unwrap();
    assert!((300..=600).contains(&renewed), "{renewed}");
    assert_eq!(max.get("auth/token/lookup-self").data()["explicit_max_ttl"], 600);

    let periodic = root.post("auth/token/create", json!({ "policies": ["reader"], "period": "24h" })).ok();
    assert_eq!(periodic["auth"]["lease_duration"], 86400);
    let periodic = root.with_token(periodic["auth"]["client_token"].as_str().unwrap());
    assert_eq!(periodic.get("auth/token/lookup-self").data()["period"], 86400);
    assert_eq!(
        periodic.post("auth/token/renew-self", json!({ "increment": "1s" })).ok()["auth"]["lease_duration"],
        86400
    );

    let fixed = root.post("auth/token/create", json!({ "policies": ["reader"], "renewable": false })).client_token();
    root.with_token(&fixed).post("auth/token/renew-self", json!({})).refused(400, "not renewable");

    // A short life is over without anybody's help.
    let short =
        root.with_token(&root.post("auth/token/create", json!({ "policies": ["reader"], "ttl": "8s" })).client_token());
    short.get("sys/mounts").ok();
    soon_refused(&short);
}

#[test]
fn uses_are_counted_and_the_last_one_counts() {
    let (_server, root) = start();
    policy(&root, "reader", "path \"sys/mounts\" { capabilities = [\"read\"] }");
    let made = root.post("auth/token/create", json!({ "policies": ["reader"], "num_uses": 2 })).ok();
    assert_eq!(made["auth"]["num_uses"], 2);
    let wire = root.with_token(made["auth"]["client_token"].as_str().unwrap());
    assert_eq!(wire.get("auth/token/lookup-self").data()["num_uses"], 1);
    wire.get("sys/mounts").ok();
    wire.get("sys/mounts").refused(403, "permission denied");
    Server::eventually("the token is removed", || {
        let lookup = json!({ "accessor": made["auth"]["accessor"] });
        (root.post("auth/token/lookup-accessor", lookup).status == 403).then_some(())
    });
    // A refused use is a use.
    let wire = root
        .with_token(&root.post("auth/token/create", json!({ "policies": ["reader"], "num_uses": 1 })).client_token());
    wire.get("sys/auth").refused(403, "permission denied");
    wire.get("sys/mounts").refused(403, "permission denied");
    // Of many at once, as many as there are uses succeed.
    let token = root.post("auth/token/create", json!({ "policies": ["reader"], "num_uses": 5 })).client_token();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || root.with_token(&token).get("sys/mounts").status;
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 7, "{statuses:?}");
    // Such a token has no children.
    policy(&root, "maker", "path \"auth/token/create\" { capabilities = [\"update\"] }");
    let wire = root
        .with_token(&root.post("auth/token/create", json!({ "policies": ["maker"], "num_uses": 5 })).client_token());
    wire.post("auth/token/create", json!({})).refused(400, "restricted use token cannot generate child tokens");
}

#[test]
fn children_end_with_their_parents_and_orphans_do_not() {
    let (_server, root) = start();
    policy(&root, "maker", "path \"auth/token/*\" { capabilities = [\"update\"] }");
    let parent = root.with_token(&root.post("auth/token/create", json!({ "policies": ["maker"] })).client_token());
    let child = parent.with_token(&parent.post("auth/token/create", json!({})).client_token());
    let grandchild = child.with_token(&child.post("auth/token/create", json!({})).client_token());
    let orphan = parent.with_token(&parent.post("auth/token/create-orphan", json!({})).client_token());
    let batch = parent.with_token(&parent.post("auth/token/create", json!({ "type": "batch" })).client_token());
    parent.post("auth/token/create", json!({ "no_parent": true })).refused(400, "sudo privileges required");
    parent.post("auth/token/create", json!({ "period": "1h" })).refused(400, "sudo privileges required");
    parent.post("auth/token/create", json!({ "id": "mine" })).refused(400, "sudo privileges required");
    parent.post("auth/token/create", json!({ "policies": ["root"] })).refused(400, "subset of parent");
    parent.post("auth/token/create", json!({ "policies": ["other"] })).refused(400, "subset of parent");
    for wire in [&child, &grandchild, &orphan, &batch] {
        wire.get("auth/token/lookup-self").ok();
    }
    grandchild.post("cubbyhole/x", json!({ "a": 1 })).done();
    assert_eq!(orphan.get("auth/token/lookup-self").data()["orphan"], true);
    parent.post("auth/token/revoke-self", json!({})).done();
    parent.get("auth/token/lookup-self").refused(403, "permission denied");
    for wire in [&child, &grandchild, &batch] {
        soon_refused(wire);
    }
    orphan.get("auth/token/lookup-self").ok();

    // revoke-orphan spares the children.
    let parent = root.post("auth/token/create", json!({ "policies": ["maker"] })).client_token();
    let child = root.with_token(&root.with_token(&parent).post("auth/token/create", json!({})).client_token());
    child.post("auth/token/revoke-orphan", json!({ "token": parent })).refused(403, "permission denied");
    root.post("auth/token/revoke-orphan", json!({ "token": parent })).done();
    root.with_token(&parent).get("auth/token/lookup-self").refused(403, "permission denied");
    assert_eq!(child.get("auth/token/lookup-self").data()["orphan"], true);

    // By token, by accessor, and what is not there.
    let made = root.post("auth/token/create", json!({ "policies": ["maker"] })).client_token();
    root.post("auth/token/revoke", json!({ "token": made })).done();
    root.with_token(&made).get("auth/token/lookup-self").refused(403, "permission denied");
    let made = root.post("auth/token/create", json!({ "policies": ["maker"] })).ok();
    root.post("auth/token/revoke-accessor", json!({ "accessor": made["auth"]["accessor"] })).done();
    root.with_token(made["auth"]["client_token"].as_str().unwrap()).get("auth/token/lookup-self").fails(403);
    root.post("auth/token/revoke-accessor", json!({ "accessor": "nothing" })).fails(403);
    root.post("auth/token/revoke", json!({})).refused(400, "missing token");
    assert_eq!(root.post("auth/token/tidy", json!({})).status, 202);
}

#[test]
fn batch_tokens_are_light_and_can_do_less() {
    let (mut server, root) = start();
    policy(
        &root,
        "reader",
        "path \"sys/mounts\" { capabilities = [\"read\"] }\npath \"auth/token/create\" { capabilities = [\"update\"] }",
    );
    let made =
        root.post("auth/token/create-orphan", json!({ "policies": ["reader"], "type": "batch", "ttl": "1h" })).ok();
    assert_eq!(
        (&made["auth"]["token_type"], &made["auth"]["accessor"], &made["auth"]["renewable"]),
        (&json!("batch"), &json!(""), &json!(false))
    );
    let text = made["auth"]["client_token"].as_str().unwrap().to_owned();
    assert!(text.starts_with("hvb."));
    let batch = root.with_token(&text);
    batch.get("sys/mounts").ok();
    assert_eq!(batch.get("auth/token/lookup-self").data()["type"], "batch");
    batch.post("cubbyhole/x", json!({ "a": 1 })).refused(400, "only supported by \"service\" type tokens");
    batch.post("auth/token/create", json!({})).refused(400, "batch tokens cannot create more tokens");
    batch.post("auth/token/renew-self", json!({})).refused(400, "batch tokens cannot be renewed");
    batch.post("auth/token/revoke-self", json!({})).refused(400, "batch tokens cannot be revoked");
    root.post("auth/token/revoke", json!({ "token": text })).refused(400, "batch tokens cannot be revoked");
    root.post("auth/token/create", json!({ "type": "batch", "policies": ["root"] }))
        .refused(400, "batch tokens cannot be root");
    root.post("auth/token/create", json!({ "type": "batch", "policies": ["reader"], "num_uses": 2 }))
        .refused(400, "limited number of uses");
    let mut forged = text.clone();
    forged.replace_range(30..31, if &text[30..31] == "A" { "B" } else { "A" });
    root.with_token(&forged).get("sys/mounts").refused(403, "permission denied");
    server.kill();
    server.launch();
    server.unseal();
    batch.get("sys/mounts").ok();
}

#[test]
fn token_roles_say_what_tokens_may_be() {
    let (_server, root) = start();
    for name in ["a", "b", "c"] {
        policy(&root, name, "path \"sys/mounts\" { capabilities = [\"read\"] }");
    }
    policy(&root, "issuer", "path \"auth/token/create/*\" { capabilities = [\"update\"] }");
    root.post(
        "auth/token/roles/app",
        json!({
            "allowed_policies": "a,b", "orphan": true, "token_period": "2h", "path_suffix": "v1", "token_num_uses": 0,
        }),
    )
    .done();
    root.post(
        "auth/token/roles/jobs",
        json!({ "token_type": "batch", "orphan": true, "renewable": false, "allowed_policies_glob": ["a*"] }),
    )
    .done();
    root.post("auth/token/roles/bad", json!({ "token_type": "batch" })).refused(400, "non-orphan");
    root.post("auth/token/roles/bad", json!({ "token_bound_cidrs": "here" })).refused(400, "bound CIDRs");
    root.post("auth/token/roles/bad", json!({ "token_type": "odd" })).refused(400, "token_type");
    root.get("auth/token/roles/bad").refused(404, "");
    assert_eq!(root.list("auth/token/roles").data()["keys"], json!(["app", "jobs"]));
    assert_eq!(root.get("auth/token/roles/app").data()["allowed_policies"], json!(["a", "b"]));
    let issuer = token(&root, &["issuer"]);
    let made = issuer.post("auth/token/create/app", json!({ "policies": ["a"] })).ok();
    assert_eq!(
        (&made["auth"]["token_policies"], &made["auth"]["orphan"], &made["auth"]["lease_duration"]),
        (&json!(["a", "default"]), &json!(true), &json!(7200))
    );
    let wire = root.with_token(made["auth"]["client_token"].as_str().unwrap());
    let seen = wire.get("auth/token/lookup-self").data();
    assert_eq!((&seen["path"], &seen["role"]), (&json!("auth/token/create/app-v1"), &json!("app")));
    issuer.post("auth/token/create/app", json!({ "policies": ["c"] })).refused(400, "allowed policies");
    issuer.post("auth/token/create/app", json!({ "policies": ["root"] })).refused(400, "allowed policies");
    issuer.post("auth/token/create/none", json!({})).refused(400, "unknown role none");
    assert!(issuer.post("auth/token/create/jobs", json!({ "policies": ["a"] })).client_token().starts_with("hvb."));
    // All tokens of a role end by its path, even though they are orphans.
    root.post("sys/leases/revoke-prefix/auth/token/create/app-v1", json!({})).ok();
    soon_refused(&wire);
    issuer.get("auth/token/lookup-self").refused(403, "permission denied");
    issuer.post("auth/token/create/app", json!({ "policies": ["a"] })).ok();
    root.delete("auth/token/roles/app").done();
    issuer.post("auth/token/create/app", json!({})).refused(400, "unknown role app");

    root.post("auth/token/roles/far", json!({ "token_bound_cidrs": "10.0.0.0/8", "allowed_policies": "a" })).done();
    let far = root.with_token(&issuer.post("auth/token/create/far", json!({})).client_token());
    far.get("sys/mounts").refused(403, "permission denied");
    root.post("auth/token/roles/near", json!({ "token_bound_cidrs": "127.0.0.1", "allowed_policies": "a" })).done();
    let near = root.with_token(&issuer.post("auth/token/create/near", json!({})).client_token());
    near.get("sys/mounts").ok();
}

#[test]
fn policies_are_written_read_and_held_against_requests() {
    let (_server, root) = start();
    let text = "path \"cubbyhole/*\" { capabilities = [\"create\", \"read\", \"update\", \"list\"] }\n\
        path \"cubbyhole/secret\" { capabilities = [\"deny\"] }\n\
        path \"cubbyhole/new/*\" { capabilities = [\"create\"] }\n\
        path \"cubbyhole/+/mid\" { capabilities = [\"read\"] }\n\
        path \"cubbyhole/fixed\" { capabilities = [\"create\", \"update\"] allowed_parameters = { \"colour\" = [\"red\", \"blue*\"] } required_parameters = [\"colour\"] }\n\
        path \"sys/capabilities-self\" { capabilities = [\"update\"] }";
    policy(&root, "Shop", text);
    let read = root.get("sys/policies/acl/shop").data();
    assert_eq!((&read["name"], &read["policy"]), (&json!("shop"), &json!(text)));
    assert_eq!(root.get("sys/policy/shop").data()["rules"], text);
    assert_eq!(root.list("sys/policies/acl").data()["keys"], json!(["default", "shop", "root"]));
    assert_eq!(names(&root.get("sys/policy").ok()["policies"]), ["default", "shop", "root"]);
    root.post("sys/policies/acl/root", json!({ "policy": "" })).fails(400);
    root.post("sys/policies/acl/root", json!({ "policy": text })).refused(400, "cannot update \"root\" policy");
    root.delete("sys/policies/acl/root").refused(400, "cannot delete \"root\" policy");
    root.delete("sys/policies/acl/default").refused(400, "cannot delete default policy");
    root.get("sys/policies/acl/none").refused(404, "");
    for bad in [
        "path",
        "path \"x\" { capabilities = [\"fly\"] }",
        "path \"x\" { colour = 1 }",
        "{",
        "path \"a+*b\" { capabilities = [] ",
    ] {
        root.post("sys/policies/acl/bad", json!({ "policy": bad })).refused(400, "failed to parse policy");
    }
    root.get("sys/policies/acl/bad").refused(404, "");

    let shop = token(&root, &["shop"]);
    shop.post("cubbyhole/a", json!({ "x": 1 })).done();
    shop.post("cubbyhole/a", json!({ "x": 2 })).done();
    shop.get("cubbyhole/a").ok();
    shop.list("cubbyhole").ok();
    shop.delete("cubbyhole/a").refused(403, "permission denied");
    shop.get("cubbyhole/secret").refused(403, "permission denied");
    shop.post("cubbyhole/new/once", json!({ "x": 1 })).done();
    shop.post("cubbyhole/new/once", json!({ "x": 2 })).refused(403, "permission denied");
    shop.get("cubbyhole/new/once").refused(403, "permission denied");
    shop.get("cubbyhole/any/mid").refused(404, "");
    shop.post("cubbyhole/any/mid", json!({ "x": 1 })).refused(403, "permission denied");
    shop.post("cubbyhole/fixed", json!({ "colour": "red" })).done();
    shop.post("cubbyhole/fixed", json!({ "colour": "bluegreen" })).done();
    shop.post("cubbyhole/fixed", json!({ "colour": "green" })).refused(403, "permission denied");
    shop.post("cubbyhole/fixed", json!({ "colour": "red", "size": 1 })).refused(403, "permission denied");
    shop.post("cubbyhole/fixed", json!({})).refused(403, "permission denied");
    // Who may not ask learns nothing of what is there.
    assert_eq!(shop.get("sys/nothing").errors(), shop.get("sys/mounts").errors());

    let capabilities = |wire: &Wire, path: &str| wire.post("sys/capabilities-self", json!({ "path": path })).ok();
    assert_eq!(capabilities(&shop, "cubbyhole/a")["capabilities"], json!(["create", "list", "read", "update"]));
    assert_eq!(capabilities(&shop, "cubbyhole/secret")["data"]["cubbyhole/secret"], json!(["deny"]));
    assert_eq!(capabilities(&shop, "sys/mounts")["capabilities"], json!(["deny"]));
    assert_eq!(capabilities(&root, "anything")["capabilities"], json!(["root"]));
    let both = shop.post("sys/capabilities-self", json!({ "paths": ["cubbyhole/a", "sys/mounts"] })).ok();
    assert_eq!((&both["sys/mounts"], both.get("capabilities")), (&json!(["deny"]), None));
    let of = root.post("sys/capabilities", json!({ "token": shop.token(), "path": "cubbyhole/new/x" })).ok();
    assert_eq!(of["capabilities"], json!(["create"]));
    root.post("sys/capabilities", json!({ "token": "hvs.x", "path": "a" })).refused(400, "invalid token");
    let accessor = root.post("auth/token/lookup", json!({ "token": shop.token() })).data()["accessor"].clone();
    let of = root.post("sys/capabilities-accessor", json!({ "accessor": accessor, "path": "cubbyhole/new/x" })).ok();
    assert_eq!(of["capabilities"], json!(["create"]));
    root.post("sys/capabilities-self", json!({})).refused(400, "path must be supplied");

    // An edit binds at the next request.
    policy(&root, "shop", "path \"cubbyhole/a\" { capabilities = [\"delete\"] }");
    shop.get("cubbyhole/a").refused(403, "permission denied");
    shop.delete("cubbyhole/a").done();
    root.delete("sys/policies/acl/shop").done();
    shop.delete("cubbyhole/a").refused(403, "permission denied");
    let warned = root.post("auth/token/create", json!({ "policies": ["gone"] })).ok();
    assert_eq!(warned["warnings"], json!(["Policy \"gone\" does not exist"]));
    // The rights of sudo paths need sudo.
    policy(&root, "half", "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }");
    policy(
        &root,
        "full",
        "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }",
    );
    token(&root, &["half"]).get("sys/audit").refused(403, "permission denied");
    token(&root, &["full"]).get("sys/audit").ok();
}
#[test]
fn templates_give_everyone_their_own() {
    let (_server, root) = start();
    let accessor = |root: &Wire| root.get("sys/auth").data()["approle/"]["accessor"].as_str().unwrap().to_owned();
    let (web_id, web_secret) = approle(&root, "web", "own");
    let (_, db_secret) = approle(&root, "db", "own");
    let db_id = root.get("auth/approle/role/db/role-id").data()["role_id"].as_str().unwrap().to_owned();
    policy(
        &root,
        "own",
        &format!(
            "path \"sys/policies/password/{{{{identity.entity.id}}}}\" {{ capabilities = [\"update\", \"read\"] }}\n\
         path \"sys/policies/password/{{{{identity.entity.aliases.{}.name}}}}\" {{ capabilities = [\"update\"] }}\n\
         path \"sys/policies/password/{{{{identity.entity.metadata.none}}}}\" {{ capabilities = [\"update\"] }}",
            accessor(&root)
        ),
    );
    let login = |id: &str, secret: &str| {
        let auth =
            root.with_token("").post("auth/approle/login", json!({ "role_id": id, "secret_id": secret })).ok()["auth"]
                .clone();
        (root.with_token(auth["client_token"].as_str().unwrap()), auth["entity_id"].as_str().unwrap().to_owned())
    };
    let (web, web_entity) = login(&web_id, &web_secret);
    let (db, db_entity) = login(&db_id, &db_secret);
    assert!(!web_entity.is_empty() && web_entity != db_entity);
    let body = || json!({ "policy": "length = 20\nrule \"charset\" { charset = \"abc\" }" });
    web.post(&format!("sys/policies/password/{web_entity}"), body()).done();
    web.get(&format!("sys/policies/password/{web_entity}")).ok();
    db.get(&format!("sys/policies/password/{web_entity}")).refused(403, "permission denied");
    web.post(&format!("sys/policies/password/{db_entity}"), body()).refused(403, "permission denied");
    web.post(&format!("sys/policies/password/{web_id}"), body()).done();
    db.post(&format!("sys/policies/password/{web_id}"), body()).refused(403, "permission denied");
    let nobody = token(&root, &["own"]);
    nobody.post("sys/policies/password/", body()).refused(400, "path ending in '/'");
    nobody.get(&format!("sys/policies/password/{web_entity}")).refused(403, "permission denied");
    // The same login is the same entity.
    assert_eq!(login(&web_id, &web_secret).1, web_entity);
}

#[test]
fn a_wrapped_reply_is_fetched_once() {
    let (_server, root) = start();
    let anybody = root.with_token("");
    root.post("cubbyhole/x", json!({ "a": "wrapped-value" })).done();
    let wrapped = root.send("GET", "cubbyhole/x", &[("X-Vault-Wrap-TTL", "5m")], None).ok();
    assert_eq!(wrapped["request_id"], "");
    assert!(wrapped["data"].is_null() && wrapped["auth"].is_null());
    let info = &wrapped["wrap_info"];
    assert_eq!((&info["ttl"], &info["creation_path"]), (&json!(300), &json!("cubbyhole/x")));
    let text = info["token"].as_str().unwrap().to_owned();
    let holder = root.with_token(&text);

    // It can be looked up by anybody who has it, as often as they like, and does nothing else.
    for _ in 0..3 {
        let seen = anybody.post("sys/wrapping/lookup", json!({ "token": text })).data();
        assert_eq!((&seen["creation_ttl"], &seen["creation_path"]), (&json!(300), &json!("cubbyhole/x")));
    }
    let back = holder.post("sys/wrapping/unwrap", json!({})).ok();
    assert_eq!(back["data"], json!({ "a": "wrapped-value" }));
    holder.post("sys/wrapping/unwrap", json!({})).refused(400, "wrapping token is not valid or does not exist");
    anybody
        .post("sys/wrapping/lookup", json!({ "token": text }))
        .refused(400, "wrapping token is not valid or does not exist");
    root.post("sys/wrapping/unwrap", json!({ "token": "hvs.nothing" }))
        .refused(400, "wrapping token is not valid or does not exist");
    root.post("sys/wrapping/unwrap", json!({})).refused(400, "wrapping token is not valid");
    anybody.post("sys/wrapping/unwrap", json!({})).refused(400, "missing token");

    // Two at once: one wins.
    let wrapped = root.wrapped("60s", "sys/wrapping/wrap", json!({ "k": "v" })).ok();
    let text = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || anybody.with_token("").post("sys/wrapping/unwrap", json!({ "token": text })).status;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 7, "{statuses:?}");
    root.post("sys/wrapping/wrap", json!({ "k": "v" })).refused(400, "X-Vault-Wrap-TTL");

    // Wrapped again: the old token is worth nothing, the new one has the old creation path.
    let wrapped = root.wrapped("60s", "sys/wrapping/wrap", json!({ "k": "v" })).ok();
    let again = root.post("sys/wrapping/rewrap", json!({ "token": wrapped["wrap_info"]["token"] })).ok();
    assert_eq!(
        (&again["wrap_info"]["ttl"], &again["wrap_info"]["creation_path"]),
        (&json!(60), &json!("sys/wrapping/wrap"))
    );
    anybody
        .post("sys/wrapping/unwrap", json!({ "token": wrapped["wrap_info"]["token"] }))
        .refused(400, "wrapping token");
    assert_eq!(anybody.post("sys/wrapping/unwrap", json!({ "token": again["wrap_info"]["token"] })).data()["k"], "v");

    // A secret id on its way to a machine that nobody else can have read.
    approle(&root, "web", "default");
    let wrapped = root.wrapped("60s", "auth/approle/role/web/secret-id", json!({})).ok();
    assert!(wrapped["wrap_info"]["wrapped_accessor"].is_string(), "{wrapped}");
    let secret = anybody.post("sys/wrapping/unwrap", json!({ "token": wrapped["wrap_info"]["token"] })).data();
    assert_eq!(secret["secret_id_accessor"], wrapped["wrap_info"]["wrapped_accessor"]);
    let role_id = root.get("auth/approle/role/web/role-id").data()["role_id"].clone();
    anybody.post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret["secret_id"] })).ok();
    let login = json!({ "role_id": role_id, "secret_id": secret["secret_id"] });
    let wrapped = anybody.wrapped("60s", "auth/approle/login", login).ok();
    assert!(wrapped["auth"].is_null() && wrapped["wrap_info"]["wrapped_accessor"].is_string());
    let auth =
        anybody.post("sys/wrapping/unwrap", json!({ "token": wrapped["wrap_info"]["token"] })).ok()["auth"].clone();
    assert_eq!(auth["accessor"], wrapped["wrap_info"]["wrapped_accessor"]);

    // Nothing to wrap, nothing wrapped; and no nonsense.
    root.send("POST", "cubbyhole/y", &[("X-Vault-Wrap-TTL", "60")], Some(b"{\"a\":1}")).done();
    root.send("GET", "cubbyhole/none", &[("X-Vault-Wrap-TTL", "60")], None).refused(404, "");
    root.send("GET", "cubbyhole/x", &[("X-Vault-Wrap-TTL", "-5s")], None).refused(400, "X-Vault-Wrap-TTL");
    root.send("GET", "cubbyhole/x", &[("X-Vault-Wrap-TTL", "soon")], None).refused(400, "X-Vault-Wrap-TTL");
    // A policy may demand it.
    policy(
        &root,
        "wrapper",
        "path \"cubbyhole/*\" { capabilities = [\"create\", \"update\", \"read\"] min_wrapping_ttl = \"1m\" max_wrapping_ttl = \"10m\" }",
    );
    let wrapper = token(&root, &["wrapper"]);
    wrapper.post("cubbyhole/x", json!({ "a": 1 })).refused(403, "permission denied");
    wrapper.get("cubbyhole/x").refused(403, "permission denied");
    let ask = |ttl| wrapper.send("GET", "cubbyhole/x", &[("X-Vault-Wrap-TTL", ttl)], None).status;
    assert_eq!((ask("30s"), ask("5m"), ask("20m")), (403, 404, 403));
    // It ends by itself.
    let wrapped = root.wrapped("1s", "sys/wrapping/wrap", json!({ "k": "v" })).ok();
    Server::eventually("the wrapping token ends", || {
        let seen = anybody.post("sys/wrapping/lookup", json!({ "token": wrapped["wrap_info"]["token"] }));
        (seen.status == 400).then_some(())
    });
}

#[test]
fn a_cubbyhole_belongs_to_its_token_and_ends_with_it() {
    let (_server, root) = start();
    let one = root.with_token(&root.post("auth/token/create", json!({ "policies": ["default"] })).client_token());
    let other = root.with_token(&root.post("auth/token/create", json!({ "policies": ["default"] })).client_token());
    one.post("cubbyhole/x", json!({ "a": 1 })).done();
    other.get("cubbyhole/x").refused(404, "");
    root.get("cubbyhole/x").refused(404, "");
    one.post("cubbyhole/x", json!({})).refused(400, "missing data fields");
    assert_eq!(one.get("cubbyhole/x").data(), json!({ "a": 1 }));
    root.delete("sys/mounts/cubbyhole").refused(400, "cannot unmount");
}

#[test]
fn mounts_are_enabled_tuned_moved_and_disabled() {
    let (mut server, root) = start();
    let mounts = root.get("sys/mounts").data();
    assert_eq!((&mounts["sys/"]["type"], &mounts["cubbyhole/"]["type"]), (&json!("system"), &json!("cubbyhole")));
    assert!(mounts["sys/"]["accessor"].as_str().unwrap().starts_with("system_"));
    assert_eq!(root.get("sys/auth").data()["token/"]["type"], "token");
    root.post("sys/mounts/app", json!({ "type": "kv", "description": "shop", "options": { "version": "2" }, "config": { "max_lease_ttl": "1h" } })).done();
    let info = root.get("sys/mounts/app").data();
    assert_eq!(
        (&info["type"], &info["options"]["version"], &info["config"]["max_lease_ttl"]),
        (&json!("kv"), &json!("2"), &json!(3600))
    );
    assert!(info["uuid"].is_string() && info["description"] == "shop");
    for (path, text) in [
        ("app", "path is already in use at app/"),
        ("app/below", "conflicts"),
        ("sys", "sys"),
        ("auth/x", "sys/auth"),
        ("cubbyhole", "cubbyhole"),
    ] {
        root.post(&format!("sys/mounts/{path}"), json!({ "type": "kv" })).refused(400, text);
    }
    root.post("sys/mounts/deep/er", json!({ "type": "kv" })).done();
    root.post("sys/mounts/deep", json!({ "type": "kv" })).refused(400, "conflicts");
    root.post("sys/mounts/new", json!({})).refused(400, "type");
    root.post("sys/mounts/new", json!({ "type": "kvv" })).refused(400, "plugin not found in the catalog");
    root.post("sys/mounts/new", json!({ "type": "approle" })).refused(400, "plugin not found in the catalog");
    root.post(
        "sys/mounts/new",
        json!({ "type": "kv", "config": { "default_lease_ttl": "2h", "max_lease_ttl": "1h" } }),
    )
    .refused(400, "default_lease_ttl");
    root.post(
        "sys/mounts/app/tune",
        json!({ "default_lease_ttl": "30m", "description": "the shop", "listing_visibility": "unauth" }),
    )
    .done();
    let tuned = root.get("sys/mounts/app/tune").data();
    assert_eq!(
        (&tuned["default_lease_ttl"], &tuned["max_lease_ttl"], &tuned["description"]),
        (&json!(1800), &json!(3600), &json!("the shop"))
    );
    root.post("sys/mounts/app/tune", json!({ "listing_visibility": "loud" })).refused(400, "listing_visibility");
    root.post("sys/mounts/none/tune", json!({ "description": "x" })).refused(400, "no mount");
    // What the user interface sees without a token, and what a token sees.
    let anybody = root.with_token("");
    assert_eq!(
        anybody.get("sys/internal/ui/mounts").data()["secret"],
        json!({ "app/": { "type": "kv", "description": "the shop", "options": { "version": "2" } } })
    );
    policy(&root, "app", "path \"app/data/x\" { capabilities = [\"read\"] }");
    let app = token(&root, &["app"]);
    assert_eq!(app.get("sys/internal/ui/mounts/app/x").data()["path"], "app/");
    app.get("sys/internal/ui/mounts/deep/er/x").fails(403);
    anybody.get("sys/internal/ui/mounts/app/x").refused(403, "permission denied");

    root.post("sys/remount", json!({ "from": "app", "to": "sys/x" })).fails(400);
    root.post("sys/remount", json!({ "from": "none", "to": "y" })).refused(400, "no mount");
    root.post("sys/remount", json!({ "from": "app", "to": "auth/y" })).refused(400, "cannot move between");
    root.post("sys/remount", json!({ "from": "sys", "to": "y" })).refused(400, "cannot remount");
    let id = root.post("sys/remount", json!({ "from": "app", "to": "moved/app" })).data()["migration_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let status = root.get(&format!("sys/remount/status/{id}")).data();
    assert_eq!(status["migration_info"]["status"], "success");
    assert_eq!(root.get("sys/mounts/moved/app").data()["uuid"], info["uuid"]);
    root.get("app/data/x").refused(404, "no handler for route");
    server.kill();
    server.launch();
    server.unseal();
    assert_eq!(root.get("sys/mounts/moved/app").data()["uuid"], info["uuid"]);

    root.delete("sys/mounts/moved/app").done();
    root.delete("sys/mounts/moved/app").done();
    root.delete("sys/mounts/never/there").done();
    root.get("sys/mounts/moved/app").refused(400, "No secret engine mount at moved/app/");
    root.delete("sys/mounts/sys").refused(400, "cannot unmount");
    root.delete("sys/auth/token").refused(400, "cannot unmount");
    // Disabling a login method ends the tokens that it made.
    let (role_id, secret_id) = approle(&root, "web", "default");
    let web = root.with_token(
        &anybody.post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id })).client_token(),
    );
    root.delete("sys/auth/approle").done();
    soon_refused(&web);
    anybody
        .post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id }))
        .refused(403, "permission denied");
}

/// After a login method was moved, disabling it found none of the tokens made at its old path: they lived on.
#[test]
fn disabling_a_moved_login_method_ends_the_tokens_of_its_old_path() {
    let (_server, root) = start();
    let (role_id, secret_id) = approle(&root, "web", "default");
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    let old = root.with_token(&root.post("auth/approle/login", login.clone()).client_token());
    root.post("sys/remount", json!({ "from": "auth/approle", "to": "auth/machines" })).ok();
    let new = root.with_token(&root.post("auth/machines/login", login).client_token());
    // Another method takes the old path: its tokens are its own.
    let (role_id, secret_id) = approle(&root, "web", "default");
    let other = root.with_token(
        &root.post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id })).client_token(),
    );
    root.delete("sys/auth/machines").done();
    soon_refused(&new);
    soon_refused(&old);
    other.get("auth/token/lookup-self").ok();
}
