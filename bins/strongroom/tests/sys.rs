//! The routes of the server itself: what clients read of it, and what can be set while it runs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    io::{BufRead, BufReader, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

use crate::kit::{PROGRAM, names, policy, start, token};

#[test]
fn health_answers_with_the_status_that_is_asked_for() {
    let (_server, root) = start();
    let anybody = root.with_token("");
    let health = anybody.get("sys/health").ok();
    let told = [
        ("initialized", json!(true)),
        ("sealed", json!(false)),
        ("standby", json!(false)),
        ("performance_standby", json!(false)),
        ("replication_performance_mode", json!("disabled")),
        ("replication_dr_mode", json!("disabled")),
        ("enterprise", json!(false)),
        ("version", json!("1.16.3")),
        ("echo_duration_ms", json!(0)),
        ("clock_skew_ms", json!(0)),
    ];
    for (name, value) in told {
        assert_eq!(health[name], value, "{name}");
    }
    assert!(health["server_time_utc"].as_i64().is_some_and(|time| time > 1_700_000_000));
    assert_eq!(health["cluster_id"].as_str().unwrap().len(), 36);
    assert_eq!(anybody.get("sys/seal-status").ok()["cluster_id"], health["cluster_id"]);

    assert_eq!(anybody.get("sys/health?activecode=299").status, 299);
    assert_eq!(anybody.get("sys/health?standbyok=true&perfstandbyok=true&sealedcode=299").status, 200);
    let head = anybody.send("HEAD", "sys/health?activecode=204", &[], None);
    assert_eq!((head.status, head.body.len()), (204, 0));
    for wrong in ["activecode=x", "sealedcode=99", "haunhealthycode=-1", "removedcode=600", "uninitcode="] {
        anybody.get(&format!("sys/health?{wrong}")).refused(400, "use an HTTP status");
    }
    anybody.post("sys/health", json!({})).refused(405, "unsupported operation");
    anybody.delete("sys/seal-status").refused(405, "unsupported operation");

    let server = Server::sealed(PROGRAM);
    let new = Wire::new(&server, "");
    assert_eq!(new.get("sys/health").status, 501);
    assert_eq!(new.get("sys/health?uninitcode=200").status, 200);
    let leader = anybody.get("sys/leader").ok();
    assert_eq!((&leader["ha_enabled"], &leader["is_self"]), (&json!(false), &json!(true)));
}

#[test]
fn rekey_and_root_tokens_can_be_had_with_a_token_too() {
    let (_server, root) = start();
    for path in ["init", "verify"] {
        root.get(&format!("sys/rekey-recovery-key/{path}")).refused(400, "recovery rekeying not supported");
        root.get(&format!("sys/rotate/recovery/{path}")).refused(400, "recovery rekeying not supported");
    }
    root.post("sys/rekey-recovery-key/update", json!({ "key": "x" })).refused(400, "recovery rekeying not supported");
    root.get("sys/rekey/recovery-key-backup").refused(400, "recovery rekeying not supported");
    root.post("sys/rotate/root", json!({})).refused(400, "sys/rotate/root/init");
    root.get("sys/rekey/nothing").refused(404, "unsupported path");

    let begun = root.post("sys/rotate/root/init", json!({ "secret_shares": 3, "secret_threshold": 2 })).data();
    assert_eq!((&begun["started"], &begun["n"], &begun["t"]), (&json!(true), &json!(3), &json!(2)));
    // The one and the other form are the same rekey.
    assert_eq!(root.with_token("").get("sys/rekey/init").ok()["nonce"], begun["nonce"]);
    assert_eq!(root.get("sys/rotate/root/init").data()["nonce"], begun["nonce"]);
    root.post("sys/rotate/root/update", json!({ "nonce": "wrong", "key": "00" })).fails(400);
    root.delete("sys/rotate/root/init").done();
    assert_eq!(root.get("sys/rotate/root/init").data()["started"], false);
    root.get("sys/rotate/root/backup").refused(404, "");

    let begun = root.post("sys/generate-root-token/attempt", json!({})).data();
    assert_eq!((&begun["otp_length"], begun["otp"].as_str().unwrap().len()), (&json!(28), 28));
    assert_eq!(root.with_token("").get("sys/generate-root/attempt").ok()["nonce"], begun["nonce"]);
    root.delete("sys/generate-root-token/attempt").done();
    assert_eq!(root.get("sys/generate-root-token/attempt").data()["started"], false);

    // Who has both halves has the token.
    let otp = "abcdefghijklmnopqrstuvwxyzab";
    let secret = "hvs.0123456789ABCDEFGHIJKLMN";
    let joined: Vec<u8> = otp.bytes().zip(secret.bytes()).map(|(one, other)| one ^ other).collect();
    let encoded = data_encoding(&joined);
    let decoded = root.with_token("").post("sys/decode-token", json!({ "encoded_token": encoded, "otp": otp })).data();
    assert_eq!(decoded, json!({ "token": secret }));
    root.post("sys/decode-token", json!({ "encoded_token": encoded })).refused(400, "otp");
    root.post("sys/decode-token", json!({ "encoded_token": encoded, "otp": "short" })).refused(400, "as long as");
    root.post("sys/decode-token", json!({ "encoded_token": "?", "otp": otp })).refused(400, "base64");

    let plain = token(&root, &["default"]);
    plain.get("sys/rotate/root/init").refused(403, "permission denied");
    plain.post("sys/generate-root-token/attempt", json!({})).refused(403, "permission denied");
}

/// Base64 without padding.
fn data_encoding(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)
}

#[test]
fn every_setting_of_a_mount_is_kept_and_shown() {
    let (_server, root) = start();
    root.post("sys/mounts/kv", json!({ "type": "kv-v2", "description": "first" })).done();
    let usual = root.get("sys/mounts/kv/tune").data();
    let (defaults, max) = (&usual["default_lease_ttl"], &usual["max_lease_ttl"]);
    assert_eq!((defaults, max, &usual["force_no_cache"]), (&json!(2_764_800), &json!(2_764_800), &json!(false)));
    assert_eq!(usual["options"], json!({ "version": "2" }));
    let set = json!({
        "description": "second",
        "default_lease_ttl": "1h",
        "max_lease_ttl": 7200,
        "listing_visibility": "unauth",
        "audit_non_hmac_request_keys": ["a", "b"],
        "audit_non_hmac_response_keys": "c,d",
        "passthrough_request_headers": ["X-One"],
        "allowed_response_headers": "X-Two",
        "allowed_managed_keys": ["k"],
        "delegated_auth_accessors": ["auth_x"],
        "identity_token_key": "key",
        "options": { "version": "2" },
    });
    root.post("sys/mounts/kv/tune", set.clone()).done();
    let shown = root.get("sys/mounts/kv/tune").data();
    let expected = [
        ("description", json!("second")),
        ("default_lease_ttl", json!(3600)),
        ("max_lease_ttl", json!(7200)),
        ("listing_visibility", json!("unauth")),
        ("audit_non_hmac_request_keys", json!(["a", "b"])),
        ("audit_non_hmac_response_keys", json!(["c", "d"])),
        ("passthrough_request_headers", json!(["X-One"])),
        ("allowed_response_headers", json!(["X-Two"])),
        ("allowed_managed_keys", json!(["k"])),
        ("delegated_auth_accessors", json!(["auth_x"])),
        ("identity_token_key", json!("key")),
    ];
    let config = root.get("sys/mounts/kv").data()["config"].clone();
    for (name, value) in expected {
        assert_eq!(shown[name], value, "{name}");
        if name != "description" {
            assert_eq!(config[name], value, "{name}");
        }
    }
    // Seconds of the server's own life are written in several ways.
    root.post("sys/mounts/kv/tune", json!({ "default_lease_ttl": "system", "max_lease_ttl": -1 })).done();
    assert_eq!(root.get("sys/mounts/kv/tune").data()["max_lease_ttl"], 2_764_800);
    root.post("sys/mounts/kv/tune", json!({ "default_lease_ttl": "48h", "max_lease_ttl": "1h" })).fails(400);
    root.post("sys/mounts/kv/tune", json!({ "listing_visibility": "all" })).refused(400, "listing_visibility");
    root.post("sys/mounts/kv/tune", json!({ "plugin_version": "v9.9.9" })).refused(400, "plugin_version");
    root.post("sys/mounts/nothing/tune", json!({ "description": "x" })).fails(400);

    root.post("sys/auth/approle", json!({ "type": "approle", "config": { "token_type": "batch" } })).done();
    let lockout = json!({ "lockout_threshold": "3", "lockout_duration": "5m", "lockout_counter_reset_duration": "1m" });
    root.post("sys/auth/approle/tune", json!({ "user_lockout_config": lockout })).done();
    root.post("sys/mounts/auth/approle/tune", json!({ "user_lockout_config": { "lockout_disable": true } })).done();
    let shown = root.get("sys/auth/approle/tune").data();
    assert_eq!(shown["token_type"], "batch");
    let expected = json!({
        "lockout_threshold": 3, "lockout_duration": 300, "lockout_counter_reset": 60, "lockout_disable": true,
    });
    assert_eq!(shown["user_lockout_config"], expected);

    // Mounts that clash are refused, and one that is gone says nothing.
    root.post("sys/mounts/kv", json!({ "type": "kv" })).refused(400, "path is already in use at kv/");
    root.post("sys/mounts/kv/below", json!({ "type": "kv" })).fails(400);
    root.post("sys/mounts/none", json!({ "type": "nothing" })).fails(400);
    root.post("sys/mounts/none", json!({})).fails(400);
    root.delete("sys/mounts/none").done();
    root.delete("sys/mounts/sys").fails(400);

    root.post("kv/data/a", json!({ "data": { "x": 1 } })).ok();
    let begun = root.post("sys/remount", json!({ "from": "kv", "to": "moved/kv" })).ok();
    assert_eq!(begun["migration_id"], begun["data"]["migration_id"]);
    let id = begun["migration_id"].as_str().unwrap();
    let status = root.get(&format!("sys/remount/status/{id}")).data();
    let info = json!({ "source_mount": "kv/", "target_mount": "moved/kv/", "status": "success" });
    assert_eq!((&status["migration_id"], &status["migration_info"]), (&json!(id), &info));
    assert_eq!(root.get("moved/kv/data/a").data()["data"], json!({ "x": 1 }));
    root.get("sys/remount/status/nothing").refused(404, "");
    root.post("sys/remount", json!({ "from": "kv" })).fails(400);
    root.post("sys/remount", json!({ "from": "moved/kv", "to": "auth/kv" })).fails(400);
    root.post("sys/remount", json!({ "from": "moved/kv", "to": "cubbyhole" })).fails(400);
}

#[test]
fn a_rate_limit_holds_each_client_back_and_says_for_how_long() {
    let (_server, root) = start();
    root.post("sys/mounts/kv", json!({ "type": "kv-v1" })).done();
    root.post("kv/a", json!({ "x": 1 })).done();
    let quota = |name: &str, body: Value| root.post(&format!("sys/quotas/rate-limit/{name}"), body);
    quota("on-path", json!({ "path": "kv/a", "rate": 2, "interval": "1h" })).done();
    quota("on-mount", json!({ "path": "kv/", "rate": "100.0", "block_interval": 60 })).done();
    let shown = root.get("sys/quotas/rate-limit/on-mount").data();
    let expected = json!({
        "name": "on-mount", "type": "rate-limit", "path": "kv/", "role": "", "rate": 100.0, "interval": 1,
        "block_interval": 60, "inheritable": false,
    });
    assert_eq!(shown, expected);
    assert_eq!(root.list("sys/quotas/rate-limit").data()["keys"], json!(["on-mount", "on-path"]));

    let config = json!({ "enable_rate_limit_response_headers": true });
    root.post("sys/quotas/config", config).done();
    let first = root.get("kv/a");
    first.ok();
    assert_eq!(first.header("x-ratelimit-limit"), Some("2"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("1"));
    root.get("kv/a").ok();
    // Counted is the address, whoever asks.
    for wire in [&root, &root.with_token("nonsense"), &root.with_token("")] {
        let refused = wire.get("kv/a");
        refused.refused(429, "request path \"kv/a\": rate limit quota exceeded");
        assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() > 3000));
        assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    }
    root.get("kv/b").refused(404, "");
    root.get("sys/mounts").ok();

    // Paths can be left out of all counting.
    root.post("sys/quotas/config", json!({ "rate_limit_exempt_paths": ["kv/a"] })).done();
    root.get("kv/a").ok();
    let config = root.get("sys/quotas/config").data();
    assert_eq!(config["rate_limit_exempt_paths"], json!(["kv/a"]));
    assert_eq!(config["enable_rate_limit_response_headers"], true);
    assert!(names(&config["absolute_rate_limit_exempt_paths"]).contains(&"sys/health"));
    root.post("sys/quotas/config", json!({ "rate_limit_exempt_paths": [] })).done();
    root.get("kv/a").fails(429);
    root.delete("sys/quotas/rate-limit/on-path").done();
    root.delete("sys/quotas/rate-limit/on-path").done();
    root.get("kv/a").ok();

    // A limit goes where its mount goes.
    let path = json!({ "path": "kv/b*", "rate": 1, "interval": "1h" });
    root.post("sys/quotas/rate-limit/below", path).done();
    root.post("sys/quotas/lease-count/leases", json!({ "path": "kv", "max_leases": 5 })).done();
    root.post("sys/remount", json!({ "from": "kv", "to": "moved" })).ok();
    assert_eq!(root.get("sys/quotas/rate-limit/on-mount").data()["path"], "moved/");
    assert_eq!(root.get("sys/quotas/rate-limit/below").data()["path"], "moved/b*");
    assert_eq!(root.get("sys/quotas/lease-count/leases").data()["path"], "moved/");
    root.get("moved/bb").fails(404);
    root.get("moved/bb").fails(429);
    root.post("sys/remount", json!({ "from": "moved", "to": "kv" })).ok();

    for (body, word) in [
        (json!({ "rate": 0 }), "'rate' is invalid"),
        (json!({ "rate": "many" }), "'rate' is invalid"),
        (json!({}), "'rate' is invalid"),
        (json!({ "rate": 1, "interval": "10ms" }), "'interval' is invalid"),
        (json!({ "rate": 1, "path": "nowhere/" }), "path"),
        (json!({ "rate": 1, "path": "kv/", "role": "r" }), "role"),
        (json!({ "rate": 1, "role": "r" }), "role"),
        (json!({ "rate": 1, "path": "kv/", "inheritable": true }), "inheritable"),
        (json!({ "rate": 1, "path": "kv/*/x" }), "path"),
        (json!({ "rate": 5, "path": "kv" }), "similar properties exists under the name \"on-mount\""),
    ] {
        quota("wrong", body).refused(400, word);
    }
    root.get("sys/quotas/rate-limit/wrong").refused(404, "");
    root.delete("sys/mounts/kv").done();
    root.list("sys/quotas/rate-limit").refused(404, "");
}

#[test]
fn a_rate_limit_tells_the_roles_of_logins_apart() {
    let (_server, root) = start();
    let (role_id, secret_id) = kit::approle(&root, "web", "default");
    let (other_id, other_secret) = kit::approle(&root, "batch", "default");
    let body = json!({ "path": "auth/approle/", "role": "web", "rate": 1, "interval": "1h" });
    root.post("sys/quotas/rate-limit/web", body).done();
    let login = |role_id: &str, secret_id: &str| {
        root.with_token("").post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id }))
    };
    login(&role_id, &secret_id).ok();
    login(&role_id, &secret_id).refused(429, "rate limit quota exceeded");
    // Wrong secrets count, so that they cannot be guessed by the thousand.
    login(&role_id, "wrong").refused(429, "rate limit quota exceeded");
    for _ in 0..3 {
        login(&other_id, &other_secret).ok();
    }
    root.get("auth/approle/role/web/role-id").ok();
}

#[test]
fn what_a_rate_limit_refuses_is_written_down_only_if_that_is_wanted() {
    let (server, root) = start();
    let log = server.folder().join("audit.log");
    root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": log.to_str().unwrap() } })).done();
    let limit = json!({ "path": "cubbyhole/", "rate": 1, "interval": "1h" });
    root.post("sys/quotas/rate-limit/one", limit).done();
    let refusals = || std::fs::read_to_string(&log).unwrap().matches("rate limit quota exceeded").count();
    root.get("cubbyhole/x").fails(404);
    root.get("cubbyhole/x").fails(429);
    assert_eq!(refusals(), 0);
    root.post("sys/quotas/config", json!({ "enable_rate_limit_audit_logging": true })).done();
    root.get("cubbyhole/x").fails(429);
    assert_eq!(refusals(), 2);
}

#[test]
fn pages_of_other_origins_call_only_if_they_may() {
    let (_server, root) = start();
    let from = |origin: &str| root.send("GET", "sys/mounts", &[("Origin", origin)], None);
    let page = "https://ui.example.com";
    from(page).ok();
    assert_eq!(from(page).header("access-control-allow-origin"), None);
    assert_eq!(root.get("sys/config/cors").data(), json!({ "enabled": false }));
    root.post("sys/config/cors", json!({})).refused(400, "at least one origin");
    root.post("sys/config/cors", json!({ "allowed_origins": ["*", page] })).refused(400, "'*' must be the only value");

    root.post("sys/config/cors", json!({ "allowed_origins": page, "allowed_headers": "X-Mine" })).done();
    let cors = root.get("sys/config/cors").data();
    assert_eq!((&cors["enabled"], &cors["allowed_origins"]), (&json!(true), &json!([page])));
    let headers = names(&cors["allowed_headers"]);
    assert!(headers.contains(&"X-Mine") && headers.contains(&"X-Vault-Token"), "{headers:?}");
    let allowed = from(page);
    allowed.ok();
    assert_eq!(allowed.header("access-control-allow-origin"), Some(page));
    assert_eq!(allowed.header("vary"), Some("Origin"));
    from("https://evil.example.com").refused(403, "origin not allowed");
    root.get("sys/mounts").ok();

    let ask = |origin: &str, method: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
        root.with_token("").send("OPTIONS", "kv/a", &headers, None)
    };
    let told = ask(page, "PUT");
    assert_eq!(told.status, 204);
    assert!(told.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PATCH")));
    assert!(told.header("access-control-allow-headers").is_some_and(|headers| headers.contains("X-Mine")));
    assert_eq!(told.header("access-control-max-age"), Some("300"));
    ask(page, "BREW").refused(405, "unsupported operation");
    ask("https://evil.example.com", "PUT").refused(403, "origin not allowed");

    root.post("sys/config/cors", json!({ "allowed_origins": "*" })).done();
    assert_eq!(from("https://any.example.com").header("access-control-allow-origin"), Some("https://any.example.com"));
    root.delete("sys/config/cors").done();
    assert_eq!(root.get("sys/config/cors").data(), json!({ "enabled": false }));
    from(page).ok();
}

#[test]
fn headers_that_are_asked_for_stand_in_the_audit_log() {
    let (server, root) = start();
    let log = server.folder().join("audit.log");
    root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": log.to_str().unwrap() } })).done();
    root.post("sys/config/auditing/request-headers/X-Trace", json!({})).done();
    root.post("sys/config/auditing/request-headers/X-Session", json!({ "hmac": true })).done();
    let expected = json!({ "headers": { "x-trace": { "hmac": false }, "x-session": { "hmac": true } } });
    let list = root.get("sys/config/auditing/request-headers").ok();
    assert_eq!((&list["data"], &list["headers"]), (&expected, &expected["headers"]));
    let one = root.get("sys/config/auditing/request-headers/X-SESSION").ok();
    assert_eq!((&one["data"]["x-session"], &one["x-session"]), (&json!({ "hmac": true }), &json!({ "hmac": true })));
    root.get("sys/config/auditing/request-headers/X-None").refused(400, "Could not find header in config");
    root.post("sys/config/auditing/request-headers/a%20b", json!({})).refused(400, "header");

    let headers = [("X-Trace", "trace-1234"), ("X-Session", "session-5678"), ("X-Other", "other-9012")];
    root.send("GET", "sys/mounts", &headers, None).ok();
    root.delete("sys/config/auditing/request-headers/x-trace").done();
    root.send("GET", "sys/auth", &headers, None).ok();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("session-5678") && !text.contains("other-9012"));
    let entry = |path: &str| -> Value {
        let line = text.lines().find(|line| line.contains(&format!("\"path\":\"{path}\""))).unwrap();
        serde_json::from_str(line).unwrap()
    };
    let headers = entry("sys/mounts")["request"]["headers"].clone();
    assert_eq!(headers["x-trace"], json!(["trace-1234"]));
    assert!(headers["x-session"][0].as_str().unwrap().starts_with("hmac-sha256:"), "{headers}");
    assert_eq!(headers.as_object().unwrap().len(), 2);
    let headers = entry("sys/auth")["request"]["headers"].clone();
    assert_eq!(headers.as_object().unwrap().len(), 1, "{headers}");
}

#[test]
fn pages_for_people_have_the_headers_that_are_set() {
    let (_server, root) = start();
    root.list("sys/config/ui/headers").refused(404, "");
    root.post("sys/config/ui/headers/X-Frame-Options", json!({ "values": ["DENY"] })).done();
    root.post("sys/config/ui/headers/X-Two", json!({ "values": ["a, b", "c"], "multivalue": true })).done();
    root.post("sys/config/ui/headers/X-Vault-Mine", json!({ "values": ["x"] })).refused(400, "X-Vault");
    root.post("sys/config/ui/headers/X-Three", json!({})).refused(400, "values");
    assert_eq!(root.list("sys/config/ui/headers").data()["keys"], json!(["x-frame-options", "x-two"]));
    assert_eq!(root.get("sys/config/ui/headers/X-Frame-Options").data(), json!({ "value": "DENY" }));
    assert_eq!(root.get("sys/config/ui/headers/x-two?multivalue=true").data(), json!({ "values": ["a, b", "c"] }));
    let page = root.send_to("GET", "/", &[], None);
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(root.get("sys/mounts").header("x-frame-options"), None);
    root.delete("sys/config/ui/headers/X-Two").done();
    root.get("sys/config/ui/headers/X-Two").refused(404, "");
}

#[test]
fn the_server_tells_what_it_is_and_does() {
    let (_server, root) = start();
    let node = root.get("sys/ha-status").ok()["data"]["nodes"][0].clone();
    assert_eq!((&node["active_node"], &node["version"]), (&json!(true), &json!("1.16.3")));
    assert!(node["hostname"].as_str().is_some_and(|name| !name.is_empty()));
    let history = root.list("sys/version-history").data();
    assert_eq!(history["keys"], json!(["1.16.3"]));
    let info = &history["key_info"]["1.16.3"];
    assert!(info["timestamp_installed"].is_string() && info["previous_version"].is_null(), "{info}");
    let in_flight = root.get("sys/in-flight-req").data();
    let only: Vec<_> = in_flight.as_object().unwrap().values().collect();
    assert_eq!(only.len(), 1);
    assert_eq!(only[0]["request_path"], "/v1/sys/in-flight-req");
    assert_eq!(only[0]["client_remote_address"], "127.0.0.1");
    let host = root.get("sys/host-info").data();
    for part in ["cpu", "cpu_times", "disk", "host", "memory", "timestamp"] {
        assert!(!host[part].is_null(), "{part}");
    }
    assert_eq!(root.with_token("").get("sys/replication/status").data(), json!({ "mode": "disabled" }));
    assert_eq!(root.get("sys/experiments").data(), json!({ "available_experiments": [], "enabled": [] }));
    let config = root.get("sys/config/state/sanitized").data();
    assert_eq!(config["seals"], json!([{ "type": "shamir", "disabled": false }]));
    assert!(config["listeners"][0]["config"]["address"].is_string() && config["storage"]["type"].is_string());
    root.post("sys/config/reload/license", json!({})).done();
    root.post("sys/config/reload/audit", json!({})).done();
    root.post("sys/config/reload/nothing", json!({})).refused(400, "subsystem");

    let before =
        root.get("sys/internal/counters/tokens").data()["counters"]["service_tokens"]["total"].as_u64().unwrap();
    token(&root, &["default"]);
    let after =
        root.get("sys/internal/counters/tokens").data()["counters"]["service_tokens"]["total"].as_u64().unwrap();
    assert_eq!(after, before + 1);
    assert!(root.get("sys/internal/counters/entities").data()["counters"]["entities"]["total"].is_u64());
    root.get("sys/internal/counters/requests").refused(404, "removed");
    root.get("sys/internal/counters/activity").done();
    assert_eq!(root.get("sys/internal/counters/config").data()["enabled"], "default-disabled");
    root.post("sys/internal/counters/config", json!({ "enabled": "enable" })).refused(400, "not counted");

    root.get("sys/pprof/heap").refused(404, "not supported");
    root.get("sys/storage/raft/configuration").refused(400, "raft storage is not in use");
    root.post("sys/storage/raft/join", json!({})).refused(400, "raft storage is not in use");
    for absent in ["sys/license/status", "sys/policies/egp/x", "sys/policies/rgp/x", "sys/managed-keys/pkcs11/x"] {
        root.get(absent).refused(404, "unsupported path");
    }
    let metrics = root.get("sys/metrics").ok();
    let counters = metrics["Counters"].as_array().unwrap();
    let names: Vec<_> = counters.iter().map(|counter| counter["Name"].as_str().unwrap()).collect();
    for name in ["requests", "lease_revocations", "rotations", "rate_limited", "recalled"] {
        assert!(names.contains(&format!("strongroom.{name}").as_str()), "{names:?}");
    }
    let text = root.get("sys/metrics?format=prometheus").text();
    for name in [
        "requests_total{outcome=\"success\"}",
        "rate_limited_total",
        "recalled_total",
        "unsealed",
        "in_flight_requests",
    ] {
        assert!(text.contains(&format!("strongroom_{name}")), "{name}: {text}");
    }
    root.get("sys/metrics?format=xml").refused(400, "format");
}

/// What the gauges, counters and times are called in Vault's own documentation, where they mean the same.
#[test]
fn metrics_have_the_names_that_dashboards_know() {
    let (_server, root) = start();
    let read = || root.get("sys/metrics").ok();
    let of = |list: &str, name: &str, metrics: &Value| {
        let found = metrics[list].as_array().unwrap().iter().find(|one| one["Name"] == name).cloned();
        found.unwrap_or_else(|| panic!("{name} is not among the {list}: {metrics}"))
    };
    let before = read();
    for name in ["vault.core.unsealed", "vault.core.active"] {
        assert_eq!(of("Gauges", name, &before)["Value"], 1);
    }
    let zeros = ["vault.audit.log_request_failure", "vault.audit.log_response_failure", "vault.token.creation"];
    for name in zeros.iter().chain(&["vault.quota.rate_limit.violation", "vault.quota.lease_count.violation"]) {
        assert_eq!(of("Counters", name, &before)["Count"], 0, "{name}");
    }
    assert_eq!(of("Gauges", "vault.expire.num_irrevocable_leases", &before)["Value"], 0);
    assert_eq!(of("Gauges", "vault.expire.num_leases", &before)["Value"], 0, "a root token has no end");
    assert_eq!(of("Gauges", "vault.token.count", &before)["Value"], 1);
    assert_eq!(of("Gauges", "vault.identity.num_entities", &before)["Value"], 0);
    let mounts = before["Gauges"].as_array().unwrap().iter();
    let mounts: Vec<_> = mounts.filter(|one| one["Name"] == "vault.core.mount_table.num_entries").collect();
    assert_eq!((&mounts[0]["Labels"]["type"], &mounts[1]["Labels"]["type"]), (&json!("auth"), &json!("logical")));

    let child = token(&root, &["default"]);
    child.post("auth/token/renew-self", json!({})).ok();
    Server::eventually("the new token is counted", || {
        (of("Gauges", "vault.token.count", &read())["Value"] == 2).then_some(())
    });
    let after = read();
    assert_eq!(of("Gauges", "vault.expire.num_leases", &after)["Value"], 1);
    assert_eq!(of("Counters", "vault.token.creation", &after)["Count"], 1, "a renewal makes none");
    assert_eq!(of("Samples", "vault.core.handle_login_request", &after)["Count"], 0);
    assert!(of("Samples", "vault.core.handle_request", &after)["Count"].as_u64().unwrap() >= 4);
    let text = root.get("sys/metrics?format=prometheus").text();
    for line in [
        "vault_core_unsealed 1",
        "vault_audit_log_request_failure 0",
        "vault_token_count 2",
        "# TYPE vault_core_handle_request summary",
        "vault_core_mount_table_num_entries{type=\"auth\",local=\"false\"} ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn the_router_shows_its_mounts_to_those_with_sudo() {
    let (_server, root) = start();
    root.post("sys/mounts/team", json!({ "type": "kv" })).done();
    for tag in ["root", "uuid", "accessor", "storage"] {
        let shown = root.get(&format!("sys/internal/inspect/router/{tag}")).data();
        let mounts = shown[tag].as_array().unwrap();
        let team = mounts.iter().find(|mount| mount["mount_path"] == "team/").unwrap();
        assert_eq!((&team["mount_type"], &team["tainted"]), (&json!("kv"), &json!(false)));
        assert!(team["storage_prefix"].as_str().unwrap().contains(team["uuid"].as_str().unwrap()), "{team}");
        assert!(mounts.iter().any(|mount| mount["mount_path"] == "token/"), "{shown}");
    }
    root.get("sys/internal/inspect/router/leaves").refused(400, "tag");
    policy(&root, "look", r#"path "sys/internal/inspect/*" { capabilities = ["read"] }"#);
    token(&root, &["look"]).get("sys/internal/inspect/router/root").refused(403, "permission denied");
}

/// They were 204 for a mount without a name, which says that something was done.
#[test]
fn the_listing_of_mounts_can_be_read_only() {
    let (_server, root) = start();
    for path in ["sys/mounts", "sys/auth", "sys/mounts/auth"] {
        root.delete(path).refused(405, "unsupported operation");
    }
    for path in ["sys/mounts", "sys/auth"] {
        root.post(path, json!({ "type": "kv" })).refused(405, "unsupported operation");
    }
    assert!(root.get("sys/mounts").data().get("cubbyhole/").is_some());
}

#[test]
fn everything_that_can_be_mounted_is_in_the_catalogue() {
    let (_server, root) = start();
    let all = root.get("sys/plugins/catalog").data();
    for (kind, name) in [("auth", "approle"), ("secret", "kv"), ("database", "postgresql-database-plugin")] {
        assert!(self::names(&all[kind]).contains(&name), "{all}");
        assert!(names(&root.list(&format!("sys/plugins/catalog/{kind}")).data()["keys"]).contains(&name));
        let one = root.get(&format!("sys/plugins/catalog/{kind}/{name}")).data();
        assert_eq!((&one["name"], &one["builtin"], &one["args"]), (&json!(name), &json!(true), &json!([])));
    }
    let detailed = all["detailed"].as_array().unwrap();
    assert!(detailed.iter().all(|one| one["builtin"] == true && one["version"].as_str().unwrap().starts_with('v')));
    root.get("sys/plugins/catalog/secret/none").refused(404, "");
    root.list("sys/plugins/catalog/none").refused(400, "type");
    let new = json!({ "sha256": "00", "command": "x" });
    root.post("sys/plugins/catalog/secret/mine", new).refused(400, "built in");
    root.delete("sys/plugins/catalog/secret/kv").refused(400, "built in");

    root.post("sys/mounts/kv", json!({ "type": "kv-v1" })).done();
    root.post("kv/a", json!({ "x": 1 })).done();
    root.post("sys/plugins/reload/backend", json!({ "plugin": "kv" })).done();
    root.post("sys/plugins/reload/backend", json!({ "mounts": "kv/" })).done();
    let everywhere = root.send("PUT", "sys/plugins/reload/backend", &[], Some(br#"{"plugin":"kv","scope":"global"}"#));
    assert_eq!(everywhere.status, 202);
    root.post("sys/plugins/reload/secret/kv", json!({})).done();
    root.post("sys/plugins/reload/backend", json!({})).refused(400, "plugin or mounts must be provided");
    root.post("sys/plugins/reload/backend", json!({ "mounts": "none" })).fails(400);
    assert_eq!(root.get("kv/a").data(), json!({ "x": 1 }));
}

#[test]
fn the_log_can_be_changed_and_followed() {
    let server = Server::start_plain(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    let levels = root.get("sys/loggers").data();
    assert!(levels["strongroom_http"].is_string(), "{levels}");
    root.post("sys/loggers", json!({ "level": "debug" })).done();
    assert!(root.get("sys/loggers").data().as_object().unwrap().values().all(|level| level == "debug"));
    Server::eventually("requests are logged", || server.log().contains("request").then_some(()));
    root.post("sys/loggers/strongroom_http", json!({ "level": "warn" })).done();
    assert_eq!(root.get("sys/loggers/strongroom_http").data(), json!({ "strongroom_http": "warn" }));
    root.delete("sys/loggers").done();
    assert_eq!(root.get("sys/loggers").data(), levels);
    root.get("sys/loggers/none").refused(400, "not found");
    root.post("sys/loggers/none", json!({ "level": "info" })).refused(400, "not found");
    root.post("sys/loggers", json!({})).refused(400, "level is required");
    root.post("sys/loggers", json!({ "level": "loud" })).refused(400, "invalid level");
    root.get("sys/monitor?log_level=loud").refused(400, "unknown log level");
    root.get("sys/monitor?log_format=xml").refused(400, "log_format");

    // The stream has no end; what comes of it is read piece by piece.
    let mut stream = follow(&server, root.token(), "sys/monitor?log_level=debug&log_format=json");
    root.get("sys/mounts").ok();
    let mut line = String::new();
    while !line.contains("/v1/sys/mounts") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream ended");
    }
    let said: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&said["@level"], &said["@module"]), (&json!("debug"), &json!("strongroom_http")));
    assert!(said["@timestamp"].is_string() && said["@message"].is_string(), "{line}");
    assert!(!line.contains(root.token()));
}

/// The lines of a reply without end, from the end of its head; the lengths of its chunks are among them.
fn follow(server: &Server, token: &str, path: &str) -> impl BufRead {
    let address = server.address();
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(testkit::server::PATIENCE)).unwrap();
    write!(stream, "GET /v1/{path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the head has no end");
    }
    lines
}
