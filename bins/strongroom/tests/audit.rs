//! The audit log over the wire: devices, entries, failing closed, the journal.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};
use testkit::server::Server;

use crate::kit::{approle, policy, start, token};

fn entries(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn the_audit_log_has_two_entries_for_every_request_and_no_secret() {
    let (mut server, root) = start();
    let path = server.folder().join("audit.log");
    root.post("sys/audit/file", json!({ "type": "file", "description": "all", "options": { "file_path": path } }))
        .done();
    let devices = root.get("sys/audit").data();
    assert_eq!(
        (&devices["file/"]["type"], &devices["file/"]["options"]["file_path"], &devices["file/"]["healthy"]),
        (&json!("file"), &json!(path), &json!(true))
    );

    let marker = "marker-that-must-not-be-found";
    root.post("cubbyhole/app", json!({ "value": marker, "deep": { "er": [marker] } })).done();
    root.get("cubbyhole/app").ok();
    let child =
        root.post("auth/token/create", json!({ "policies": ["default"], "meta": { "who": "me" } })).client_token();
    let (role_id, secret_id) = approle(&root, "web", "default");
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    let logged_in = root.with_token("").post("auth/approle/login", login).client_token();
    let wrapped = root.wrapped("60s", "sys/wrapping/wrap", json!({ "k": marker })).ok()["wrap_info"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    root.post("sys/wrapping/unwrap", json!({ "token": wrapped })).ok();
    root.with_token(&child).get("sys/mounts").refused(403, "permission denied");
    root.with_token("hvs.garbage-token").get(&format!("cubbyhole/{}", "x")).refused(403, "permission denied");
    root.with_token("")
        .post("auth/approle/login", json!({ "role_id": role_id, "secret_id": marker }))
        .refused(400, "invalid role or secret ID");
    root.post("sys/capabilities", json!({ "token": child, "path": "a" })).ok();
    root.get("cubbyhole/app?list=true").refused(404, "");

    let text = std::fs::read_to_string(&path).unwrap();
    for secret in [marker, &child, &secret_id, &logged_in, &wrapped, server.root_token(), "hvs.garbage-token"] {
        assert!(!text.contains(secret), "a secret is in the audit log");
    }
    let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let entries = entries(&path);
    for entry in &entries {
        let id = entry["request"]["id"].as_str().unwrap_or_else(|| panic!("{entry}")).to_owned();
        pairs.entry(id).or_default().push(entry["type"].as_str().unwrap().to_owned());
    }
    // Alone are the entry that tested the device, the way out of the request that enabled it, and acts of the server.
    for entry in &entries {
        let kinds = &pairs[entry["request"]["id"].as_str().unwrap()];
        let path = entry["request"]["path"].as_str().unwrap_or_default();
        let may_be_alone = entry["request"]["actor"] == "system" || path.starts_with("sys/audit/");
        assert!(kinds == &["request", "response"] || may_be_alone, "{kinds:?} {entry}");
    }
    assert!(pairs.len() > 12, "{}", pairs.len());

    // What was refused says who was refused and why; what was granted says by which rule.
    let refused =
        entries.iter().find(|entry| entry["request"]["path"] == "sys/mounts" && entry["type"] == "response").unwrap();
    assert!(refused["error"].as_str().unwrap().contains("permission denied"), "{refused}");
    assert_eq!(refused["auth"]["policy_results"]["allowed"], false);
    let unwrapped = entries
        .iter()
        .find(|entry| entry["request"]["path"] == "auth/approle/login" && entry["response"].is_object())
        .unwrap();
    assert!(unwrapped["response"]["auth"]["accessor"].is_string(), "{unwrapped}");

    // The hash that the device writes for a value is the one it shows.
    let hash = root.post("sys/audit-hash/file", json!({ "input": marker })).ok();
    let hash = hash["hash"].as_str().unwrap();
    assert!(hash.starts_with("hmac-sha256:"));
    let written = entries
        .iter()
        .find(|entry| entry["request"]["path"] == "cubbyhole/app" && entry["request"]["operation"] == "create");
    let written = written.unwrap_or_else(|| panic!("no entry of the write: {text}"));
    assert_eq!(
        (&written["request"]["data"]["value"], &written["request"]["data"]["deep"]["er"][0]),
        (&json!(hash), &json!(hash))
    );
    let token_hash = root.post("sys/audit-hash/file", json!({ "input": server.root_token() })).data()["hash"].clone();
    assert_eq!(written["auth"]["client_token"], token_hash);
    root.post("sys/audit-hash/none", json!({ "input": "x" })).fails(400);

    // Rotation: the file is moved away, and after SIGHUP a new one is there.
    let moved = server.folder().join("audit.1");
    std::fs::rename(&path, &moved).unwrap();
    let pid = server.pid().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    Server::eventually("a new audit file", || {
        root.get("sys/mounts").ok();
        path.exists().then_some(())
    });
    server.kill();
    server.launch();
    server.unseal();
    let before = std::fs::read_to_string(&path).unwrap().lines().count();
    root.get("sys/mounts").ok();
    assert!(std::fs::read_to_string(&path).unwrap().lines().count() >= before + 2);
    root.delete("sys/audit/file").done();
    let before = std::fs::read_to_string(&path).unwrap().len();
    root.get("sys/mounts").ok();
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), before);
}

#[test]
fn options_of_audit_devices_are_checked() {
    let (server, root) = start();
    let at = |name: &str| server.folder().join(name);
    let rows = [
        (json!({ "type": "file" }), "file_path"),
        (json!({ "type": "file", "options": { "file_path": at("no/such/dir/x") } }), "No such file or directory"),
        (json!({ "type": "file", "options": { "file_path": at("x"), "mode": "9" } }), "mode"),
        (json!({ "type": "file", "options": { "file_path": at("x"), "prefix": "#!" } }), "prefix"),
        (json!({ "type": "file", "options": { "file_path": at("x"), "colour": "red" } }), "colour"),
        (json!({ "type": "file", "options": { "file_path": at("x"), "log_raw": "maybe" } }), "log_raw"),
        (json!({ "type": "file", "options": { "file_path": "/dev/full" } }), "is full"),
        (json!({ "type": "file", "options": { "file_path": at("x"), "format": "jsonx" } }), "format"),
        (json!({ "type": "telegraph" }), "unknown audit device type"),
        (json!({}), "missing type"),
        (json!({ "type": "file", "options": 7 }), "options"),
    ];
    for (body, text) in rows {
        let asked = body.to_string();
        let reply = root.post("sys/audit/x", body);
        assert_eq!(reply.status, 400, "{asked}: {reply}");
        assert!(reply.errors()[0].contains(text), "{reply}");
    }
    root.post("sys/audit/x", json!({ "type": "file", "options": { "file_path": at("raw.log"), "log_raw": "true", "elide_list_responses": "true" } })).done();
    root.post("sys/audit/x", json!({ "type": "file", "options": { "file_path": at("raw.log") } })).fails(400);
    root.post("cubbyhole/clear", json!({ "value": "in-the-open" })).done();
    // A log is never a program, whatever the mode says.
    root.post("sys/audit/z", json!({ "type": "file", "options": { "file_path": at("z.log"), "mode": "0755" } })).done();
    assert_eq!(std::fs::metadata(at("z.log")).unwrap().permissions().mode() & 0o7777, 0o644);
    root.list("cubbyhole").ok();
    let text = std::fs::read_to_string(at("raw.log")).unwrap();
    assert!(text.contains("in-the-open"));
    let listed = entries(&at("raw.log"))
        .into_iter()
        .find(|entry| entry["request"]["operation"] == "list" && entry["type"] == "response")
        .unwrap();
    assert_eq!(listed["response"]["data"]["keys"], 1, "{listed}");
    // The keys that a mount says are no secrets stand in clear.
    root.post("sys/audit/y", json!({ "type": "file", "options": { "path": at("y.log") } })).done();
    root.post("sys/mounts/cubbyhole/tune", json!({ "audit_non_hmac_request_keys": ["plain"] })).done();
    root.post("cubbyhole/clear", json!({ "plain": "shown-value", "other": "hidden-value" })).done();
    let text = std::fs::read_to_string(at("y.log")).unwrap();
    assert!(text.contains("shown-value") && !text.contains("hidden-value"));
}

#[test]
fn without_an_audit_device_that_can_write_nothing_is_done() {
    let (mut server, root) = start();
    let (first, second) = (server.folder().join("first.log"), server.folder().join("second.log"));
    root.post("sys/audit/first", json!({ "type": "file", "options": { "file_path": first } })).done();
    root.post("cubbyhole/x", json!({ "a": 1 })).done();
    let break_it = |path: &Path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    };
    break_it(&first);
    root.post("cubbyhole/x", json!({ "a": 2 })).refused(500, "no audit device");
    root.get("cubbyhole/x").refused(500, "no audit device");
    root.with_token("").get("cubbyhole/x").refused(500, "no audit device");
    // How the server is can still be asked.
    root.get("sys/health").ok();
    std::fs::remove_dir(&first).unwrap();
    let value = Server::eventually("the device is used again", || {
        let reply = root.get("cubbyhole/x");
        (reply.status == 200).then(|| reply.data())
    });
    assert_eq!(value, json!({ "a": 1 }), "the refused write was done");

    // One that works is enough; the other is reported, and used again when it can be.
    root.post("sys/audit/second", json!({ "type": "file", "options": { "file_path": second } })).done();
    break_it(&first);
    for value in 3..8 {
        root.post("cubbyhole/x", json!({ "a": value })).done();
    }
    let devices = root.get("sys/audit").data();
    assert_eq!(
        (&devices["first/"]["healthy"], &devices["second/"]["healthy"]),
        (&json!(false), &json!(true)),
        "{devices}"
    );
    assert!(devices["first/"]["trouble"].is_string());

    // A restart with one broken device works too, one with none that works does not unseal.
    server.stop();
    server.launch();
    server.unseal();
    root.get("cubbyhole/x").ok();
    server.stop();
    break_it(&second);
    server.launch();
    let keys = server.keys().to_vec();
    root.post("sys/unseal", json!({ "key": keys[0] })).ok();
    root.post("sys/unseal", json!({ "key": keys[1] })).refused(503, "audit devices");
    assert_eq!(root.get("sys/seal-status").ok()["sealed"], true);
    std::fs::remove_dir(&second).unwrap();
    server.unseal();
    assert_eq!(root.get("cubbyhole/x").data()["a"], 7);
}

#[test]
fn the_journal_says_who_did_what_and_shows_tampering() {
    let (mut server, root) = start();
    root.get("sys/audit-journal/query").refused(400, "no audit journal is enabled");
    root.post("sys/audit/journal", json!({ "type": "journal" })).done();
    root.post("cubbyhole/one", json!({ "a": "journal-marker" })).done();
    policy(&root, "reader", "path \"sys/mounts\" { capabilities = [\"read\"] }");
    let reader = token(&root, &["reader"]);
    reader.get("sys/mounts").ok();
    reader.get("cubbyhole/one").refused(403, "permission denied");
    let query = |query: &str| {
        root.get(&format!("sys/audit-journal/query?{query}")).data()["records"].as_array().unwrap().clone()
    };
    let found = Server::eventually("the entry is indexed", || {
        let found = query("path=sys/mounts&kind=response");
        (!found.is_empty()).then_some(found)
    });
    let rule = &found[0]["entry"]["auth"]["policy_results"]["granting_policies"][0];
    assert_eq!((&rule["name"], &rule["type"]), (&json!("reader"), &json!("acl")), "{found:?}");
    let failed = Server::eventually("the refusal is indexed", || query("failed=true&kind=response").into_iter().next());
    assert_eq!(failed["entry"]["request"]["path"], "cubbyhole/one");
    assert_eq!(query("path_prefix=cubbyhole/&operation=create&kind=request").len(), 1);
    assert_eq!(query("path=none").len(), 0);
    assert_eq!(query("limit=1").len(), 1);
    assert!(query("limit=0").len() > 1, "0 is as many as usual");
    let bad = |text: &str| root.get(&format!("sys/audit-journal/query?{text}"));
    bad("since=yesterday").refused(400, "since");
    bad("kind=odd").refused(400, "kind");
    bad("limit=many").refused(400, "limit");
    bad("journal=none").refused(400, "no audit journal");
    reader.get("sys/audit-journal/query").refused(403, "permission denied");
    assert!(query("limit=1000").iter().all(|record| !record.to_string().contains("journal-marker")));

    let report = root.get("sys/audit-journal/verify").data();
    assert_eq!((&report["sound"], &report["faults"]), (&json!(true), &json!([])), "{report}");
    let records = report["records"].as_u64().unwrap();
    assert!(records > 8);
    server.kill();
    server.launch();
    server.unseal();
    let report = root.get("sys/audit-journal/verify").data();
    assert_eq!(report["sound"], true, "{report}");
    assert!(report["records"].as_u64().unwrap() >= records, "{report}");

    // One flipped byte is found, by the server and by the command line alone.
    let directory = std::path::PathBuf::from(report["directory"].as_str().unwrap());
    let key = report["public_key"].as_str().unwrap().to_owned();
    server.stop();
    let verify = |key: &str| {
        server
            .command("", &["audit", "verify", &format!("-dir={}", directory.display()), &format!("-key={key}")])
            .output()
            .unwrap()
    };
    let sound = verify(&key);
    assert!(sound.status.success(), "{sound:?}");
    let mut segments: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "jsonl") && !path.ends_with("heads.jsonl"));
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&segments[0], &bytes).unwrap();
    let broken = verify(&key);
    assert!(!broken.status.success(), "{broken:?}");
    bytes[at] ^= 1;
    std::fs::write(&segments[0], &bytes).unwrap();
    assert!(verify(&key).status.success());
    let wrong = verify(&"0".repeat(64));
    assert!(!wrong.status.success(), "{wrong:?}");
}

#[test]
fn a_journal_that_was_disabled_makes_room_for_another() {
    // The last head of the old one was taken for what the new one must hold, and no journal could be enabled there again.
    let (server, root) = start();
    for round in 0..3 {
        let path = server.folder().join(format!("journal-{round}"));
        root.post("sys/audit/journal", json!({ "type": "journal", "options": { "path": path } })).done();
        root.get("sys/mounts").ok();
        root.delete("sys/audit/journal").done();
    }
    let first = server.folder().join("journal-0");
    root.post("sys/audit/again", json!({ "type": "journal", "options": { "path": first } }))
        .refused(400, "another key");
}

#[test]
fn signed_ends_that_were_cut_off_are_missed() {
    // Files that were set back to an earlier state are sound in themselves. The server knows of a later one.
    let (mut server, root) = start();
    let path = server.folder().join("journal");
    let options = json!({ "path": path, "head_records": "1" });
    root.post("sys/audit/journal", json!({ "type": "journal", "options": options })).done();
    let (heads, aside) = (path.join("heads.jsonl"), path.join("heads.aside"));
    let lines = || std::fs::read_to_string(&heads).unwrap().lines().map(|line| format!("{line}\n")).collect::<Vec<_>>();
    Server::eventually("some heads are signed", || {
        root.get("sys/mounts").ok();
        (lines().len() > 3).then_some(())
    });
    let first = lines()[0].clone();
    std::fs::rename(&heads, &aside).unwrap();
    std::fs::write(&heads, first).unwrap();
    let cut = Server::eventually("the cut is found", || {
        let report = root.get("sys/audit-journal/verify").data();
        report["faults"].to_string().contains("was kept elsewhere").then_some(report)
    });
    assert_eq!(cut["sound"], false, "{cut}");
    std::fs::rename(&aside, &heads).unwrap();
    assert_eq!(root.get("sys/audit-journal/verify").data()["sound"], true);

    // The last head of a clean end is known too, and with less the server does not go on.
    server.stop();
    let all = lines();
    let (last, earlier) = all.split_last().unwrap();
    assert!(last.contains("\"closed\":true"), "{last}");
    std::fs::write(&heads, earlier.concat()).unwrap();
    server.launch();
    let keys = server.keys().to_vec();
    root.post("sys/unseal", json!({ "key": keys[0] })).ok();
    root.post("sys/unseal", json!({ "key": keys[1] })).refused(503, "audit devices");
    assert!(!server.logged("were signed").is_empty());
    std::fs::write(&heads, all.concat()).unwrap();
    server.unseal();
    assert_eq!(root.get("sys/audit-journal/verify").data()["sound"], true);
}

/// What is listed is a folder: searches of a log find it by one path, however the client wrote it.
#[test]
fn the_path_of_a_listing_ends_in_a_slash() {
    let (server, root) = start();
    let path = server.folder().join("audit.log");
    root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": path } })).done();
    for asked in ["sys/policies/acl?list=true", "sys/policies/acl/?list=true"] {
        root.get(asked).ok();
    }
    root.list("sys/policies/acl").ok();
    let listed = entries(&path).into_iter().filter(|entry| entry["request"]["operation"] == "list");
    let paths: Vec<_> = listed.map(|entry| entry["request"]["path"].clone()).collect();
    assert_eq!(paths, vec![json!("sys/policies/acl/"); 6]);
}
