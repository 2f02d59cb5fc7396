//! Secrets with versions, from outside.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

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

async fn put(mount: &Mounted, path: &str, data: Value) -> u64 {
    let written = mount.write(&format!("data/{path}"), json!({ "data": data })).await.unwrap();
    written.data["version"].as_u64().unwrap()
}

#[track_caller]
fn refused(outcome: Result<Outcome, Error>, text: &str) {
    match outcome {
        Err(Error::Invalid(said)) => assert!(said.contains(text), "{said:?} instead of {text:?}"),
        other => panic!("{other:?} instead of {text:?}"),
    }
}

#[track_caller]
fn missing(outcome: Result<Outcome, Error>) {
    assert!(matches!(outcome, Err(Error::NotFound)), "{outcome:?}");
}

#[tokio::test]
async fn a_mount_with_versions_conforms() {
    mount().conforms().await;
}

#[tokio::test]
async fn a_version_is_read_as_clients_expect_it() {
    let mount = mount();
    missing(mount.read("data/app/db").await);
    let written = mount.write("data/app/db", json!({ "data": { "user": "app" }, "options": {} })).await.unwrap();
    let time = "2027-01-15T08:00:00Z";
    let metadata = json!({
        "created_time": time, "custom_metadata": null, "deletion_time": "", "destroyed": false, "version": 1,
    });
    assert_eq!((written.status, &written.data), (200, &metadata));
    let read = mount.read("data/app/db").await.unwrap();
    assert_eq!((read.status, read.data), (200, json!({ "data": { "user": "app" }, "metadata": metadata })));
    assert!(read.lease_duration.is_none());
    mount.time().advance(Duration::from_nanos(1_500_000_001));
    assert_eq!(put(&mount, "app/db", json!({ "user": "web" })).await, 2);
    let read = mount.reopened().read("data/app/db").await.unwrap().data;
    assert_eq!(read["metadata"]["created_time"], "2027-01-15T08:00:01.500000001Z");
    for (query, user) in
        [("", "web"), ("?version=0", "web"), ("?version=", "web"), ("?version=1", "app"), ("?version=2", "web")]
    {
        assert_eq!(mount.read(&format!("data/app/db{query}")).await.unwrap().data["data"]["user"], user, "{query}");
    }
    missing(mount.read("data/app/db?version=3").await);
    missing(mount.read("data/app").await);
    missing(mount.read("data/app/db/").await);
    for query in ["version=x", "version=-1", "version=1.0", "version=1&label=current"] {
        refused(mount.read(&format!("data/app/db?{query}")).await, "version");
    }
    for query in ["label=x", "label=pending", "label="] {
        refused(mount.read(&format!("data/app/db?{query}")).await, "label");
    }
}

#[tokio::test]
async fn values_stay_the_bytes_they_were() {
    let mount = mount();
    let value = r#"{ "n": 1.10e+2, "big": 123456789012345678901234567890, "twice": 1, "twice": 2, "t": "\u0041\/" }"#;
    let body = format!(r#"{{"options": null, "data": {value} }}"#);
    let local = std::net::IpAddr::from([127, 0, 0, 1]);
    mount.send_bytes(None, local, Verb::Write, "data/a", body.into()).await.unwrap();
    let read = mount.read("data/a").await.unwrap();
    let text = std::str::from_utf8(&read.raw).unwrap();
    assert!(text.starts_with(&format!(r#"{{"data":{value},"metadata":{{"#)), "{text}");
}

#[tokio::test]
async fn paths_that_begin_alike_do_not_meet() {
    let mount = mount();
    let paths = ["a", "a/1", "a/1/1", "1", "1/a", "0000000001/a", "data", "metadata/x", "config"];
    for path in paths {
        put(&mount, path, json!({ "at": path })).await;
        put(&mount, path, json!({ "at": path, "n": 2 })).await;
    }
    mount.delete("metadata/a").await.unwrap();
    for path in &paths[1..] {
        assert_eq!(mount.read(&format!("data/{path}?version=1")).await.unwrap().data["data"]["at"], *path);
    }
    missing(mount.read("data/a").await);
}

#[tokio::test]
async fn a_write_says_what_it_replaces() {
    let mount = mount();
    let (mismatch, required) =
        ("check-and-set parameter did not match the current version", "check-and-set parameter required for this call");
    let write = async |cas: Value| {
        let body = json!({ "data": { "a": 1 }, "options": { "cas": cas } });
        mount.write("data/a", body).await
    };
    refused(write(json!(1)).await, mismatch);
    assert_eq!(write(json!(0)).await.unwrap().data["version"], 1);
    refused(write(json!(0)).await, mismatch);
    refused(write(json!(2)).await, mismatch);
    assert_eq!(write(json!("1")).await.unwrap().data["version"], 2);
    refused(write(json!("x")).await, "\"options\": cas: use the number");
    refused(write(json!(-1)).await, "\"options\": cas: use the number");
    let odd = mount.write("data/a", json!({ "data": {}, "options": "cas=1" })).await;
    refused(odd, "\"options\": expected an object such as");
    let told = mount.write("data/odd", json!({ "data": {}, "options": { "sas": 1 } })).await.unwrap();
    assert_eq!(told.warnings, ["Endpoint ignored these unrecognized parameters: [options.sas]"]);
    // Without a demand, none is needed.
    put(&mount, "a", json!({})).await;
    // The key demands it.
    mount.write("metadata/a", json!({ "cas_required": true })).await.unwrap();
    refused(mount.write("data/a", json!({ "data": {} })).await, required);
    refused(mount.patch("data/a", json!({ "data": {} })).await, required);
    assert_eq!(write(json!(3)).await.unwrap().data["version"], 4);
    put(&mount, "b", json!({})).await;
    // The mount demands it.
    mount.write("config", json!({ "cas_required": "true" })).await.unwrap();
    refused(mount.write("data/b", json!({ "data": {} })).await, required);
    refused(mount.write("data/c", json!({ "data": {} })).await, required);
    // A deleted version still counts; a secret without versions has none.
    mount.delete("data/a").await.unwrap();
    refused(write(json!(0)).await, mismatch);
    mount.write("metadata/d", json!({})).await.unwrap();
    let body = json!({ "data": {}, "options": { "cas": 0 } });
    assert_eq!(mount.write("data/d", body).await.unwrap().data["version"], 1);
}

#[tokio::test]
async fn of_many_writers_with_the_same_belief_one_wins() {
    let mount = mount();
    let body = json!({ "data": { "a": 1 }, "options": { "cas": 0 } });
    let writers = (0..10).map(|_| mount.write("data/a", body.clone()));
    let won = join_all(writers).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
    // Without a belief all of them write, one after the other.
    let writers = (0..10).map(|n| put(&mount, "b", json!({ "n": n })));
    let mut versions = join_all(writers).await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=10).collect::<Vec<_>>());
    assert!(mount.conflicts() > 0);
}

#[tokio::test]
async fn bodies_without_data_are_refused() {
    let mount = mount();
    for body in [json!({}), json!({ "data": null }), json!({ "options": { "cas": 0 } }), Value::Null] {
        refused(mount.write("data/a", body.clone()).await, "no data provided");
        put(&mount, "b", json!({})).await;
        refused(mount.patch("data/b", body).await, "no data provided");
    }
    for data in [json!("secret"), json!([1]), json!(1), json!(true)] {
        refused(mount.write("data/a", json!({ "data": data })).await, "\"data\"");
    }
    let written = mount.write("data/a", json!({ "data": {}, "value": "x" })).await.unwrap();
    assert_eq!(written.warnings, ["Endpoint ignored these unrecognized parameters: [value]"]);
    for verb in [Verb::Read, Verb::Write, Verb::Delete] {
        let error = mount.send(verb, "data", json!({ "data": {} })).await.unwrap_err();
        assert!(matches!(error, Error::NoRoute(_)), "{error}");
    }
}

#[tokio::test]
async fn a_deleted_version_is_told_apart_from_one_that_never_was() {
    let mount = mount();
    for n in 1..=3 {
        put(&mount, "a", json!({ "n": n })).await;
    }
    mount.time().advance(Duration::from_secs(60));
    assert_eq!(mount.delete("data/a").await.unwrap().status, 204);
    let gone = mount.read("data/a").await.unwrap();
    assert_eq!((gone.status, &gone.data["data"]), (404, &Value::Null));
    assert_eq!(gone.data["metadata"]["deletion_time"], "2027-01-15T08:01:00Z");
    assert_eq!((&gone.data["metadata"]["version"], &gone.data["metadata"]["destroyed"]), (&json!(3), &json!(false)));
    let subkeys = mount.read("subkeys/a").await.unwrap();
    assert_eq!((subkeys.status, &subkeys.data["subkeys"]), (404, &Value::Null));
    assert_eq!(mount.read("data/a?version=2").await.unwrap().status, 200);
    // Deleting again does not move the time.
    mount.time().advance(Duration::from_secs(60));
    mount.delete("data/a").await.unwrap();
    assert_eq!(mount.read("data/a").await.unwrap().data["metadata"]["deletion_time"], "2027-01-15T08:01:00Z");
    // Undeleting brings it back; unknown versions are passed over.
    assert_eq!(mount.write("undelete/a", json!({ "versions": [3, 9] })).await.unwrap().status, 204);
    let back = mount.read("data/a").await.unwrap();
    assert_eq!(
        (back.status, &back.data["data"], &back.data["metadata"]["deletion_time"]),
        (200, &json!({ "n": 3 }), &json!(""))
    );
    // Destroying removes the value for good.
    mount.write("delete/a", json!({ "versions": "1,2" })).await.unwrap();
    mount.write("destroy/a", json!({ "versions": ["2", 3] })).await.unwrap();
    mount.write("undelete/a", json!({ "versions": [1, 2, 3] })).await.unwrap();
    assert_eq!(mount.read("data/a?version=1").await.unwrap().data["data"], json!({ "n": 1 }));
    for n in [2, 3] {
        let gone = mount.read(&format!("data/a?version={n}")).await.unwrap();
        assert_eq!((gone.status, &gone.data["metadata"]["destroyed"]), (404, &json!(true)));
        assert!(mount.dump().await.iter().all(|(_, text)| !text.contains(&format!("\"n\":{n}}}"))));
    }
    // The next version goes on from there.
    assert_eq!(put(&mount, "a", json!({})).await, 4);
    for family in ["delete", "undelete", "destroy"] {
        let at = format!("{family}/a");
        refused(mount.write(&at, json!({})).await, "No version number provided");
        refused(mount.write(&at, json!({ "versions": [] })).await, "No version number provided");
        refused(mount.write(&at, json!({ "versions": ["x"] })).await, "versions");
        assert_eq!(mount.write(&format!("{family}/none"), json!({ "versions": [1] })).await.unwrap().status, 204);
    }
    mount.delete("data/none").await.unwrap();
    assert!(mount.read("metadata/none").await.is_err(), "deleting makes nothing");
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let mount = mount();
    let patch = async |data: Value| mount.patch("data/a", json!({ "data": data })).await;
    missing(patch(json!({ "a": 1 })).await);
    put(&mount, "a", json!({ "keep": 1.0, "gone": "x", "in": { "a": 1, "b": 2 } })).await;
    let patched = patch(json!({ "gone": null, "new": "y", "in": { "b": null, "c": [null] } })).await.unwrap();
    assert_eq!((patched.status, &patched.data["version"]), (200, &json!(2)));
    let expected = json!({ "keep": 1.0, "new": "y", "in": { "a": 1, "c": [null] } });
    assert_eq!(mount.read("data/a").await.unwrap().data["data"], expected);
    assert_eq!(mount.read("data/a?version=1").await.unwrap().data["data"]["gone"], "x");
    let cas = async |cas: u64| mount.patch("data/a", json!({ "data": {}, "options": { "cas": cas } })).await;
    refused(cas(1).await, "did not match");
    assert_eq!(cas(2).await.unwrap().data["version"], 3);
    refused(patch(json!("x")).await, "\"data\"");
    mount.delete("data/a").await.unwrap();
    let gone = patch(json!({ "a": 1 })).await.unwrap();
    assert_eq!((gone.status, &gone.data["data"]), (404, &Value::Null));
    mount.write("metadata/empty", json!({})).await.unwrap();
    missing(mount.patch("data/empty", json!({ "data": {} })).await);
}

#[tokio::test]
async fn only_so_many_versions_are_kept() {
    let mount = mount();
    for n in 1..=12 {
        put(&mount, "a", json!({ "n": n })).await;
    }
    let metadata = async |path: &str| mount.read(&format!("metadata/{path}")).await.unwrap().data;
    let shown = metadata("a").await;
    assert_eq!((&shown["oldest_version"], &shown["current_version"]), (&json!(3), &json!(12)));
    assert_eq!(shown["versions"].as_object().unwrap().len(), 10);
    missing(mount.read("data/a?version=2").await);
    assert_eq!(mount.dump().await.iter().filter(|(key, _)| key.starts_with("v/")).count(), 10);
    // The key's own number wins over the mount's; a smaller one counts from the next write on.
    mount.write("config", json!({ "max_versions": 5 })).await.unwrap();
    mount.write("metadata/b", json!({ "max_versions": 2 })).await.unwrap();
    for n in 1..=4 {
        put(&mount, "b", json!({ "n": n })).await;
    }
    assert_eq!(metadata("b").await["oldest_version"], 3);
    assert_eq!(metadata("a").await["oldest_version"], 3);
    put(&mount, "a", json!({})).await;
    assert_eq!(metadata("a").await["oldest_version"], 9);
    refused(mount.write("config", json!({ "max_versions": 1_000_000 })).await, "max_versions");
    refused(mount.write("metadata/b", json!({ "max_versions": -1 })).await, "max_versions");
}

#[tokio::test]
async fn labels_follow_the_writes() {
    let mount = mount();
    let read = async |label: &str| mount.read(&format!("data/a?label={label}")).await;
    put(&mount, "a", json!({ "n": 1 })).await;
    missing(read("previous").await);
    for n in 2..=3 {
        put(&mount, "a", json!({ "n": n })).await;
        assert_eq!(read("current").await.unwrap().data["data"]["n"], n);
        assert_eq!(read("previous").await.unwrap().data["data"]["n"], n - 1);
    }
    mount.write("metadata/a", json!({ "max_versions": 1 })).await.unwrap();
    put(&mount, "a", json!({ "n": 4 })).await;
    missing(read("previous").await);
}

#[tokio::test]
async fn versions_are_deleted_by_time() {
    let mount = mount();
    let deletion = async |path: &str| {
        mount.write(&format!("data/{path}"), json!({ "data": { "a": 1 } })).await.unwrap().data["deletion_time"].clone()
    };
    assert_eq!(deletion("none").await, "");
    mount.write("config", json!({ "delete_version_after": "1h" })).await.unwrap();
    assert_eq!(deletion("mount").await, "2027-01-15T09:00:00Z");
    for (own, time) in [("30m", "2027-01-15T08:30:00Z"), ("2h", "2027-01-15T09:00:00Z"), ("0s", "2027-01-15T09:00:00Z")]
    {
        mount.write("metadata/own", json!({ "delete_version_after": own })).await.unwrap();
        assert_eq!(deletion("own").await, time, "{own}");
    }
    refused(mount.write("metadata/own", json!({ "delete_version_after": "-1s" })).await, "delete_version_after");
    mount.time().advance(Duration::from_secs(3599));
    assert_eq!(mount.read("data/mount").await.unwrap().status, 200);
    mount.time().advance(Duration::from_secs(1));
    assert_eq!(mount.read("data/mount").await.unwrap().status, 404);
    assert_eq!(mount.read("data/none").await.unwrap().status, 200, "reckoned when written");
    // What time has deleted can still be undeleted, and patched only then.
    assert_eq!(mount.patch("data/mount", json!({ "data": {} })).await.unwrap().status, 404);
    mount.write("undelete/mount", json!({ "versions": [1] })).await.unwrap();
    assert_eq!(mount.read("data/mount").await.unwrap().status, 200);
    // A negative time switches it off.
    mount.write("config", json!({ "delete_version_after": "-1s" })).await.unwrap();
    assert_eq!(deletion("own").await, "");
    assert_eq!(mount.read("config").await.unwrap().data["delete_version_after"], "-1s");
}

#[tokio::test]
async fn the_mount_tells_its_settings() {
    let mount = mount();
    let read = async || mount.read("config").await.unwrap().data;
    assert_eq!(
        read().await,
        json!({ "max_versions": 0, "cas_required": false, "delete_version_after": "0s", "metadata_cas_required": false })
    );
    let written =
        mount.write("config", json!({ "max_versions": "7", "delete_version_after": "3h25m19s" })).await.unwrap();
    assert_eq!(written.status, 204);
    mount.write("config", json!({ "cas_required": true })).await.unwrap();
    assert_eq!(
        read().await,
        json!({ "max_versions": 7, "cas_required": true, "delete_version_after": "3h25m19s", "metadata_cas_required": false })
    );
}

#[tokio::test]
async fn metadata_is_shown_and_changed_in_parts() {
    let mount = mount();
    missing(mount.read("metadata/a").await);
    missing(mount.patch("metadata/a", json!({ "max_versions": 1 })).await);
    let body =
        json!({ "max_versions": 4, "delete_version_after": "3h", "custom_metadata": { "owner": "web", "tier": "1" } });
    assert_eq!(mount.write("metadata/a", body).await.unwrap().status, 204);
    missing(mount.read("data/a").await);
    let app = mount.caller("app", &[("kv/*", &[Operation::Create, Operation::Update])]);
    mount.time().advance(Duration::from_secs(1));
    mount.send_as(Some(&app), Verb::Write, "data/a", json!({ "data": {} })).await.unwrap();
    let author = json!({ "actor": "app", "entity_id": "entity-app" });
    let expected = json!({
        "cas_required": false, "created_time": "2027-01-15T08:00:00Z", "current_metadata_version": 1, "current_version": 1,
        "custom_metadata": { "owner": "web", "tier": "1" }, "delete_version_after": "3h0m0s",
        "last_updated_by": author, "max_versions": 4, "metadata_cas_required": false, "oldest_version": 0, "updated_time": "2027-01-15T08:00:01Z",
        "versions": { "1": {
            "created_by": author, "created_time": "2027-01-15T08:00:01Z", "deletion_time": "2027-01-15T11:00:01Z",
            "destroyed": false,
        } },
    });
    let read = async || mount.read("metadata/a").await.unwrap().data;
    assert_eq!(read().await, expected);
    assert_eq!(
        mount.read("data/a").await.unwrap().data["metadata"]["custom_metadata"],
        json!({ "owner": "web", "tier": "1" })
    );
    // A write replaces the notes as a whole, a patch merges them, null resets.
    mount.write("metadata/a", json!({ "custom_metadata": { "owner": "db" } })).await.unwrap();
    assert_eq!(
        (&read().await["custom_metadata"], &read().await["max_versions"]),
        (&json!({ "owner": "db" }), &json!(4))
    );
    let patch = json!({ "custom_metadata": { "owner": null, "new": "x" }, "max_versions": null });
    mount.patch("metadata/a", patch).await.unwrap();
    assert_eq!((&read().await["custom_metadata"], &read().await["max_versions"]), (&json!({ "new": "x" }), &json!(0)));
    mount
        .patch("metadata/a", json!({ "custom_metadata": null, "delete_version_after": null, "cas_required": true }))
        .await
        .unwrap();
    let shown = read().await;
    assert_eq!(shown["custom_metadata"], Value::Null);
    assert_eq!((&shown["delete_version_after"], &shown["cas_required"]), (&json!("0s"), &json!(true)));
    assert_eq!(mount.delete("metadata/a").await.unwrap().status, 204);
    missing(mount.read("metadata/a").await);
    missing(mount.read("data/a?version=1").await);
    let left = mount.dump().await;
    // But that it was removed, for streams of events.
    assert!(left.iter().all(|(key, _)| key == "fingerprint-key" || key.starts_with("x/")), "{left:?}");
    assert_eq!(put(&mount, "a", json!({})).await, 1);
}

#[tokio::test]
async fn a_change_of_settings_says_what_it_replaces() {
    let mount = mount();
    let (mismatch, required) = (
        "metadata check-and-set parameter did not match the current version",
        "metadata check-and-set parameter required for this call",
    );
    let write = async |cas: Value| mount.write("metadata/a", json!({ "max_versions": 3, "metadata_cas": cas })).await;
    let state = async || mount.read("metadata/a").await.unwrap().data["current_metadata_version"].clone();
    refused(write(json!(1)).await, mismatch);
    missing(mount.read("metadata/a").await);
    write(json!(0)).await.unwrap();
    refused(write(json!(0)).await, mismatch);
    write(json!("1")).await.unwrap();
    refused(write(json!("x")).await, "metadata_cas");
    // Values come and go without a change of the settings.
    put(&mount, "a", json!({})).await;
    assert_eq!(state().await, 2);
    let patch = async |body: Value| mount.patch("metadata/a", body).await;
    refused(patch(json!({ "metadata_cas": 1, "max_versions": 4 })).await, mismatch);
    patch(json!({ "metadata_cas": 2, "metadata_cas_required": true })).await.unwrap();
    // The key demands it.
    refused(write(Value::Null).await, required);
    refused(patch(json!({ "max_versions": 4 })).await, required);
    put(&mount, "a", json!({})).await;
    patch(json!({ "metadata_cas": 3, "metadata_cas_required": null })).await.unwrap();
    write(Value::Null).await.unwrap();
    assert_eq!(state().await, 5);
    // The mount demands it.
    mount.write("config", json!({ "metadata_cas_required": true })).await.unwrap();
    refused(write(Value::Null).await, required);
    refused(mount.write("metadata/b", json!({})).await, required);
    write(json!(5)).await.unwrap();
    put(&mount, "b", json!({})).await;
    mount.write("metadata/b", json!({ "metadata_cas": 0 })).await.unwrap();
}

#[tokio::test]
async fn a_listing_may_tell_what_is_known_of_each_secret() {
    let mount = mount();
    put(&mount, "f/a", json!({ "password": "s3cret" })).await;
    put(&mount, "f/a", json!({ "password": "s3cret" })).await;
    put(&mount, "f/a/b", json!({})).await;
    mount.write("metadata/f/c", json!({ "custom_metadata": { "owner": "web" } })).await.unwrap();
    let listed = mount.list("detailed-metadata/f").await.unwrap();
    assert_eq!(listed.data["keys"], json!(["a", "a/", "c"]));
    assert_eq!(listed.data["key_info"]["a"], mount.read("metadata/f/a").await.unwrap().data);
    assert_eq!(listed.data["key_info"]["c"]["custom_metadata"], json!({ "owner": "web" }));
    assert_eq!(listed.data["key_info"].as_object().unwrap().len(), 2);
    let page = mount.list("detailed-metadata/f/?limit=1&after=a/").await.unwrap().data;
    assert_eq!((&page["keys"], page["key_info"].as_object().unwrap().len()), (&json!(["c"]), 1));
    missing(mount.list("detailed-metadata/none").await);
    let all = mount.send(Verb::Scan, "detailed-metadata/", Value::Null).await.unwrap().data;
    assert_eq!(all["keys"], json!(["f/a", "f/a/b", "f/c"]));
    assert_eq!(all["key_info"]["f/a/b"]["current_version"], 1);
    let page = mount.send(Verb::Scan, "detailed-metadata/f?limit=1&after=a", Value::Null).await.unwrap().data;
    assert_eq!((&page["keys"], page["key_info"].as_object().unwrap().len()), (&json!(["a/b"]), 1));
    let lister = mount.caller("lister", &[("kv/metadata/*", &[Operation::List])]);
    let denied = mount.send_as(Some(&lister), Verb::List, "detailed-metadata/f", Value::Null).await;
    assert!(matches!(denied, Err(Error::Denied(_))), "names alone are less");
}

#[tokio::test]
async fn notes_have_limits() {
    let mount = mount();
    let many = |n: usize| (0..n).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let cases = [
        (Value::from(many(65)), "at most 64 keys, provided 65"),
        (json!({ "k".repeat(129): "v" }), "is 129 but must be"),
        (json!({ "": "v" }), "is 0 but must be"),
        (json!({ "k": "v".repeat(513) }), "is 513 but max allowed is 512"),
        (json!({ "k\n": "v" }), "unprintable"),
        (json!({ "k": "v\u{7}" }), "unprintable"),
        (json!({ "k": { "a": 1 } }), "custom_metadata"),
        (json!([1]), "custom_metadata"),
    ];
    for (custom, text) in cases {
        refused(mount.write("metadata/a", json!({ "custom_metadata": custom })).await, text);
    }
    missing(mount.read("metadata/a").await);
    let most = json!({ "custom_metadata": many(64) });
    mount.write("metadata/a", most).await.unwrap();
    refused(mount.patch("metadata/a", json!({ "custom_metadata": { "one more": "v" } })).await, "at most 64 keys");
    let long = json!({ "custom_metadata": { "k".repeat(128): "v".repeat(512) } });
    mount.write("metadata/b", long).await.unwrap();
}

#[tokio::test]
async fn the_names_in_a_secret_are_told_without_values() {
    let mount = mount();
    missing(mount.read("subkeys/a").await);
    put(&mount, "a", json!({ "db": { "user": "x", "ports": [1, 2], "in": { "n": null } }, "key": "s3cret" })).await;
    let names = async |query: &str| mount.read(&format!("subkeys/a{query}")).await.unwrap().data["subkeys"].clone();
    let all = json!({ "db": { "user": null, "ports": null, "in": { "n": null } }, "key": null });
    assert_eq!(names("").await, all);
    assert_eq!(names("?depth=0").await, all);
    assert_eq!(names("?depth=1").await, json!({ "db": null, "key": null }));
    assert_eq!(names("?depth=2").await, json!({ "db": { "user": null, "ports": null, "in": null }, "key": null }));
    let read = mount.read("subkeys/a?version=1&depth=1").await.unwrap();
    assert_eq!(read.data["metadata"]["version"], 1);
    assert!(!String::from_utf8_lossy(&read.raw).contains("s3cret"));
    refused(mount.read("subkeys/a?depth=x").await, "depth");
    missing(mount.read("subkeys/a?version=2").await);
}

#[tokio::test]
async fn a_deeply_nested_secret_is_kept_shown_and_patched() {
    let mount = mount();
    let deep = "{\"a\":".repeat(500) + "{}" + &"}".repeat(500);
    let local = std::net::IpAddr::from([127, 0, 0, 1]);
    let body = format!("{{\"data\":{deep}}}");
    mount.send_bytes(None, local, Verb::Write, "data/a", body.clone().into()).await.unwrap();
    let read = mount.read("data/a").await.unwrap();
    assert!(String::from_utf8_lossy(&read.raw).contains(&deep));
    mount.send_bytes(None, local, Verb::Patch, "data/a", body.into()).await.unwrap();
    assert!(String::from_utf8_lossy(&mount.read("data/a").await.unwrap().raw).contains(&deep));
    assert!(mount.read("subkeys/a").await.unwrap().raw.len() > 3000);
}

#[tokio::test]
async fn who_takes_the_mount_for_one_without_versions_is_told() {
    let mount = mount();
    put(&mount, "app", json!({})).await;
    let commands = [
        (Verb::Read, "get"),
        (Verb::Write, "put"),
        (Verb::Delete, "delete"),
        (Verb::List, "list"),
        (Verb::Scan, "scan"),
    ];
    for (verb, command) in commands {
        let answer = mount.send(verb, "app", json!({ "a": 1 })).await.unwrap();
        assert_eq!((answer.status, &answer.data), (404, &Value::Null));
        assert!(answer.warnings[0].starts_with("Invalid path for a versioned K/V secrets engine"));
        assert!(answer.warnings[0].contains(&format!("'kv {command}'")));
    }
    for (verb, path) in
        [(Verb::List, "data/app"), (Verb::Delete, "config"), (Verb::Read, "destroy/app"), (Verb::Patch, "config")]
    {
        let answer = mount.send(verb, path, Value::Null).await;
        assert!(matches!(answer, Err(Error::Unsupported)), "{verb:?} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn rights_tell_creation_from_change() {
    let mount = mount();
    let all: &[(&str, &[Operation])] = &[("kv/data/*", &[Operation::Create]), ("kv/metadata/*", &[Operation::Create])];
    let creator = mount.caller("creator", all);
    let send = async |verb, path: &str| mount.send_as(Some(&creator), verb, path, json!({ "data": { "a": 1 } })).await;
    send(Verb::Write, "data/a").await.unwrap();
    for (verb, path) in
        [(Verb::Write, "data/a"), (Verb::Write, "metadata/a"), (Verb::Patch, "data/a"), (Verb::Read, "data/a")]
    {
        assert!(matches!(send(verb, path).await, Err(Error::Denied(_))), "{verb:?} {path}");
    }
    // A deleted secret is still there.
    mount.delete("data/a").await.unwrap();
    assert!(matches!(send(Verb::Write, "data/a").await, Err(Error::Denied(_))));
    send(Verb::Write, "metadata/b").await.unwrap();
}

#[tokio::test]
async fn names_are_listed_folder_by_folder_and_page_by_page() {
    let mount = mount();
    missing(mount.list("metadata").await);
    for path in ["a", "a/b", "a/c/d", "b c", "z"] {
        put(&mount, path, json!({})).await;
    }
    mount.delete("data/z").await.unwrap();
    let keys = async |path: &str| mount.list(path).await.map(|listed| listed.data["keys"].clone());
    assert_eq!(keys("metadata").await.unwrap(), json!(["a", "a/", "b c", "z"]));
    assert_eq!(keys("metadata/").await.unwrap(), json!(["a", "a/", "b c", "z"]));
    assert_eq!(keys("metadata/a/").await.unwrap(), json!(["b", "c/"]));
    assert_eq!(keys("metadata?after=a&limit=2").await.unwrap(), json!(["a/", "b c"]));
    missing(mount.list("metadata/z").await);
    mount.delete("metadata/z").await.unwrap();
    assert_eq!(keys("metadata").await.unwrap(), json!(["a", "a/", "b c"]));
}

#[tokio::test]
async fn equal_values_have_equal_fingerprints_within_a_mount_only() {
    let fingerprints = async |mount: &Mounted| -> Vec<String> {
        for path in ["a", "b", "c"] {
            put(mount, path, json!({ "v": if path == "c" { 2 } else { 1 } })).await;
        }
        let dump = mount.dump().await;
        let records = dump.iter().filter(|(key, _)| key.starts_with("m/"));
        let records = records.map(|(_, text)| serde_json::from_str::<Value>(text).unwrap());
        records.map(|record| record["versions"][0]["fingerprint"].as_str().unwrap().to_owned()).collect()
    };
    let (first, second) = (fingerprints(&mount()).await, fingerprints(&mount()).await);
    assert_eq!(first[0], first[1]);
    assert_ne!(first[0], first[2]);
    assert_ne!(first[0], second[0]);
    assert_eq!(first[0].len(), 32);
    // The key outlives a restart.
    let mount = mount();
    let before = fingerprints(&mount).await;
    let mount = mount.reopened();
    put(&mount, "d", json!({ "v": 1 })).await;
    let dump = mount.dump().await;
    let (_, record) = dump.iter().find(|(key, _)| key == "m/d").unwrap();
    assert!(record.contains(&before[0]));
}

#[tokio::test]
async fn the_stored_form_has_what_later_views_need() {
    let mount = mount();
    put(&mount, "a", json!({ "v": 1 })).await;
    put(&mount, "a", json!({ "v": 2 })).await;
    let dump = mount.dump().await;
    let (_, record) = dump.iter().find(|(key, _)| key == "m/a").unwrap();
    let record: Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["labels"], json!({ "current": { "version": 2 }, "previous": { "version": 1 } }));
    let version = &record["versions"][1];
    assert_eq!(version["media_type"], "application/json");
    assert_eq!(version["id"].as_str().unwrap().len(), 36);
    assert_ne!(version["id"], record["versions"][0]["id"]);
    let values: Vec<_> = dump.iter().filter(|(key, _)| key.starts_with("v/")).collect();
    assert_eq!(values[0], &("v/0000000001/a".to_owned(), "{\"v\":1}".to_owned()));
    assert!(!record.to_string().contains("\"v\""), "no value in the record");
}
