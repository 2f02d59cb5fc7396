//! Copies and moves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{sync::Arc, time::Duration};

use api::{Operation, Verb};
use engine::{
    Caller, Error,
    testing::{Mounted, Outcome},
};
use serde_json::{Value, json};

const CREATE: &[Operation] = &[Operation::Create];
const UPDATE: &[Operation] = &[Operation::Update];
const READ: &[Operation] = &[Operation::Read];
const DELETE: &[Operation] = &[Operation::Delete];

fn mount() -> Mounted {
    Mounted::with(engine_kv::KIND, &[("version", "2")])
}

async fn put(mount: &Mounted, path: &str, n: u64) {
    mount.write(&format!("data/{path}"), json!({ "data": { "n": n } })).await.unwrap();
}

async fn n(mount: &Mounted, path: &str) -> Value {
    mount.read(&format!("data/{path}")).await.map_or(Value::Null, |read| read.data["data"]["n"].clone())
}

#[track_caller]
fn refused(outcome: Result<Outcome, Error>, text: &str) {
    match outcome {
        Err(error) => assert!(error.to_string().contains(text), "{error} instead of {text:?}"),
        Ok(outcome) => panic!("{outcome:?} instead of {text:?}"),
    }
}

async fn names(mount: &Mounted) -> Vec<String> {
    let found = mount.send(Verb::Scan, "metadata", Value::Null).await.unwrap();
    serde_json::from_value(found.data["keys"].clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_copy_has_the_whole_history() {
    let mount = mount();
    for n in 1..=4 {
        put(&mount, "a", n).await;
        mount.time().advance(Duration::from_secs(60));
    }
    mount.write("delete/a", json!({ "versions": [2] })).await.unwrap();
    mount.write("destroy/a", json!({ "versions": [1] })).await.unwrap();
    mount.write("metadata/a", json!({ "custom_metadata": { "owner": "shop" }, "max_versions": 5 })).await.unwrap();
    let before = mount.read("metadata/a").await.unwrap().data;
    mount.time().advance(Duration::from_secs(3600));
    let copied = mount.write("copy/a", json!({ "to": "x/y" })).await.unwrap();
    assert_eq!(copied.data, json!({ "from": "kv/a", "to": "kv/x/y", "versions": 4, "bytes": 21 }));
    assert_eq!(mount.read("metadata/x/y").await.unwrap().data, before);
    assert_eq!(mount.read("metadata/a").await.unwrap().data, before);
    assert_eq!(n(&mount, "x/y?version=3").await, 3);
    assert_eq!(mount.read("data/x/y?version=2").await.unwrap().status, 404);
    mount.write("undelete/x/y", json!({ "versions": [2] })).await.unwrap();
    assert_eq!(n(&mount, "x/y?version=2").await, 2);
    assert_eq!(mount.read("data/a?version=2").await.unwrap().status, 404);
    put(&mount, "x/y", 5).await;
    assert_eq!((n(&mount, "x/y?version=5").await, n(&mount, "a").await), (json!(5), json!(4)));
}

#[tokio::test]
async fn a_move_leaves_nothing_behind_and_replaces_nothing_unless_told() {
    let mount = mount();
    put(&mount, "a", 1).await;
    put(&mount, "a", 2).await;
    mount.write("move/a", json!({ "to": "b" })).await.unwrap();
    assert!(matches!(mount.read("metadata/a").await, Err(Error::NotFound)));
    assert_eq!((n(&mount, "b").await, n(&mount, "b?version=1").await), (json!(2), json!(1)));
    let left: Vec<_> = mount.dump().await.into_iter().filter(|(key, _)| key.ends_with("/a")).collect();
    // But that it was there, for streams of events.
    assert_eq!(left, [("x/001800000000/a".to_owned(), "{}".to_owned())]);
    for n in 1..=3 {
        put(&mount, "c", n * 10).await;
    }
    let before = mount.dump().await;
    refused(mount.write("move/b", json!({ "to": "c" })).await, "overwrite=true");
    refused(mount.write("copy/b", json!({ "to": "c", "overwrite": false })).await, "overwrite=true");
    refused(mount.write("copy/b", json!({ "to": "b" })).await, "where the secret is already");
    refused(mount.write("copy/b", json!({ "to": "/b/", "overwrite": true })).await, "where the secret is already");
    for (body, text) in [
        (json!({}), "to: name"),
        (json!({ "to": "" }), "to: name"),
        (json!({ "to": "../x" }), "'.' or '..'"),
        (json!({ "to": "x//y" }), "empty segments"),
        (json!({ "to": "x", "to_mount": "none" }), "to_mount: name a mount"),
        (json!({ "to": "x", "limit": 3 }), "tree=true"),
        (json!({ "to": ["x"] }), "field \"to\""),
        (json!({ "to": "x", "tree": "maybe" }), "field \"tree\""),
    ] {
        refused(mount.write("copy/b", body).await, text);
    }
    refused(mount.write("copy", json!({ "to": "x" })).await, "tree=true");
    assert!(matches!(mount.write("copy/none", json!({ "to": "x" })).await, Err(Error::NotFound)));
    assert!(matches!(mount.write("move/none", json!({ "to": "x", "tree": true })).await, Err(Error::NotFound)));
    assert_eq!(mount.dump().await, before);
    mount.write("move/b", json!({ "to": "c", "overwrite": true })).await.unwrap();
    assert_eq!((n(&mount, "c").await, n(&mount, "c?version=3").await), (json!(2), Value::Null));
    let versions =
        mount.dump().await.into_iter().filter(|(key, _)| key.ends_with("/c") && key.starts_with("v/")).count();
    assert_eq!(versions, 2);
}

#[tokio::test]
async fn a_rotated_secret_stays_and_its_copy_is_not_rotated() {
    let mount = mount();
    put(&mount, "a", 1).await;
    mount.write("rotation/a", json!({ "field": "n", "period": "1h" })).await.unwrap();
    refused(mount.write("move/a", json!({ "to": "b" })).await, "end its rotation first");
    let copied = mount.write("copy/a", json!({ "to": "b" })).await.unwrap();
    assert!(copied.warnings[0].contains("its copy is not"), "{:?}", copied.warnings);
    assert!(mount.read("rotation/b").await.is_err());
    put(&mount, "c", 1).await;
    refused(mount.write("copy/c", json!({ "to": "a", "overwrite": true })).await, "is rotated");
}

fn mover(mount: &Mounted, more: &[(&str, &[Operation])]) -> Arc<Caller> {
    let mut rules: Vec<(&str, &[Operation])> = vec![("kv/copy/in/*", UPDATE), ("kv/move/in/*", UPDATE)];
    rules.extend(more);
    mount.caller("mover", &rules)
}

#[tokio::test]
async fn who_copies_needs_the_rights_at_both_ends_and_none_to_read() {
    let mount = mount();
    put(&mount, "in/a", 1).await;
    put(&mount, "out/there", 1).await;
    mount.write("metadata/in/noted", json!({ "custom_metadata": { "a": "b" } })).await.unwrap();
    put(&mount, "in/noted", 1).await;
    let send = async |rules: &[(&str, &[Operation])], path: &str, body: Value| {
        let caller = mover(&mount, rules);
        mount.send_as(Some(&caller), Verb::Write, path, body).await
    };
    let to = |path: &str| json!({ "to": path });
    let new: (&str, &[Operation]) = ("kv/data/out/*", CREATE);
    refused(send(&[], "copy/in/a", to("out/a")).await, "to (kv/out/a): permission denied");
    refused(send(&[new], "copy/out/there", to("out/a")).await, "permission denied");
    refused(send(&[new], "copy/in/a", to("elsewhere/a")).await, "to (kv/elsewhere/a): permission denied");
    // Whether something is there is told to those only who may write there.
    refused(send(&[new], "copy/in/a", to("out/there")).await, "to (kv/out/there): permission denied");
    refused(send(&[("kv/data/out/*", UPDATE)], "copy/in/a", to("out/there")).await, "overwrite=true");
    refused(send(&[new], "copy/in/noted", to("out/noted")).await, "to (kv/out/noted): permission denied");
    refused(send(&[new], "move/in/a", to("out/a")).await, "from (kv/in/a): permission denied");
    // A copy is no way to read.
    let reading: &[(&str, &[Operation])] = &[new, ("kv/data/out/a", READ)];
    refused(send(reading, "copy/in/a", to("out/a")).await, "permission denied");
    assert_eq!(names(&mount).await, ["in/a", "in/noted", "out/there"]);
    send(&[new], "copy/in/a", to("out/a")).await.unwrap();
    send(&[new, ("kv/metadata/out/*", CREATE)], "copy/in/noted", to("out/noted")).await.unwrap();
    send(&[new, ("kv/metadata/in/*", DELETE)], "move/in/a", to("out/b")).await.unwrap();
    let both: &[(&str, &[Operation])] = &[("kv/data/*", &[Operation::Create, Operation::Read])];
    send(both, "copy/in/noted", to("out/noted2")).await.unwrap_err();
    assert_eq!(names(&mount).await, ["in/noted", "out/a", "out/b", "out/noted", "out/there"]);
}

#[tokio::test]
async fn a_tree_goes_page_by_page_and_tells_what_stayed() {
    let mount = mount();
    for at in 0..25 {
        put(&mount, &format!("in/{at:02}/s"), at).await;
    }
    put(&mount, "in", 99).await;
    put(&mount, "into", 99).await;
    put(&mount, "out/03/s", 7).await;
    let caller = mount.caller(
        "mover",
        &[
            ("kv/copy/in", UPDATE),
            ("kv/copy/in/0*", UPDATE),
            ("kv/copy/in/1*", UPDATE),
            ("kv/data/out/*", &[Operation::Create, Operation::Update]),
        ],
    );
    let (mut after, mut done, mut failed, mut lacking, mut pages) = (None, 0, Vec::new(), 0, 0);
    loop {
        let mut body = json!({ "to": "out", "tree": true, "limit": 10 });
        if let Some(after) = &after {
            body["after"] = json!(after);
        }
        let page = mount.send_as(Some(&caller), Verb::Write, "copy/in", body).await.unwrap().data;
        done += page["done"].as_array().unwrap().len();
        failed.extend(page["failed"].as_array().unwrap().clone());
        lacking += page["not_allowed"].as_u64().unwrap();
        pages += 1;
        after = page["after"].as_str().map(str::to_owned);
        assert_eq!(after.is_some(), page["more"].as_bool().unwrap());
        if after.is_none() {
            break;
        }
    }
    assert_eq!((done, failed.len(), lacking, pages), (19, 1, 5, 3));
    assert_eq!(failed[0]["path"], "03/s");
    assert!(failed[0]["error"].as_str().unwrap().contains("overwrite=true"));
    assert_eq!((n(&mount, "out/03/s").await, n(&mount, "out/19/s").await), (json!(7), json!(19)));
    assert_eq!(n(&mount, "out/20/s").await, Value::Null);
    // As often as one likes, and the second time with all the rest.
    let moved = mount.write("move/in", json!({ "to": "out", "tree": true, "overwrite": true })).await.unwrap().data;
    assert_eq!((moved["done"].as_array().unwrap().len(), &moved["more"]), (25, &json!(false)));
    assert_eq!(n(&mount, "out/03/s").await, 3);
    let names = names(&mount).await;
    assert_eq!((names.len(), &*names[0], &*names[1]), (27, "in", "into"));
    refused(mount.write("copy/out", json!({ "to": "out/again", "tree": true })).await, "within the tree itself");
    refused(mount.write("copy/out", json!({ "to": "out", "tree": true })).await, "within the tree itself");
    refused(mount.write("copy", json!({ "to": "all", "tree": true })).await, "within the tree itself");
    mount.write("copy/out", json!({ "to": "outer", "tree": true })).await.unwrap();
}
