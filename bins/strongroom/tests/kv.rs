//! Key/value secrets over the wire and on the command line: types and versions of mounts, the upgrade from one to the
//! other, what the audit log says of it all.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};

use crate::kit::start;

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
