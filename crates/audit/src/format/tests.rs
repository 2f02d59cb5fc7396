use std::collections::BTreeMap;

use super::*;
use crate::entry::{Body, Kind, Memo, Namespace, Pairs, Texts};

const TOKEN: &str = "hvs.MARKER-token";
const ACCESSOR: &str = "MARKER-accessor";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn format(common: Common) -> Format {
    Format::new(Hasher::new(&[7; 32]), common)
}

fn line(common: Common, entry: &Entry<'_>) -> String {
    String::from_utf8(format(common).line(entry)).unwrap()
}

fn hash(text: &str) -> String {
    Hasher::new(&[7; 32]).hash(text.as_bytes())
}

fn auth() -> Auth<'static> {
    Auth {
        client_token: Sensitive::new(TOKEN),
        accessor: ACCESSOR,
        display_name: "jwt-app",
        policies: Texts::Borrowed(&["app-prod", "default"]),
        token_policies: Texts::Borrowed(&["default"]),
        identity_policies: Texts::Borrowed(&["app-prod"]),
        policy_results: Some(PolicyResults {
            allowed: true,
            granting_policies: &[Granting {
                name: "app-prod",
                namespace_id: "root",
                namespace_path: "",
                kind: "acl",
                rule: "database/creds/+",
                line: 3,
            }],
        }),
        metadata: Pairs::Borrowed(&[("role", "app")]),
        num_uses: 5,
        remaining_uses: 4,
        entity_id: "e-1",
        entity_created: true,
        token_type: "service",
        token_ttl: 3600,
        token_issue_time: Some(at("2026-01-02T03:00:00Z")),
        ..Auth::default()
    }
}

fn request() -> Request<'static> {
    Request {
        id: "r-1",
        client_id: "c-1",
        operation: "read",
        mount_point: "database/",
        mount_type: "database",
        mount_accessor: "database_1a2b3c4d",
        mount_class: "secret",
        client_token: Sensitive::new(TOKEN),
        client_token_accessor: ACCESSOR,
        namespace: Namespace { id: "root", path: "" },
        path: "database/creds/app",
        data: Data { body: Body::Json(br#"{"note":"MARKER-note","n":1}"#), ..Data::default() },
        remote_address: "10.0.0.7",
        remote_port: 40112,
        wrap_ttl: 60,
        headers: &[
            Header { name: "x-app", value: "one", hashed: false },
            Header { name: "x-app", value: "two", hashed: false },
            Header { name: "x-key", value: "MARKER-header", hashed: true },
        ],
        ..Request::default()
    }
}

fn response() -> Response<'static> {
    Response {
        mount_point: "database/",
        mount_type: "database",
        mount_accessor: "database_1a2b3c4d",
        mount_class: "secret",
        lease_id: "database/creds/app/abc",
        data: Data {
            body: Body::Json(br#"{"username":"v-app-1","password":"MARKER-pw"}"#),
            clear: &["username"],
            ..Data::default()
        },
        warnings: Texts::Borrowed(&["take care"]),
        ..Response::default()
    }
}

#[test]
fn what_is_kept_beside_a_caller_and_its_data_is_written_as_if_it_were_not() {
    let (caller, data) = (secret::Kept::default(), secret::Kept::default());
    let (auth, request, response) = (auth(), request(), response());
    let kept_auth = Auth { kept: Some(&caller), ..auth };
    let kept_response = Response { data: Data { kept: Some(&data), ..response.data }, ..response };
    let now = at("2026-01-02T03:04:05.678Z");
    let plain = Entry::response(now, &request, Some(&response)).auth(Some(&auth));
    let kept = Entry::response(now, &request, Some(&kept_response)).auth(Some(&kept_auth));
    let open = || Common { log_raw: true, ..Common::default() };
    for format in [Format::new(Hasher::new(&[7; 32]), Common::default()), Format::new(Hasher::new(&[8; 32]), open())] {
        let want = String::from_utf8(format.line(&plain)).unwrap();
        for _ in 0..2 {
            assert_eq!(String::from_utf8(format.line(&kept)).unwrap(), want);
        }
    }
    // How often a token may still be used is another number each time.
    let later = Auth { remaining_uses: 3, ..kept_auth };
    let format = Format::new(Hasher::new(&[7; 32]), Common::default());
    let lines = [&kept_auth, &later].map(|auth| format.line(&Entry::request(now, &request).auth(Some(auth))));
    let [first, second] = lines.map(|line| String::from_utf8(line).unwrap());
    assert_eq!(second, first.replace("\"remaining_uses\":4", "\"remaining_uses\":3"));
}

#[test]
fn a_request_is_written_in_the_documented_layout() {
    let (auth, request) = (auth(), request());
    let entry = Entry::request(at("2026-01-02T03:04:05.678Z"), &request).auth(Some(&auth));
    let want = concat!(
        r#"{"time":"2026-01-02T03:04:05.678Z","type":"request","#,
        r#""auth":{"client_token":"<token>","accessor":"<accessor>","display_name":"jwt-app","#,
        r#""policies":["app-prod","default"],"token_policies":["default"],"identity_policies":["app-prod"],"#,
        r#""metadata":{"role":"app"},"num_uses":5,"entity_id":"e-1","entity_created":true,"token_type":"service","#,
        r#""token_ttl":3600,"token_issue_time":"2026-01-02T03:00:00Z","remaining_uses":4,"#,
        r#""policy_results":{"allowed":true,"granting_policies":[{"name":"app-prod","namespace_id":"root","#,
        r#""type":"acl","rule":"database/creds/+","line":3}]}},"#,
        r#""request":{"id":"r-1","client_id":"c-1","operation":"read","mount_point":"database/","#,
        r#""mount_type":"database","mount_accessor":"database_1a2b3c4d","mount_class":"secret","#,
        r#""client_token":"<token>","client_token_accessor":"<accessor>","namespace":{"id":"root"},"#,
        r#""path":"database/creds/app","data":{"note":"<note>","n":1},"remote_address":"10.0.0.7","#,
        r#""remote_port":40112,"wrap_ttl":60,"headers":{"x-app":["one","two"],"x-key":["<header>"]}}}"#,
        "\n"
    );
    let want = want
        .replace("<token>", &hash(TOKEN))
        .replace("<accessor>", &hash(ACCESSOR))
        .replace("<note>", &hash("MARKER-note"))
        .replace("<header>", &hash("MARKER-header"));
    assert_eq!(line(Common::default(), &entry), want);
}

#[test]
fn a_memo_changes_nothing() {
    let (auth, request, response) = (auth(), request(), response());
    let other_request = Request { id: "r-other", path: "other", ..request };
    let memo = Memo::default();
    let formats = [format(Common::default()), Format::new(Hasher::new(&[8; 32]), Common::default())];
    let raw = Format::new(formats[0].hasher().clone(), Common { log_raw: true, ..Common::default() });
    for _ in 0..2 {
        for format in formats.iter().chain([&raw]) {
            for (auth, request) in [(Some(&auth), &request), (None, &request), (Some(&auth), &other_request)] {
                let entered = Entry::request(at("2026-01-02T03:04:05Z"), request).auth(auth);
                let left = Entry::response(at("2026-01-02T03:04:06Z"), request, Some(&response)).auth(auth);
                assert_eq!(format.line(&entered.memo(&memo)), format.line(&entered));
                assert_eq!(format.line(&left.memo(&memo)), format.line(&left));
            }
        }
    }
}

#[test]
fn a_response_is_written_in_the_documented_layout() {
    let login = Auth { client_token: Sensitive::new("hvs.MARKER-new"), accessor: "MARKER-new-accessor", ..auth() };
    let request = Request { id: "r-2", operation: "update", path: "auth/jwt/login", ..Request::default() };
    let response = Response {
        auth: Some(&login),
        wrap_info: Some(WrapInfo {
            ttl: 60,
            token: Sensitive::new("hvs.MARKER-wrap"),
            accessor: "MARKER-wrap-accessor",
            creation_time: Some(at("2026-01-02T03:04:05Z")),
            creation_path: "auth/jwt/login",
            wrapped_accessor: "MARKER-new-accessor",
        }),
        ..response()
    };
    let entry = Entry::response(at("2026-01-02T03:04:06Z"), &request, Some(&response));
    let text = line(Common::default(), &entry);
    assert!(!text.contains("MARKER"), "{text}");
    let got: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = |pointer: &str| -> Vec<String> {
        // In the order of the text.
        let part = serde_json::to_string(got.pointer(pointer).unwrap()).unwrap();
        let part: BTreeMap<String, serde_json::Value> = serde_json::from_str(&part).unwrap();
        part.into_keys().collect()
    };
    assert_eq!(keys(""), ["request", "response", "time", "type"]);
    assert_eq!(
        keys("/response"),
        [
            "auth",
            "data",
            "mount_accessor",
            "mount_class",
            "mount_point",
            "mount_type",
            "secret",
            "warnings",
            "wrap_info"
        ]
    );
    assert_eq!(
        keys("/response/wrap_info"),
        ["accessor", "creation_path", "creation_time", "token", "ttl", "wrapped_accessor"]
    );
    assert_eq!(got.pointer("/response/secret/lease_id").unwrap(), "database/creds/app/abc");
    assert_eq!(got.pointer("/response/data/username").unwrap(), "v-app-1");
    assert_eq!(got.pointer("/response/data/password").unwrap(), hash("MARKER-pw").as_str());
    assert_eq!(got.pointer("/response/auth/client_token").unwrap(), hash("hvs.MARKER-new").as_str());
    assert_eq!(got.pointer("/response/wrap_info/token").unwrap(), hash("hvs.MARKER-wrap").as_str());
}

#[test]
fn a_refusal_says_what_was_refused() {
    let auth = Auth { policy_results: Some(PolicyResults::default()), ..Auth::default() };
    let request = Request { id: "r-3", operation: "read", path: "secret/data/x", ..Request::default() };
    let error = "1 error occurred:\n\t* permission denied\n\n";
    let entry = Entry::response(at("2026-01-02T03:04:05Z"), &request, None).auth(Some(&auth)).error(error);
    assert_eq!(
        line(Common::default(), &entry),
        concat!(
            r#"{"time":"2026-01-02T03:04:05Z","type":"response","auth":{"policy_results":{"allowed":false}},"#,
            r#""request":{"id":"r-3","operation":"read","path":"secret/data/x"},"#,
            r#""error":"1 error occurred:\n\t* permission denied\n\n"}"#,
            "\n"
        )
    );
}

#[test]
fn options_change_what_is_hashed() {
    let (auth, request, response) = (auth(), request(), response());
    let entry = Entry::response(at("2026-01-02T03:04:05Z"), &request, Some(&response)).auth(Some(&auth));
    let clear_accessor = line(Common { hmac_accessor: false, ..Common::default() }, &entry);
    assert!(clear_accessor.contains(ACCESSOR) && !clear_accessor.contains(TOKEN));
    let raw = line(Common { log_raw: true, ..Common::default() }, &entry);
    for marker in [ACCESSOR, TOKEN, "MARKER-note", "MARKER-pw", "MARKER-header"] {
        assert!(raw.contains(marker), "{marker}");
    }
    assert!(!raw.contains("hmac-sha256:"));
    let prefixed = line(Common { prefix: "@cee: ".to_owned(), ..Common::default() }, &entry);
    assert!(prefixed.starts_with("@cee: {\"time\"") && prefixed.ends_with("}\n"));
}

#[test]
fn only_the_answers_to_lists_are_counted() {
    let common = Common { elide_list_responses: true, ..Common::default() };
    let data = Data { body: Body::Json(br#"{"keys":["a","b"]}"#), ..Data::default() };
    let response = Response { data, ..Response::default() };
    for (operation, counted) in [("list", true), ("read", false)] {
        let request = Request { operation, data, ..Request::default() };
        let text = line(common.clone(), &Entry::response(at("2026-01-02T03:04:05Z"), &request, Some(&response)));
        let got: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(got.pointer("/response/data/keys").unwrap().is_u64(), counted);
        assert!(got.pointer("/request/data/keys").unwrap().is_array());
    }
}

#[test]
fn a_line_cannot_be_forged_through_any_field() {
    let evil = "x\"}\n{\"type\":\"response\"}\n\u{0}";
    let texts = [evil];
    let pairs = [(evil, evil)];
    let headers = [Header { name: evil, value: evil, hashed: false }];
    let auth =
        Auth { display_name: evil, policies: Texts::Borrowed(&texts), metadata: Pairs::Borrowed(&pairs), ..auth() };
    let data = Data { body: Body::Json(evil.as_bytes()), ..Data::default() };
    let request = Request { path: evil, remote_address: evil, headers: &headers, data, ..request() };
    let response =
        Response { auth: Some(&auth), data, redirect: evil, warnings: Texts::Borrowed(&texts), ..response() };
    for kind in [Kind::Request, Kind::Response] {
        for log_raw in [false, true] {
            let entry = Entry::response(at("2026-01-02T03:04:05Z"), &request, Some(&response)).auth(Some(&auth));
            let entry = Entry { kind, ..entry.error(evil) };
            let text = line(Common { log_raw, ..Common::default() }, &entry);
            assert_eq!(text.matches('\n').count(), 1);
            let got: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(got.pointer("/type").unwrap(), kind.as_str());
            assert_eq!(got.pointer("/request/path").unwrap(), evil);
        }
    }
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let (auth, request, response) = (auth(), request(), response());
    let entry = Entry::response(Timestamp::UNIX_EPOCH, &request, Some(&response)).auth(Some(&auth));
    let shown = format!("{entry:?}");
    for marker in [TOKEN, "MARKER-note", "MARKER-pw", "MARKER-header"] {
        assert!(!shown.contains(marker), "{marker}");
    }
}
