//! Random bytes, hashes and password policies over the wire.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};
use testkit::wire::Reply;

use crate::kit::start;

#[test]
fn tools_and_password_policies_answer() {
    let (_server, root) = start();
    let random = |path: &str, body: Value| -> Reply { root.post(path, body) };
    assert_eq!(
        random("sys/tools/random/16", json!({ "format": "hex" })).data()["random_bytes"].as_str().unwrap().len(),
        32
    );
    random("sys/tools/random/0", json!({})).refused(400, "bytes");
    random("sys/tools/random/200000", json!({})).refused(400, "bytes");
    random("sys/tools/random", json!({ "format": "roman" })).refused(400, "format");
    assert_eq!(
        root.post("sys/tools/hash", json!({ "input": "YQ==" })).data()["sum"],
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    );
    root.post("sys/tools/hash/md5", json!({ "input": "YQ==" })).refused(400, "algorithm");
    root.post("sys/tools/hash", json!({ "input": "?" })).refused(400, "base64");
    let text = "length = 12\nrule \"charset\" { charset = \"abcdef\" min-chars = 2 }\nrule \"charset\" { charset = \"0123456789\" min-chars = 3 }";
    root.post("sys/policies/password/p", json!({ "policy": text })).done();
    assert_eq!(root.get("sys/policies/password/p").data()["policy"], text);
    let password = root.get("sys/policies/password/p/generate").data()["password"].as_str().unwrap().to_owned();
    assert!(password.len() == 12 && password.chars().filter(char::is_ascii_digit).count() >= 3);
    root.post("sys/policies/password/q", json!({ "policy": "length = 2" })).refused(400, "policy");
    root.get("sys/policies/password/q/generate").refused(404, "");
    assert_eq!(root.list("sys/policies/password").data()["keys"], json!(["p"]));
}
