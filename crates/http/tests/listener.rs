//! A real core behind a real socket.

mod kit;

use kit::Server;

#[tokio::test]
async fn a_server_is_initialised_unsealed_and_used() {
    let server = Server::start().await;
    let health = server.get("/v1/sys/health").await;
    assert_eq!(health.status, 501);
    assert_eq!(server.get("/v1/secret/x").await.status, 503);

    let token = server.unseal().await;
    assert_eq!(server.get("/v1/sys/health").await.status, 200);
    let mounts = server.send("GET", "/v1/sys/mounts", &[("X-Vault-Token", &token)], "").await;
    assert_eq!(mounts.status, 200, "{}", mounts.text);
    println!("{}", mounts.text);
}
