//! Secrets without versions, from outside.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use api::{Operation, Verb};
use engine::{Error, testing::Mounted};
use serde_json::{Value, json};

fn mount() -> Mounted {
    Mounted::new(engine_kv::KIND)
}

#[tokio::test]
async fn a_mount_without_versions_conforms() {
    mount().conforms().await;
    Mounted::with(engine_kv::KIND, &[("version", "1")]).conforms().await;
}

#[tokio::test]
async fn what_is_written_is_given_back_and_replaced() {
    let mount = mount();
    assert!(matches!(mount.read("app/db").await, Err(Error::NotFound)));
    let body = json!({ "user": "app", "n": 1.5, "nested": { "a": [1, null] } });
    assert_eq!(mount.write("app/db", body.clone()).await.unwrap().status, 204);
    let read = mount.read("app/db").await.unwrap();
    assert_eq!((read.status, &read.data), (200, &body));
    assert_eq!(read.lease_duration, Some(Duration::from_secs(2_764_800)));
    assert!(read.lease.is_none());
    mount.write("app/db", json!({ "other": "x" })).await.unwrap();
    assert_eq!(mount.reopened().read("app/db").await.unwrap().data, json!({ "other": "x" }));
    assert_eq!(mount.delete("app/db").await.unwrap().status, 204);
    assert_eq!(mount.delete("app/db").await.unwrap().status, 204);
    assert!(matches!(mount.read("app/db").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_secret_may_say_when_to_ask_again() {
    let mount = mount();
    let cases = [
        (json!({ "ttl": "1h" }), 3600),
        (json!({ "lease": 90 }), 90),
        (json!({ "ttl": "30", "lease": "1h" }), 30),
        (json!({ "ttl": "soon" }), 2_764_800),
        (json!({ "ttl": { "a": 1 } }), 2_764_800),
        (json!({ "ttl": 0 }), 2_764_800),
    ];
    for (body, seconds) in cases {
        mount.write("a", body.clone()).await.unwrap();
        let read = mount.read("a").await.unwrap();
        assert_eq!(read.lease_duration, Some(Duration::from_secs(seconds)), "{body}");
        assert_eq!(read.data, body);
    }
}

#[tokio::test]
async fn names_are_listed_folder_by_folder_and_page_by_page() {
    let mount = mount();
    for path in ["a", "a/b", "a/c/d", "data/x", "config", "é"] {
        mount.write(path, json!({ "v": path })).await.unwrap();
    }
    let keys = async |path: &str| mount.list(path).await.map(|listed| listed.data["keys"].clone());
    assert_eq!(keys("").await.unwrap(), json!(["a", "a/", "config", "data/", "é"]));
    assert_eq!(keys("a").await.unwrap(), json!(["b", "c/"]));
    assert_eq!(keys("a/").await.unwrap(), json!(["b", "c/"]));
    assert_eq!(keys("?limit=2").await.unwrap(), json!(["a", "a/"]));
    assert_eq!(keys("?limit=2&after=a/").await.unwrap(), json!(["config", "data/"]));
    assert!(matches!(keys("a/b").await, Err(Error::NotFound)));
    assert_eq!(mount.read("data/x").await.unwrap().data, json!({ "v": "data/x" }));
}

#[tokio::test]
async fn bad_input_is_told() {
    let mount = mount();
    for body in [json!({}), Value::Null] {
        let error = mount.write("a", body).await.unwrap_err();
        assert_eq!(error.to_string(), "missing data fields");
    }
    for body in [json!([1]), json!("x"), json!(1)] {
        assert!(matches!(mount.write("a", body).await, Err(Error::Invalid(_))));
    }
    assert!(matches!(mount.write("", json!({ "a": 1 })).await, Err(Error::Invalid(_))));
    let long = "x/".repeat(950) + "x";
    assert!(matches!(mount.write(&long, json!({ "a": 1 })).await, Err(Error::Invalid(_))));
    assert!(matches!(mount.patch("a", json!({ "a": 1 })).await, Err(Error::Unsupported)));
}

#[tokio::test]
async fn a_write_creates_or_updates() {
    let mount = mount();
    let creator = mount.caller("creator", &[("kv/*", &[Operation::Create])]);
    let write = async || mount.send_as(Some(&creator), Verb::Write, "a", json!({ "v": 1 })).await;
    write().await.unwrap();
    assert!(matches!(write().await, Err(Error::Denied(_))), "what is there is not created again");
}

#[tokio::test]
async fn a_mount_that_gets_versions_keeps_its_secrets() {
    let mount = mount();
    let value = r#"{ "n": 1.10e+2, "nested": {"a": [1, null]} }"#;
    let local = std::net::IpAddr::from([127, 0, 0, 1]);
    mount.send_bytes(None, local, Verb::Write, "app/db", value.into()).await.unwrap();
    for n in 0..450 {
        mount.write(&format!("many/s{n:03}"), json!({ "n": n })).await.unwrap();
    }
    mount.write("many/s007/below", json!({ "ttl": "1h" })).await.unwrap();
    mount.time().advance(Duration::from_secs(60));

    let upgrading = mount.upgrading(&[("version", "2")]);
    let mut steps = 1;
    loop {
        // Until the last step is done, clients are told to come again.
        for (verb, path) in [(Verb::Read, "data/app/db"), (Verb::Write, "data/new"), (Verb::List, "metadata")] {
            match upgrading.send(verb, path, json!({ "data": {} })).await {
                Err(Error::Invalid(text)) => {
                    assert!(text.starts_with("Upgrading from non-versioned to versioned data."))
                }
                other => panic!("{other:?}"),
            }
        }
        if !upgrading.upgrade_step().await.unwrap() {
            break;
        }
        steps += 1;
    }
    assert_eq!(steps, 3, "so many secrets are taken over at once");

    let mount = upgrading.reopened();
    let read = mount.read("data/app/db").await.unwrap();
    assert!(
        std::str::from_utf8(&read.raw).unwrap().starts_with(&format!("{{\"data\":{value},")),
        "not one byte changed"
    );
    assert_eq!(read.data["metadata"]["created_time"], "2027-01-15T08:01:00Z");
    let metadata = mount.read("metadata/app/db").await.unwrap().data;
    assert_eq!(
        (&metadata["current_version"], &metadata["versions"]["1"]["created_by"]["actor"]),
        (&json!(1), &json!("upgrade"))
    );
    assert_eq!(mount.list("metadata/many").await.unwrap().data["keys"].as_array().unwrap().len(), 451);
    assert_eq!(mount.read("data/many/s007/below").await.unwrap().data["data"], json!({ "ttl": "1h" }));
    let cas = json!({ "data": { "n": 2 }, "options": { "cas": 1 } });
    assert_eq!(mount.write("data/app/db", cas).await.unwrap().data["version"], 2);
    assert!(mount.dump().await.iter().all(|(key, _)| !key.starts_with("s/")), "nothing of the old form is left");
    assert!(!mount.upgrade_step().await.unwrap(), "a step more does nothing");
    assert_eq!(mount.read("data/app/db").await.unwrap().data["metadata"]["version"], 2);
}

#[tokio::test]
async fn large_secrets_are_taken_over_few_at_a_time() {
    let mount = mount();
    for n in 0..12 {
        mount.write(&format!("s{n:02}"), json!({ "v": "x".repeat(1 << 20) })).await.unwrap();
    }
    let upgrading = mount.upgrading(&[("version", "2")]);
    assert!(upgrading.upgrade_step().await.unwrap());
    let left = mount.dump().await.iter().filter(|(key, _)| key.starts_with("s/")).count();
    assert!((6..=8).contains(&left), "{left}");
    while upgrading.upgrade_step().await.unwrap() {}
    assert_eq!(upgrading.reopened().list("metadata").await.unwrap().data["keys"].as_array().unwrap().len(), 12);
}
