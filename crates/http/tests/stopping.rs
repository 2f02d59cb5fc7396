//! Streams, clients that go away, and the end of a listener.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod kit;

use std::time::{Duration, Instant};

use kit::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LONG: Duration = Duration::from_secs(3600);

/// Opens the stream that ties the caller's token to this connection; reads until the tie is confirmed.
async fn tie(server: &Server, token: &str) -> TcpStream {
    let body = r#"{"grace":"1s"}"#;
    let head = format!(
        "POST /v1/auth/token/liveness HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"bound\":true") {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
    assert!(seen.contains("application/x-ndjson") && seen.contains("transfer-encoding: chunked"), "{seen}");
    stream
}

/// Nothing ends by a time limit while a test waits for it to end by something else.
fn patient(config: &mut strongroom_http::ListenerConfig) {
    config.max_request_duration = LONG;
    config.header_read_timeout = LONG;
    config.read_timeout = LONG;
    config.idle_timeout = LONG;
}

async fn child(server: &Server, root: &str) -> String {
    let made = server.send("POST", "/v1/auth/token/create", &[("X-Vault-Token", root)], r#"{"ttl":"1h"}"#).await;
    made.json()["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{}", made.text)).to_owned()
}

#[tokio::test]
async fn a_stream_ends_with_the_listener() {
    let server = Server::start().await;
    let root = server.unseal().await;
    let token = child(&server, &root).await;
    let mut stream = tie(&server, &token).await;
    let start = Instant::now();
    let Server { serving, .. } = server;
    serving.stop(LONG).await;
    assert!(start.elapsed() < kit::PATIENCE, "{:?}", start.elapsed());
    let rest = kit::read_all(&mut stream).await;
    assert!(rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
}

/// The kernel closes the connections of a process that is killed; the server must notice although it has nothing to send.
#[tokio::test]
async fn a_client_that_goes_away_ends_its_stream() {
    let time = clock::Simulated::new(clock::Timestamp::UNIX_EPOCH);
    let server = Server::at(time.clock(), |_| {}).await;
    let root = server.unseal().await;
    let token = child(&server, &root).await;
    let stream = tie(&server, &token).await;
    let lookup =
        || async { server.send("GET", "/v1/auth/token/lookup-self", &[("X-Vault-Token", &token)], "").await.status };
    assert_eq!(lookup().await, 200);
    drop(stream);
    for _ in 0..1000 {
        // Each look is a way through the server, in which it can notice.
        if lookup().await == 403 {
            return;
        }
        time.advance(Duration::from_millis(50));
    }
    panic!("the token outlived its holder");
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_the_port() {
    let server = Server::with(patient).await;
    let address = server.address();
    let mut idle = server.connect().await;
    idle.write_all(b"GET /v1/sys/init HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut reply = [0; 4096];
    assert!(idle.read(&mut reply).await.unwrap() > 0);
    let fresh = server.connect().await;
    let start = Instant::now();
    let Server { serving, .. } = server;
    serving.stop(LONG).await;
    assert!(start.elapsed() < kit::PATIENCE, "{:?}", start.elapsed());
    assert!(kit::read_all(&mut idle).await.is_empty());
    drop(fresh);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_beyond_its_bound() {
    let server = Server::with(patient).await;
    let mut slow = server.connect().await;
    slow.write_all(b"PUT /v1/sys/init HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{").await.unwrap();
    // Another request on another connection, so that the first was surely begun.
    assert_eq!(server.get("/v1/sys/init").await.status, 200);
    let start = Instant::now();
    let Server { serving, .. } = server;
    serving.stop(Duration::from_millis(100)).await;
    assert!(start.elapsed() < kit::PATIENCE, "{:?}", start.elapsed());
    assert_eq!(kit::read_all(&mut slow).await.len(), 0);
}

#[tokio::test]
async fn dropping_a_listener_closes_it() {
    let server = Server::start().await;
    let mut idle = server.connect().await;
    let address = server.address();
    drop(server);
    assert!(kit::read_all(&mut idle).await.is_empty());
    // The socket goes with its task, soon.
    for _ in 0..1000 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("still there");
}

#[tokio::test]
async fn an_address_in_use_is_a_clear_error() {
    let server = Server::start().await;
    let address = server.address();
    let config = strongroom_http::ListenerConfig::new(address);
    let error = strongroom_http::serve(std::sync::Arc::clone(&server.core), config).await.map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("choose an address"), "{text}");
}
