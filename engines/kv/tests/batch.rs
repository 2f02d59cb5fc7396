//! Many secrets at once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use api::{Operation, Verb};
use engine::{
    Error,
    testing::{Mounted, Outcome},
};
use futures::future::join_all;
use serde_json::{Value, json};

fn mount() -> Mounted {
    Mounted::with(engine_kv::KIND, &[("version", "2")])
}

async fn put(mount: &Mounted, path: &str, data: Value) {
    mount.write(&format!("data/{path}"), json!({ "data": data })).await.unwrap();
}

#[track_caller]
fn refused(outcome: Result<Outcome, Error>, text: &str) {
    match outcome {
        Err(error) => assert!(error.to_string().contains(text), "{error} instead of {text:?}"),
        Ok(outcome) => panic!("{outcome:?} instead of {text:?}"),
    }
}

#[tokio::test]
async fn many_are_read_and_each_has_its_own_status() {
    let mount = mount();
    put(&mount, "a", json!({ "n": 1 })).await;
    put(&mount, "a", json!({ "n": 2 })).await;
    put(&mount, "b \"c", json!({ "n": 3 })).await;
    put(&mount, "gone", json!({ "n": 4 })).await;
    mount.delete("data/gone").await.unwrap();
    let items = json!([
        { "path": "a" }, { "path": "a", "version": 1 }, { "path": "b \"c" }, { "path": "none" }, { "path": "gone" },
        { "path": "a", "version": 9 },
    ]);
    let read = mount.write("batch/read", json!({ "items": items })).await.unwrap();
    let items = read.data["items"].as_array().unwrap();
    let shown: Vec<_> =
        items.iter().map(|item| (item["status"].as_u64().unwrap(), item["data"]["n"].clone())).collect();
    let none = Value::Null;
    assert_eq!(
        shown,
        [(200, json!(2)), (200, json!(1)), (200, json!(3)), (404, none.clone()), (404, none.clone()), (404, none)]
    );
    assert_eq!(items[2]["path"], "b \"c");
    assert_eq!((&items[0]["metadata"]["version"], &items[3]["errors"]), (&json!(2), &json!([])));
    assert_eq!(items[4]["metadata"]["version"], 1);
}

#[tokio::test]
async fn a_reader_needs_the_right_for_each() {
    let mount = mount();
    put(&mount, "mine", json!({ "n": 1 })).await;
    put(&mount, "theirs", json!({ "n": 2 })).await;
    let caller = mount.caller(
        "app",
        &[
            ("kv/batch/*", &[Operation::Update]),
            ("kv/data/mine", &[Operation::Read, Operation::Update]),
            ("kv/data/new", &[Operation::Create]),
        ],
    );
    let send =
        |path: &'static str, items: Value| mount.send_as(Some(&caller), Verb::Write, path, json!({ "items": items }));
    let read = send("batch/read", json!([{ "path": "mine" }, { "path": "theirs" }, { "path": "none" }])).await.unwrap();
    let status: Vec<_> = read.data["items"].as_array().unwrap().iter().map(|item| item["status"].clone()).collect();
    assert_eq!(status, [json!(200), json!(403), json!(403)]);
    assert_eq!(read.data["items"][1]["errors"], json!(["permission denied"]));
    let one = |path: &str| json!({ "path": path, "data": { "n": 9 } });
    send("batch/write", json!([one("mine"), one("new")])).await.unwrap();
    refused(send("batch/write", json!([one("mine"), one("theirs")])).await, "items[1] (theirs): permission denied");
    // What was new is there now: to write it again is an update.
    refused(send("batch/write", json!([one("mine"), one("new")])).await, "items[1] (new): permission denied");
    let other = mount.caller("other", &[("kv/data/*", &[Operation::Read])]);
    let sent = mount.send_as(Some(&other), Verb::Write, "batch/read", json!({ "items": [{ "path": "mine" }] })).await;
    assert!(matches!(sent, Err(Error::Denied(_))), "{sent:?}");
    assert_eq!(mount.read("data/mine").await.unwrap().data["metadata"]["version"], 2);
}

#[tokio::test]
async fn all_is_written_or_nothing() {
    let mount = mount();
    put(&mount, "a", json!({ "n": 1, "m": 1 })).await;
    put(&mount, "old", json!({ "n": 1 })).await;
    let items = json!([
        { "path": "a", "method": "patch", "data": { "n": 2 }, "options": { "cas": 1 } },
        { "path": "b", "data": { "n": 1 }, "options": { "cas": 0 } },
        { "path": "old", "method": "delete" },
    ]);
    let written = mount.write("batch/write", json!({ "items": items })).await.unwrap();
    let items = &written.data["items"];
    assert_eq!((&items[0]["path"], &items[0]["version"]), (&json!("a"), &json!(2)));
    assert_eq!((&items[1]["version"], &items[2]), (&json!(1), &json!({ "path": "old" })));
    assert_eq!(mount.read("data/a").await.unwrap().data["data"], json!({ "n": 2, "m": 1 }));
    assert_eq!(mount.read("data/old").await.unwrap().status, 404);
    let before = mount.dump().await;
    let good = json!({ "path": "b", "data": { "n": 2 } });
    let cases = [
        (json!({ "path": "a", "data": {}, "options": { "cas": 1 } }), "items[1] (a): check-and-set parameter did not"),
        (json!({ "path": "a", "data": [] }), "items[1] (a): error converting input for field \"data\""),
        (json!({ "path": "a" }), "items[1] (a): no data provided"),
        (json!({ "path": "none", "method": "patch", "data": {} }), "items[1] (none): there is no such secret"),
        (json!({ "path": "old", "method": "patch", "data": {} }), "items[1] (old): there is no such secret"),
        (json!({ "path": "a", "method": "delete", "data": {} }), "items[1] (a): a deletion takes neither"),
        (json!({ "path": "b", "data": {} }), "items[1] (b): another item names the same secret"),
        (json!({ "path": "/b", "data": {} }), "items[1] (/b): another item names the same secret"),
        (json!({ "path": "a/../b", "data": {} }), "items[1] (a/../b): path must not contain '.' or '..'"),
        (json!({ "path": "a//b", "data": {} }), "items[1] (a//b): path must not contain empty segments"),
        (json!({ "path": "a/", "data": {} }), "items[1].path"),
        (json!({ "path": "", "data": {} }), "items[1].path"),
        (json!({ "path": "a", "dat": {} }), "field \"items\""),
        (json!({ "path": "a", "method": "write it" }), "field \"items\""),
        (json!({ "data": {} }), "missing field `path`"),
    ];
    for (item, text) in cases {
        refused(mount.write("batch/write", json!({ "items": [good, item] })).await, text);
        assert_eq!(mount.dump().await, before, "{text}: something was written");
    }
    for items in [json!([]), json!(vec![json!({ "path": "x", "data": {} }); 129])] {
        refused(mount.write("batch/write", json!({ "items": items })).await, "from 1 to 128");
        refused(mount.write("batch/read", json!({ "items": items })).await, "from 1 to 128");
    }
    refused(mount.write("batch/write", json!({})).await, "from 1 to 128");
}

#[tokio::test]
async fn a_rule_of_the_mount_holds_for_each() {
    let mount = mount();
    mount.write("config", json!({ "cas_required": true })).await.unwrap();
    let item = |path: &str, options: Value| json!({ "path": path, "data": { "n": 1 }, "options": options });
    let items = json!([item("a", json!({ "cas": 0 })), item("b", Value::Null)]);
    refused(
        mount.write("batch/write", json!({ "items": items })).await,
        "items[1] (b): check-and-set parameter required",
    );
    let items = json!([item("a", json!({ "cas": 0 })), item("b", json!({ "cas": "0" }))]);
    mount.write("batch/write", json!({ "items": items })).await.unwrap();
}

#[tokio::test]
async fn batches_that_meet_are_serial() {
    let mount = mount();
    let items = json!([{ "path": "a", "data": { "n": 1 } }, { "path": "b", "data": { "n": 1 } }]);
    let sent = join_all((0..8).map(|_| mount.write("batch/write", json!({ "items": items })))).await;
    let mut versions: Vec<_> = sent
        .into_iter()
        .map(|sent| {
            let data = sent.unwrap().data;
            (data["items"][0]["version"].as_u64().unwrap(), data["items"][1]["version"].as_u64().unwrap())
        })
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).map(|n| (n, n)).collect::<Vec<_>>());
    assert!(mount.conflicts() > 0);
}
