//! Key/value secrets over the wire and on the command line: types and versions of mounts, the upgrade from one to the
//! other, what the audit log says of it all.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};

use crate::kit::start;

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
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
    let capabilities = json!({ "paths": ["kv/metadata/app/"] });
    assert_eq!(scanner.post("sys/capabilities-self", capabilities).ok()["kv/metadata/app/"], json!(["scan"]));
    let found = server.cli(scanner.token(), &["kv", "scan", "-mount=kv", "app"]);
    assert!(said(&found).contains("deep/er/two"), "{}", said(&found));
    root.get("kv/metadata?help=1").ok();
}
