//! Bad input by the dozen on every route that the server says it has: a clear refusal, no panic, nothing half done, and
//! no word of what was sent.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};
use testkit::{server::Server, wire::Reply};

use crate::kit::{
    logs::{MARKER, check_log},
    routes::{OPEN, base, ends_the_test, fits, method, names_no_connection, send, start_with_routes},
};

/// Fields whose text a refusal may repeat: names, paths and schedules, by which the sender finds the mistake.
const SAID_AGAIN: &[&str] = &[
    "bound_claims",
    "mount_accessor",
    "mounts",
    "password_policy",
    "path",
    "plugin_name",
    "rotation_schedule",
    "schedule",
    "state",
    "type",
];

/// Holds a reply against what every reply has to be.
#[track_caller]
fn check_status(reply: &Reply, sent: &str) {
    assert!(
        reply.status < 500 || names_no_connection(reply),
        "{reply}\n{}",
        sent.chars().take(300).collect::<String>()
    );
    // Metrics are text.
    if reply.header("content-type") != Some("text/plain; version=0.0.4") {
        reply.must_be_lawful();
    }
}

/// As [`check_status`]; and no refusal shows what was sent.
#[track_caller]
fn check(reply: &Reply, sent: &str) {
    check_status(reply, sent);
    let shown = reply.status >= 400 && reply.text().contains(MARKER);
    assert!(!shown, "{reply}\nshows what was sent: {}", sent.chars().take(300).collect::<String>());
}

/// Values that no field takes all of.
fn values() -> Vec<Value> {
    vec![
        json!([]),
        json!({}),
        json!([[MARKER]]),
        json!({ MARKER: { "b": [MARKER] } }),
        json!(["a", 1, null, MARKER]),
        json!(""),
        json!("\u{0}"),
        json!(format!("{MARKER}\n\u{202e}'\";--{{{{.}}}}")),
        json!(MARKER.repeat(300)),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(true),
        json!(null),
        json!("-5s"),
        json!("99999999999h"),
    ]
}

#[test]
fn every_field_of_every_route_meets_values_of_every_kind() {
    let (server, root, routes) = start_with_routes();
    let (mut asked, mut shown) = (0, BTreeSet::new());
    for (at, route) in routes.iter().enumerate() {
        let mut left = BTreeSet::new();
        for (nth, (verb, field)) in route.fields().enumerate() {
            if matches!(verb, "read" | "list") || ends_the_test(&route.pattern) {
                continue;
            }
            for (number, value) in values().into_iter().enumerate() {
                let name = format!("n{at}-{nth}-{number}");
                let mut body = base(&route.pattern);
                body[field] = value;
                let body = body.to_string();
                let reply = send(&root, verb, &route.path(&name), body.as_bytes());
                check_status(&reply, &format!("{verb} {field}: {body}"));
                if reply.status >= 400 && reply.text().contains(MARKER) && !SAID_AGAIN.contains(&field) {
                    shown.insert(format!("{field}: {reply}"));
                }
                asked += 1;
                if reply.status == 400
                    && verb == "write"
                    && route.pattern.ends_with("{name}")
                    && route.verbs.contains_key("read")
                {
                    left.insert(name);
                }
            }
        }
        // What was refused is not there.
        for name in left {
            let reply = root.get(&route.path(&name));
            // A route that only acts on something else has that to say.
            let nothing = matches!(reply.status, 400 | 404) || names_no_connection(&reply);
            assert!(nothing, "{reply}: something is left of a refused write");
        }
    }
    println!("{asked} requests");
    assert!(asked > 1500, "{asked}");
    assert!(
        shown.is_empty(),
        "refusals that show what was sent:\n{}",
        shown.into_iter().collect::<Vec<_>>().join("\n")
    );
    root.get("auth/token/lookup-self").ok();
    check_log(&server);
}

#[test]
fn every_route_meets_bodies_that_are_none() {
    let (server, root, routes) = start_with_routes();
    let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let many = (0..10_001).map(|key| format!("\"k{key}\":1")).collect::<Vec<_>>().join(",");
    let bodies: Vec<(Vec<u8>, bool)> = [
        (format!("[\"{MARKER}\"]"), false),
        (format!("\"{MARKER}\""), false),
        ("7".to_owned(), false),
        ("{".to_owned(), false),
        (format!("{{\"{MARKER}\""), false),
        ("{\"a\":1}}".to_owned(), false),
        ("{\"a\":1} {\"a\":1}".to_owned(), false),
        ("{a:1}".to_owned(), false),
        ("{'a':1}".to_owned(), false),
        ("{\"a\":01}".to_owned(), false),
        ("{\"a\":NaN}".to_owned(), false),
        ("{\"a\":1,}".to_owned(), false),
        ("{\"a\":\"\\ud800\"}".to_owned(), false),
        ("{\"a\":\"\\x41\"}".to_owned(), false),
        ("\u{feff}{}".to_owned(), false),
        ("a=b&c=d".to_owned(), false),
        (deep(600), false),
        (deep(100_000), false),
        (format!("{{{many}}}"), false),
        (format!("{{\"a\":[{}1]}}", "1,".repeat(10_001)), false),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(1_100_000)), false),
        (format!("{{\"unknown\":\"{MARKER}\",\"unknown\":\"{MARKER}\"}}"), true),
        ("null".to_owned(), true),
        ("   \n".to_owned(), true),
    ]
    .into_iter()
    .map(|(text, valid)| (text.into_bytes(), valid))
    .chain([(b"{\"a\":\"\xff\xfe\"}".to_vec(), false), (b"\x00\x01\x02".to_vec(), false)])
    .collect();
    for (at, route) in routes.iter().enumerate() {
        if ends_the_test(&route.pattern) {
            continue;
        }
        for verb in route.verbs.keys().filter(|verb| matches!(verb.as_str(), "write" | "patch")) {
            for (number, (body, valid)) in bodies.iter().enumerate() {
                // The long ones cost time and are refused before any route sees them.
                if body.len() > 50_000 && at % 16 != 0 {
                    continue;
                }
                let reply = send(&root, verb, &route.path(&format!("n{at}-{number}")), body);
                check(&reply, &String::from_utf8_lossy(body));
                if !valid {
                    assert_eq!(reply.status, 400, "{reply}\n{}", String::from_utf8_lossy(&body[..body.len().min(200)]));
                }
            }
        }
    }
    // A form is taken for what it is, and only for that.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    root.send("POST", "cubbyhole/form", &form, Some(b"a=b%20c&d=e&d=f")).done();
    assert_eq!(root.get("cubbyhole/form").data(), json!({ "a": "b c", "d": ["e", "f"] }));
    root.send("POST", "cubbyhole/form", &form, Some(b"a=%zz")).fails(400);
    // The last of two equal keys wins, as everywhere.
    root.send("POST", "cubbyhole/twice", &[], Some(b"{\"a\":1,\"a\":2}")).done();
    root.send("POST", "kv/data/twice", &[], Some(b"{\"data\":{\"a\":1},\"data\":{\"a\":2}}")).must_be_lawful();
    // Numbers stay what they were, to the last digit.
    root.send("POST", "kv/data/number", &[], Some(b"{\"data\":{\"a\":12345678901234567890.123456789,\"b\":1e400}}"))
        .ok();
    let text = root.get("kv/data/number").text();
    assert!(text.contains("12345678901234567890.123456789") && text.contains("1e400"), "{text}");
    let reply = root.post("auth/approle/role/warned", json!({ "token_policies": "a", "no_such_field": MARKER }));
    let warnings = reply.ok()["warnings"].to_string();
    assert!(warnings.contains("no_such_field") && !warnings.contains(MARKER), "{warnings}");
    check_log(&server);
}

#[test]
fn every_route_meets_every_method_and_strange_queries() {
    let (server, root, routes) = start_with_routes();
    for (at, route) in routes.iter().enumerate() {
        if ends_the_test(&route.pattern) {
            continue;
        }
        let name = format!("n{at}");
        for verb in ["read", "list", "write", "patch", "delete"] {
            let reply = send(&root, verb, &route.path(&name), b"{}");
            check(&reply, verb);
            let elsewhere =
                routes.iter().any(|other| other.verbs.contains_key(verb) && fits(&other.pattern, &route.path(&name)));
            if !elsewhere {
                assert_eq!(reply.status, 405, "{reply}");
            }
        }
        let head = root.send("HEAD", &route.path(&name), &[], None);
        let read = root.get(&route.path(&name));
        assert!(head.status == read.status && head.body.is_empty(), "{head}: {read}");
        root.send("TRACE", &route.path(&name), &[], None).fails(405);
        for (verb, field) in route.fields().filter(|(verb, _)| matches!(*verb, "read" | "list")) {
            for value in
                ["", "%00", "-1", "999999999999999999999", "a&a=b&a=c", "%ff", "%zz", "%E2%80%AE", "[]", MARKER]
            {
                let path = format!("{}?{field}={value}", route.path(&name));
                let reply = root.send(method(verb), &path, &[], None);
                if SAID_AGAIN.contains(&field) { check_status(&reply, &path) } else { check(&reply, &path) }
            }
        }
        check(&root.get(&format!("{}?list=true&limit=0&after=%2e%2e%2f", route.path(&name))), "list");
    }
    root.get(&format!("kv/metadata/?list=true&{}", "a=b&".repeat(10_001))).fails(400);
    check_log(&server);
}

#[test]
fn names_that_are_none_are_refused_on_every_route() {
    let (server, root, routes) = start_with_routes();
    let long = "x".repeat(600);
    let names =
        ["-x", "x-", ".x", "a b", "a%20b", "%E2%80%AE", "a%2Fb", "a%00b", "a;b", "a'b", "{{x}}", "ä", "a*", &long, "~"];
    for route in routes.iter().filter(|route| route.pattern.contains('{') && !ends_the_test(&route.pattern)) {
        for verb in route.verbs.keys() {
            for name in names {
                let raw = name.replace(' ', "%20").replace('{', "%7B").replace('}', "%7D").replace('ä', "%C3%A4");
                check(&send(&root, verb, &route.path(&raw), b"{\"data\":{\"a\":1}}"), name);
            }
        }
    }
    // Names compare in one way: what differs in case alone is one policy, one role.
    root.post("sys/policies/acl/UPPER", json!({ "policy": "path \"a\" { capabilities = [\"read\"] }" })).done();
    root.get("sys/policies/acl/upper").ok();
    for name in ["ROOT", "Root", "%72oot"] {
        root.post(&format!("sys/policies/acl/{name}"), json!({ "policy": "path \"a\" { capabilities = [\"read\"] }" }))
            .fails(400);
    }
    for policies in [json!(["Root"]), json!([" root "]), json!("ROOT")] {
        let child = root.post("auth/token/create", json!({ "policies": ["default"] })).client_token();
        root.with_token(&child).post("auth/token/create", json!({ "policies": policies })).fails(403);
        root.post("auth/approle/role/rooted", json!({ "token_policies": policies })).fails(400);
        root.post(
            "auth/jwt/role/rooted",
            json!({ "user_claim": "sub", "bound_subject": "x", "token_policies": policies }),
        )
        .fails(400);
    }
    check_log(&server);
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let (server, root, _) = start_with_routes();
    root.post("kv/data/a/b", json!({ "data": { "x": 1 } })).ok();
    let policy = "path \"kv/data/a/*\" { capabilities = [\"read\"] }";
    root.post("sys/policies/acl/narrow", json!({ "policy": policy })).done();
    let narrow = root.with_token(&root.post("auth/token/create", json!({ "policies": ["narrow"] })).client_token());
    root.post("kv/data/secret", json!({ "data": { "x": MARKER } })).ok();
    let targets = [
        ("/v1/kv/data/a/../secret", 400),
        ("/v1/kv/data/a/%2e%2e/secret", 400),
        ("/v1/kv/data/a/.%2e/secret", 400),
        ("/v1/kv/data/a/..%2fsecret", 400),
        ("/v1/kv/data/a/..%5csecret", 404),
        ("/v1/kv/data/a/%252e%252e/secret", 404),
        ("/v1/kv/data/a/./b", 400),
        ("/v1/kv/data//secret", 400),
        ("/v1//kv/data/secret", 400),
        ("/v1/kv/data/a%2F%2Fsecret", 400),
        ("/v1/kv/data/a/%00", 400),
        ("/v1/kv/data/a/%0a", 400),
        ("/v1/kv/data/a/%ff", 400),
        ("/v1/kv/data/a/%c0%ae%c0%ae/secret", 400),
        ("/v1/kv/data/a/%", 400),
        ("/v1/kv/data/a/%4", 400),
        ("/v1/kv/data/a/%zz", 400),
        ("/v1/kv/data/a/%E2%80%A8", 400),
        ("/v1/sys/../kv/data/secret", 400),
        ("/v1/..", 400),
        ("/v1/.", 400),
        ("/v1/", 404),
        ("/v1", 404),
        ("/v2/kv/data/a/b", 404),
        ("/V1/kv/data/a/b", 404),
        ("/kv/data/a/b", 404),
        ("/../v1/kv/data/a/b", 404),
        ("//v1/kv/data/a/b", 404),
        ("/v1/KV/data/a/b", 404),
        ("/v1/kv/DATA/a/b", 404),
        ("/v1/kv/data/A/b", 404),
        ("/v1/kv/data/a/b", 200),
        ("/v1/kv/data%2Fa%2Fb", 200),
        ("/v1/kv/data/a/b?version=1#fragment", 0),
    ];
    for (target, status) in targets {
        let reply = root.send_to("GET", target, &[], None);
        assert!(reply.status == status || status == 0, "{reply}");
        assert!(reply.status < 500 && !reply.text().contains(MARKER), "{reply}");
        // Whoever may read below `a` gets nowhere else by any of them.
        let reply = narrow.send_to("GET", target, &[], None);
        assert!(reply.status < 500 && !reply.text().contains(MARKER), "{reply}");
    }
    let long = format!("/v1/kv/data/{}", "x".repeat(5000));
    root.send_to("GET", &long, &[], None).refused(400, "path is longer");
    narrow.get("kv/data/secret").refused(403, "permission denied");
    check_log(&server);
}

#[test]
fn without_a_right_every_route_says_the_same() {
    let (mut server, root, routes) = start_with_routes();
    let nothing =
        root.post("auth/token/create", json!({ "policies": ["none"], "no_default_policy": true })).client_token();
    let batch = root
        .post("auth/token/create", json!({ "policies": ["none"], "no_default_policy": true, "type": "batch" }))
        .client_token();
    let denied = "permission denied";
    let limited = [root.with_token(&nothing), root.with_token(&batch)];
    let unknown = [
        root.with_token(""),
        root.with_token("garbage"),
        root.with_token("hvs."),
        root.with_token(&format!("hvs.{}", "A".repeat(92))),
        root.with_token("hvb.AAAA"),
        root.with_token(&format!("hvb.{}", "A".repeat(400))),
        root.with_token("s.1234"),
        root.with_token(&server.root_token().to_lowercase()),
    ];
    for route in &routes {
        for verb in ["read", "list", "write", "patch", "delete"] {
            let path = route.path("x");
            if OPEN.contains(&route.pattern.as_str()) && route.verbs.contains_key(verb) {
                continue;
            }
            let open = |other: &&str| fits(other, &path);
            if OPEN.iter().any(open) {
                continue;
            }
            for wire in &limited {
                send(wire, verb, &path, b"{}").refused(403, denied);
            }
            for wire in &unknown {
                send(wire, verb, &path, b"{}").refused(403, denied);
            }
        }
    }
    // A token that cannot be one.
    let long = "x".repeat(9000);
    assert_eq!(
        root.send("GET", "sys/mounts", &[("X-Vault-Token", "a b")], None).status,
        200,
        "the first of two headers counts"
    );
    root.with_token(&long).get("sys/mounts").fails(431);
    root.with_token("").send("GET", "sys/mounts", &[("X-Vault-Token", "a b")], None).fails(400);
    check_log(&server);

    // And a sealed server says one thing alone.
    server.stop();
    server.launch();
    for route in &routes {
        for verb in ["read", "list", "write", "patch", "delete"] {
            for wire in [&root, &unknown[0], &unknown[1]] {
                send(wire, verb, &route.path("x"), b"{}").refused(503, "Vault is sealed");
            }
        }
    }
}

#[test]
fn the_routes_of_the_seal_refuse_what_makes_no_sense() {
    let (server, root, _) = start_with_routes();
    let anybody = root.with_token("");
    let mut paths: Vec<&str> = vec!["sys/unseal", "sys/init", "sys/rekey/init", "sys/rekey/update", "sys/rekey/verify"];
    paths.extend(["sys/generate-root/attempt", "sys/generate-root/update", "sys/rekey/none", "sys/generate-root/none"]);
    let fields = [
        "key",
        "nonce",
        "reset",
        "migrate",
        "secret_shares",
        "secret_threshold",
        "pgp_keys",
        "otp",
        "pgp_key",
        "backup",
        "require_verification",
    ];
    for path in paths {
        for verb in ["read", "list", "patch", "delete"] {
            check(&send(&anybody, verb, path, b"{}"), verb);
        }
        for body in ["[]", "7", "{", "\"x\""] {
            let reply = send(&anybody, "write", path, body.as_bytes());
            check(&reply, body);
            assert!(reply.status >= 400, "{reply}: {body}");
        }
        for field in fields {
            for value in values() {
                let body = json!({ field: value }).to_string();
                check(&send(&anybody, "write", path, body.as_bytes()), &body);
            }
        }
        anybody.delete("sys/generate-root/attempt");
    }
    for path in ["sys/health", "sys/seal-status", "sys/leader"] {
        for verb in ["list", "write", "patch", "delete"] {
            send(&anybody, verb, path, b"{}").fails(405);
        }
    }
    for query in
        ["sealedcode=abc", "activecode=99999", "activecode=0", "activecode=-1", "standbyok=%00", "activecode=%ff"]
    {
        let reply = anybody.get(&format!("sys/health?{query}"));
        assert!(matches!(reply.status, 200 | 400), "{reply}");
    }
    root.get("sys/mounts").ok();
    check_log(&server);
}

/// Sends bytes as they are, then nothing more or, if there should be more, the end; what came back.
fn raw(server: &Server, bytes: &[u8], ends_early: bool) -> String {
    let address = server.address();
    let mut stream = TcpStream::connect(address.split_once("//").unwrap().1).unwrap();
    stream.set_read_timeout(Some(testkit::server::PATIENCE)).unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    if ends_early {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_not_http_does_no_harm() {
    let (server, root, _) = start_with_routes();
    let token = server.root_token();
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (b"\x16\x03\x01\x00\x05hello".to_vec(), ""),
        (b"GET\r\n\r\n".to_vec(), "400"),
        (b"GET /v1/sys/health\r\n\r\n".to_vec(), "400"),
        (b"GET /v1/sys/health HTTP/9.9\r\n\r\n".to_vec(), "400"),
        (b"GET /v1/sys/health HTTP/1.1\r\nHost\r\n\r\n".to_vec(), "400"),
        (b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(), "400"),
        (b"POST /v1/cubbyhole/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{\"a\":".to_vec(), "400"),
        (format!("POST /v1/cubbyhole/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nContent-Length: 99999999999\r\n\r\n{{}}").into_bytes(), "413"),
        (format!("POST /v1/cubbyhole/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nContent-Length: 100\r\n\r\n{{\"a\":1").into_bytes(), ""),
        (format!("POST /v1/cubbyhole/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").into_bytes(), ""),
        (format!("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000)).into_bytes(), "431"),
        (format!("GET /v1/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "x".repeat(100_000)).into_bytes(), "4"),
        (format!("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(500)).into_bytes(), "431"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(), "4"),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(), "4"),
        (b"GET http://elsewhere/v1/sys/health HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n".to_vec(), "200"),
    ];
    for (bytes, status) in rows {
        let answer = raw(&server, &bytes, status.is_empty());
        let shown: String = String::from_utf8_lossy(&bytes).chars().take(120).collect();
        assert!(!answer.contains(" 500 ") && !answer.contains(token), "{shown}: {answer}");
        let line = answer.lines().next().unwrap_or_default();
        assert!(
            status.is_empty() || line.split(' ').nth(1).is_some_and(|code| code.starts_with(status)),
            "{shown}: {line:?}"
        );
        // Half a request has done nothing.
        root.get("cubbyhole/x").refused(404, "");
    }
    // A client that hangs up at once, many times.
    for _ in 0..50 {
        let address = server.address();
        drop(TcpStream::connect(address.split_once("//").unwrap().1).unwrap());
    }
    root.get("sys/mounts").ok();
    check_log(&server);
}
