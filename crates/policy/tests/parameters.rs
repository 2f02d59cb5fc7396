//! What rules say about the parameters of requests, as tables.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use std::sync::Arc;

use api::Operation::{Create, Delete, List, Patch, Read, Update};
use policy::{Acl, Ask, Parameters, Policy, Reason, RequestParameters};
use serde_json::json;

fn acl(blocks: &[&str]) -> Acl {
    let parse = |(number, block): (u32, &&str)| {
        let text = format!("path \"a\" {{ policy = \"write\" {block} }}");
        Arc::new(Policy::parse(&format!("p{number}"), &text).unwrap())
    };
    Acl::compile(&(1..).zip(blocks).map(parse).collect::<Vec<_>>(), None)
}

/// `ok`, or the reason in short.
fn check(acl: &Acl, operation: api::Operation, parameters: &dyn Parameters) -> String {
    let decision = acl.decide(&Ask { parameters: Some(parameters), ..Ask::new("a", operation) });
    match decision.reason() {
        None => "ok".to_owned(),
        Some(Reason::MissingParameter(name)) => format!("missing {name}"),
        Some(Reason::ParameterDenied(name)) => format!("denied {name}"),
        Some(Reason::ParameterNotAllowed(name)) => format!("unknown {name}"),
        Some(Reason::ValueDenied(name)) => format!("denied value {name}"),
        Some(Reason::ValueNotAllowed(name)) => format!("unknown value {name}"),
        Some(Reason::UnreadableParameters) => "unreadable".to_owned(),
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn parameters_are_held_to_the_lists() {
    // Blocks of one policy each, body, verdict.
    let table: [(&[&str], serde_json::Value, &str); 60] = [
        // Nothing said, everything allowed.
        (&[""], json!({"x": 1}), "ok"),
        (&["allowed_parameters = {} denied_parameters {} required_parameters = []"], json!({"x": 1}), "ok"),
        // Required.
        (&["required_parameters = [\"x\", \"y\"]"], json!({"x": 1, "y": null}), "ok"),
        (&["required_parameters = [\"x\", \"y\"]"], json!({"x": 1}), "missing y"),
        (&["required_parameters = [\"x\", \"y\"]"], json!({}), "missing x"),
        (&["required_parameters = [\"Xy\"]"], json!({"xY": 1, "more": 2}), "ok"),
        // Allowed names.
        (&["allowed_parameters = { x = [] }"], json!({"x": {"deep": 1}}), "ok"),
        (&["allowed_parameters = { x = [] }"], json!({}), "ok"),
        (&["allowed_parameters = { x = [] }"], json!({"y": 1}), "unknown y"),
        (&["allowed_parameters = { x = [] }"], json!({"x": 1, "y": 1}), "unknown y"),
        (&["allowed_parameters = { X = [] }"], json!({"x": 1}), "ok"),
        (&["allowed_parameters = { x = [] }"], json!({"X": 1}), "ok"),
        (&["allowed_parameters = { \"*\" = [] }"], json!({"y": 1}), "ok"),
        (&["allowed_parameters = { x = [\"a\"], \"*\" = [] }"], json!({"y": 1}), "ok"),
        (&["allowed_parameters = { x = [\"a\"], \"*\" = [] }"], json!({"x": "b"}), "unknown value x"),
        // Allowed values.
        (&["allowed_parameters = { x = [\"a\", \"b*\"] }"], json!({"x": "a"}), "ok"),
        (&["allowed_parameters = { x = [\"a\", \"b*\"] }"], json!({"x": "bcd"}), "ok"),
        (&["allowed_parameters = { x = [\"a\", \"b*\"] }"], json!({"x": "c"}), "unknown value x"),
        (&["allowed_parameters = { x = [\"a\", \"b*\"] }"], json!({"x": "A"}), "unknown value x"),
        (&["allowed_parameters = { x = [3600, true, 1.5] }"], json!({"x": 3600}), "ok"),
        (&["allowed_parameters = { x = [3600, true, 1.5] }"], json!({"x": "3600"}), "ok"),
        (&["allowed_parameters = { x = [3600, true, 1.5] }"], json!({"x": true}), "ok"),
        (&["allowed_parameters = { x = [3600, true, 1.5] }"], json!({"x": 1.5}), "ok"),
        (&["allowed_parameters = { x = [3600, true, 1.5] }"], json!({"x": 1}), "unknown value x"),
        (&["allowed_parameters = { x = [3600, true, 1.5] }"], json!({"x": null}), "unknown value x"),
        // Lists: as a whole, or each element by itself; an empty one is no element.
        (&["allowed_parameters = { x = [[\"a\", \"c\"]] }"], json!({"x": ["a", "c"]}), "ok"),
        (&["allowed_parameters = { x = [[\"a\", \"c\"]] }"], json!({"x": ["c", "a"]}), "unknown value x"),
        (&["allowed_parameters = { x = [\"a\", \"b*\"] }"], json!({"x": ["a", "bb"]}), "ok"),
        (&["allowed_parameters = { x = [\"a\", \"b*\"] }"], json!({"x": ["a", "c"]}), "unknown value x"),
        (&["allowed_parameters = { x = [\"a\"] }"], json!({"x": []}), "unknown value x"),
        (&["allowed_parameters = { x = [[]] }"], json!({"x": []}), "ok"),
        (&["allowed_parameters = { x = [\"a*\"] }"], json!({"x": {"a": 1}}), "unknown value x"),
        // Denied names and values.
        (&["denied_parameters = { x = [] }"], json!({"x": 1}), "denied x"),
        (&["denied_parameters = { x = [] }"], json!({"X": 1}), "denied x"),
        (&["denied_parameters = { x = [] }"], json!({"y": 1}), "ok"),
        (&["denied_parameters = { x = [\"a*\", 7] }"], json!({"x": "ab"}), "denied value x"),
        (&["denied_parameters = { x = [\"a*\", 7] }"], json!({"x": "b"}), "ok"),
        (&["denied_parameters = { x = [\"a*\", 7] }"], json!({"x": 7.0}), "denied value x"),
        (&["denied_parameters = { x = [\"a*\", 7] }"], json!({"x": ["b", "ab"]}), "denied value x"),
        (&["denied_parameters = { x = [\"a*\", 7] }"], json!({"x": ["b", ["7"]]}), "denied value x"),
        (&["denied_parameters = { x = [\"a*\", 7] }"], json!({"x": ["b"]}), "ok"),
        (&["denied_parameters = { x = [[\"b\"]] }"], json!({"x": ["b"]}), "denied value x"),
        (&["denied_parameters = { \"*\" = [] }"], json!({"y": 1}), "denied y"),
        (&["denied_parameters = { \"*\" = [\"never\"] }"], json!({"y": 1}), "denied y"),
        (&["denied_parameters = { \"*\" = [] }"], json!({}), "ok"),
        // Both: denied wins.
        (&["allowed_parameters = { x = [] } denied_parameters = { x = [\"a\"] }"], json!({"x": "a"}), "denied value x"),
        (&["allowed_parameters = { x = [] } denied_parameters = { x = [\"a\"] }"], json!({"x": "b"}), "ok"),
        (&["allowed_parameters = { \"*\" = [] } denied_parameters = { x = [] }"], json!({"x": 1}), "denied x"),
        // Policies merged: lists joined, an empty list overrides, limits hold though only one sets them.
        (&["allowed_parameters = { x = [\"a\"] }", "allowed_parameters = { x = [\"b\"] }"], json!({"x": "b"}), "ok"),
        (
            &["allowed_parameters = { x = [\"a\"] }", "allowed_parameters = { y = [\"b\"] }"],
            json!({"x": "a", "y": "b"}),
            "ok",
        ),
        (
            &["allowed_parameters = { x = [\"a\"] }", "allowed_parameters = { y = [\"b\"] }"],
            json!({"x": "b"}),
            "unknown value x",
        ),
        (&["allowed_parameters = { x = [\"a\"] }", "allowed_parameters = { x = [] }"], json!({"x": "z"}), "ok"),
        (&["allowed_parameters = { x = [] }", "allowed_parameters = { x = [\"a\"] }"], json!({"x": "z"}), "ok"),
        (&["allowed_parameters = { x = [\"a\"] }", ""], json!({"y": 1}), "unknown y"),
        (&["", "allowed_parameters = { x = [\"a\"] }"], json!({"y": 1}), "unknown y"),
        (
            &["denied_parameters = { x = [\"a\"] }", "denied_parameters = { x = [\"b\"] }"],
            json!({"x": "a"}),
            "denied value x",
        ),
        (&["denied_parameters = { x = [\"a\"] }", "denied_parameters = { x = [] }"], json!({"x": "z"}), "denied x"),
        (&["denied_parameters = { x = [\"a\"] }", ""], json!({"x": "a"}), "denied value x"),
        (&["required_parameters = [\"x\"]", "required_parameters = [\"y\"]"], json!({"x": 1}), "missing y"),
        (&["", "required_parameters = [\"y\"]"], json!({"x": 1}), "missing y"),
    ];
    for (blocks, body, expected) in table {
        let acl = acl(blocks);
        let bytes = body.to_string();
        let raw = RequestParameters { body: bytes.as_bytes(), query: &[] };
        assert_eq!(check(&acl, Update, &raw), expected, "{blocks:?}: {body}");
        assert_eq!(check(&acl, Create, body.as_object().unwrap()), expected, "{blocks:?}: {body}");
    }
}

#[test]
fn parameters_are_checked_where_they_can_change_something() {
    let acl = acl(&["required_parameters = [\"x\"] capabilities = [\"patch\"]"]);
    let none = serde_json::Map::new();
    for operation in [Create, Read, Update, Patch] {
        assert_eq!(check(&acl, operation, &none), "missing x", "{operation}");
        assert_eq!(acl.decide(&Ask::new("a", operation)).reason(), Some(&Reason::MissingParameter("x".into())));
    }
    for operation in [Delete, List] {
        assert_eq!(check(&acl, operation, &none), "ok", "{operation}");
    }
}

#[test]
fn the_query_counts_as_parameters() {
    let acl = acl(&["allowed_parameters = { version = [\"1\", 2] }"]);
    let query = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (query, expected) in [
        (query("version", "1"), "ok"),
        (query("version", "2"), "ok"),
        (query("Version", "3"), "unknown value version"),
        (query("other", "1"), "unknown other"),
    ] {
        assert_eq!(check(&acl, Read, &RequestParameters { body: b"", query: &query }), expected);
    }
}

// A parser that keeps the last of two members with one name lets the first pass unseen, or the other way round.
#[test]
fn a_repeated_member_is_checked_each_time() {
    let acl = acl(&["denied_parameters = { x = [\"bad\"] }"]);
    for body in [r#"{"x":"bad","x":"good"}"#, r#"{"x":"good","x":"bad"}"#, r#"{"x":"good","X":"bad"}"#] {
        assert_eq!(check(&acl, Update, &RequestParameters { body: body.as_bytes(), query: &[] }), "denied value x");
    }
}

#[test]
fn a_body_that_cannot_be_checked_is_refused_only_where_there_is_something_to_check() {
    let broken = RequestParameters { body: b"[1]", query: &[] };
    assert_eq!(check(&acl(&["denied_parameters = { x = [] }"]), Update, &broken), "unreadable");
    assert_eq!(check(&acl(&[""]), Update, &broken), "ok");
    let deep = format!("{{\"x\": {}1{}}}", "[".repeat(500), "]".repeat(500));
    let deep = RequestParameters { body: deep.as_bytes(), query: &[] };
    let refused = check(&acl(&["denied_parameters = { x = [\"a\"] }"]), Update, &deep);
    assert_eq!(refused, "unreadable");
}

#[test]
fn reasons_name_parameters_and_never_values() {
    let acl = acl(&["denied_parameters = { password = [\"hunter*\"] } allowed_parameters = { \"*\" = [] }"]);
    let body = RequestParameters { body: br#"{"password": "hunter2"}"#, query: &[] };
    let decision = acl.decide(&Ask { parameters: Some(&body), ..Ask::new("a", Update) });
    let text = format!("{} {decision:?}", decision.reason_text());
    assert!(text.contains("the value of parameter \"password\" is denied in policy \"p1\" line 1"));
    assert!(!text.contains("hunter2"));
}
