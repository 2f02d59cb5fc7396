//! Requests and replies over a real socket, with a real core behind it.

mod kit;

use kit::{Server, answer, read_all, request};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A v4 UUID on every reply, whatever its status.
fn check_always(answer: &kit::Answer) {
    let id = answer.header("X-Strongroom-Request-Id").unwrap_or_else(|| panic!("no id: {}", answer.head));
    assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    if answer.status != 204 {
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{}", answer.head);
        assert!(answer.text.ends_with('\n') || answer.text.is_empty(), "{}", answer.text);
    }
}

/// Who asks is who the proxy names: a token that is bound to that address works, and one bound to the proxy's does not.
#[tokio::test]
async fn a_proxy_that_passes_connections_on_says_who_is_behind_it() {
    let server = Server::with(|config| config.proxy_protocol = Some(strongroom_http::ProxyProtocol::Always)).await;
    let root = server.unseal().await;
    let mut statuses = Vec::new();
    for bound in ["192.0.2.1", "127.0.0.1"] {
        let header = [("X-Vault-Token", root.as_str())];
        let role = format!(r#"{{"token_bound_cidrs":["{bound}/32"]}}"#);
        assert_eq!(server.send("POST", "/v1/auth/token/roles/r", &header, &role).await.status, 204);
        let made = server.send("POST", "/v1/auth/token/create/r", &header, r#"{"policies":["default"]}"#).await;
        let token = made.json()["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{}", made.text)).to_owned();
        let ask = request("GET", "/v1/auth/token/lookup-self", &[("X-Vault-Token", &token)], b"");
        let proxied = [b"PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\n".to_vec(), ask].concat();
        statuses.push(server.raw(&proxied).await.status);
    }
    assert_eq!(statuses, [200, 403]);
    assert_eq!(server.raw(b"PROXY TCP4 nonsense\r\nGET / HTTP/1.1\r\n\r\n").await.status, 0);
}

#[tokio::test]
async fn replies_get_the_headers_of_the_configuration() {
    let server = Server::with(|config| {
        config.response_headers.add("default", "X-Site", ["all"]).unwrap();
        config.response_headers.add("503", "X-Site", ["sealed"]).unwrap();
    })
    .await;
    assert_eq!(server.get("/v1/sys/init").await.header("X-Site"), Some("all"));
    assert_eq!(server.get("/v1/secret/x").await.header("X-Site"), Some("sealed"));
}

#[tokio::test]
async fn a_server_is_initialised_unsealed_and_used() {
    let server = Server::start().await;
    for (path, status) in [
        ("/v1/sys/health", 501),
        ("/v1/sys/health?uninitcode=299", 299),
        ("/v1/sys/health?uninitcode=99", 400),
        ("/v1/sys/seal-status", 200),
        ("/v1/sys/init", 200),
        ("/v1/secret/x", 503),
        ("/v1/sys/mounts", 503),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        check_always(&answer);
    }
    assert_eq!(server.get("/v1/sys/init").await.json(), json!({ "initialized": false }));
    assert!(server.get("/v1/secret/x").await.text.contains("is sealed"));
    assert_eq!(server.send("PUT", "/v1/sys/unseal", &[], r#"{"key":"00"}"#).await.status, 400);

    let init = server.send("PUT", "/v1/sys/init", &[], r#"{"secret_shares":2,"secret_threshold":2}"#).await;
    check_always(&init);
    let init = init.json();
    assert_eq!(server.get("/v1/sys/health").await.status, 503);
    assert_eq!(server.get("/v1/sys/health?sealedcode=200").await.status, 200);
    assert_eq!(server.get("/v1/secret/x").await.text, "{\"errors\":[\"Vault is sealed\"]}\n");
    for at in 0..2 {
        let key = format!(r#"{{"key":{}}}"#, init["keys"][at]);
        let step = server.send("POST", "/v1/sys/unseal", &[], &key).await;
        assert_eq!(step.json()["sealed"], at == 0, "{}", step.text);
    }
    let health = server.get("/v1/sys/health").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json()["sealed"], false);
    let again = server.send("PUT", "/v1/sys/init", &[], r#"{"secret_shares":1,"secret_threshold":1}"#).await;
    assert_eq!((again.status, again.text.contains("already initialized")), (400, true), "{}", again.text);

    let token = init["root_token"].as_str().unwrap();
    for carrier in [("X-Vault-Token", token.to_owned()), ("Authorization", format!("Bearer {token}"))] {
        let lookup = server.send("GET", "/v1/auth/token/lookup-self", &[(carrier.0, &carrier.1)], "").await;
        assert_eq!(lookup.status, 200, "{}", lookup.text);
        check_always(&lookup);
        assert_eq!(lookup.json()["data"]["policies"], json!(["root"]));
    }
}

#[tokio::test]
async fn the_envelope_is_that_of_vault() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let auth = [("X-Vault-Token", token.as_str())];
    let written = server.send("PUT", "/v1/cubbyhole/a", &auth, r#"{"b":"1"}"#).await;
    assert_eq!((written.status, written.text.as_str()), (204, ""));
    check_always(&written);
    let read = server.send("GET", "/v1/cubbyhole/a", &auth, "").await;
    check_always(&read);
    let id = read.header("X-Strongroom-Request-Id").unwrap().to_owned();
    let expected = json!({
        "request_id": id, "lease_id": "", "renewable": false, "lease_duration": 0, "data": { "b": "1" },
        "wrap_info": null, "warnings": null, "auth": null, "mount_type": "cubbyhole",
    });
    assert_eq!(read.json(), expected, "{}", read.text);
    let keys: Vec<_> = read.text.split('"').filter(|part| expected.get(part).is_some()).collect();
    let order = [
        "request_id",
        "lease_id",
        "renewable",
        "lease_duration",
        "data",
        "wrap_info",
        "warnings",
        "auth",
        "mount_type",
    ];
    assert_eq!(keys[..9], order);

    // Routes that repeat their data at the top level.
    let mounts = server.send("GET", "/v1/sys/mounts", &auth, "").await.json();
    assert_eq!(mounts["sys/"], mounts["data"]["sys/"]);
    assert!(mounts["sys/"]["type"].is_string());

    for list in [("LIST", "/v1/cubbyhole/"), ("LIST", "/v1/cubbyhole"), ("GET", "/v1/cubbyhole/?list=true")] {
        let listed = server.send(list.0, list.1, &auth, "").await;
        assert_eq!(listed.json()["data"]["keys"], json!(["a"]), "{list:?} {}", listed.text);
    }
    let missing = server.send("GET", "/v1/cubbyhole/none", &auth, "").await;
    assert_eq!((missing.status, missing.text.as_str()), (404, "{\"errors\":[]}\n"));
    let nowhere = server.send("GET", "/v1/nowhere/x", &auth, "").await;
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.text.contains("no handler for route"), "{}", nowhere.text);
    let help = server.send("GET", "/v1/sys/mounts?help=1", &auth, "").await;
    assert_eq!(help.status, 200, "{}", help.text);

    // A form, as curl sends it.
    let form = [auth[0], ("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(server.send("POST", "/v1/cubbyhole/form", &form, "a=x+y&l=1&l=2").await.status, 204);
    let read = server.send("GET", "/v1/cubbyhole/form", &auth, "").await.json();
    assert_eq!(read["data"], json!({ "a": "x y", "l": ["1", "2"] }));
    assert_eq!(server.send("POST", "/v1/cubbyhole/form", &form, r#"{"a":1}"#).await.status, 204);
    assert_eq!(server.send("DELETE", "/v1/cubbyhole/form", &auth, "").await.status, 204);
}

#[tokio::test]
async fn wrapped_replies_hide_their_request() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let auth = [("X-Vault-Token", token.as_str())];
    server.send("PUT", "/v1/cubbyhole/a", &auth, r#"{"b":"1"}"#).await;
    let wrapped = server.send("GET", "/v1/cubbyhole/a", &[auth[0], ("X-Vault-Wrap-TTL", "60s")], "").await;
    assert_eq!(wrapped.status, 200);
    check_always(&wrapped);
    let wrapped = wrapped.json();
    assert_eq!((&wrapped["request_id"], &wrapped["data"], &wrapped["auth"]), (&json!(""), &Value::Null, &Value::Null));
    assert_eq!(wrapped["wrap_info"]["ttl"], 60);
    assert_eq!(wrapped["wrap_info"]["creation_path"], "cubbyhole/a");
    let inner = wrapped["wrap_info"]["token"].as_str().unwrap();
    let unwrapped = server.send("POST", "/v1/sys/wrapping/unwrap", &[("X-Vault-Token", inner)], "").await;
    assert_eq!(unwrapped.json()["data"]["b"], "1", "{}", unwrapped.text);
    for bad in ["-1", "-5m", "soon", "1e9h"] {
        let refused = server.send("GET", "/v1/cubbyhole/a", &[auth[0], ("X-Vault-Wrap-TTL", bad)], "").await;
        assert_eq!(refused.status, 400, "{bad}: {}", refused.text);
    }
}

#[tokio::test]
async fn methods_and_tokens_that_do_not_fit_are_refused() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let auth = ("X-Vault-Token", token.as_str());
    let long = "a".repeat(9000);
    let very_long = "a".repeat(70_000);
    for (method, path, headers, status, text) in [
        ("GET", "/v1/sys/mounts", vec![], 403, "missing client token"),
        ("GET", "/v1/sys/mounts", vec![("X-Vault-Token", "")], 403, "missing client token"),
        (
            "GET",
            "/v1/sys/mounts",
            vec![("X-Vault-Token", "hvs.wrong")],
            403,
            "* permission denied\\n\\t* invalid token",
        ),
        ("GET", "/v1/sys/mounts", vec![("X-Vault-Token", "../../x")], 403, "permission denied"),
        ("GET", "/v1/sys/mounts", vec![("X-Vault-Token", "a b")], 400, "printable"),
        ("GET", "/v1/sys/mounts", vec![("X-Vault-Token", "a\tb")], 400, "printable"),
        ("GET", "/v1/sys/mounts", vec![("X-Vault-Token", long.as_str())], 431, "8192"),
        ("GET", "/v1/sys/mounts", vec![("Authorization", "Bearer")], 403, "missing client token"),
        ("GET", "/v1/sys/mounts", vec![("Authorization", "Basic eDp5")], 403, "missing client token"),
        ("OPTIONS", "/v1/sys/mounts", vec![auth], 405, "unsupported operation"),
        ("BREW", "/v1/sys/mounts", vec![auth], 405, "unsupported operation"),
        ("PATCH", "/v1/cubbyhole/a", vec![auth], 415, "application/merge-patch+json"),
        ("GET", "/v1/sys/mounts", vec![auth, ("X-Vault-Namespace", "a/../b")], 400, "X-Vault-Namespace"),
        ("GET", "/v1/sys/mounts?x=%zz", vec![auth], 400, "percent escape"),
        ("GET", "/v2/sys/mounts", vec![auth], 404, "/v1/"),
        ("GET", "/favicon.ico", vec![], 404, "/v1/"),
        ("POST", "/v1/sys/health", vec![], 405, "unsupported operation"),
        ("GET", "/v1/sys/rekey/nothing", vec![], 404, "unsupported path"),
    ] {
        let answer = server.send(method, path, &headers, "").await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.text);
        assert!(answer.text.contains(text), "{method} {path}: {}", answer.text);
        assert!(!answer.text.contains("hvs.wrong"));
        check_always(&answer);
    }
    // This one does not reach us; the library refuses it.
    assert_eq!(server.send("GET", "/v1/sys/mounts", &[("X-Vault-Token", &very_long)], "").await.status, 431);
    let root = server.get("/").await;
    assert_eq!((root.status, root.header("Content-Type")), (200, Some("text/plain")));
}

#[tokio::test]
async fn paths_with_tricks_are_refused_and_never_a_fault_of_ours() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let auth = [("X-Vault-Token", token.as_str())];
    for path in [
        "/v1/cubbyhole/..",
        "/v1/cubbyhole/../sys/mounts",
        "/v1/./sys/mounts",
        "/v1/cubbyhole/%2e%2e/sys/mounts",
        "/v1/cubbyhole/%2E./sys",
        "/v1/cubbyhole/.%2e",
        "/v1/cubbyhole%2f..%2fsys",
        "/v1/cubbyhole/%2e",
        "/v1//sys/mounts",
        "/v1/cubbyhole//a",
        "/v1/cubbyhole/a//",
        "/v1/cubbyhole/%2f/a",
        "/v1/cubbyhole/%00",
        "/v1/cubbyhole/a%00b",
        "/v1/cubbyhole/%0a",
        "/v1/cubbyhole/%0d%0ax-evil:%201",
        "/v1/cubbyhole/%1b[31m",
        "/v1/cubbyhole/%7f",
        "/v1/cubbyhole/%c2%85",
        "/v1/cubbyhole/%e2%80%a8",
        "/v1/cubbyhole/%ff",
        "/v1/cubbyhole/%c3",
        "/v1/cubbyhole/%c0%ae%c0%ae/sys",
        "/v1/cubbyhole/%ed%a0%80",
        "/v1/cubbyhole/%",
        "/v1/cubbyhole/%4",
        "/v1/cubbyhole/%zz",
        "/v1/cubbyhole/%u002e",
        "/v1/cubbyhole/%ef%bf%bd",
    ] {
        for (method, body) in [("GET", ""), ("LIST", ""), ("PUT", r#"{"a":"b"}"#), ("DELETE", "")] {
            let answer = server.send(method, path, &auth, body).await;
            assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text);
            check_always(&answer);
        }
    }
    let long = format!("/v1/cubbyhole/{}", "a".repeat(5000));
    assert_eq!(server.send("GET", &long, &auth, "").await.status, 400);
    // Odd, but one way to read them only.
    for path in [
        "/v1/cubbyhole/%252e%252e",
        "/v1/cubbyhole/...",
        "/v1/cubbyhole/a%20b",
        "/v1/cubbyhole/%C3%A9",
        "/v1/",
        "/v1/sys",
    ] {
        let answer = server.send("GET", path, &auth, "").await;
        assert!(matches!(answer.status, 404 | 405), "{path}: {} {}", answer.status, answer.text);
    }
    // What is no HTTP at all: a fault of the sender, said by the library.
    for raw in [
        &b"GET /v1/cubbyhole/a\0b HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"GET /v1/\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/a b HTTP/1.1\r\n\r\n",
        b"GET /v1/sys/health HTTP/1.1\r\nA\0: b\r\n\r\n",
        b"POST /v1/sys/init HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/sys/init HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = server.raw(raw).await;
        assert!((400..500).contains(&answer.status) || answer.head.is_empty(), "{raw:?}: {}", answer.head);
    }
    assert_eq!(server.get("/v1/sys/health").await.status, 200);
}

#[tokio::test]
async fn head_has_no_body() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let auth = [("X-Vault-Token", token.as_str())];
    for (path, status) in [("/v1/sys/health", 200), ("/v1/sys/mounts", 200), ("/v1/nowhere", 404), ("/v1/a//b", 400)] {
        let get = server.send("GET", path, &auth, "").await;
        let head = server.send("HEAD", path, &auth, "").await;
        assert_eq!((head.status, head.text.as_str()), (status, ""), "{path}");
        assert_eq!(head.header("content-length").unwrap(), get.text.len().to_string(), "{path}");
        check_always(&head);
    }
}

#[tokio::test]
async fn requests_in_a_pipeline_are_answered_in_order() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let mut stream = server.connect().await;
    let mut all = Vec::new();
    for at in 0..20 {
        let body = format!(r#"{{"n":{at}}}"#);
        let head = format!(
            "PUT /v1/cubbyhole/p HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        all.extend_from_slice(head.as_bytes());
        all.extend_from_slice(
            format!("GET /v1/cubbyhole/p HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\n\r\n").as_bytes(),
        );
    }
    all.extend_from_slice(&request("GET", "/v1/sys/seal-status", &[], b""));
    stream.write_all(&all).await.unwrap();
    let text = String::from_utf8(read_all(&mut stream).await).unwrap();
    assert_eq!(text.matches("HTTP/1.1 204").count(), 20);
    assert_eq!(text.matches("HTTP/1.1 200").count(), 21);
    let numbers: Vec<_> = text.split("\"data\":{\"n\":").skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
    assert_eq!(numbers, (0..20).map(|at| at.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let server = Server::start().await;
    let token = server.unseal().await;
    let head = format!(
        "PUT /v1/cubbyhole/c HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Vault-Token: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in ["2\r\n{\"\r\n", "3\r\na\":\r\n", "4\r\n\"b\"}\r\n", "0\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(answer(&read_all(&mut stream).await).status, 204);
    // A body that ends too early changes nothing.
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"40\r\n{\"a\":\"c\"}").await.unwrap();
    stream.shutdown().await.unwrap();
    let cut = answer(&read_all(&mut stream).await);
    assert!(matches!(cut.status, 0 | 400), "{}", cut.head);
    let read = server.send("GET", "/v1/cubbyhole/c", &[("X-Vault-Token", &token)], "").await;
    assert_eq!(read.json()["data"]["a"], "b");
}
