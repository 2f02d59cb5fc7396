//! Key/value secrets over the wire and on the command line: types and versions of mounts, the upgrade from one to the
//! other, what the audit log says of it all.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use testkit::server::Server;

use crate::kit::start;

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn mounts_have_the_versions_that_their_types_and_options_say() {
    let (server, root) = start();
    let mounts: &[(&str, Value, Option<&str>)] = &[
        ("plain", json!({ "type": "kv" }), None),
        ("one", json!({ "type": "kv", "options": { "version": "1" } }), Some("1")),
        ("two", json!({ "type": "kv", "options": { "version": 2 } }), Some("2")),
        ("kv-one", json!({ "type": "kv-v1" }), Some("1")),
        ("kv-two", json!({ "type": "kv-v2" }), Some("2")),
        ("old", json!({ "type": "generic" }), None),
    ];
    for (path, body, version) in mounts {
        root.post(&format!("sys/mounts/{path}"), body.clone()).done();
        let shown = root.get("sys/mounts").data()[format!("{path}/")].clone();
        assert_eq!((&shown["type"], shown["options"]["version"].as_str()), (&json!("kv"), *version), "{path}");
        let preflight = root.get(&format!("sys/internal/ui/mounts/{path}/a/b")).data();
        let expected = (&json!(format!("{path}/")), version.unwrap_or_default());
        assert_eq!((&preflight["path"], preflight["options"]["version"].as_str().unwrap_or_default()), expected);
        // The command line finds out by itself.
        let put = server.cli(server.root_token(), &["kv", "put", &format!("{path}/a/b"), "x=1"]);
        assert!(put.status.success(), "{}", said(&put));
        let stored = match *version {
            Some("2") => root.get(&format!("{path}/data/a/b")).data()["data"].clone(),
            _ => root.get(&format!("{path}/a/b")).data(),
        };
        assert_eq!(stored, json!({ "x": "1" }), "{path}");
        let got = server.cli(server.root_token(), &["kv", "get", "-field=x", "-mount", path, "a/b"]);
        assert_eq!(String::from_utf8_lossy(&got.stdout), "1", "{}", said(&got));
        assert!(said(&server.cli(server.root_token(), &["kv", "list", path])).contains("a/"));
    }
    for body in [
        json!({ "type": "kv", "options": { "version": "3" } }),
        json!({ "type": "generic", "options": { "version": "2" } }),
    ] {
        root.post("sys/mounts/wrong", body).refused(400, "options.version");
    }
    // What has no versions says so, instead of leaving out what was asked for.
    for (arguments, text) in [
        (&["kv", "put", "-cas=1", "plain/a/b", "x=2"][..], "Check-and-set not supported on KV Version 1"),
        (&["kv", "patch", "plain/a/b", "x=2"], "must be version 2"),
        (&["kv", "undelete", "-versions=1", "plain/a/b"], "not supported on KV Version 1"),
        (&["kv", "metadata", "get", "plain/a/b"], "not supported on KV Version 1"),
    ] {
        let output = server.cli(server.root_token(), arguments);
        assert!(!output.status.success() && said(&output).contains(text), "{}", said(&output));
    }
    assert_eq!(root.get("plain/a/b").data(), json!({ "x": "1" }));
    let read = root.get("plain/a/b").ok();
    assert_eq!(
        (&read["lease_id"], &read["lease_duration"], &read["renewable"]),
        (&json!(""), &json!(2_764_800), &json!(false))
    );
    root.post("plain/a/c", json!({ "ttl": "30m" })).done();
    assert_eq!(root.get("plain/a/c").ok()["lease_duration"], 1800);
    root.post("plain/a/d", json!({})).refused(400, "missing data fields");
    root.patch("plain/a/b", json!({ "x": 1 })).refused(405, "unsupported operation");
}

#[test]
fn a_mount_without_versions_gets_them_while_it_is_used() {
    let (server, root) = start();
    root.post("sys/mounts/kv", json!({ "type": "kv" })).done();
    for n in 0..300 {
        root.post(&format!("kv/before/s{n:03}"), json!({ "n": n })).done();
    }
    let over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        // Writers of the old kind until they are told otherwise: what was acknowledged must be there afterwards.
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (root, over) = (root.with_token(root.token()), &over);
                scope.spawn(move || {
                    let mut written = Vec::new();
                    for n in 0.. {
                        let path = format!("w{writer}/s{n:04}");
                        let reply = root.post(&format!("kv/{path}"), json!({ "at": path }));
                        match reply.status {
                            204 => written.push(path),
                            400 => assert!(reply.errors()[0].starts_with("Upgrading from non-versioned"), "{reply}"),
                            404 => assert!(reply.text().contains("versioned K/V"), "{reply}"),
                            _ => panic!("{reply}"),
                        }
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    written
                })
            })
            .collect();
        let tuned = server.cli(server.root_token(), &["kv", "enable-versioning", "kv"]);
        over.store(true, Ordering::Relaxed);
        assert!(tuned.status.success(), "{}", said(&tuned));
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    Server::eventually("the mount is upgraded", || (root.get("kv/config").status == 200).then_some(()));
    assert_eq!(root.get("sys/mounts/kv/tune").data()["options"]["version"], "2");
    for n in 0..300 {
        assert_eq!(root.get(&format!("kv/data/before/s{n:03}")).data()["data"], json!({ "n": n }));
    }
    for path in &written {
        assert_eq!(root.get(&format!("kv/data/{path}")).data()["data"], json!({ "at": path }));
    }
    assert_eq!(root.get("kv/metadata/before/s000").data()["current_version"], 1);
    root.post("sys/mounts/kv/tune", json!({ "options": { "version": "1" } })).refused(400, "options.version");
    root.post("sys/mounts/kv/tune", json!({ "options": { "version": "2" }, "description": "x" })).done();
    assert_eq!(root.get("kv/data/before/s001").data()["data"], json!({ "n": 1 }));
}

#[test]
fn the_audit_log_says_which_version_was_read_and_who_logged_in() {
    // A read of an old version looked like any other in the log, and a login did not say whose it was.
    let (server, root) = start();
    let path = server.folder().join("audit.log");
    root.post("sys/mounts/kv", json!({ "type": "kv-v2" })).done();
    root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": path } })).done();
    for n in 1..=2 {
        root.post("kv/data/a", json!({ "data": { "n": n } })).ok();
    }
    root.get("kv/data/a?version=1").ok();
    root.get("kv/data/a").ok();
    root.list("kv/metadata").ok();
    root.get("kv/data/none").refused(404, "");
    let (role_id, secret_id) = kit::approle(&root, "web", "default");
    root.with_token("").post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id })).ok();
    let hash = root.post("sys/audit-hash/file", json!({ "input": "1" })).data()["hash"].clone();

    let text = std::fs::read_to_string(&path).unwrap();
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |path: &str, operation: &str, kind: &str| -> Vec<&Value> {
        let wanted = |entry: &&Value| {
            let request = &entry["request"];
            request["path"] == path && request["operation"] == operation && entry["type"] == kind
        };
        entries.iter().filter(wanted).collect()
    };
    for kind in ["request", "response"] {
        let reads = of("kv/data/a", "read", kind);
        assert_eq!(reads[0]["request"]["data"], json!({ "version": hash }));
        assert_eq!(reads[1]["request"].get("data"), None);
        assert_eq!(
            of("kv/metadata/", "list", kind)[0]["request"].get("data"),
            None,
            "how a list is asked for is no data"
        );
        // That nothing is there is no failure.
        let missing = of("kv/data/none", "read", kind)[0];
        assert_eq!((missing.get("error"), missing.get("response")), (None, None));
    }
    let read = of("kv/data/a", "read", "response")[0];
    let version = format!("v{}+builtin.strongroom", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&read["request"]["mount_running_version"], &read["response"]["mount_running_plugin_version"]),
        (&json!(version), &json!(version))
    );
    let login = of("auth/approle/login", "update", "response")[0];
    assert_eq!(login["response"]["auth"]["display_name"], "approle");
    assert_eq!((&login["auth"]["display_name"], &login["auth"]["policies"]), (&json!("approle"), &json!(["default"])));
    assert!(login["auth"]["client_token"].as_str().unwrap().starts_with("hmac-sha256:"));
}

#[test]
fn a_scan_stays_out_of_folders_that_are_denied() {
    let (server, root) = start();
    root.post("sys/mounts/kv", json!({ "type": "kv-v2" })).done();
    for path in ["app/one", "app/deep/er/two", "hr/pay/three", "top"] {
        root.post(&format!("kv/data/{path}"), json!({ "data": { "x": 1 } })).ok();
    }
    let all = json!(["app/deep/er/two", "app/one", "hr/pay/three", "top"]);
    for (method, path) in [("SCAN", "kv/metadata"), ("SCAN", "kv/metadata/"), ("GET", "kv/metadata/?scan=true")] {
        assert_eq!(root.send(method, path, &[], None).data()["keys"], all, "{method} {path}");
    }
    assert_eq!(root.send("SCAN", "kv/metadata/app?limit=1", &[], None).data()["keys"], json!(["deep/er/two"]));
    root.send("SCAN", "kv/metadata/none", &[], None).refused(404, "");
    root.send("SCAN", "sys/mounts", &[], None).refused(405, "unsupported operation");
    kit::policy(
        &root,
        "scanner",
        "path \"kv/metadata/*\" { capabilities = [\"scan\"] }\npath \"kv/metadata/hr/*\" { capabilities = [\"deny\"] }",
    );
    let scanner = kit::token(&root, &["scanner"]);
    let seen = scanner.send("SCAN", "kv/metadata/", &[], None).data();
    assert_eq!(seen["keys"], json!(["app/deep/er/two", "app/one", "top"]));
    scanner.send("SCAN", "kv/metadata/hr", &[], None).refused(403, "permission denied");
    scanner.list("kv/metadata").refused(403, "permission denied");
    let capabilities = json!({ "token": scanner.token(), "paths": ["kv/metadata/app/"] });
    assert_eq!(root.post("sys/capabilities", capabilities).ok()["kv/metadata/app/"], json!(["scan"]));
    let explained = json!({ "token": scanner.token(), "path": "kv/metadata/hr/", "operation": "scan" });
    let explained = root.post("sys/policies/explain", explained);
    assert_eq!(explained.data()["allowed"], false, "{explained}");
    let found = server.cli(scanner.token(), &["kv", "scan", "-mount=kv", "app"]);
    assert!(said(&found).contains("deep/er/two"), "{}", said(&found));
    root.get("kv/metadata?help=1").ok();
}

#[test]
fn a_reader_that_has_the_newest_version_need_not_get_it_again() {
    let (_server, root) = start();
    root.post("sys/mounts/kv", json!({ "type": "kv-v2" })).done();
    root.post("kv/data/a", json!({ "data": { "n": 1 } })).ok();
    let tag = |path: &str| root.get(path).header("etag").map(str::to_owned);
    let if_not = |path: &str, known: &str| root.send("GET", path, &[("If-None-Match", known)], None);
    let first = tag("kv/data/a").unwrap();
    assert_eq!(tag("kv/data/a").as_ref(), Some(&first));
    for known in [first.clone(), format!("W/{first}"), format!("\"other\", {first}"), "*".to_owned()] {
        let same = if_not("kv/data/a", &known);
        assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(first.as_str())), "{known}");
        assert_eq!(same.header("content-type"), None);
    }
    assert_eq!(if_not("kv/data/a", "\"other\"").data()["data"]["n"], 1);
    // What is part of the reply changes the tag: values, and notes.
    root.post("kv/metadata/a", json!({ "custom_metadata": { "owner": "web" } })).done();
    let noted = if_not("kv/data/a", &first);
    assert_eq!(noted.data()["metadata"]["custom_metadata"]["owner"], "web");
    root.post("kv/data/a", json!({ "data": { "n": 2 } })).ok();
    assert_eq!(if_not("kv/data/a", noted.header("etag").unwrap()).data()["data"]["n"], 2);
    let (current, old) = (tag("kv/data/a").unwrap(), tag("kv/data/a?version=1").unwrap());
    assert_ne!(current, old);
    assert_eq!(if_not("kv/data/a?version=1", &old).status, 304);
    // What is gone is gone, whatever the reader has; and a wrapped reply is always one.
    root.delete("kv/data/a").done();
    assert_eq!(if_not("kv/data/a", "*").status, 404);
    let wrapped = [("X-Vault-Wrap-TTL", "60s"), ("If-None-Match", "*")];
    let wrapped = root.send("GET", "kv/data/a?version=1", &wrapped, None);
    assert!(wrapped.ok()["wrap_info"]["token"].is_string() && wrapped.header("etag").is_none());
}
