//! The routes that need no token, on listeners that keep something back.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use kit::Server;

#[tokio::test]
async fn what_is_to_be_kept_back_is_told_to_nobody() {
    let server = Server::with(|config| {
        config.open_routes.redact.version = true;
        config.open_routes.redact.cluster_name = true;
    })
    .await;
    server.unseal().await;
    for path in ["/v1/sys/health", "/v1/sys/seal-status"] {
        let told = server.get(path).await.json();
        assert_eq!((told["version"].as_str(), told["strongroom_version"].as_str()), (Some(""), Some("")), "{path}");
        assert!(told.get("cluster_name").is_none() && told["cluster_id"].is_string(), "{path}");
    }
    let open = Server::start().await;
    assert_eq!(open.get("/v1/sys/health").await.json()["cluster_name"], "test");
}

/// A rekey or the making of a root token could be ended by anybody who reaches the server (CVE-2026-5807).
#[tokio::test]
async fn a_rekey_can_be_kept_from_those_without_a_token() {
    let server = Server::with(|config| {
        config.open_routes.no_rekey = true;
        config.open_routes.no_generate_root = true;
    })
    .await;
    let root = server.unseal().await;
    let token = [("X-Vault-Token", root.as_str())];
    let shares = r#"{"secret_shares":1,"secret_threshold":1}"#;
    let begun = server.send("PUT", "/v1/sys/rotate/root/init", &token, shares).await;
    assert_eq!(begun.json()["data"]["started"], true);
    let attempt = server.send("PUT", "/v1/sys/generate-root-token/attempt", &token, "{}").await;
    assert_eq!(attempt.json()["data"]["started"], true);
    for path in ["rekey/init", "rekey/update", "rekey/verify", "rekey-recovery-key/init", "generate-root/attempt"] {
        for method in ["GET", "PUT", "DELETE"] {
            let path = format!("/v1/sys/{path}");
            assert_eq!(server.send(method, &path, &[], "").await.status, 403, "{method} {path}");
            assert_eq!(server.send(method, &path, &token, "").await.status, 404, "{method} {path}");
        }
    }
    assert_eq!(server.send("GET", "/v1/sys/rotate/root/init", &token, "").await.json()["data"]["started"], true);
    // Key holders unseal all the same.
    assert_eq!(server.get("/v1/sys/seal-status").await.status, 200);
}
