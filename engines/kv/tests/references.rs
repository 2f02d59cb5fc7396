//! Fields whose values lie in other secrets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use api::{Operation, Verb};
use engine::{
    Error,
    testing::{Mounted, Outcome},
};
use serde_json::{Value, json};

const READ: &[Operation] = &[Operation::Read];

async fn mount() -> Mounted {
    let mount = Mounted::with(engine_kv::KIND, &[("version", "2")]);
    put(&mount, "db", json!({ "password": "one", "n": 1.50, "deep": { "a": [1] } })).await;
    put(&mount, "db", json!({ "password": "two", "n": 1.50, "deep": { "a": [1] } })).await;
    put(&mount, "web", json!({ "user": "web", "password": "own" })).await;
    mount
}

async fn put(mount: &Mounted, path: &str, data: Value) {
    mount.write(&format!("data/{path}"), json!({ "data": data })).await.unwrap();
}

async fn refer(mount: &Mounted, path: &str, references: Value) -> Result<Outcome, Error> {
    mount.write(&format!("references/{path}"), json!({ "references": references })).await
}

#[track_caller]
fn refused(outcome: Result<Outcome, Error>, text: &str) {
    match outcome {
        Err(error) => assert!(error.to_string().contains(text), "{error} instead of {text:?}"),
        Ok(outcome) => panic!("{outcome:?} instead of {text:?}"),
    }
}

#[tokio::test]
async fn a_read_brings_values_from_where_they_lie() {
    let mount = mount().await;
    let references =
        json!({ "password": "kv/db#password", "old": "kv/db@1#password", "n": "kv/db#n", "d": "/kv/db#deep" });
    refer(&mount, "web", references).await.unwrap();
    let read = mount.read("data/web").await.unwrap();
    let text = String::from_utf8(read.raw.to_vec()).unwrap();
    assert!(text.contains("\"n\":1.5"), "{text}");
    let filled = json!({ "user": "web", "password": "two", "old": "one", "n": 1.5, "d": { "a": [1] } });
    assert_eq!(read.data["data"], filled);
    put(&mount, "db", json!({ "password": "three", "n": 2, "deep": null })).await;
    assert_eq!(mount.read("data/web").await.unwrap().data["data"]["password"], "three");
    assert_eq!(mount.read("data/web?references=false").await.unwrap().data["data"]["password"], "own");
    refused(mount.read("data/web?references=x").await, "references: use true");
    // What is patched and copied is the secret itself.
    mount.patch("data/web", json!({ "data": { "more": 1 } })).await.unwrap();
    let own = json!({ "user": "web", "password": "own", "more": 1 });
    assert_eq!(mount.read("data/web?references=false").await.unwrap().data["data"], own);
    assert_eq!(
        mount.read("subkeys/web").await.unwrap().data["subkeys"],
        json!({ "user": null, "password": null, "more": null })
    );
    mount.write("copy/web", json!({ "to": "copy" })).await.unwrap();
    assert_eq!(mount.read("data/copy").await.unwrap().data["data"]["old"], "one");
    let shown = mount.read("references/web").await.unwrap().data;
    let shown_again =
        json!({ "password": "kv/db#password", "old": "kv/db@1#password", "n": "kv/db#n", "d": "kv/db#deep" });
    assert_eq!(shown["references"], shown_again);
    mount.delete("references/web").await.unwrap();
    assert_eq!(mount.read("data/web").await.unwrap().data["data"], own);
    assert!(matches!(mount.read("references/web").await, Ok(Outcome { status: 204 | 404, .. }) | Err(Error::NotFound)));
}

#[tokio::test]
async fn a_reader_needs_both_rights() {
    let mount = mount().await;
    refer(&mount, "web", json!({ "password": "kv/db#password" })).await.unwrap();
    let some = mount.caller("some", &[("kv/data/web", READ)]);
    let both = mount.caller("both", &[("kv/data/web", READ), ("kv/data/db", READ)]);
    let read = |caller| mount.send_as(Some(caller), Verb::Read, "data/web", Value::Null);
    refused(read(&some).await, "the reference of \"password\": permission denied");
    assert_eq!(read(&both).await.unwrap().data["data"]["password"], "two");
    let own = mount.send_as(Some(&some), Verb::Read, "data/web?references=false", Value::Null).await.unwrap();
    assert_eq!(own.data["data"]["password"], "own");
    // What is not there is told to those only who might read it.
    refer(&mount, "web", json!({ "password": "kv/none#password" })).await.unwrap();
    refused(read(&some).await, "the reference of \"password\": permission denied");
    // Who changes what readers see must be one who may change the secret.
    let setter =
        mount.caller("setter", &[("kv/references/*", &[Operation::Create, Operation::Update, Operation::Delete])]);
    for (verb, body) in [(Verb::Write, json!({ "references": { "a": "kv/db#n" } })), (Verb::Delete, Value::Null)] {
        let sent = mount.send_as(Some(&setter), verb, "references/web", body).await;
        assert!(matches!(sent, Err(Error::Denied(_))), "{sent:?}");
    }
}

#[tokio::test]
async fn what_leads_nowhere_is_told_when_it_is_read() {
    let mount = mount().await;
    put(&mount, "gone", json!({ "password": "x" })).await;
    mount.delete("data/gone").await.unwrap();
    for place in ["kv/none#password", "kv/db#none", "kv/db@9#password", "kv/gone#password", "other/db#password"] {
        refer(&mount, "web", json!({ "password": place })).await.unwrap();
        let read = mount.read("data/web").await;
        assert!(
            matches!(&read, Err(Error::Part { error, .. }) if matches!(**error, Error::Invalid(_))),
            "{place}: {read:?}"
        );
        refused(read, "the reference of \"password\": ");
    }
}

#[tokio::test]
async fn circles_are_refused_on_writing_and_on_reading() {
    let mount = mount().await;
    for path in ["a", "b", "c", "d", "e", "f"] {
        put(&mount, path, json!({ "x": path })).await;
    }
    refused(refer(&mount, "a", json!({ "x": "kv/a#x" })).await, "leads back to this secret");
    refer(&mount, "a", json!({ "x": "kv/b#x" })).await.unwrap();
    refer(&mount, "b", json!({ "x": "kv/c#x" })).await.unwrap();
    refused(refer(&mount, "c", json!({ "y": "kv/a#x" })).await, "leads back to this secret");
    refused(refer(&mount, "b", json!({ "y": "kv/a#x" })).await, "leads back to this secret");
    assert_eq!(mount.read("data/a").await.unwrap().data["data"]["x"], "c");
    // A copy to where a reference leads would close one.
    refused(mount.write("copy/a", json!({ "to": "c", "overwrite": true })).await, "leads back to this secret");
    refer(&mount, "c", json!({ "x": "kv/d#x" })).await.unwrap();
    assert_eq!(mount.read("data/a").await.unwrap().data["data"]["x"], "d");
    refer(&mount, "d", json!({ "x": "kv/e#x" })).await.unwrap();
    assert_eq!(mount.read("data/a").await.unwrap().data["data"]["x"], "e");
    // One more would be too long from where it begins, which is found when it is read.
    refer(&mount, "e", json!({ "x": "kv/f#x" })).await.unwrap();
    refused(mount.read("data/a").await, "in a circle, or from one to the next too often");
    assert_eq!(mount.read("data/b").await.unwrap().data["data"]["x"], "f");
    refused(refer(&mount, "web", json!({ "x": "kv/a#x" })).await, "lead on too often");
}

#[tokio::test]
async fn what_is_no_reference_is_refused() {
    let mount = mount().await;
    let before = mount.dump().await;
    for (references, text) in [
        (json!({}), "from 1 to 32"),
        (json!({ "a": "kv/db" }), "no '#'"),
        (json!({ "a": "kv/db#" }), "a key has from 1"),
        (json!({ "": "kv/db#x" }), "a field has from 1"),
        (json!({ "a": "db#x" }), "does not name a mount"),
        (json!({ "a": "kv/#x" }), "does not name a mount"),
        (json!({ "a": "kv/../x#x" }), "does not name a mount"),
        (json!({ "a": "kv//x#x" }), "does not name a mount"),
        (json!({ "a": "kv/db@0#x" }), "a version is a whole number"),
        (json!({ "a": "kv/db@x#x" }), "a version is a whole number"),
        (json!({ "a": 1 }), "field \"references\""),
        (json!([1]), "field \"references\""),
    ] {
        refused(refer(&mount, "web", references).await, text);
    }
    let many: serde_json::Map<_, _> = (0..33).map(|n| (n.to_string(), json!("kv/db#n"))).collect();
    refused(refer(&mount, "web", Value::Object(many)).await, "from 1 to 32");
    assert!(matches!(refer(&mount, "none", json!({ "a": "kv/db#n" })).await, Err(Error::NotFound)));
    assert_eq!(mount.dump().await, before);
}
