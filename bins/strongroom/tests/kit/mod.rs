//! What the tests over the wire share.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod logs;
pub(crate) mod routes;
pub(crate) mod world;

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

pub(crate) fn start() -> (Server, Wire) {
    let server = Server::start(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    (server, root)
}

/// A token with these policies alone, made as root.
pub(crate) fn token(root: &Wire, policies: &[&str]) -> Wire {
    let ask = json!({ "policies": policies, "no_default_policy": true });
    root.with_token(&root.post("auth/token/create", ask).client_token())
}

pub(crate) fn policy(root: &Wire, name: &str, text: &str) {
    let reply = root.post(&format!("sys/policies/acl/{name}"), json!({ "policy": text }));
    assert!(matches!(reply.status, 200 | 204), "{reply}");
}

pub(crate) fn names(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Nothing is waited for that was revoked in the background: only that it comes to pass.
pub(crate) fn soon_refused(wire: &Wire) {
    Server::eventually("the token is refused", || (wire.get("auth/token/lookup-self").status == 403).then_some(()));
}

/// A role of the approle method with its role id and a secret id.
pub(crate) fn approle(root: &Wire, name: &str, policies: &str) -> (String, String) {
    if root.get("sys/auth").data().get("approle/").is_none() {
        root.post("sys/auth/approle", json!({ "type": "approle" })).done();
    }
    root.post(&format!("auth/approle/role/{name}"), json!({ "token_policies": policies, "token_ttl": "10m" })).ok();
    let role_id = root.get(&format!("auth/approle/role/{name}/role-id")).data()["role_id"].as_str().unwrap().to_owned();
    let secret = root.post(&format!("auth/approle/role/{name}/secret-id"), json!({})).data();
    (role_id, secret["secret_id"].as_str().unwrap().to_owned())
}
