//! A reply that is given again because nothing has changed is never one that has: whatever a read depends on is changed
//! between two reads of the same secret with the same token.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

use crate::kit::{policy, soon_refused, start, token};

const SECRET: &str = "kv/data/app/db";
const MAY_READ: &str = "path \"kv/data/app/*\" { capabilities = [\"read\"] }";

struct Scene {
    server: Server,
    root: Wire,
    app: Wire,
}

impl Scene {
    fn new() -> Self {
        let (server, root) = start();
        root.post("sys/mounts/kv", json!({ "type": "kv-v2" })).done();
        root.post(SECRET, json!({ "data": { "password": "one" } })).ok();
        policy(&root, "app", MAY_READ);
        let app = token(&root, &["app"]);
        Self { server, root, app }
    }

    /// How many replies were given again so far.
    fn recalled(&self) -> u64 {
        let metrics = self.root.get("sys/metrics").json();
        let counters = metrics["Counters"].as_array().unwrap().clone();
        let recalled = counters.iter().find(|counter| counter["Name"] == "strongroom.recalled").unwrap();
        recalled["Count"].as_u64().unwrap()
    }

    /// Reads until the reply is one that was given again.
    fn settle(&self, reader: &Wire) -> Reply {
        let before = self.recalled();
        let replies: Vec<_> = (0..4).map(|_| reader.get(SECRET)).collect();
        assert!(self.recalled() > before, "nothing was given again");
        for reply in &replies {
            assert_eq!(reply.ok()["data"], replies[0].ok()["data"]);
        }
        replies.into_iter().next_back().unwrap()
    }

    fn password(&self, reader: &Wire) -> Value {
        self.settle(reader).data()["data"]["password"].clone()
    }
}

#[test]
fn a_change_of_the_secret_is_read_at_once() {
    let scene = Scene::new();
    let (root, app) = (&scene.root, &scene.app);
    for n in 2..20 {
        scene.settle(app);
        root.post(SECRET, json!({ "data": { "password": n } })).ok();
        assert_eq!(scene.password(app), json!(n));
    }
    root.patch(SECRET, json!({ "data": { "password": "patched" } })).ok();
    assert_eq!(scene.password(app), "patched");
    root.post("kv/metadata/app/db", json!({ "custom_metadata": { "team": "a" } })).done();
    assert_eq!(scene.settle(app).data()["metadata"]["custom_metadata"]["team"], "a");
    root.delete(SECRET).done();
    assert_eq!(app.get(SECRET).status, 404);
    root.post("kv/undelete/app/db", json!({ "versions": [20] })).done();
    assert_eq!(scene.password(app), "patched");
    root.post("kv/destroy/app/db", json!({ "versions": [20] })).done();
    assert_eq!(app.get(SECRET).status, 404);
    root.post(SECRET, json!({ "data": { "password": "after" } })).ok();
    assert_eq!(scene.password(app), "after");
    root.delete("kv/metadata/app/db").done();
    assert_eq!(app.get(SECRET).status, 404);
}

#[test]
fn a_change_of_rights_binds_at_once() {
    let scene = Scene::new();
    let (root, app) = (&scene.root, &scene.app);
    scene.settle(app);
    policy(root, "app", "path \"kv/data/app/*\" { capabilities = [\"list\"] }");
    app.get(SECRET).fails(403);
    policy(root, "app", MAY_READ);
    scene.settle(app);
    policy(root, "app", "path \"kv/data/app/*\" { capabilities = [\"read\"] hidden_fields = [\"password\"] }");
    assert_eq!(app.get(SECRET).data()["data"], json!({}));
    root.delete("sys/policies/acl/app").done();
    app.get(SECRET).fails(403);
    policy(root, "app", MAY_READ);
    scene.settle(app);
    root.post("auth/token/revoke", json!({ "token": app.token() })).done();
    app.get(SECRET).fails(403);
    soon_refused(app);
    // A token that reads as often as it may.
    let ask = json!({ "policies": ["app"], "num_uses": 5 });
    let counted = root.with_token(&root.post("auth/token/create", ask).client_token());
    (0..5).for_each(|_| drop(counted.get(SECRET).ok()));
    counted.get(SECRET).fails(403);
    // One that comes to its end.
    let ask = json!({ "policies": ["app"], "ttl": "2s" });
    let brief = root.with_token(&root.post("auth/token/create", ask).client_token());
    scene.settle(&brief);
    Server::eventually("the token ends", || (brief.get(SECRET).status == 403).then_some(()));
}

#[test]
fn a_change_of_the_entity_binds_at_once() {
    let scene = Scene::new();
    let root = &scene.root;
    root.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
    root.post("auth/userpass/users/ann", json!({ "password": "correct horse battery" })).done();
    let login = root.post("auth/userpass/login/ann", json!({ "password": "correct horse battery" })).ok();
    let ann = root.with_token(login["auth"]["client_token"].as_str().unwrap());
    let entity = login["auth"]["entity_id"].as_str().unwrap();
    ann.get(SECRET).fails(403);
    let group = json!({ "name": "readers", "policies": ["app"], "member_entity_ids": [entity] });
    root.post("identity/group", group).ok();
    scene.settle(&ann);
    root.post("identity/group/name/readers", json!({ "member_entity_ids": [] })).done();
    ann.get(SECRET).fails(403);
    root.post(&format!("identity/entity/id/{entity}"), json!({ "policies": ["app"] })).done();
    scene.settle(&ann);
    root.post(&format!("identity/entity/id/{entity}"), json!({ "disabled": true })).done();
    ann.get(SECRET).fails(403);
    root.post(&format!("identity/entity/id/{entity}"), json!({ "disabled": false })).done();
    scene.settle(&ann);
    root.delete(&format!("identity/entity/id/{entity}")).done();
    ann.get(SECRET).fails(403);
}

#[test]
fn a_change_of_mounts_limits_and_the_seal_binds_at_once() {
    let scene = Scene::new();
    scene.settle(&scene.app);
    scene.root.post("sys/quotas/rate-limit/few", json!({ "path": "kv", "rate": 0.001 })).done();
    scene.app.get(SECRET).ok();
    scene.app.get(SECRET).fails(429);
    scene.root.delete("sys/quotas/rate-limit/few").done();
    scene.settle(&scene.app);
    scene.root.post("sys/remount", json!({ "from": "kv", "to": "elsewhere" })).ok();
    Server::eventually("the mount has moved", || (scene.app.get(SECRET).status != 200).then_some(()));
    scene.root.post("sys/remount", json!({ "from": "elsewhere", "to": "kv" })).ok();
    Server::eventually("the mount is back", || (scene.app.get(SECRET).status == 200).then_some(()));
    scene.settle(&scene.app);
    scene.root.post_nothing("sys/seal").done();
    scene.app.get(SECRET).fails(503);
    scene.server.unseal();
    scene.settle(&scene.app);
    scene.root.delete("sys/mounts/kv").done();
    assert_ne!(scene.app.get(SECRET).status, 200);
}

#[test]
fn another_question_is_another_reply() {
    let scene = Scene::new();
    let app = &scene.app;
    let tag = scene.settle(app).header("etag").unwrap().to_owned();
    let path = |query: &str| format!("{SECRET}{query}");
    assert_eq!(app.send("GET", SECRET, &[("if-none-match", &tag)], None).status, 304);
    assert_eq!(app.get(&path("?version=7")).status, 404);
    assert!(app.get(&path("?help=1")).ok()["help"].is_string());
    let wrapped = app.send("GET", SECRET, &[("x-vault-wrap-ttl", "1m")], None).ok();
    assert!(wrapped["wrap_info"]["token"].is_string() && wrapped["data"].is_null(), "{wrapped}");
    assert_ne!(app.send("GET", SECRET, &[("x-vault-namespace", "nowhere")], None).status, 200);
    scene.root.with_token("hvs.other").get(SECRET).fails(403);
    let head = app.send("HEAD", SECRET, &[], None);
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    assert_eq!(head.header("etag"), Some(&*tag));
    app.post(SECRET, json!({ "data": {} })).fails(403);
    scene.settle(app);
}

#[test]
fn each_reply_has_its_own_id_and_both_of_its_records() {
    let scene = Scene::new();
    let root = &scene.root;
    let file = |name: &str| scene.server.folder().join(name);
    let enable = |name: &str, more: Value| {
        let mut options = json!({ "file_path": file(name) });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        root.post(&format!("sys/audit/{name}"), json!({ "type": "file", "options": options })).done();
    };
    enable("first", json!({}));
    let journal = json!({ "type": "journal", "options": { "path": file("journal") } });
    root.post("sys/audit/journal", journal).done();
    let mut ids = (0..10).map(|_| scene.settle(&scene.app).ok()["request_id"].clone()).collect::<Vec<_>>();
    let hashed = scene.settle(&scene.app).ok()["request_id"].clone();
    enable("second", json!({ "log_raw": true }));
    ids.push(scene.settle(&scene.app).ok()["request_id"].clone());
    root.post("sys/mounts/kv/tune", json!({ "audit_non_hmac_response_keys": ["data"] })).done();
    let tuned = scene.settle(&scene.app).ok()["request_id"].clone();
    root.post("sys/config/auditing/request-headers/x-strange", json!({ "hmac": false })).done();
    let strange = [("x-strange", "one")];
    let before = scene.recalled();
    let told: Vec<_> =
        (0..5).map(|_| scene.app.send("GET", SECRET, &strange, None).ok()["request_id"].clone()).collect();
    assert!(scene.recalled() > before);
    let told = told[4].clone();
    assert_eq!(ids.iter().map(Value::as_str).collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    ids.extend([hashed.clone(), tuned.clone(), told.clone()]);
    let records = |name: &str| {
        let text = std::fs::read_to_string(file(name)).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let first = records("first");
    let of = |records: &[Value], id: &Value| {
        records.iter().filter(|record| record["request"]["id"] == *id).cloned().collect::<Vec<_>>()
    };
    for id in &ids {
        let both = of(&first, id);
        assert_eq!(both.iter().map(|record| &record["type"]).collect::<Vec<_>>(), ["request", "response"]);
        assert_eq!(both[0]["request"], both[1]["request"]);
        assert!(both[0]["time"].as_str() <= both[1]["time"].as_str());
        assert!(both[0]["request"]["remote_port"].as_u64().unwrap() > 0);
    }
    let shown = |id: &Value| of(&first, id)[1]["response"]["data"]["data"]["password"].as_str().unwrap().to_owned();
    assert!(shown(&hashed).starts_with("hmac-sha256:"));
    assert_eq!(shown(&tuned), "one");
    assert_eq!(of(&first, &told)[0]["request"]["headers"]["x-strange"], json!(["one"]));
    let raw = of(&records("second"), &ids[10]);
    assert_eq!(raw[1]["response"]["data"]["data"]["password"], "one");
    // The journal knows them all, and each is a link of its chain.
    let query = format!("sys/audit-journal/query?path={SECRET}&limit=500");
    let text = root.get(&query).text();
    assert!(ids.iter().all(|id| text.contains(id.as_str().unwrap())), "{text}");
    let verified = root.get("sys/audit-journal/verify").data();
    assert_eq!(verified["sound"], true, "{verified}");
}
