//! A server brought to the state that files describe, and held there.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use std::{path::Path, process::Output};

use serde_json::{Value, json};
use testkit::server::Server;

use crate::kit::start;

const FILES: &[(&str, &str)] = &[
    ("policies/shop.hcl", "path \"kv/data/shop/*\" { capabilities = [\"read\"] }\n"),
    ("policies/shop.tests.toml", "policies = [\"shop.hcl\"]\n"),
    (
        "mounts.toml",
        "[[secrets]]\npath = \"kv\"\ntype = \"kv\"\noptions = { version = \"2\" }\ndescription = \"for all\"\n\
         config = { max_lease_ttl = \"8h\" }\n[[auth]]\npath = \"approle\"\ntype = \"approle\"\n",
    ),
    (
        "roles.toml",
        "[[write]]\npath = \"auth/approle/role/shop\"\ndata = { token_policies = [\"shop\", \"other\"], token_ttl = \"10m\" }\n\
         [[write]]\npath = \"kv/data/shop/payment\"\ndata = { data = { api_key = { file = \"key.txt\" } } }\n",
    ),
    ("key.txt", "marker-one\n"),
];

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn apply(server: &Server, folder: &Path, flags: &[&str]) -> Output {
    let mut arguments = vec!["apply"];
    arguments.extend(flags);
    arguments.push(folder.to_str().unwrap());
    server.cli(server.root_token(), &arguments)
}

fn told(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

#[test]
fn a_second_run_writes_nothing_and_drift_is_seen() {
    let (server, root) = start();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        write(folder.path(), name, text);
    }
    let planned = apply(&server, folder.path(), &["-plan"]);
    assert_eq!(planned.status.code(), Some(2), "{}", told(&planned));
    for line in ["+ policy shop", "+ secrets engine kv/", "+ auth method approle/", "+ kv/data/shop/payment"] {
        assert!(told(&planned).contains(line), "{line}: {}", told(&planned));
    }
    assert_eq!(root.get("sys/policies/acl/shop").status, 404, "a plan changes nothing");

    // Nobody to ask: nothing is done.
    let unasked = apply(&server, folder.path(), &[]);
    assert_eq!(unasked.status.code(), Some(1));
    assert!(told(&unasked).contains("-auto-approve"), "{}", told(&unasked));

    let done = apply(&server, folder.path(), &["-auto-approve"]);
    assert_eq!(done.status.code(), Some(0), "{}", told(&done));
    assert!(!told(&done).contains("marker-one"));
    assert_eq!(root.get("kv/data/shop/payment").data()["data"], json!({ "api_key": "marker-one" }));
    assert_eq!(root.get("sys/mounts/kv").data()["config"]["max_lease_ttl"], 28_800);
    assert_eq!(root.get("auth/approle/role/shop").data()["token_ttl"], 600);

    let again = apply(&server, folder.path(), &["-auto-approve"]);
    assert_eq!((again.status.code(), told(&again).contains("Nothing to change")), (Some(0), true), "{}", told(&again));
    assert_eq!(root.get("kv/metadata/shop/payment").data()["current_version"], 1, "nothing was written");
    assert_eq!(apply(&server, folder.path(), &["-plan"]).status.code(), Some(0));

    // Somebody changes things by hand; somebody adds one; the secret in the file is a new one.
    root.post("auth/approle/role/shop", json!({ "token_ttl": "20m" })).ok();
    root.post("sys/mounts/kv/tune", json!({ "description": "for none" })).ok();
    kit::policy(&root, "stray", "path \"a\" { capabilities = [\"read\"] }");
    write(folder.path(), "key.txt", "marker-two\n");
    let drift = apply(&server, folder.path(), &["-plan", "-format=json"]);
    assert_eq!(drift.status.code(), Some(2), "{}", told(&drift));
    let report: Value = serde_json::from_slice(&drift.stdout).unwrap();
    let changes = json!([
        { "action": "update", "what": "secrets engine kv/",
          "changes": [{ "field": "description", "from": "for none", "to": "for all" }] },
        { "action": "update", "what": "auth/approle/role/shop",
          "changes": [{ "field": "token_ttl", "from": "1200", "to": "10m" }] },
        { "action": "update", "what": "kv/data/shop/payment", "changes": [{ "field": "data.api_key", "from": null,
          "to": format!("(from {})", folder.path().join("key.txt").display()) }] },
    ]);
    assert_eq!(report["changes"], changes);
    assert_eq!(report["extra"], json!(["policy stray"]));
    assert!(!told(&drift).contains("marker"), "no secret is shown, neither the old nor the new");

    assert_eq!(apply(&server, folder.path(), &["-auto-approve"]).status.code(), Some(0));
    assert_eq!(root.get("kv/data/shop/payment").data()["data"], json!({ "api_key": "marker-two" }));
    assert_eq!(root.get("sys/policies/acl/stray").status, 200, "nothing is removed");
    assert_eq!(apply(&server, folder.path(), &["-plan"]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let (server, root) = start();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.hcl", "path \"a\" { capabilities = [\"read\"] }\n");
    let table = [
        ("[[secrets]]\npath = \"cubbyhole\"\ntype = \"kv\"\n", "is of the type cubbyhole"),
        ("[[write]]\npath = \"a/b\"\ndata = { password = \"hunter2\" }\n", "password is a secret"),
        (
            "[[secrets]]\npath = \"v\"\ntype = \"kv\"\n[[write]]\npath = \"v/a\"\ndata = { x = \"hunter2\" }\n",
            "x is a value",
        ),
        ("[[write]]\npath = \"nowhere/x\"\ndata = { a = 1 }\n", "no handler for route"),
        ("[[writ]]\n", "b.toml: line 1"),
        ("[[auth]]\npath = \"x\"\n", "type"),
        ("policies = 1\n", "policies"),
    ];
    for (text, expected) in table {
        write(folder.path(), "b.toml", text);
        let failed = apply(&server, folder.path(), &["-auto-approve"]);
        assert!(matches!(failed.status.code(), Some(1 | 2)), "{text}");
        assert!(told(&failed).contains(expected) && !told(&failed).contains("hunter2"), "{text}: {}", told(&failed));
        assert_eq!(root.get("sys/policies/acl/a").status, 404, "{text}: nothing was done");
    }
    write(folder.path(), "b.toml", "[[write]]\npath = \"cubbyhole/x\"\ndata = { a = { env = \"NOT_THERE\" } }\n");
    let failed = apply(&server, folder.path(), &["-auto-approve"]);
    assert!(told(&failed).contains("NOT_THERE"), "{}", told(&failed));
    assert_eq!(root.get("sys/policies/acl/a").status, 404, "references are looked at before anything is changed");
    let nowhere = apply(&server, &folder.path().join("none"), &["-plan"]);
    assert!(told(&nowhere).contains("cannot read"), "{}", told(&nowhere));
}
