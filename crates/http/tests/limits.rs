//! What is too large, too deep, too slow or too idle.

mod kit;

use std::time::Duration;

use kit::{Server, answer, read_all, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn json_beyond_the_limits_is_refused_before_it_is_parsed() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let folder = tempfile::tempdir().unwrap();
    let audit = format!(r#"{{"type":"file","options":{{"file_path":"{}/audit.log"}}}}"#, folder.path().display());
    let auth = [("X-Vault-Token", token.as_str())];
    let enabled = server.send("PUT", "/v1/sys/audit/file", &auth, &audit).await;
    assert_eq!(enabled.status, 204, "{}", enabled.text);

    let nested =
        |open: &str, close: &str, depth: usize| format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
    let wide_object = |entries: usize| {
        let entries: Vec<_> = (0..entries).map(|at| format!("\"k{at}\":1")).collect();
        format!("{{{}}}", entries.join(","))
    };
    let wide_array = |elements: usize| format!("{{\"a\":[{}]}}", vec!["1"; elements].join(","));
    let text = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length));
    for (body, refused) in [
        (nested("[", "]", 500), Some("deep")),
        (nested("{\"a\":", "}", 500), Some("deep")),
        (nested("[", "]", 1_000_000), Some("deep")),
        ("[".repeat(1_000_000), Some("deep")),
        ("{\"a\":".repeat(1_000_000), Some("deep")),
        (wide_object(10_001), Some("10000 entries")),
        (wide_object(10_000), None),
        (wide_array(10_001), Some("10000 elements")),
        (wide_array(10_000), None),
        (text(1_048_577), Some("1048576 bytes")),
        (nested("[", "]", 499), None),
        (nested("[", "]", 126), None),
        ("{\"a\":1e999}".to_owned(), None),
        (format!("{{\"a\":{}}}", "9".repeat(5000)), None),
        ("{\"a\":\"\\ud800\"}".to_owned(), Some("escape")),
        ("{\"a\":1".to_owned(), Some("too early")),
        ("[]".to_owned(), Some("object")),
        ("{\"hunter2\":hunter2}".to_owned(), Some("unexpected character at byte 11")),
    ] {
        let answer = server.send("PUT", "/v1/cubbyhole/limits", &auth, &body).await;
        let shown = &body[..body.len().min(60)];
        match refused {
            Some(text) => {
                assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
                assert!(answer.text.contains("failed to parse JSON input: "), "{shown}: {}", answer.text);
                assert!(answer.text.contains(text), "{shown}: {}", answer.text);
                assert!(!answer.text.contains("hunter2"), "{}", answer.text);
            }
            None => assert!(matches!(answer.status, 204 | 400), "{shown}: {} {}", answer.status, answer.text),
        }
    }
    assert_eq!(server.send("PUT", "/v1/cubbyhole/limits", &auth, &text(100_000)).await.status, 204);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let auth = [("X-Vault-Token", token.as_str())];
    // Announced: refused without reading it.
    let announced = format!(
        "PUT /v1/cubbyhole/a HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\nContent-Length: {}\r\n\r\n{{",
        33 << 20
    );
    let refused = server.raw(announced.as_bytes()).await;
    assert_eq!(refused.status, 413, "{}", refused.head);
    assert!(refused.text.contains("33554432"), "{}", refused.text);

    // Not announced: refused as soon as it is too much.
    let mut stream = server.connect().await;
    let head = format!(
        "PUT /v1/cubbyhole/a HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let send = async {
        let chunk = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
        for _ in 0..64 {
            if write.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    let mut reply = Vec::new();
    let (_, _) = tokio::join!(send, read.read_to_end(&mut reply));
    assert!(matches!(answer(&reply).status, 413 | 0), "{}", answer(&reply).head);

    let small = Server::with(|config| config.max_request_size = 10).await;
    assert_eq!(small.send("PUT", "/v1/sys/init", &[], "{\"a\":1234}").await.status, 400);
    assert_eq!(small.send("PUT", "/v1/sys/init", &[], "{\"a\":12345}").await.status, 413);
    assert_eq!(server.send("GET", "/v1/sys/mounts", &auth, "").await.status, 200);
}

#[tokio::test]
async fn large_bodies_share_a_bounded_memory() {
    let server = Server::with(|config| config.max_large_bodies = 1 << 20).await;
    let body = " ".repeat(2 << 20);
    let refused = server.send("PUT", "/v1/sys/init", &[], &body).await;
    assert!(matches!(refused.status, 503 | 0), "{}", refused.head);
    assert_eq!(server.send("PUT", "/v1/sys/init", &[], &" ".repeat(600 << 10)).await.status, 400);
    assert_eq!(server.send("PUT", "/v1/sys/init", &[], &" ".repeat(60 << 10)).await.status, 400);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::with(|config| config.max_request_duration = Duration::from_millis(100)).await;
    let slow = server.raw(b"PUT /v1/sys/init HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{").await;
    assert_eq!(slow.status, 408, "{}", slow.head);
    assert!(slow.text.contains("0.1 seconds"), "{}", slow.text);
    assert!(slow.header("X-Strongroom-Request-Id").is_some());
}

/// The request itself may take longer than its body.
#[tokio::test]
async fn the_time_for_a_body_can_be_shorter_than_that_for_the_request() {
    let server = Server::with(|config| config.read_timeout = Duration::from_millis(200)).await;
    let slow = server.raw(b"PUT /v1/sys/init HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{").await;
    assert_eq!(slow.status, 408, "{}", slow.head);
    assert!(slow.text.contains("0.2 seconds"), "{}", slow.text);
}

/// Long enough that a busy machine does not take it for a head that is late: it begins when the connection does.
const HEAD: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::with(|config| config.header_read_timeout = HEAD).await;
    // Nothing at all, a piece, and a piece after a whole request: the connection ends.
    let ends = async |first: &str, whole: bool| {
        let mut stream = server.connect().await;
        stream.write_all(first.as_bytes()).await.unwrap();
        if whole {
            let mut reply = [0; 64 * 1024];
            assert!(stream.read(&mut reply).await.unwrap() > 0);
            stream.write_all(b"GET /v1/sys").await.unwrap();
        }
        assert_eq!(read_all(&mut stream).await.len(), 0, "{first:?}");
    };
    let whole = "GET /v1/sys/init HTTP/1.1\r\nHost: a\r\n\r\n";
    tokio::join!(ends("", false), ends("GET /v1/sys", false), ends(whole, true));
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_a_head_but_not_its_own() {
    let server = Server::with(|config| {
        config.header_read_timeout = HEAD;
        config.idle_timeout = HEAD * 2;
    })
    .await;
    let mut stream = server.connect().await;
    let ask = b"GET /v1/sys/init HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let start = std::time::Instant::now();
    let mut reply = [0; 64 * 1024];
    assert!(stream.read(&mut reply).await.unwrap() > 0);
    assert_eq!(read_all(&mut stream).await.len(), 0);
    assert!(start.elapsed() >= HEAD * 2 - Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_a_place() {
    let server = Server::with(|config| config.max_connections = 1).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    second.write_all(&request("GET", "/v1/sys/init", &[], b"")).await.unwrap();
    // The second is only served once the first is gone; its reply comes then.
    let (mut reply, mut first) = (Vec::new(), Some(first));
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "served beside the first");
    drop(first.take());
    second.read_to_end(&mut reply).await.unwrap();
    assert_eq!(answer(&reply).status, 200);
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let server = Server::start().await;
    let many: String = (0..200).map(|at| format!("x-{at}: 1\r\n")).collect();
    let refused = server.raw(format!("GET /v1/sys/init HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(refused.status, 431, "{}", refused.head);
    let large = format!("GET /v1/sys/init HTTP/1.1\r\nx-large: {}\r\n\r\n", "a".repeat(1 << 20));
    let refused = server.raw(large.as_bytes()).await;
    assert!(matches!(refused.status, 431 | 0), "{}", refused.head);
    let parameters = format!("/v1/sys/init?{}", "a&".repeat(20_000));
    assert_eq!(server.get(&parameters).await.status, 400);
}

/// A client that takes nothing in would hold the reply, and its secrets, in memory for ever.
#[tokio::test]
async fn a_reply_that_is_not_taken_in_is_given_up() {
    let server = Server::with(|config| config.write_timeout = Duration::from_millis(100)).await;
    let token = server.unseal().await;
    let header = [("X-Vault-Token", token.as_str())];
    let value = format!(r#"{{"v":"{}"}}"#, "x".repeat(900_000));
    assert_eq!(server.send("PUT", "/v1/cubbyhole/big", &header, &value).await.status, 204);
    let ask = format!("GET /v1/cubbyhole/big HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\n\r\n");
    let mut stream = server.connect().await;
    // More than the buffers between the two hold; the answers are not read.
    stream.write_all(ask.repeat(64).as_bytes()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while stream.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    ended.await.expect("the connection lives on");
    assert!(read_all(&mut stream).await.len() < 64 * 900_000);
}

#[tokio::test]
async fn a_listener_may_want_the_header_of_clients() {
    let server = Server::with(|config| config.require_request_header = true).await;
    let refused = server.get("/v1/sys/init").await;
    assert_eq!((refused.status, refused.text.contains("X-Vault-Request")), (412, true), "{}", refused.text);
    assert_eq!(server.send("GET", "/v1/sys/init", &[("X-Vault-Request", "yes")], "").await.status, 412);
    assert_eq!(server.send("GET", "/v1/sys/init", &[("X-Vault-Request", "true")], "").await.status, 200);
}
