use proptest::prelude::*;
use serde_json::{Map, Value, value::RawValue};

use super::*;
use crate::entry::Texts;

fn hasher() -> Hasher {
    Hasher::new(&[7; 32])
}

fn rewrite_with(body: &str, unhashed: &[&str], clear: &[&str], elide: bool) -> String {
    let hasher = hasher();
    let data = Data { body: Body::Json(body.as_bytes()), unhashed: Texts::Borrowed(unhashed), clear, kept: None };
    let mut out = Vec::new();
    write_data(&data, &Rules { hasher: Some(&hasher), elide }, &mut out);
    String::from_utf8(out).unwrap()
}

fn rewrite(body: &str) -> String {
    rewrite_with(body, &[], &[], false)
}

fn hash(text: &str) -> String {
    format!("\"{}\"", hasher().hash(text.as_bytes()))
}

#[test]
fn strings_are_hashed_and_everything_else_stays() {
    let h = hash;
    let rows: &[(&str, String)] = &[
        (r#"{"a":"x"}"#, format!(r#"{{"a":{}}}"#, h("x"))),
        (r#" { "a" : [ "x" , { "b" : "y" } ] } "#, format!(r#"{{"a":[{},{{"b":{}}}]}}"#, h("x"), h("y"))),
        (r#"{"n":12345678901234567890123,"f":-1.50e+10,"t":true,"u":false,"z":null}"#, String::new()),
        (r#"{"a":"x","a":"y"}"#, format!(r#"{{"a":{},"a":{}}}"#, h("x"), h("y"))),
        (r#"{"when":"2026-01-02T03:04:05Z"}"#, String::new()),
        (r#"{"when":"2026-01-02T03:04:05.123456789+02:00"}"#, String::new()),
        (r#"{"when":"2026-13-02T03:04:05Z"}"#, format!(r#"{{"when":{}}}"#, h("2026-13-02T03:04:05Z"))),
        (r#"{"when":"2026-01-02"}"#, format!(r#"{{"when":{}}}"#, h("2026-01-02"))),
        (
            r#"{"e":"line\nbreak \"q\" \u00e9 \ud83d\ude00 \/"}"#,
            format!(r#"{{"e":{}}}"#, h("line\nbreak \"q\" é 😀 /")),
        ),
        (r#"{"e":""}"#, format!(r#"{{"e":{}}}"#, h(""))),
        (r#""bare""#, h("bare")),
        (r#"["a",1]"#, format!("[{},1]", h("a"))),
        ("17", "17".into()),
    ];
    for (body, want) in rows {
        let want = if want.is_empty() { body } else { want.as_str() };
        assert_eq!(rewrite(body), want, "{body}");
    }
}

#[test]
fn what_holds_nothing_is_left_out() {
    for body in ["{}", " { } ", "null", ""] {
        assert_eq!(rewrite(body), "", "{body}");
    }
}

#[test]
fn what_is_not_json_is_hashed_as_a_whole() {
    let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
    let rows = [
        r#"{"a":"x""#,
        r#"{"a":"x"}}"#,
        r#"{"a":"x",}"#,
        r#"["x",]"#,
        r#"[,"x"]"#,
        r#"{"a" "x"}"#,
        r#"{a:"x"}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":-}"#,
        r#"{"a":1e}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":tru}"#,
        "{\"a\":\"line\nbreak\"}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        "{\"a\":1}\n{\"type\":\"forged\"}",
        "plain text",
        "'x'",
        "{\"a\":\"x",
        "\"",
        "[",
        "{",
        "{\"a",
        "{\"a\":",
        "[1 2]",
        deep.as_str(),
    ];
    for body in rows {
        assert!(serde_json::from_str::<Box<RawValue>>(body).is_err() || body == deep || body.contains("\\u"), "{body}");
        assert_eq!(rewrite(body), hash(body), "{body}");
    }
    let bytes = b"{\"a\":\"\xff\"}";
    let mut out = Vec::new();
    let data = Data { body: Body::Json(bytes), ..Data::default() };
    assert!(write_data(&data, &Rules { hasher: Some(&hasher()), elide: false }, &mut out));
    assert_eq!(out, format!("\"{}\"", hasher().hash(bytes)).into_bytes());
}

#[test]
fn nesting_is_followed_to_the_limit() {
    let body = format!("{}\"x\"{}", "[".repeat(128), "]".repeat(128));
    assert_eq!(rewrite(&body), body.replace("\"x\"", &hash("x")));
}

#[test]
fn raw_bodies_are_hashed_as_one_string() {
    let mut out = Vec::new();
    let data = Data { body: Body::Raw(b"{\"a\":1}"), ..Data::default() };
    assert!(write_data(&data, &Rules { hasher: Some(&hasher()), elide: false }, &mut out));
    assert_eq!(String::from_utf8(out).unwrap(), hash("{\"a\":1}"));
}

#[test]
fn a_mount_may_leave_keys_in_clear() {
    let body = r#"{"a":"x","b":{"c":["y",{"d":"z"}]},"c":"w","d":"v"}"#;
    let got = rewrite_with(body, &["a", "b"], &[], false);
    assert_eq!(got, format!(r#"{{"a":"x","b":{{"c":["y",{{"d":"z"}}]}},"c":{},"d":{}}}"#, hash("w"), hash("v")));
}

#[test]
fn an_engine_leaves_only_plain_names_in_clear() {
    let body = r#"{"username":"v-app-1","password":"pw","nested":{"username":"x"},"serial":{"username":"y"}}"#;
    let got = rewrite_with(body, &[], &["username", "serial"], false);
    assert_eq!(
        got,
        format!(
            r#"{{"username":"v-app-1","password":{},"nested":{{"username":{}}},"serial":{{"username":{}}}}}"#,
            hash("pw"),
            hash("x"),
            hash("y")
        )
    );
}

#[test]
fn a_key_written_with_escapes_does_not_open_the_value() {
    let got = rewrite_with(r#"{"user\u006eame":"x"}"#, &["username"], &["username"], false);
    assert_eq!(got, format!(r#"{{"user\u006eame":{}}}"#, hash("x")));
}

#[test]
fn lists_may_be_replaced_by_counts() {
    let body = r#"{"keys":["a","b",["c"]],"key_info":{"a":{"keys":["x"]},"b":1},"more":{"keys":["d"]}}"#;
    let got = rewrite_with(body, &[], &[], true);
    assert_eq!(got, format!(r#"{{"keys":3,"key_info":2,"more":{{"keys":[{}]}}}}"#, hash("d")));
    assert_eq!(rewrite_with(r#"{"keys":[],"key_info":{}}"#, &[], &[], true), r#"{"keys":0,"key_info":0}"#);
    assert_eq!(rewrite_with(r#"{"keys":"a"}"#, &[], &[], true), format!(r#"{{"keys":{}}}"#, hash("a")));
    assert_eq!(rewrite_with("{\"keys\":[\"a\n\"]}", &[], &[], true), hash("{\"keys\":[\"a\n\"]}"));
}

#[test]
fn log_raw_leaves_all_in_clear_but_still_one_line() {
    let data = Data { body: Body::Json(b"{ \"a\" :\n\"x\" }"), ..Data::default() };
    let mut out = Vec::new();
    assert!(write_data(&data, &Rules { hasher: None, elide: false }, &mut out));
    assert_eq!(out, b"{\"a\":\"x\"}");
    let data = Data { body: Body::Raw(b"a\n\"b\xff"), ..Data::default() };
    out.clear();
    assert!(write_data(&data, &Rules { hasher: None, elide: false }, &mut out));
    assert_eq!(String::from_utf8(out).unwrap(), "\"a\\n\\\"b\u{fffd}\"");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e6..1.0e6_f64).prop_map(Value::from),
        any::<String>().prop_map(|text| Value::from(format!("S3CRET{text}"))),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// What the rewriting is to yield, said in the plain way.
fn model(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(hasher().hash(text.as_bytes())),
        Value::Array(items) => items.iter().map(model).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), model(value))).collect()),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn the_structure_is_kept_and_every_string_is_hidden(value in any_json(), pretty: bool) {
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        // Numbers as the reader of both texts takes them.
        let value: Value = serde_json::from_str(&body).unwrap();
        let got = rewrite(&body);
        if got.is_empty() {
            prop_assert!(value.is_null() || value == Value::Object(Map::new()));
        } else {
            prop_assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), model(&value));
            prop_assert!(!got.contains("S3CRET"));
            prop_assert!(!got.contains('\n'));
        }
    }

    #[test]
    fn no_text_breaks_out_of_its_line(body in "[\\[\\]{}:,\"a-c0-9\\\\nu.eE+\\- \n\t-]{0,40}") {
        let got = rewrite(&body);
        prop_assert!(!got.contains('\n'));
        match serde_json::from_str::<Box<RawValue>>(&body) {
            Err(_) if body.is_empty() => prop_assert_eq!(got, ""),
            Err(_) => prop_assert_eq!(got, hash(&body)),
            Ok(_) => prop_assert!(got.is_empty() || serde_json::from_str::<Box<RawValue>>(&got).is_ok()),
        }
    }
}
