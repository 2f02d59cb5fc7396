//! What the KV engine can do beyond Vault's, over the wire and on the command line: whose right is asked, and what the
//! audit log says of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

use crate::kit::{PROGRAM, policy, start, token};

fn mount(root: &Wire, path: &str) {
    root.post(&format!("sys/mounts/{path}"), json!({ "type": "kv-v2" })).done();
}

fn put(root: &Wire, path: &str, data: Value) {
    root.post(path, json!({ "data": data })).ok();
}

fn cli(server: &Server, arguments: &[&str]) -> (bool, String) {
    let output = server.cli(server.root_token(), arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// The entries of the audit log of one type: path, operation, error.
fn audited(file: &std::path::Path, kind: &str) -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(file).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = entries.filter(|entry| entry["type"] == kind).map(|entry| {
        let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (part(&entry["request"]["path"]), part(&entry["request"]["operation"]), part(&entry["error"]))
    });
    told.collect()
}

#[test]
fn a_batch_is_judged_and_recorded_item_by_item() {
    let (server, root) = start();
    mount(&root, "k");
    for (path, n) in [("app/a", 1), ("app/b", 2), ("other/c", 3)] {
        put(&root, &format!("k/data/{path}"), json!({ "n": n, "password": "hunter2-batch" }));
    }
    policy(
        &root,
        "batch",
        r#"
        path "k/batch/*" { capabilities = ["update"] }
        path "k/data/app/*" { capabilities = ["read", "create", "update", "patch"] }
        path "k/data/strict/*" {
          capabilities = ["create", "update", "read"]
          required_parameters = ["options"]
          denied_parameters = { "data" = [{ "n" = 13 }] }
        }
        path "k/data/wrapped/*" { capabilities = ["read"] min_wrapping_ttl = "10s" max_wrapping_ttl = "20s" }
        "#,
    );
    let app = token(&root, &["batch"]);
    let file = server.folder().join("batch-audit.log");
    root.post("sys/audit/batch", json!({ "type": "file", "options": { "file_path": file.display().to_string() } }))
        .done();
    let items = json!([{ "path": "app/a" }, { "path": "other/c" }, { "path": "app/none" }]);
    let read = app.post("k/batch/read", json!({ "items": items })).data();
    let status: Vec<_> =
        read["items"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(status, [200, 403, 404]);
    assert_eq!(read["items"][0]["data"]["n"], 1);
    for kind in ["request", "response"] {
        let told = audited(&file, kind);
        for (path, error) in [("k/data/app/a", ""), ("k/data/other/c", "permission denied"), ("k/data/app/none", "")] {
            let entry = told.iter().find(|entry| entry.0 == path).unwrap_or_else(|| panic!("{kind} {path}: {told:?}"));
            assert!(
                entry.1 == "read" && entry.2.contains(error) && entry.2.is_empty() == error.is_empty(),
                "{entry:?}"
            );
        }
        assert!(told.iter().any(|entry| entry.0 == "k/batch/read" && entry.1 == "update"), "{told:?}");
    }
    // The rules on parameters hold for each, as if it came alone.
    let good = json!({ "path": "app/a", "data": { "n": 5 } });
    for (item, status) in [
        (json!({ "path": "strict/x", "data": { "n": 1 } }), 403),
        (json!({ "path": "strict/x", "data": { "n": 13 }, "options": {} }), 403),
        (json!({ "path": "other/c", "data": { "n": 1 } }), 403),
        (json!({ "path": "app/b", "data": { "n": 1 }, "options": { "cas": 7 } }), 400),
    ] {
        let path = item["path"].as_str().unwrap().to_owned();
        let alone = json!({ "data": item["data"], "options": item["options"] });
        let alone = if item["options"].is_null() { json!({ "data": item["data"] }) } else { alone };
        assert_eq!(app.post(&format!("k/data/{path}"), alone).status, status, "{path} alone");
        let reply = app.post("k/batch/write", json!({ "items": [good, item] }));
        assert!(reply.errors()[0].starts_with(&format!("items[1] ({path}): ")), "{reply}");
        assert_eq!(reply.status, status, "{reply}");
        assert_eq!(root.get("k/data/app/a").data()["metadata"]["version"], 1, "something was written");
    }
    let told = audited(&file, "response");
    assert!(
        told.iter().any(|entry| entry.0 == "k/data/app/a" && entry.2.contains("not carried out")),
        "what was admitted and then dropped is not told: {told:?}"
    );
    let strict = json!({ "path": "strict/x", "data": { "n": 1 }, "options": {} });
    app.post("k/batch/write", json!({ "items": [good, strict] })).ok();
    // A secret that may only leave wrapped leaves wrapped.
    put(&root, "k/data/wrapped/w", json!({ "n": 6 }));
    let items = json!({ "items": [{ "path": "wrapped/w" }] });
    assert_eq!(app.post("k/batch/read", items.clone()).data()["items"][0]["status"], 403);
    let wrapped = app.wrapped("15s", "k/batch/read", items.clone()).ok();
    let inner = root.with_token(wrapped["wrap_info"]["token"].as_str().unwrap()).post("sys/wrapping/unwrap", json!({}));
    assert_eq!(inner.data()["items"][0]["data"]["n"], 6);
    let late = app.wrapped("25s", "k/batch/read", items).ok();
    let inner = root.with_token(late["wrap_info"]["token"].as_str().unwrap()).post("sys/wrapping/unwrap", json!({}));
    assert_eq!(inner.data()["items"][0]["status"], 403);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("hunter2-batch"));
}

#[test]
fn a_batch_counts_against_the_rate_limit() {
    let (_server, root) = start();
    mount(&root, "k");
    put(&root, "k/data/a", json!({ "n": 1 }));
    root.post("sys/quotas/rate-limit/k", json!({ "path": "k/", "rate": 5, "interval": "1h" })).done();
    let items: Vec<_> = (0..20).map(|_| json!({ "path": "a" })).collect();
    let reply = root.post("k/batch/read", json!({ "items": items }));
    assert_eq!(reply.status, 429, "{reply}");
}

#[test]
fn batches_on_the_command_line() {
    let (server, root) = start();
    mount(&root, "k");
    let file = server.folder().join("batch.json");
    std::fs::write(&file, r#"[{"path":"a","data":{"n":1}},{"path":"b/c","data":{"n":2},"options":{"cas":0}}]"#)
        .unwrap();
    let file = file.display().to_string();
    let (done, text) = cli(&server, &["kv", "batch", "put", "-mount=k", &file]);
    assert!(done && text.contains("2 secrets changed"), "{text}");
    let (done, text) = cli(&server, &["kv", "batch", "put", "-mount=k", &file]);
    assert!(!done && text.contains("items[1] (b/c): check-and-set"), "{text}");
    let (done, text) = cli(&server, &["kv", "batch", "get", "-mount=k", "a@1", "b/c"]);
    assert!(done, "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "a": { "n": 1 }, "b/c": { "n": 2 } }));
    let (done, text) = cli(&server, &["kv", "batch", "get", "-mount=k", "a", "none"]);
    assert!(!done && text.contains("Not read: none (404)"), "{text}");
    std::fs::write(&file, "{").unwrap();
    let (done, text) = cli(&server, &["kv", "batch", "put", "-mount=k", &file]);
    assert!(!done && text.contains("no JSON list"), "{text}");
}

#[test]
fn a_secret_moves_between_mounts_without_being_read() {
    let (server, root) = start();
    mount(&root, "from");
    mount(&root, "to");
    root.post("sys/mounts/plain", json!({ "type": "kv" })).done();
    for n in 1..=3 {
        put(&root, "from/data/app/db", json!({ "n": n, "password": "hunter2-move" }));
    }
    put(&root, "from/data/app/mail", json!({ "n": 9 }));
    root.post("from/metadata/app/db", json!({ "custom_metadata": { "owner": "shop" } })).done();
    let before = root.get("from/metadata/app/db").data();
    policy(
        &root,
        "mover",
        r#"
        path "from/move/*" { capabilities = ["update"] }
        path "from/metadata/*" { capabilities = ["delete"] }
        path "to/data/*" { capabilities = ["create"] required_parameters = ["options"] }
        path "to/metadata/*" { capabilities = ["create"] allowed_parameters = { "custom_metadata" = [] } }
        path "plain/*" { capabilities = ["create", "update"] }
        "#,
    );
    let mover = token(&root, &["mover"]);
    let file = server.folder().join("move-audit.log");
    root.post("sys/audit/move", json!({ "type": "file", "options": { "file_path": file.display().to_string() } }))
        .done();
    mover.get("from/data/app/db").fails(403);
    let to = |mount: &str, path: &str| json!({ "to_mount": mount, "to": path });
    for wrong in ["none", "plain", "sys", "to/data"] {
        mover.post("from/move/app/db", to(wrong, "x")).refused(400, "to_mount");
    }
    let moved = mover.post("from/move/app/db", to("to", "shop/db")).data();
    assert_eq!((&moved["to"], &moved["versions"]), (&json!("to/shop/db"), &json!(3)));
    assert_eq!(root.get("to/metadata/shop/db").data(), before);
    assert_eq!(root.get("to/data/shop/db?version=2").data()["data"]["n"], 2);
    root.get("from/metadata/app/db").fails(404);
    let told = audited(&file, "response");
    for (path, operation) in [
        ("from/move/app/db", "update"),
        ("to/data/shop/db", "create"),
        ("to/metadata/shop/db", "create"),
        ("from/metadata/app/db", "delete"),
    ] {
        let entry = (path.to_owned(), operation.to_owned(), String::new());
        assert!(told.contains(&entry), "{entry:?} is not in {told:?}");
    }
    assert!(!std::fs::read_to_string(&file).unwrap().contains("hunter2-move"));
    // Over the command line, as a tree.
    let (done, text) = cli(&server, &["kv", "copy", "-mount=to", "-tree", "-to-mount=from", "shop", "back"]);
    assert!(done && text.contains("1 secrets were copied"), "{text}");
    let (done, text) = cli(&server, &["kv", "move", "-mount=from", "back/db", "app/mail"]);
    assert!(!done && text.contains("overwrite=true"), "{text}");
    let (done, text) = cli(&server, &["kv", "move", "-mount=from", "-overwrite", "back/db", "app/mail"]);
    assert!(done && text.contains("from/back/db was moved to from/app/mail with 3 versions"), "{text}");
    let (done, text) = cli(&server, &["kv", "copy", "-mount=from", "-tree", "app", "app/copy"]);
    assert!(!done && text.contains("within the tree itself"), "{text}");
}

#[test]
fn references_work_across_mounts_and_both_ends_are_recorded() {
    let (server, root) = start();
    mount(&root, "a");
    mount(&root, "b");
    root.post("sys/mounts/plain", json!({ "type": "kv" })).done();
    root.post("plain/tls", json!({ "key": "pem", "ttl": "1h" })).done();
    put(&root, "b/data/db", json!({ "password": "hunter2-one" }));
    put(&root, "b/data/db", json!({ "password": "hunter2-two" }));
    put(&root, "a/data/web", json!({ "user": "web" }));
    for _ in 0..2 {
        assert_eq!(root.get("a/data/web").data()["data"], json!({ "user": "web" }));
    }
    let (done, text) = cli(
        &server,
        &[
            "kv",
            "references",
            "put",
            "-mount=a",
            "web",
            "password=b/db#password",
            "old=b/db@1#password",
            "key=plain/tls#key",
        ],
    );
    assert!(done, "{text}");
    let (done, text) = cli(&server, &["kv", "get", "-mount=a", "-field=password", "web"]);
    assert!(done && text == "hunter2-two", "{text}");
    let (_, text) = cli(&server, &["kv", "references", "get", "-mount=a", "web"]);
    assert!(text.contains("b/db@1#password"), "{text}");
    let filled = json!({ "user": "web", "password": "hunter2-two", "old": "hunter2-one", "key": "pem" });
    let read = root.get("a/data/web");
    assert_eq!(read.data()["data"], filled);
    assert_eq!(read.header("etag"), None);
    policy(&root, "one", r#"path "a/data/web" { capabilities = ["read"] }"#);
    policy(
        &root,
        "more",
        r#"path "b/data/db" { capabilities = ["read"] } path "plain/tls" { capabilities = ["read"] }"#,
    );
    let file = server.folder().join("ref-audit.log");
    root.post("sys/audit/ref", json!({ "type": "file", "options": { "file_path": file.display().to_string() } }))
        .done();
    token(&root, &["one"]).get("a/data/web").refused(403, "permission denied");
    assert_eq!(token(&root, &["one", "more"]).get("a/data/web").data()["data"], filled);
    let told = audited(&file, "response");
    let of =
        |path: &str| told.iter().filter(|entry| entry.0 == path).map(|entry| entry.2.is_empty()).collect::<Vec<_>>();
    assert_eq!((of("a/data/web"), of("b/data/db")), (vec![false, true], vec![false, true, true]));
    assert!(!std::fs::read_to_string(&file).unwrap().contains("hunter2"));
    // The command line writes back what the secret itself holds.
    put(&root, "a/data/web", json!({ "user": "other" }));
    let (done, text) = cli(&server, &["kv", "rollback", "-mount=a", "-version=1", "web"]);
    assert!(done, "{text}");
    assert_eq!(root.get("a/data/web?references=false").data()["data"], json!({ "user": "web" }));
    root.delete("sys/mounts/plain").done();
    root.get("a/data/web").refused(400, "no kv engine is mounted there");
    let (done, text) = cli(&server, &["kv", "references", "delete", "-mount=a", "web"]);
    assert!(done, "{text}");
    assert_eq!(root.get("a/data/web").data()["data"], json!({ "user": "web" }));
}

#[test]
fn policies_look_at_metadata_and_hide_fields() {
    let (server, root) = start();
    mount(&root, "k");
    root.post("sys/mounts/plain", json!({ "type": "kv" })).done();
    root.post("plain/s", json!({ "user": "u", "password": "hunter2-hidden" })).done();
    for (path, owner) in [("mine", "shop"), ("theirs", "mail")] {
        put(&root, &format!("k/data/{path}"), json!({ "user": "u", "password": "hunter2-hidden", "port": 1 }));
        root.post(&format!("k/metadata/{path}"), json!({ "custom_metadata": { "owner": owner } })).done();
    }
    put(&root, "k/data/none", json!({ "user": "u" }));
    let text = r#"
        path "k/data/*" {
          capabilities      = ["create", "read", "update"]
          required_metadata = { "owner" = ["shop", "team-*"] }
          hidden_fields     = ["pass*"]
        }
        path "k/subkeys/*" { capabilities = ["read"] visible_fields = ["user"] }
        path "k/metadata/*" { capabilities = ["read", "list"] }
        path "k/search/*" { capabilities = ["read", "list"] }
        path "k/batch/read" { capabilities = ["update"] }
        path "k/copy/*" { capabilities = ["update"] }
        path "plain/*" { capabilities = ["read"] visible_fields = ["user"] }
        path "sys/mounts" { capabilities = ["read"] hidden_fields = ["x"] }
    "#;
    policy(&root, "careful", text);
    policy(&root, "copier", r#"path "k/data/copy/*" { capabilities = ["create", "read"] }"#);
    let app = token(&root, &["careful", "copier"]);
    // The reply to those who see everything is kept in memory; it is not that of others.
    for _ in 0..2 {
        assert_eq!(root.get("k/data/mine").data()["data"]["password"], "hunter2-hidden");
    }
    let read = app.get("k/data/mine");
    assert_eq!((read.data()["data"].clone(), read.header("etag")), (json!({ "user": "u", "port": 1 }), None));
    for refused in ["k/data/theirs", "k/data/none", "k/data/nothing", "sys/mounts"] {
        app.get(refused).fails(403);
    }
    app.post("k/data/mine", json!({ "data": { "user": "v" } })).ok();
    app.post("k/data/theirs", json!({ "data": {} })).fails(403);
    app.post("k/data/new", json!({ "data": {} })).fails(403);
    assert_eq!(app.get("k/subkeys/theirs").data()["subkeys"], json!({ "user": null }));
    assert_eq!(app.get("plain/s").data(), json!({ "user": "u" }));
    let items = json!({ "items": [{ "path": "mine", "version": 1 }, { "path": "theirs" }] });
    let items = app.post("k/batch/read", items).data()["items"].clone();
    assert_eq!((&items[0]["data"], &items[1]["status"]), (&json!({ "user": "u", "port": 1 }), &json!(403)));
    // What is hidden cannot be had by a copy, nor through a reference.
    app.post("k/copy/mine", json!({ "to": "copy/x" })).fails(403);
    put(&root, "k/data/copy/ref", json!({}));
    root.post("k/references/copy/ref", json!({ "references": { "p": "k/mine@1#password", "u": "k/mine#user" } }))
        .done();
    app.get("k/data/copy/ref").refused(400, "the reference of \"p\"");
    // The explanation names it.
    let ask = json!({ "path": "k/data/mine", "operation": "read", "policies": "careful" });
    let explained = root.post("sys/policies/explain", ask).data();
    let conditions = explained["conditions"].as_str().unwrap();
    assert!(conditions.contains("\"owner\"") && conditions.contains("pass*"), "{explained}");
    let (done, text) = cli(&server, &["policy", "explain", "-policy=careful", "read", "k/data/mine"]);
    assert!(done && text.contains("if custom metadata \"owner\" is one of [\"shop\", \"team-*\"]"), "{text}");
    // The reason of a refusal stands in the audit log alone.
    let file = server.folder().join("cond-audit.log");
    root.post("sys/audit/cond", json!({ "type": "file", "options": { "file_path": file.display().to_string() } }))
        .done();
    app.get("k/data/theirs").fails(403);
    let told = audited(&file, "response");
    assert!(told.iter().any(|entry| entry.2.contains("custom metadata \"owner\" does not fit")), "{told:?}");
    for bad in [
        r#"path "a" { capabilities = ["read"] required_metadata = ["x"] }"#,
        r#"path "a" { capabilities = ["read"] required_metadata = { "x" = "y" } }"#,
        r#"path "a" { capabilities = ["read"] required_metadata = {} }"#,
        r#"path "a" { capabilities = ["read"] hidden_fields = "x" }"#,
        r#"path "a" { capabilities = ["read"] visible_fields = [1] }"#,
    ] {
        root.post("sys/policies/acl/bad", json!({ "policy": bad })).refused(400, "must be");
    }
}

/// Reads frames of a stream of events until `enough` says so.
fn events(
    server: &Server,
    token: &str,
    path: &str,
    last: Option<&str>,
    enough: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut stream = std::net::TcpStream::connect(server.address().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(stream, "GET /v1/{path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\n{last}\r\n").unwrap();
    let mut found = Vec::new();
    let mut event = json!({});
    let mut head = Vec::new();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        if found.is_empty() && event == json!({}) {
            head.push(line.to_ascii_lowercase());
        }
        assert!(!line.contains("hunter2"), "{line}");
        if line.starts_with("HTTP/1.1 ") {
            assert!(line.contains("200"), "{line}");
        } else if let Some(id) = line.strip_prefix("id: ") {
            event["id"] = json!(id);
        } else if let Some(kind) = line.strip_prefix("event: ") {
            event["event"] = json!(kind);
        } else if let Some(data) = line.strip_prefix("data: ") {
            event["data"] = serde_json::from_str(data).unwrap();
            found.push(std::mem::replace(&mut event, json!({})));
            if enough(&found) || found.last().unwrap()["event"] == "end" {
                break;
            }
        }
    }
    let named = |name: &str| head.iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(named("content-type:"), ["content-type: text/event-stream"], "clients of such streams look at it");
    assert_eq!(named("cache-control:"), ["cache-control: no-store"]);
    found
}

fn told(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let secrets = events.iter().filter(|event| event["event"] == "secret");
    secrets.map(|event| (text(&event["data"]["path"]), text(&event["data"]["state"]))).collect()
}

#[test]
fn changes_are_told_to_those_who_may_see_them() {
    let server = Server::start_plain(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    mount(&root, "k");
    put(&root, "k/data/app/old", json!({ "n": "hunter2-event" }));
    policy(
        &root,
        "app",
        r#"path "k/events/*" { capabilities = ["read"] } path "k/data/app/*" { capabilities = ["read"] }"#,
    );
    let app = token(&root, &["app"]);
    token(&root, &["default"]).get("k/events/app").fails(403);
    app.send("GET", "k/events/app", &[("X-Vault-Wrap-TTL", "1m")], None).refused(400, "cannot be wrapped");
    let ready = events(&server, app.token(), "k/events/app", None, |found| !found.is_empty());
    let first = ready[0]["id"].as_str().unwrap().to_owned();
    // A quick machine tells each secret once, as it ended up.
    let of_the_last = |found: &[Value]| told(found).iter().any(|(path, _)| path == "app/c");
    let listening = std::thread::scope(|scope| {
        let listener = scope.spawn(|| events(&server, app.token(), "k/events/app", Some(&first), of_the_last));
        put(&root, "k/data/other/x", json!({ "n": 1 }));
        put(&root, "k/data/app/a", json!({ "n": "hunter2-event" }));
        put(&root, "k/data/app/b", json!({ "n": 1 }));
        root.delete("k/data/app/a").done();
        root.delete("k/metadata/app/b").done();
        // What is told is how a secret is when it is told, so one that has changed twice may be told as one.
        for n in 0..20 {
            put(&root, "k/data/app/c", json!({ "n": n }));
        }
        listener.join().unwrap()
    });
    assert_eq!(listening[0]["event"], "ready");
    assert!(told(&listening).iter().all(|(path, _)| path.starts_with("app/")), "{listening:?}");
    // Who comes back with an id gets what has changed since, removals too.
    let again = events(&server, app.token(), "k/events/", Some(&first), |found| told(found).len() == 3);
    let mut states = told(&again);
    states.sort();
    let expected = [("app/a", "deleted"), ("app/b", "removed"), ("app/c", "live")];
    assert_eq!(states, expected.map(|(path, state)| (path.to_owned(), state.to_owned())));
    let last = again.last().unwrap();
    assert_eq!((&last["data"]["version"], &last["data"]["mount"]), (&json!(20), &json!("k/")));
    for bad in ["x", "1", "1-", "-1", "1-x"] {
        app.send("GET", "k/events/app", &[("Last-Event-ID", bad)], None).refused(400, "Last-Event-ID");
    }
    for old in ["1-1", "999999999-1790000000000"] {
        let reset = events(&server, app.token(), "k/events/app", Some(old), |found| found.len() == 2);
        assert_eq!((&reset[0]["event"], &reset[1]["event"]), (&json!("reset"), &json!("ready")), "{old}");
    }
    // The stream ends with the token.
    let ready = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        let (ready, app, server) = (&ready, &app, &server);
        let seen = |_: &[Value]| {
            ready.store(true, Ordering::Relaxed);
            false
        };
        let listener = scope.spawn(move || events(server, app.token(), "k/events/app", None, seen));
        Server::eventually("the stream is there", || ready.load(Ordering::Relaxed).then_some(()));
        root.post("auth/token/revoke", json!({ "token": app.token() })).done();
        listener.join().unwrap()
    });
    let end = ended.last().unwrap();
    assert_eq!((&end["event"], &end["data"]["why"]), (&json!("end"), &json!("the token has ended")));
}

#[test]
fn secrets_are_found_and_followed_on_the_command_line() {
    let (server, root) = start();
    mount(&root, "k");
    for path in ["shop/pay", "shop/mail", "pay"] {
        put(&root, &format!("k/data/{path}"), json!({ "n": 1 }));
    }
    root.post("k/metadata/shop/pay", json!({ "custom_metadata": { "owner": "shop" } })).done();
    let (done, text) = cli(&server, &["kv", "search", "-mount=k", "-name=pay"]);
    assert!(done && text == "pay\nshop/pay\n", "{text}");
    let (done, text) = cli(&server, &["kv", "search", "-mount=k", "-meta=owner=s*", "-state=live", "shop"]);
    assert!(done && text == "pay\n", "{text}");
    let (done, text) = cli(&server, &["kv", "search", "-mount=k", "-name=none"]);
    assert!(!done && text.contains("No value found"), "{text}");
    let (done, text) = cli(&server, &["kv", "search", "-mount=k", "-state=x"]);
    assert!(!done && text.contains("live, deleted or empty"), "{text}");
    // The stream ends with the token, and tells what came before.
    let watcher = root.post("auth/token/create", json!({ "policies": ["root"], "ttl": "1h" })).client_token();
    let mut watching = server.command(&watcher, &["kv", "watch", "-mount=k", "-after=1-1790000000", "shop"]);
    let child = watching.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    put(&root, "k/data/shop/pay", json!({ "n": 2 }));
    let ended = std::thread::scope(|scope| {
        let waiting = scope.spawn(move || child.wait_with_output().unwrap());
        root.post("auth/token/revoke", json!({ "token": watcher })).done();
        waiting.join().unwrap()
    });
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{text}");
}

#[test]
fn a_webhook_is_told_by_the_running_server() {
    use std::io::{Read as _, Write as _};
    let (mut server, root) = start();
    mount(&root, "k");
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let hook = json!({ "url": url, "secret": "0123456789abcdef", "prefix": "app/" });
    root.post("k/webhooks/ci", hook.clone()).done();
    policy(&root, "writer", r#"path "k/webhooks/*" { capabilities = ["create", "update", "read"] }"#);
    token(&root, &["writer"]).post("k/webhooks/ci", hook).fails(403);
    let call = || {
        let (mut stream, _) = receiver.accept().unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let mut text = String::new();
        let mut chunk = [0; 4096];
        while !text.contains("\"events\"") || !text.ends_with('}') {
            let read = stream.read(&mut chunk).unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        // One that was killed meanwhile does not wait for the answer.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(text.to_lowercase().contains("x-strongroom-signature: t=") && !text.contains("hunter2"), "{text}");
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()
    };
    put(&root, "k/data/app/a", json!({ "password": "hunter2" }));
    assert_eq!(call()["events"][0]["path"], "app/a");
    // On the command line.
    let key = server.folder().join("hook.key");
    std::fs::write(&key, "another-0123456789abcdef\n").unwrap();
    let secret = format!("-secret=@{}", key.display());
    let (good, text) = cli(&server, &["kv", "webhook", "put", "-mount=k", &format!("-url={url}"), &secret, "cd"]);
    assert!(good && text.contains("Data written to: k/webhooks/cd"), "{text}");
    let (good, text) = cli(&server, &["kv", "webhook", "list", "-mount=k", "-format=json"]);
    assert!(good && serde_json::from_str::<Value>(&text).unwrap() == json!(["cd", "ci"]), "{text}");
    let (good, text) = cli(&server, &["kv", "webhook", "get", "-mount=k", "cd"]);
    assert!(good && text.contains(&url) && !text.contains("another-"), "{text}");
    let (good, _) = cli(&server, &["kv", "webhook", "put", "-mount=k", "-secret=0123456789abcdef", "cd"]);
    assert!(!good, "a secret on the command line is refused");
    assert!(cli(&server, &["kv", "webhook", "delete", "-mount=k", "cd"]).0);
    assert!(!cli(&server, &["kv", "webhook", "get", "-mount=k", "cd"]).0);
    // What changes while the server goes down is told by the next run.
    put(&root, "k/data/app/b", json!({ "password": "hunter2" }));
    server.kill();
    server.launch();
    server.unseal();
    let told = call();
    let paths: Vec<_> = told["events"].as_array().unwrap().iter().map(|event| event["path"].clone()).collect();
    assert!(paths.contains(&json!("app/b")), "{told}");
}
