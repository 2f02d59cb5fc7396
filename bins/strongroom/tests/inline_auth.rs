//! Requests that bring their login along, through the running program.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

use crate::kit::{approle, policy, start, world::World};

fn parameter(key: &str, value: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({ "key": key, "value": value }).to_string())
}

fn start_with_alice() -> (Server, Wire) {
    let (server, root) = start();
    root.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
    root.post("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" } })).done();
    root.post("kv/data/app", json!({ "data": { "password": "deep-secret" } })).ok();
    policy(
        &root,
        "app",
        "path \"kv/data/app\" { capabilities = [\"read\"] }\npath \"auth/token/*\" { capabilities = [\"read\", \"update\"] }\npath \"cubbyhole/*\" { capabilities = [\"update\"] }",
    );
    root.post("auth/userpass/users/alice", json!({ "password": "right-one", "token_policies": "app" })).done();
    (server, root)
}

fn ask(root: &Wire, verb: &str, path: &str, password: &str, body: Option<Value>) -> Reply {
    let password = parameter("password", password);
    let headers = [
        ("X-Vault-Inline-Auth-Path", "auth/userpass/login/alice"),
        ("X-Vault-Inline-Auth-Parameter-pw", password.as_str()),
    ];
    let body = body.map(|body| body.to_string());
    root.with_token("").send(verb, path, &headers, body.as_deref().map(str::as_bytes))
}

#[test]
fn a_request_with_its_login_is_answered_and_leaves_no_token() {
    let (server, root) = start_with_alice();
    let path = server.folder().join("audit.log");
    root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": path } })).done();
    let before = root.list("auth/token/accessors").data()["keys"].as_array().unwrap().len();
    let read = ask(&root, "GET", "kv/data/app", "right-one", None);
    assert_eq!(read.data()["data"]["password"], "deep-secret");
    assert_eq!((read.json()["auth"].clone(), read.header("x-vault-inline-auth-failed")), (Value::Null, None));
    assert_eq!(root.list("auth/token/accessors").data()["keys"].as_array().unwrap().len(), before);
    ask(&root, "GET", "kv/data/other", "right-one", None).refused(403, "permission denied");

    // Both halves stand in the log, with who it was; the login is named after the request.
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("right-one") && !text.contains("deep-secret"));
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = read.header("x-strongroom-request-id").unwrap();
    let of = |id: &str| entries.iter().filter(|entry| entry["request"]["id"] == id).collect::<Vec<_>>();
    let (login, main) = (of(&format!("{id}-login")), of(id));
    assert_eq!((login.len(), main.len()), (2, 2), "{text}");
    assert_eq!(login[0]["request"]["path"], "auth/userpass/login/alice");
    assert_eq!(main[0]["auth"]["display_name"], "userpass-alice");
    assert_eq!(main[0]["auth"]["entity_id"], login[1]["auth"]["entity_id"]);
    assert_eq!(main[0]["auth"]["client_token"], login[1]["response"]["auth"]["client_token"]);
    assert!(main[0]["auth"]["client_token"].as_str().unwrap().starts_with("hmac-sha256:"));
    let headers = entries.iter().any(|entry| entry["request"]["headers"].to_string().contains("inline"));
    assert!(!headers, "what the login brings is in the log");
}

#[test]
fn a_failed_login_says_that_it_was_the_login() {
    let (_server, root) = start_with_alice();
    let failed = ask(&root, "GET", "kv/data/app", "wrong", None);
    failed.refused(400, "invalid username or password");
    assert_eq!(failed.header("x-vault-inline-auth-failed"), Some("true"));
    let anybody = root.with_token("");
    let at = |path: &str| anybody.send("GET", "kv/data/app", &[("X-Vault-Inline-Auth-Path", path)], None);
    for path in ["auth/nothing/login", "auth/userpass/users/alice", "token/lookup-self"] {
        let reply = at(path);
        assert_eq!((reply.status, reply.header("x-vault-inline-auth-failed")), (403, Some("true")), "{path}: {reply}");
    }
    // Nothing but logins can be had this way.
    for path in ["../sys/seal", "auth/../sys/health"] {
        at(path).refused(400, "X-Vault-Inline-Auth-Path");
    }
    let both = [("X-Vault-Inline-Auth-Path", "auth/userpass/login/alice")];
    root.send("GET", "kv/data/app", &both, None).refused(400, "cannot layer inline authentication");
    let twice = [both[0], both[0]];
    anybody.send("GET", "kv/data/app", &twice, None).refused(400, "given twice");
}

#[test]
fn nothing_that_hangs_on_a_token_can_be_had() {
    let (_server, root) = start_with_alice();
    ask(&root, "POST", "auth/token/create", "right-one", Some(json!({}))).refused(400, "batch tokens cannot");
    ask(&root, "POST", "cubbyhole/x", "right-one", Some(json!({ "a": "b" }))).refused(400, "cubbyhole");
    let about = ask(&root, "GET", "auth/token/lookup-self", "right-one", None).data();
    assert!(about["ttl"].as_u64().unwrap() <= 300 && about["num_uses"] == 0, "{about}");
}

/// The user that was made for the lease is gone before the reply.
#[test]
fn a_lease_is_refused_and_its_credential_revoked() {
    let world = World::new();
    let policies = "path \"database/creds/*\" { capabilities = [\"read\"] }";
    policy(&world.root, "db", policies);
    let (role_id, secret_id) = approle(&world.root, "web", "db");
    let (role, secret) = (parameter("role_id", &role_id), parameter("secret_id", &secret_id));
    let headers = [
        ("X-Vault-Inline-Auth-Path", "approle/login"),
        ("X-Vault-Inline-Auth-Parameter-1", role.as_str()),
        ("X-Vault-Inline-Auth-Parameter-2", secret.as_str()),
    ];
    let anybody = world.root.with_token("");
    anybody.send("GET", "database/creds/app", &headers, None).refused(400, "cannot generate leases");
    world.soon_no_users();
}

/// What a login uses up is used up, and who guesses is locked out, as by any other login.
#[test]
fn the_login_counts() {
    let (_server, root) = start_with_alice();
    root.post("sys/auth/approle", json!({ "type": "approle" })).done();
    root.post("auth/approle/role/once", json!({ "token_policies": "app", "secret_id_num_uses": 1 })).ok();
    let role_id = root.get("auth/approle/role/once/role-id").data()["role_id"].clone();
    let secret_id = root.post("auth/approle/role/once/secret-id", json!({})).data()["secret_id"].clone();
    let role = parameter("role_id", role_id.as_str().unwrap());
    let secret = parameter("secret_id", secret_id.as_str().unwrap());
    let headers = [
        ("X-Vault-Inline-Auth-Path", "approle/login"),
        ("X-Vault-Inline-Auth-Parameter-1", role.as_str()),
        ("X-Vault-Inline-Auth-Parameter-2", secret.as_str()),
    ];
    let anybody = root.with_token("");
    anybody.send("GET", "kv/data/app", &headers, None).ok();
    anybody.send("GET", "kv/data/app", &headers, None).refused(400, "invalid role or secret ID");
    for _ in 0..5 {
        ask(&root, "GET", "kv/data/app", "wrong", None).refused(400, "invalid username or password");
    }
    ask(&root, "GET", "kv/data/app", "right-one", None).refused(403, "permission denied");
}
