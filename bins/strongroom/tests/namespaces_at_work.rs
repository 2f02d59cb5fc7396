//! Namespaces with what else the server has: second factors, inventories, logins that come along, work in the background,
//! mounts that move, listeners that are confined.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secret::SecretString;
use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

use crate::kit::{PROGRAM, policy, start, token};

fn make(above: &Wire, at: &str, name: &str) -> Wire {
    above.post(&format!("sys/namespaces/{name}"), json!({})).ok();
    above.within(&format!("{at}{name}"))
}

/// Somebody who logs in by userpass at the namespace of `wire`.
fn user(wire: &Wire, name: &str, policies: &str) {
    if wire.get("sys/auth").data().get("userpass/").is_none() {
        wire.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
    }
    let user = json!({ "password": "right", "token_policies": policies, "token_ttl": "10m" });
    wire.post(&format!("auth/userpass/users/{name}"), user).done();
}

fn login(wire: &Wire, name: &str) -> Value {
    let body = json!({ "password": "right" });
    wire.with_token("").post(&format!("auth/userpass/login/{name}"), body).ok()["auth"].clone()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_second_factor_is_that_of_the_namespace() {
    let (_server, root) = start();
    let (a, b) = (make(&root, "", "a"), make(&root, "", "b"));
    for wire in [&a, &b] {
        user(wire, "bob", "default");
    }
    let entity = login(&a, "bob")["entity_id"].as_str().unwrap().to_owned();
    let method = json!({ "issuer": "Strongroom", "period": "1h", "digits": 8, "method_name": "phone" });
    let method = a.post("identity/mfa/method/totp", method).data()["method_id"].as_str().unwrap().to_owned();
    let ask = json!({ "method_id": method, "entity_id": entity });
    b.post("identity/mfa/method/totp/admin-generate", ask.clone()).fails(400);
    root.post("identity/mfa/method/totp/admin-generate", ask.clone()).fails(400);
    let shown = a.post("identity/mfa/method/totp/admin-generate", ask).data();
    let rule = json!({ "mfa_method_ids": [method], "auth_method_types": ["userpass"] });
    b.post("identity/mfa/login-enforcement/all", rule.clone()).fails(400);
    a.post("identity/mfa/login-enforcement/all", rule).done();
    // The other namespace asks for nothing.
    assert_ne!(login(&b, "bob")["client_token"], "");
    let waits = login(&a, "bob");
    assert_eq!(waits["client_token"], "");
    let id = &waits["mfa_requirement"]["mfa_request_id"];
    let (_, key) = shown["url"].as_str().unwrap().split_once("&secret=").unwrap();
    let key = totp::parse_key(&SecretString::new(key.to_owned())).unwrap();
    let codes = totp::Settings { period: HOUR, digits: 8, ..totp::Settings::default() };
    let code = codes.code(&key, clock::Clock::system().now()).expose().clone();
    let body = json!({ "mfa_request_id": id, "mfa_payload": { &method: [code] } });
    for other in ["", "b"] {
        a.with_token("").within(other).post("sys/mfa/validate", body.clone()).refused(400, "no login waits");
    }
    let auth = a.with_token("").post("sys/mfa/validate", body).ok()["auth"].clone();
    let bob = a.with_token(auth["client_token"].as_str().unwrap());
    assert_eq!(bob.get("auth/token/lookup-self").data()["namespace_path"], "a/");
    bob.within("b").get("auth/token/lookup-self").refused(403, "permission denied");
}

#[test]
fn an_inventory_is_that_of_the_namespace() {
    let (_server, root) = start();
    let (a, b) = (make(&root, "", "a"), make(&root, "", "b"));
    for wire in [&a, &b] {
        user(wire, "bob", "looks");
        policy(wire, "looks", r#"path "sys/inventory/*" { capabilities = ["read", "sudo"] }"#);
    }
    let (of_a, of_b) = (login(&a, "bob"), login(&b, "bob"));
    let accessor = |auth: &Value| auth["accessor"].as_str().unwrap().to_owned();
    let listed = |wire: &Wire| {
        let tokens = wire.get("sys/inventory/tokens").data()["tokens"].clone();
        let accessors = tokens.as_array().unwrap().iter().map(|token| token["accessor"].as_str().unwrap().to_owned());
        accessors.collect::<Vec<_>>()
    };
    let at_a = a.with_token(of_a["client_token"].as_str().unwrap());
    assert_eq!(listed(&at_a), [accessor(&of_a)]);
    assert_eq!(listed(&b), [accessor(&of_b)]);
    let of_root = listed(&root);
    assert!(!of_root.contains(&accessor(&of_a)) && !of_root.is_empty(), "{of_root:?}");
    at_a.within("b").get("sys/inventory/tokens").refused(403, "permission denied");
    at_a.within("").get("sys/inventory/leases").refused(403, "permission denied");
    assert_eq!(at_a.get("sys/inventory/leases").data()["leases"], json!([]));
}

#[test]
fn a_login_that_comes_along_is_one_of_the_namespace() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    let inner = make(&a, "a/", "inner");
    user(&a, "bob", "reads");
    policy(
        &a,
        "reads",
        r#"path "secret/*" { capabilities = ["read"] } path "inner/secret/*" { capabilities = ["read"] }"#,
    );
    for (wire, value) in [(&a, "of a"), (&inner, "of inner")] {
        wire.post("sys/mounts/secret", json!({ "type": "kv" })).done();
        wire.post("secret/x", json!({ "value": value })).done();
    }
    let password = URL_SAFE_NO_PAD.encode(json!({ "key": "password", "value": "right" }).to_string());
    let ask = |wire: &Wire, namespace: Option<&str>| {
        let mut headers = vec![
            ("X-Vault-Inline-Auth-Path", "auth/userpass/login/bob"),
            ("X-Vault-Inline-Auth-Parameter-p", password.as_str()),
        ];
        headers.extend(namespace.map(|namespace| ("X-Vault-Inline-Auth-Namespace", namespace)));
        wire.with_token("").send("GET", "secret/x", &headers, None)
    };
    assert_eq!(ask(&a, None).data()["value"], "of a");
    assert_eq!(ask(&inner, Some("a")).data()["value"], "of inner");
    // There is no such login in the inner namespace, and one of an inner namespace reaches nothing outside.
    let failed = ask(&inner, None);
    assert!(matches!(failed.status, 400 | 403 | 404), "{failed}");
    let failed = ask(&root, Some("a"));
    assert!(matches!(failed.status, 403 | 404), "{failed}");
}

/// Takes one call of a webhook and gives its body.
fn called(receiver: &TcpListener) -> Value {
    let (mut stream, _) = receiver.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    while !text.contains("\"events\"") || !text.ends_with('}') {
        let read = stream.read(&mut chunk).unwrap();
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    // One that was killed meanwhile does not wait for the answer.
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The mounts of a namespace that nobody asked for since the start were not looked in on: webhooks told nothing.
#[test]
fn webhooks_of_a_namespace_go_on_after_a_restart_that_nobody_asks_in() {
    let (mut server, root) = start();
    let a = make(&root, "", "a");
    a.post("sys/mounts/k", json!({ "type": "kv-v2" })).done();
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    a.post("k/webhooks/ci", json!({ "url": url, "secret": "0123456789abcdef" })).done();
    a.post("k/data/one", json!({ "data": { "x": 1 } })).ok();
    assert_eq!(called(&receiver)["events"][0]["path"], "one");
    a.post("k/data/two", json!({ "data": { "x": 1 } })).ok();
    server.kill();
    server.launch();
    server.unseal();
    let told = called(&receiver);
    let paths: Vec<_> = told["events"].as_array().unwrap().iter().map(|event| &event["path"]).collect();
    assert!(paths.contains(&&json!("two")), "{told}");
    // Without a webhook nothing is loaded at the start.
    a.delete("k/webhooks/ci").done();
    server.stop();
    server.launch();
    server.unseal();
    let metrics = root.get("sys/metrics?format=prometheus").text();
    assert!(metrics.lines().any(|line| line == "strongroom_namespaces_in_memory 0"), "{metrics}");
}

#[test]
fn a_mount_moves_from_one_namespace_to_another_with_what_it_holds() {
    let (mut server, root) = start();
    let a = make(&root, "", "a");
    let b = make(&a, "a/", "b");
    root.post("sys/mounts/k", json!({ "type": "kv-v2", "description": "goes far" })).done();
    for index in 0..300 {
        root.post(&format!("k/data/{index}"), json!({ "data": { "n": index } })).ok();
    }
    root.post("k/data/7", json!({ "data": { "n": "new" } })).ok();
    let before = root.get("sys/mounts/k").data();
    let moved = |from: &str, to: &str| {
        let id = root.post("sys/remount", json!({ "from": from, "to": to })).data()["migration_id"].clone();
        Server::eventually("the mount has arrived", || {
            let shown = root.get(&format!("sys/remount/status/{}", id.as_str().unwrap())).data();
            let info = &shown["migration_info"];
            (info["status"] != "in-progress").then(|| info.clone())
        })
    };
    let done = moved("k", "a/b/kv");
    assert_eq!(done, json!({ "source_mount": "k/", "target_mount": "a/b/kv/", "status": "success" }));
    root.get("k/data/7").refused(404, "no handler");
    let after = b.get("sys/mounts/kv").data();
    assert_eq!(
        (&after["uuid"], &after["accessor"], &after["description"]),
        (&before["uuid"], &before["accessor"], &before["description"])
    );
    let check = |wire: &Wire, mount: &str| {
        assert_eq!(wire.list(&format!("{mount}/metadata")).data()["keys"].as_array().unwrap().len(), 300);
        assert_eq!(wire.get(&format!("{mount}/data/7")).data()["data"]["n"], "new");
        assert_eq!(wire.get(&format!("{mount}/data/7?version=1")).data()["data"]["n"], 7);
    };
    check(&b, "kv");
    // Up again, into the namespace between, by the path of the root one; and all is there after a restart.
    assert_eq!(moved("a/b/kv", "a/kv")["status"], "success");
    check(&a, "kv");
    b.get("kv/data/7").refused(404, "no handler");
    server.kill();
    server.launch();
    server.unseal();
    check(&a, "kv");
    // Logins end with the move, for tokens are of their namespace.
    user(&a, "bob", "default");
    let bob = a.with_token(login(&a, "bob")["client_token"].as_str().unwrap());
    assert_eq!(moved("a/auth/userpass", "auth/people")["status"], "success");
    kit::soon_refused(&bob);
    root.with_token("").post("auth/people/login/bob", json!({ "password": "right" })).ok();

    for (from, to, text) in [
        ("a/kv", "a/b/sys/x", "reserved path"),
        ("a/kv", "auth/x", "cannot move between"),
        ("a/kv", "a/b", "a/b/ is a namespace"),
        ("a", "a/b/x", "a/ is a namespace"),
        ("a/none", "none", "no mount at"),
        ("a/cubbyhole", "x", "cannot remount"),
        ("a/kv", "cubbyhole/x", "reserved path"),
    ] {
        root.post("sys/remount", json!({ "from": from, "to": to })).refused(400, text);
    }
    root.post("sys/mounts/taken", json!({ "type": "kv" })).done();
    root.post("sys/remount", json!({ "from": "a/kv", "to": "taken" })).refused(400, "already in use");
    // From inside nothing can be moved out.
    a.post("sys/remount", json!({ "from": "kv", "to": "../x" })).fails(400);
    check(&a, "kv");
}

/// A request to a plain listener.
fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

#[test]
fn a_confined_listener_leads_into_its_namespace_alone() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let second = format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n  chroot_namespace = \"/a/b/\"\n}}"
    );
    let server = Server::start_with(PROGRAM, &second);
    let root = Wire::new(&server, server.root_token());
    let with = |namespace: &str| {
        ask(port, "GET", "secret/x", &[("X-Vault-Token", root.token()), ("X-Vault-Namespace", namespace)])
    };
    // A namespace that is not there leads nowhere.
    assert_eq!(with("").0, 404);
    let b = make(&make(&root, "", "a"), "a/", "b");
    let c = make(&b, "a/b/", "c");
    for (wire, value) in [(&root, "of root"), (&b, "of b"), (&c, "of c")] {
        wire.post("sys/mounts/secret", json!({ "type": "kv" })).done();
        wire.post("secret/x", json!({ "value": value })).done();
    }
    for (namespace, value) in [("", "of b"), ("root", "of b"), ("c", "of c"), ("/c/", "of c")] {
        let (status, text) = with(namespace);
        assert!(status == 200 && text.contains(value), "{namespace}: {text}");
    }
    for namespace in ["a", "a/b", "..", "../.."] {
        assert!(matches!(with(namespace).0, 400 | 404), "{namespace}");
    }
    // What is about the server is not asked for here, but how it is.
    assert_eq!(ask(port, "PUT", "sys/unseal", &[]).0, 400);
    assert_eq!(ask(port, "GET", "sys/health", &[]).0, 200);
    assert_eq!(ask(port, "GET", "sys/audit", &[("X-Vault-Token", root.token())]).0, 400);
}

#[test]
fn a_reply_says_in_which_namespace_was_asked() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    assert_eq!(a.get("sys/mounts").header("x-vault-namespace"), Some("a"));
    assert_eq!(a.get("nothing/here").header("x-vault-namespace"), Some("a"));
    assert_eq!(root.get("sys/mounts").header("x-vault-namespace"), None);
}

#[test]
fn a_wrapping_token_can_be_a_signed_one() {
    let (_server, root) = start();
    let a = make(&root, "", "a");
    for wire in [&root, &a] {
        wire.post("sys/mounts/secret", json!({ "type": "kv" })).done();
        wire.post("secret/x", json!({ "value": "wrapped" })).done();
        let headers = [("X-Vault-Wrap-TTL", "60"), ("X-Vault-Wrap-Format", "jwt")];
        let fetch = || wire.send("GET", "secret/x", &headers, None).ok()["wrap_info"].clone();
        let info = fetch();
        let signed = info["token"].as_str().unwrap();
        let parts: Vec<_> = signed.split('.').collect();
        let decoded = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decoded(parts[0]), json!({ "alg": "ES512", "typ": "JWT" }));
        let claims = decoded(parts[1]);
        assert_eq!((&claims["type"], &claims["accessor"]), (&json!("wrapping"), &info["accessor"]));
        assert!(
            claims["iat"].is_i64() && claims["addr"].is_string() && claims["jti"].as_str().unwrap().starts_with("hvs.")
        );
        // Its signature holds, and nobody else's.
        let public = root.with_token("").get("sys/wrapping/pubkey").data();
        assert_eq!(public["jwt_curve"], "p521");
        assert!(public["jwt_x"].as_str().unwrap().parse::<f64>().is_ok() && public["jwt_y"].is_string());
        let forged = format!("{}.{}.{}", parts[0], parts[1], parts[2].chars().rev().collect::<String>());
        for path in ["sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/wrapping/rewrap"] {
            wire.post(path, json!({ "token": forged })).refused(400, "not valid or does not exist");
            wire.post(path, json!({ "token": "eyJhbGciOiJub25lIn0" })).refused(400, "not valid or does not exist");
        }
        let shown = wire.post("sys/wrapping/lookup", json!({ "token": signed })).data();
        assert_eq!((&shown["creation_path"], &shown["creation_ttl"]), (&json!("secret/x"), &json!(60)));
        assert_eq!(wire.with_token(signed).post_nothing("sys/wrapping/unwrap").data()["value"], "wrapped");
        wire.post("sys/wrapping/unwrap", json!({ "token": signed })).refused(400, "not valid or does not exist");
        let info = fetch();
        assert_eq!(wire.post("sys/wrapping/unwrap", json!({ "token": info["token"] })).data()["value"], "wrapped");
        // What a caller sends is not signed.
        let own = wire.send("POST", "sys/wrapping/wrap", &headers, Some(b"{\"a\":1}")).ok();
        assert!(own["wrap_info"]["token"].as_str().unwrap().starts_with("hvs."));
    }
    let weak = token(&root, &["default"]);
    weak.send("GET", "sys/wrapping/pubkey", &[("X-Vault-Wrap-Format", "uuid")], None)
        .refused(400, "X-Vault-Wrap-Format");
}
