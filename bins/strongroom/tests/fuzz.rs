//! Requests that were spoilt at random, on every family of routes of a running server: no status 500, no panic, and no
//! secret in a log.
//!
//! The seed is printed, and the number of the request that went wrong. The same seed makes the same requests again:
//!
//! ```text
//! STRONGROOM_FUZZ_SEED=17 cargo test -p strongroom --test fuzz
//! STRONGROOM_FUZZ_SEED=17 STRONGROOM_FUZZ_FAMILY=kv/data STRONGROOM_FUZZ_REQUESTS=10000 cargo test -p strongroom --test fuzz
//! ```
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use serde_json::{Value, json};
use testkit::wire::{Reply, Wire};

use crate::kit::{
    logs::{MARKER, check_log},
    routes::{Route, base, ends_the_test, method, names_no_connection, start_with_routes},
};

/// How many requests each family gets if nothing is said: all of them together take a quarter of a minute.
const REQUESTS: u64 = 80;

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

/// A request in the making.
#[derive(Debug)]
struct Spoilt {
    method: String,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Spoilt {
    /// A request that makes some sense.
    fn new(dice: &mut Dice, route: &Route, number: u64) -> Self {
        let verbs: Vec<&String> = route.verbs.keys().collect();
        let verb = dice.of(&verbs);
        let mut body = base(&route.pattern);
        for field in &route.verbs[verb] {
            if dice.one_in(2) {
                body[field] = value(dice, 0);
            }
        }
        if route.pattern.starts_with("kv/data") {
            body["data"] = json!({ "password": MARKER, "n": dice.next() });
        }
        let kind = if verb == "patch" { "application/merge-patch+json" } else { "application/json" };
        let body = if matches!(verb.as_str(), "write" | "patch") { body.to_string().into_bytes() } else { Vec::new() };
        let shared = if dice.one_in(2) { "shared".to_owned() } else { format!("n{number}") };
        Self {
            method: method(verb).to_owned(),
            path: route.path(&shared),
            query: String::new(),
            headers: vec![("Content-Type", kind.to_owned())],
            body,
        }
    }

    fn spoil(&mut self, dice: &mut Dice, others: &[&Route]) {
        match dice.below(14) {
            0 => {
                self.method = dice
                    .of(&["GET", "PUT", "POST", "PATCH", "DELETE", "LIST", "SCAN", "TRACE", "FOO", "HEAD"])
                    .to_owned()
            }
            1 | 2 => self.spoil_path(dice, others),
            3 => self.query.push_str(&query(dice)),
            4 => self.headers.push(header(dice)),
            5 => {
                self.headers.retain(|(name, _)| *name != "Content-Type");
                let kinds = [
                    "text/plain",
                    "application/x-www-form-urlencoded",
                    "application/json; charset=utf-16",
                    "x",
                    "multipart/form-data",
                ];
                self.headers.push(("Content-Type", dice.of(&kinds).to_owned()));
            }
            6 => self.body = body(dice),
            _ => self.spoil_body(dice),
        }
    }

    fn spoil_path(&mut self, dice: &mut Dice, others: &[&Route]) {
        let odd = [
            "..",
            "%2e%2e",
            ".%2e",
            ".",
            "",
            "%00",
            "%ff",
            "%c0%ae",
            "%E2%80%AE",
            "%20",
            "%2F",
            "%252e",
            ";",
            "*",
            "+",
            "{name}",
            "%7B%7B",
            "~",
            "%F0%9F%94%91",
            "con",
            "%",
            "%zz",
            "%0d%0a",
            "@",
            ":",
            "'",
            "\"",
            "\\",
        ];
        let mut parts: Vec<String> = self.path.split('/').map(str::to_owned).collect();
        let at = dice.below(parts.len());
        match dice.below(7) {
            0 => parts.insert(at, dice.of(&odd).to_owned()),
            1 => parts[at] = dice.of(&odd).to_owned(),
            2 => parts[at].push_str(dice.of(&odd)),
            3 => drop(parts.remove(at)),
            4 => parts.push(String::new()),
            5 => parts.push("x".repeat(1 << dice.below(13))),
            _ => parts = others[dice.below(others.len())].path("other").split('/').map(str::to_owned).collect(),
        }
        self.path = parts.join("/");
    }

    fn spoil_body(&mut self, dice: &mut Dice) {
        let Ok(Value::Object(mut object)) = serde_json::from_slice::<Value>(&self.body) else {
            self.body = body(dice);
            return;
        };
        let names: Vec<String> = object.keys().cloned().collect();
        match dice.below(8) {
            0 if !self.body.is_empty() => self.body.truncate(dice.below(self.body.len())),
            1 if !self.body.is_empty() => {
                for _ in 0..=dice.below(3) {
                    let at = dice.below(self.body.len());
                    self.body[at] = u8::try_from(dice.next() % 256).unwrap();
                }
            }
            2 => {
                // A name twice.
                let text = String::from_utf8(self.body.clone()).unwrap();
                if let Some(name) = names.first() {
                    self.body = format!("{{{}:{},{}", json!(name), value(dice, 0), &text[1..]).into_bytes();
                }
            }
            3 | 4 if !names.is_empty() => {
                object.insert(dice.of(&names), value(dice, 0));
                self.body = Value::Object(object).to_string().into_bytes();
            }
            5 if !names.is_empty() => {
                object.remove(&dice.of(&names));
                self.body = Value::Object(object).to_string().into_bytes();
            }
            6 => {
                let name = dice.of(&["", "\u{0}", "constructor", "\u{202e}", "a.b", "data", "options", "ttl", "*"]);
                object.insert(name.to_owned(), value(dice, 0));
                self.body = Value::Object(object).to_string().into_bytes();
            }
            _ => self.body.extend_from_slice(dice.of(&[&b" "[..], b"{}", b"}", b"\0", b"\xff", b",", b"null"])),
        }
    }

    /// What ends the test, or never ends, is not sent.
    fn is_harmless(&self) -> bool {
        let path = self.path.to_lowercase();
        let query = self.query.to_lowercase();
        !["seal", "revoke-self", "events", "monitor", "step-down", "sys/auth", "sys/mounts", "sys/audit", "logger", "remount"]
            .iter()
            .any(|word| path.contains(word))
            // `%73eal` and the like.
            && !path.contains("%7") && !path.contains("%6") && !query.contains("follow")
    }

    fn target(&self) -> String {
        // What is no part of a request line is not what is tried here.
        let path: String = self.path.chars().filter(|c| c.is_ascii_graphic()).collect();
        if self.query.is_empty() { format!("/v1/{path}") } else { format!("/v1/{path}?{}", self.query) }
    }

    fn send(&self, wire: &Wire) -> Reply {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        wire.send_to(&self.method, &self.target(), &headers, Some(&self.body))
    }
}

/// Any value, most of them of the wrong type.
fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth > 4 { 10 } else { 13 }) {
        0 => Value::Null,
        1 => dice.one_in(2).into(),
        2 => dice.of(&[0_i64, 1, -1, 2, 255, 65_536, i64::MAX, i64::MIN]).into(),
        3 => dice.of(&[0.5, -0.0, 1e300, 1e-300]).into(),
        4 => u64::MAX.into(),
        5 => dice
            .of(&["", " ", "0", "-1", "1h", "-5s", "99999999999h", "1e9", "true", "null", "default", "root", "*"])
            .into(),
        6 => dice
            .of(&["\u{0}", "\u{202e}", "../../x", "{{identity.entity.id}}", "%s%n", "\u{1F511}", "a,b,,c", "\r\n"])
            .into(),
        7 => MARKER.into(),
        8 => "x".repeat(1 << dice.below(14)).into(),
        9 => dice
            .of(&[
                "kv/shared",
                "kv/data/shared",
                "shared",
                "shared/below#password",
                "kv/shared/below#password",
                "2026-01-01T00:00:00Z",
            ])
            .into(),
        10 => (0..dice.below(4)).map(|_| value(dice, depth + 1)).collect(),
        11 => json!({ "path": "shared/below", "data": value(dice, depth + 1) }),
        _ => {
            let names = ["a", "path", "data", "cas", "id", "name", "", "\u{0}", MARKER];
            (0..dice.below(4)).map(|_| (dice.of(&names).to_owned(), value(dice, depth + 1))).collect()
        }
    }
}

/// A body that is most likely none.
fn body(dice: &mut Dice) -> Vec<u8> {
    let deep = 1 << dice.below(12);
    match dice.below(9) {
        0 => Vec::new(),
        1 => format!("{{\"a\":{}{}}}", "[".repeat(deep), "]".repeat(deep)).into_bytes(),
        2 => format!("{}{}", "{\"a\":".repeat(deep), "}".repeat(deep)).into_bytes(),
        3 => (0..dice.below(64)).map(|_| u8::try_from(dice.next() % 256).unwrap()).collect(),
        4 => {
            let many = (0..1 << dice.below(12)).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",");
            format!("{{{many}}}").into_bytes()
        }
        5 => format!("[\"{MARKER}\"]").into_bytes(),
        6 => format!("{{\"a\":{}}}", "9".repeat(1 << dice.below(12))).into_bytes(),
        7 => b"{\"a\":\"\xff\xfe\",\"\\ud800\":1}".to_vec(),
        _ => format!("a={MARKER}&b=%zz&a=%00").into_bytes(),
    }
}

fn query(dice: &mut Dice) -> String {
    let names = [
        "help",
        "list",
        "scan",
        "version",
        "limit",
        "after",
        "depth",
        "label",
        "name",
        "meta.x",
        "token",
        "references",
        "a",
    ];
    let values = [
        "1",
        "true",
        "-1",
        "0",
        "99999999999999999999",
        "",
        "%00",
        "%ff",
        "%zz",
        "current",
        "*",
        "..",
        "%E2%80%AE",
        "[]",
    ];
    format!("{}={}&", dice.of(&names), dice.of(&values))
}

fn header(dice: &mut Dice) -> (&'static str, String) {
    let names = [
        "X-Vault-Wrap-TTL",
        "X-Vault-Namespace",
        "X-Vault-Token",
        "If-None-Match",
        "X-Vault-Index",
        "X-Vault-Request",
        "Authorization",
        "Content-Encoding",
        "Accept",
        "Origin",
        "X-Forwarded-For",
        "Range",
        "X-HTTP-Method-Override",
        "X-Vault-Inconsistent",
        "Accept-Encoding",
    ];
    let values = [
        "",
        "1",
        "-1",
        "5m",
        "99999999h",
        "root",
        "a/b",
        "../",
        "gzip",
        "*",
        "\"1-x\"",
        "DELETE",
        "Bearer x",
        "https://elsewhere.example.com",
        "v1:a:b:c",
        "bytes=0-",
        "text/event-stream",
    ];
    (dice.of(&names), dice.of(&values).to_owned())
}

/// The first parts of a pattern: what one module answers.
fn family(pattern: &str) -> String {
    let parts: Vec<&str> = pattern.split('/').take_while(|part| !part.starts_with('{')).collect();
    parts[..parts.len().min(2)].join("/")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn spoilt_requests_do_no_harm() {
    let seed = number("STRONGROOM_FUZZ_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() % 1_000_000);
    let requests = number("STRONGROOM_FUZZ_REQUESTS").unwrap_or(REQUESTS);
    let only = std::env::var("STRONGROOM_FUZZ_FAMILY").ok();
    println!("STRONGROOM_FUZZ_SEED={seed}");
    let (server, root, routes) = start_with_routes();
    root.post(
        "sys/policies/acl/narrow",
        json!({ "policy": "path \"kv/data/*\" { capabilities = [\"read\", \"create\"] }" }),
    )
    .done();
    let narrow = root.with_token(&root.post("auth/token/create", json!({ "policies": ["narrow"] })).client_token());
    let nobody = root.with_token("");
    root.post("kv/data/shared/below", json!({ "data": { "password": MARKER } })).ok();
    let routes: Vec<&Route> = routes.iter().filter(|route| !ends_the_test(&route.pattern)).collect();
    let mut families: BTreeMap<String, Vec<&Route>> = BTreeMap::new();
    for route in &routes {
        families.entry(family(&route.pattern)).or_default().push(route);
    }
    let mut by_status: BTreeMap<u16, u64> = BTreeMap::new();
    for (name, members) in families.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == *name)) {
        // Each family has its own dice, so that one alone gets the same requests.
        let mut dice = Dice(name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
        for at in 0..requests {
            let route = dice.of(members);
            let mut spoilt = Spoilt::new(&mut dice, route, at);
            for _ in 0..dice.below(4) {
                spoilt.spoil(&mut dice, &routes);
            }
            let wire = match dice.below(10) {
                0 => &nobody,
                1 => &narrow,
                _ => &root,
            };
            if !spoilt.is_harmless() {
                continue;
            }
            let reply = spoilt.send(wire);
            let story = || format!("seed {seed}, family {name}, request {at}: {spoilt:?}\n{reply}");
            assert!(reply.status < 500 || names_no_connection(&reply), "{}", story());
            let leaks = reply.status >= 400 && wire.token() != root.token() && reply.text().contains(MARKER);
            assert!(!leaks || String::from_utf8_lossy(&spoilt.body).contains(MARKER), "{}", story());
            *by_status.entry(reply.status).or_default() += 1;
            if reply.status == 429 {
                // A limit that a request has set by chance.
                for kind in ["rate-limit", "lease-count"] {
                    let names = root.list(&format!("sys/quotas/{kind}"));
                    for name in names.json()["data"]["keys"].as_array().into_iter().flatten() {
                        root.delete(&format!("sys/quotas/{kind}/{}", name.as_str().unwrap()));
                    }
                }
            }
        }
        root.get("auth/token/lookup-self").ok();
    }
    println!("{} families, replies by status: {by_status:?}", families.len());
    if only.is_none() {
        let sent: u64 = by_status.values().sum();
        assert!(families.len() > 40 && sent > families.len() as u64 * requests / 2, "{sent} in {}", families.len());
        assert!(by_status.contains_key(&400) && by_status.contains_key(&403), "{by_status:?}");
        let good: u64 = by_status.iter().filter(|(status, _)| **status < 300).map(|(_, count)| count).sum();
        assert!(good * 10 > sent, "hardly any request makes sense: {by_status:?}");
    }
    check_log(&server);
}

/// A pattern without the names of its parts.
fn bare(pattern: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_has_help_and_a_schema() {
    let (_server, root, routes) = start_with_routes();
    let document = root.get("sys/internal/specs/openapi").ok();
    // Some parts of paths have other names there, which generated clients know.
    let paths: BTreeMap<_, _> =
        document["paths"].as_object().unwrap().iter().map(|(path, at)| (bare(path), at)).collect();
    for route in &routes {
        let plain = format!("/{}", route.pattern.replace("...}", "}"));
        for (verb, fields) in route.verbs.iter().filter(|(verb, _)| *verb != "scan") {
            let (path, operation) = match verb.as_str() {
                "list" => (format!("{}/", plain.trim_end_matches('/')), "get"),
                "read" => (plain.clone(), "get"),
                "patch" => (plain.clone(), "patch"),
                "delete" => (plain.clone(), "delete"),
                _ => (plain.clone(), "post"),
            };
            let shown = &paths.get(&bare(&path)).unwrap_or_else(|| panic!("{path} is not in the document"))[operation];
            assert!(shown["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{verb} {path}: {shown}");
            let body = &shown["requestBody"]["content"]["application/json"]["schema"];
            let schema = match body["$ref"].as_str() {
                Some(name) => document.pointer(name.trim_start_matches('#')).unwrap(),
                None => body,
            };
            let parameters = shown["parameters"].as_array().cloned().unwrap_or_default();
            // The fields that a route reads in its own way are known to the test alone.
            let described = !schema["properties"].is_null() || !parameters.is_empty();
            for field in fields.iter().filter(|_| described && !fields.is_empty()) {
                let in_body = schema["properties"].get(field).is_some_and(|property| !property.is_null());
                let in_query = parameters.iter().any(|parameter| parameter["name"] == **field);
                let known =
                    in_body || in_query || kit::routes::MORE.iter().any(|(pattern, _)| *pattern == route.pattern);
                assert!(known, "{verb} {path} has no schema for {field}: {shown}");
            }
        }
        let helped = root.get(&format!("{}?help=1", route.path("x")));
        assert!(helped.status == 200 && helped.text().contains("help"), "{helped}");
    }
}
