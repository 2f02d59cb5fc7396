//! Settings that are held in memory, on several nodes over one store.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use std::sync::Arc;

use kit::Server;
use storage::Store;

/// Asks until the answer is as it shall be. The one node tells the other of a change in the background.
async fn eventually(node: &Server, path: &str, headers: &[(&str, &str)], status: u16) {
    let asked = async {
        while node.send("GET", path, headers, "").await.status != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), asked).await.unwrap_or_else(|_| panic!("never {status}"));
}

#[tokio::test]
async fn what_is_set_on_one_node_holds_on_the_others() {
    let store: Arc<dyn Store> = store_memory::Memory::new();
    let one = Server::over(Arc::clone(&store), clock::Clock::system(), |_| {}).await;
    let init = one.send("PUT", "/v1/sys/init", &[], r#"{"secret_shares":1,"secret_threshold":1}"#).await.json();
    let other = Server::over(store, clock::Clock::system(), |_| {}).await;
    let key = format!(r#"{{"key":{}}}"#, init["keys_base64"][0]);
    for node in [&one, &other] {
        assert_eq!(node.send("PUT", "/v1/sys/unseal", &[], &key).await.json()["sealed"], false);
    }
    let root = init["root_token"].as_str().unwrap();
    let token = [("X-Vault-Token", root)];
    let ids = [one.get("/v1/sys/health").await.json(), other.get("/v1/sys/health").await.json()];
    assert!(ids[0]["cluster_id"].is_string() && ids[0]["cluster_id"] == ids[1]["cluster_id"]);

    let page = [("X-Vault-Token", root), ("Origin", "https://a.example.com")];
    let cors = r#"{"allowed_origins":"https://b.example.com"}"#;
    assert_eq!(one.send("POST", "/v1/sys/config/cors", &token, cors).await.status, 204);
    assert_eq!(one.send("GET", "/v1/sys/mounts", &page, "").await.status, 403);
    eventually(&other, "/v1/sys/mounts", &page, 403).await;

    let limit = r#"{"rate":1,"path":"cubbyhole/","interval":"1h"}"#;
    assert_eq!(other.send("POST", "/v1/sys/quotas/rate-limit/one", &token, limit).await.status, 204);
    // Each node counts for itself.
    for node in [&other, &one] {
        eventually(node, "/v1/cubbyhole/x", &token, 429).await;
    }
    assert_eq!(one.send("DELETE", "/v1/sys/quotas/rate-limit/one", &token, "").await.status, 204);
    eventually(&other, "/v1/cubbyhole/x", &token, 404).await;
}
