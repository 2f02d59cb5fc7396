//! Policies that are explained by the server, and checked without one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::kit::{PROGRAM, policy, start, token};

const SHOP: &str = r#"
path "kv/data/shop/*" {
  capabilities = ["read"]
}
path "auth/approle/role/shop/secret-id" {
  capabilities = ["update"]
  allowed_parameters = { ttl = ["1h"] }
}
"#;

fn run(folder: &std::path::Path, args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).current_dir(folder).env_remove("VAULT_ADDR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_decision_is_explained_to_those_who_may_ask() {
    let (_server, root) = start();
    policy(&root, "shop", SHOP);
    let shop = token(&root, &["shop"]);
    let ask = |body: Value| root.post("sys/policies/explain", body).data();

    let allowed = ask(json!({ "policies": ["shop"], "operation": "read", "path": "kv/data/shop/db" }));
    assert_eq!(allowed["allowed"], true);
    assert_eq!(allowed["reason"], "allowed by policy \"shop\" line 2 path \"kv/data/shop/*\"");
    assert_eq!(
        allowed["rules"],
        json!([{ "policy": "shop", "path": "kv/data/shop/*", "line": 2, "capabilities": ["read"] }])
    );

    let accessor = shop.get("auth/token/lookup-self").status;
    assert_eq!(accessor, 403, "the token may nothing but what its policy says");
    shop.post("sys/policies/explain", json!({ "path": "a", "operation": "read" })).refused(403, "permission denied");

    let by = |who: Value, operation: &str, path: &str| {
        let mut body = json!({ "operation": operation, "path": path });
        body.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
        ask(body)
    };
    let made = root.post("auth/token/create", json!({ "policies": ["shop"], "no_default_policy": true })).json();
    let accessor = json!({ "accessor": made["auth"]["accessor"] });
    let missing = by(accessor.clone(), "update", "kv/data/shop/db");
    assert_eq!((&missing["allowed"], &missing["policies"]), (&json!(false), &json!(["shop"])));
    assert!(missing["reason"].as_str().unwrap().contains("capability \"update\" is missing"), "{missing}");
    let nothing = by(accessor, "list", "kv/metadata/bank/");
    assert!(nothing["reason"].as_str().unwrap().contains("no rule matches"), "{nothing}");

    // What is sent along counts, and so does what the route asks for.
    let role = json!({ "policies": ["shop"], "parameters": { "ttl": "2h" } });
    let limited = by(role, "update", "auth/approle/role/shop/secret-id");
    assert!(limited["reason"].as_str().unwrap().contains("value of parameter \"ttl\""), "{limited}");
    policy(&root, "half", "path \"sys/auth/*\" { capabilities = [\"update\"] }");
    let sudo = by(json!({ "policies": ["half"] }), "update", "sys/auth/jwt");
    assert_eq!(sudo["sudo_required"], true);
    assert!(sudo["reason"].as_str().unwrap().contains("sudo"), "{sudo}");
    assert_eq!(by(json!({}), "delete", "sys/auth/jwt")["allowed"], true, "the caller is root");
}

#[test]
fn the_command_line_explains_what_would_be_and_what_was() {
    let (server, root) = start();
    policy(&root, "shop", SHOP);
    let told = |args: &[&str]| {
        let output = server.cli(server.root_token(), args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let would = told(&["policy", "explain", "-policy=shop", "read", "kv/data/shop/db"]);
    assert!(would.starts_with("allowed by policy \"shop\" line 2"), "{would}");
    assert!(would.contains("Capabilities") && would.contains("kv/data/shop/*"), "{would}");

    let folder = server.folder().join("journal");
    root.post("sys/audit/journal", json!({ "type": "journal", "options": { "path": folder } })).done();
    let shop = token(&root, &["shop"]);
    let refused = shop.get("kv/data/bank");
    assert_eq!(refused.status, 403);
    let id = refused.header("x-strongroom-request-id").expect("each reply has its request's id").to_owned();
    let was = told(&["policy", "explain", &format!("-request-id={id}")]);
    for part in ["kv/data/bank", "permission denied", "no rule matches the path", "shop"] {
        assert!(was.contains(part), "{part}: {was}");
    }
    let nothing = server.cli(server.root_token(), &["policy", "explain", "-request-id=none"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn questions_without_sense_are_refused() {
    let (_server, root) = start();
    let table = [
        (json!({}), "path"),
        (json!({ "path": "a/../b" }), "path"),
        (json!({ "path": "a", "operation": "fly" }), "operation"),
        (json!({ "path": "a", "token": "nobody" }), "token"),
        (json!({ "path": "a", "accessor": "nobody" }), "accessor"),
        (json!({ "path": "a", "accessor": "x", "policies": ["y"] }), "only one of"),
        (json!({ "path": "a", "wrap_ttl": "soon" }), "wrap_ttl"),
    ];
    for (body, expected) in table {
        root.post("sys/policies/explain", body).refused(400, expected);
    }
}

#[test]
fn tables_are_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("shop.hcl", SHOP);
    write("own.hcl", "path \"kv/data/own/{{identity.entity.name}}\" { capabilities = [\"read\", \"create\"] }");
    write(
        "good.toml",
        "policies = [\"shop.hcl\", \"own.hcl\"]\n[subject]\nname = \"ann\"\n\
         [[allow]]\noperations = [\"read\"]\npaths = [\"kv/data/shop/db\", \"kv/data/own/ann\"]\n\
         [[deny]]\noperations = [\"read\", \"update\"]\npaths = [\"kv/data/own/bob\"]\n\
         [[deny]]\noperations = [\"update\"]\npaths = [\"auth/approle/role/shop/secret-id\"]\nparameters = { ttl = \"2h\" }\n",
    );
    let good = run(folder.path(), &["policy", "test", "good.toml"]);
    assert_eq!((good.status.code(), text(&good.stdout)), (Some(0), "5 passed, 0 failed\n".to_owned()));

    write(
        "bad.toml",
        "policies = [\"shop.hcl\"]\n[[allow]]\noperations = [\"update\"]\npaths = [\"kv/data/shop/db\"]\n\
         [[deny]]\noperations = [\"read\"]\npaths = [\"kv/data/shop/db\", \"kv/data/bank\"]\n",
    );
    let bad = run(folder.path(), &["policy", "test", "bad.toml"]);
    let told = text(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        told.contains("bad.toml: allow update kv/data/shop/db: refused: capability \"update\" is missing"),
        "{told}"
    );
    assert!(told.contains("bad.toml: deny read kv/data/shop/db: allowed by policy \"shop\" line 2"), "{told}");
    assert!(told.ends_with("1 passed, 2 failed\n"), "{told}");
    let bad = run(folder.path(), &["policy", "test", "-format=json", "bad.toml"]);
    let report: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!((&report["failed"], &report["failures"][0]["wanted"]), (&json!(2), &json!("allow")));

    for (text_of, expected) in [
        ("policies = []\n", "no requests"),
        ("policies = [\"none.hcl\"]\n[[allow]]\noperations=[\"read\"]\npaths=[\"a\"]\n", "none.hcl"),
        ("policies = []\n[[allow]]\noperations=[\"fly\"]\npaths=[\"a\"]\n", "fly"),
        ("policies = []\nalow = 1\n", "alow"),
    ] {
        write("odd.toml", text_of);
        let odd = run(folder.path(), &["policy", "test", "odd.toml"]);
        assert_eq!(odd.status.code(), Some(1));
        assert!(text(&odd.stderr).contains(expected), "{}", text(&odd.stderr));
    }
}

#[test]
fn remarks_name_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("shop.hcl", SHOP);
    write("odd.hcl", "# one\npath \"kv/shop\" { capabilities = [\"read\"] }\n");
    let fine = run(folder.path(), &["policy", "lint", "shop.hcl", "odd.hcl"]);
    assert_eq!((fine.status.code(), text(&fine.stdout)), (Some(0), String::new()));
    let odd = run(folder.path(), &["policy", "lint", "-kv2=kv", "shop.hcl", "odd.hcl"]);
    assert_eq!(odd.status.code(), Some(1));
    assert!(text(&odd.stdout).starts_with("odd.hcl:2: path \"kv/shop\": "), "{}", text(&odd.stdout));
    write("broken.hcl", "path \"a\" { capabilities = [\"fly\"] }");
    let broken = run(folder.path(), &["policy", "lint", "broken.hcl"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stderr).contains("broken.hcl") && text(&broken.stderr).contains("fly"));
}
