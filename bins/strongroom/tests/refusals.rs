//! Whatever room refuses a request, the audit log has it: on its way in, on its way out, and why. So too all that key
//! holders do, who come by no room.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

use crate::kit::{policy, start, token};

/// What must be found nowhere.
const MARKER: &str = "marker-4c1d-that-must-not-be-found";

struct Log(PathBuf);

impl Log {
    fn of(server: &Server, root: &Wire) -> Self {
        let path = server.folder().join("audit.log");
        root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": path } })).done();
        Self(path)
    }

    fn entries(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The two entries that a request leaves, and nothing else.
    #[track_caller]
    fn pair(&self, what: &str, ask: impl FnOnce() -> Reply) -> (Reply, Value, Value) {
        let before = self.entries().len();
        let reply = ask();
        let entries = self.entries();
        // Acts of the server itself, and the trial of a device, stand between them.
        let asked =
            |entry: &&Value| entry["request"]["actor"] != "system" && entry["request"]["path"] != "sys/audit/test";
        let new: Vec<_> = entries[before..].iter().filter(asked).collect();
        assert_eq!(new.len(), 2, "{what}: {reply} left {new:?}");
        let (way_in, way_out) = (new[0].clone(), new[1].clone());
        assert_eq!((&way_in["type"], &way_out["type"]), (&json!("request"), &json!("response")), "{what}");
        assert_eq!(way_in["request"]["id"], way_out["request"]["id"], "{what}");
        assert!(way_in["request"]["remote_address"] == "127.0.0.1", "{what}: {way_in}");
        (reply, way_in, way_out)
    }
}

#[test]
fn every_refusal_of_every_room_is_recorded() {
    let (server, root) = start();
    policy(
        &root,
        "narrow",
        "path \"cubbyhole/narrow\" { capabilities = [\"update\", \"create\"]\n allowed_parameters = { \"a\" = [\"1\"] } }",
    );
    root.post("sys/auth/approle", json!({ "type": "approle" })).done();
    root.post("auth/token/roles/elsewhere", json!({ "token_bound_cidrs": "10.1.2.3" })).done();
    let narrow = token(&root, &["narrow"]);
    let elsewhere =
        root.with_token(&root.post("auth/token/create/elsewhere", json!({ "policies": "narrow" })).client_token());
    let spent = root.with_token(&root.post("auth/token/create", json!({ "num_uses": 1 })).client_token());
    spent.get("auth/token/lookup-self").ok();
    let revoked = token(&root, &["narrow"]);
    root.post("auth/token/revoke", json!({ "token": revoked.token() })).done();
    let nobody = root.with_token("");
    let log = Log::of(&server, &root);

    let long = "h".repeat(8 * 1024 + 1);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(600), "]".repeat(600));
    type Ask<'a> = Box<dyn Fn() -> Reply + 'a>;
    let raw = |wire: &Wire,
               method: &'static str,
               path: &'static str,
               headers: &'static [(&'static str, &'static str)],
               body: &str| {
        let (wire, body) = (wire.with_token(wire.token()), body.to_owned());
        Box::new(move || wire.send(method, path, headers, Some(body.as_bytes()))) as Ask
    };
    let get = |wire: &Wire, path: &'static str| raw(wire, "GET", path, &[], "");
    let post = |wire: &Wire, path: &'static str, body: Value| raw(wire, "POST", path, &[], &body.to_string());
    let unknown = root.with_token("hvs.marker-4c1d-that-must-not-be-found");
    let rows: Vec<(&str, u16, Ask)> = vec![
        ("no token", 403, get(&nobody, "sys/mounts")),
        ("an unknown token", 403, get(&unknown, "sys/mounts")),
        ("a batch token that is none", 403, get(&root.with_token("hvb.AAAA"), "sys/mounts")),
        ("a revoked token", 403, get(&revoked, "auth/token/lookup-self")),
        ("a token from elsewhere", 403, get(&elsewhere, "auth/token/lookup-self")),
        ("a spent token", 403, get(&spent, "auth/token/lookup-self")),
        ("a path without a right", 403, get(&narrow, "sys/mounts")),
        ("a verb without a right", 403, get(&narrow, "cubbyhole/narrow")),
        ("a parameter without a right", 403, post(&narrow, "cubbyhole/narrow", json!({ "b": MARKER }))),
        ("a value without a right", 403, post(&narrow, "cubbyhole/narrow", json!({ "a": MARKER }))),
        ("nothing mounted, without a right", 403, get(&narrow, "nowhere/x")),
        ("nothing mounted", 404, get(&root, "nowhere/x")),
        ("no such path in a mount", 404, get(&root, "sys/no/such/path")),
        ("a path without this verb", 405, raw(&root, "DELETE", "sys/key-status", &[], "")),
        ("nothing there", 404, get(&root, "cubbyhole/nothing")),
        ("a field that makes no sense", 400, post(&root, "auth/token/create", json!({ "ttl": "soon" }))),
        ("a failed login", 400, post(&nobody, "auth/approle/login", json!({ "role_id": "x", "secret_id": MARKER }))),
        ("a login without its field", 400, post(&nobody, "auth/approle/login", json!({}))),
        ("a namespace that is not there", 404, raw(&root, "GET", "sys/mounts", &[("X-Vault-Namespace", "team")], "")),
        ("a body that is no JSON", 400, raw(&root, "POST", "cubbyhole/x", &[], &format!("{{\"a\": {MARKER}"))),
        ("a body that is no object", 400, raw(&root, "POST", "cubbyhole/x", &[], &format!("[\"{MARKER}\"]"))),
        ("a body that is too deep", 400, raw(&root, "POST", "cubbyhole/x", &[], &deep)),
        ("a patch of another media type", 415, raw(&root, "PATCH", "cubbyhole/x", &[], "{}")),
        ("an unknown method", 405, raw(&root, "TRACE", "cubbyhole/x", &[], "")),
        ("a way around", 400, get(&root, "cubbyhole/a/../b")),
        ("a path that is no text", 400, get(&root, "cubbyhole/%ff")),
        ("a wrapping time that is none", 400, raw(&root, "GET", "cubbyhole/x", &[("X-Vault-Wrap-TTL", "soon")], "")),
        ("a token that is too long", 431, get(&root.with_token(&long), "sys/mounts")),
        ("initialised already", 400, post(&nobody, "sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 }))),
        ("no share", 400, post(&nobody, "sys/unseal", json!({}))),
        ("a rekey that makes no sense", 400, post(&nobody, "sys/rekey/init", json!({ "secret_shares": 0 }))),
        ("no rekey under way", 400, post(&nobody, "sys/rekey/update", json!({ "key": MARKER, "nonce": "x" }))),
        ("no root token under way", 400, post(&nobody, "sys/generate-root/update", json!({ "key": MARKER }))),
        ("no such key holders' path", 404, get(&nobody, "sys/generate-root/odd")),
        ("a key holders' path without this verb", 405, raw(&nobody, "PATCH", "sys/rekey/init", PATCH, "{}")),
    ];
    for (what, status, ask) in rows {
        let (reply, way_in, way_out) = log.pair(what, ask);
        assert_eq!(reply.status, status, "{what}: {reply}");
        assert!(way_out["response"].is_null() || way_out["response"]["data"].is_null(), "{what}: {way_out}");
        // Nothing found is an answer; everything else says why.
        let why = way_out["error"].as_str().unwrap_or_default();
        assert!(!why.is_empty() || status == 404 && reply.errors().is_empty(), "{what}: {way_out}");
        assert!(way_in["request"]["path"].as_str().is_some_and(|path| !path.is_empty()), "{what}: {way_in}");
    }
    // A bound token that is refused by its policy is known by then: who it was stands there.
    let (_, way_in, way_out) = log.pair("who asked", || narrow.get("sys/mounts"));
    for entry in [&way_in, &way_out] {
        assert_eq!(entry["auth"]["policies"], json!(["narrow"]), "{entry}");
        assert_eq!(entry["auth"]["policy_results"]["allowed"], false, "{entry}");
        assert!(entry["error"].as_str().unwrap().contains("permission denied"), "{entry}");
    }
    let text = std::fs::read_to_string(&log.0).unwrap();
    assert!(!text.contains(MARKER) && !text.contains("that-must-not-be-found"), "the log shows what was sent");
}

const PATCH: &[(&str, &str)] = &[("Content-Type", "application/merge-patch+json")];

#[test]
fn what_key_holders_do_is_recorded() {
    let (mut server, root) = start();
    let raw = json!({ "type": "file", "options": { "file_path": server.folder().join("raw.log"), "log_raw": "true" } });
    root.post("sys/audit/raw", raw).done();
    let log = Log::of(&server, &root);
    let (nobody, keys) = (root.with_token(""), server.keys().to_vec());
    let body = |reply: &Reply| -> Value { reply.ok() };

    let (begun, _, way_out) = log.pair("begin", || nobody.post("sys/generate-root/attempt", json!({})));
    let (nonce, otp) = (body(&begun)["nonce"].clone(), body(&begun)["otp"].as_str().unwrap().to_owned());
    assert_eq!(
        (&way_out["response"]["data"]["otp"], &way_out["response"]["data"]["required"]),
        (&Value::Null, &json!(2))
    );
    let give = |key: &str| nobody.post("sys/generate-root/update", json!({ "key": key, "nonce": nonce }));
    let (_, way_in, _) = log.pair("a share", || give(&keys[0]));
    assert_eq!(
        (&way_in["request"]["path"], &way_in["request"]["operation"]),
        (&json!("sys/generate-root/update"), &json!("update"))
    );
    assert!(way_in["request"]["data"]["nonce"].as_str().unwrap().starts_with("hmac-sha256:"), "{way_in}");
    // The shares themselves stand there in no form: a device may be told to write everything in clear.
    assert_eq!(way_in["request"]["data"]["key"], Value::Null);
    let (done, ..) = log.pair("the last share", || give(&keys[1]));
    let encoded = body(&done)["encoded_token"].as_str().unwrap().to_owned();
    log.pair("how it stands", || nobody.get("sys/generate-root/attempt"));
    log.pair("cancel", || nobody.delete("sys/generate-root/attempt"));

    let ask = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let (begun, ..) = log.pair("begin a rekey", || nobody.post("sys/rekey/init", ask));
    let nonce = body(&begun)["nonce"].clone();
    let give = |key: &str| nobody.post("sys/rekey/update", json!({ "key": key, "nonce": nonce }));
    log.pair("a share", || give(&keys[0]));
    let (done, ..) = log.pair("the last share", || give(&keys[2]));
    let new = body(&done)["keys_base64"][0].as_str().unwrap().to_owned();

    // A sealed server has no device; the share that opened it is written down once there is one.
    server.stop();
    server.launch();
    nobody.get("cubbyhole/x").refused(503, "sealed");
    let (opened, way_in, way_out) = log.pair("unseal", || nobody.post("sys/unseal", json!({ "key": new })));
    assert_eq!(body(&opened)["sealed"], false);
    assert_eq!(
        (&way_in["request"]["path"], &way_out["response"]["data"]["sealed"]),
        (&json!("sys/unseal"), &json!(false))
    );
    // How the server is, anybody may ask at any time.
    let before = log.entries().len();
    for path in ["sys/health", "sys/seal-status", "sys/leader", "sys/init"] {
        nobody.get(path).ok();
    }
    assert_eq!(log.entries().len(), before);

    for path in [&log.0, &server.folder().join("raw.log")] {
        let text = std::fs::read_to_string(path).unwrap();
        for secret in keys.iter().chain([&new, &otp, &encoded]) {
            assert!(!text.contains(secret.as_str()), "{} shows a secret", path.display());
        }
    }
    root.delete("sys/audit/raw").done();

    // If nothing can be written down, nothing is done.
    std::fs::remove_file(&log.0).unwrap();
    std::fs::create_dir(&log.0).unwrap();
    nobody.post("sys/generate-root/attempt", json!({})).refused(500, "no audit device");
    nobody.post("sys/rekey/init", json!({ "secret_shares": 1, "secret_threshold": 1 })).refused(500, "no audit device");
    root.send("POST", "cubbyhole/x", &[], Some(b"{")).refused(500, "no audit device");
    std::fs::remove_dir(&log.0).unwrap();
    let status = Server::eventually("the device is used again", || {
        let reply = nobody.get("sys/generate-root/attempt");
        (reply.status == 200).then(|| reply.ok())
    });
    assert_eq!(status["started"], false);
    assert_eq!(nobody.get("sys/rekey/init").ok()["started"], false);
}

#[test]
fn what_is_under_way_when_the_server_is_sealed_is_recorded() {
    // The devices were closed at once; from then on replies went out that no log had.
    let (mut server, root) = start();
    let log = Log::of(&server, &root);
    root.post("cubbyhole/x", json!({ "a": 1 })).done();
    for _ in 0..5 {
        let before = log.entries().len();
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let ask = || {
                let wire = root.with_token(root.token());
                (0..40).map(|_| wire.get("cubbyhole/x").status).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
            root.post("sys/seal", json!({})).done();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let answered = statuses.iter().filter(|status| **status == 200).count();
        let entries = log.entries();
        let ways_out = entries[before..]
            .iter()
            .filter(|entry| entry["type"] == "response" && entry["request"]["path"] == "cubbyhole/x")
            .filter(|entry| entry["error"].is_null())
            .count();
        assert!(ways_out >= answered, "{answered} were answered, {ways_out} are recorded");
        let sealed = entries.iter().rfind(|entry| entry["request"]["path"] == "sys/seal").unwrap();
        assert_eq!(sealed["type"], "response", "{sealed}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
        Server::eventually("sealed", || (root.get("sys/seal-status").ok()["sealed"] == true).then_some(()));
        server.unseal();
    }
    server.stop();
}
