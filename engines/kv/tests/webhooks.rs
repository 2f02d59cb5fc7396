//! Those who are told of changes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod receiver;

use std::time::Duration;

use api::{Operation, Verb};
use engine::{Error, testing::Mounted};
use serde_json::{Value, json};

use crate::receiver::{Call, Receiver};

const SECRET: &str = "0123456789abcdef";

fn mount() -> Mounted {
    Mounted::with(engine_kv::KIND, &[("version", "2")])
}

async fn put(mount: &Mounted, path: &str) {
    mount.write(&format!("data/{path}"), json!({ "data": { "password": "hunter2" } })).await.unwrap();
}

async fn tell(mount: &Mounted, name: &str, url: &str, more: Value) {
    let mut body = json!({ "url": url, "secret": SECRET });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    mount.write(&format!("webhooks/{name}"), body).await.unwrap();
}

/// Paths and states of the events of some calls.
fn told(calls: &[Call]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = calls.iter().flat_map(|call| call.body["events"].as_array().unwrap());
    events.map(|event| (text(&event["path"]), text(&event["state"]))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(path, state)| ((*path).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn changes_are_told_signed_and_once() {
    let (mount, receiver) = (mount(), Receiver::start().await);
    put(&mount, "before").await;
    mount.tend().await.unwrap();
    tell(&mount, "all", &receiver.url, json!({})).await;
    mount.tend().await.unwrap();
    assert_eq!(told(&receiver.take()), []);
    for path in ["app/a", "app/b", "other"] {
        put(&mount, path).await;
    }
    mount.delete("data/app/a").await.unwrap();
    mount.delete("metadata/app/b").await.unwrap();
    mount.tend().await.unwrap();
    let calls = receiver.take();
    assert_eq!(told(&calls), pairs(&[("other", "live"), ("app/a", "deleted"), ("app/b", "removed")]));
    let call = &calls[0];
    assert!(!String::from_utf8_lossy(&call.bytes).contains("hunter2"));
    assert_eq!((&call.body["webhook"], &call.body["mount"]), (&json!("all"), &json!("kv/")));
    assert_eq!(call.header("idempotency-key"), call.body["idempotency_key"]);
    let signature = call.header("x-strongroom-signature").to_owned();
    let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut context = crypto::hmac::Key::new(SECRET.as_bytes()).context();
    context.update(format!("{time}.").as_bytes());
    context.update(&call.bytes);
    let expected: String = context.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(tag, expected);
    mount.tend().await.unwrap();
    assert_eq!(told(&receiver.take()), []);
    let shown = mount.read("webhooks/all").await.unwrap().data;
    assert_eq!((&shown["delivered"], &shown["failures"], &shown["last_error"]), (&json!(3), &json!(0), &Value::Null));
    assert!(!shown.to_string().contains(SECRET) && shown["last_success"].is_string());
    mount.delete("webhooks/all").await.unwrap();
    put(&mount, "after").await;
    mount.tend().await.unwrap();
    assert_eq!(told(&receiver.take()), []);
    assert!(mount.dump().await.iter().all(|(key, _)| !key.starts_with("h/") && !key.starts_with("p/")));
}

#[tokio::test]
async fn a_webhook_hears_of_its_part_only() {
    let (mount, receiver) = (mount(), Receiver::start().await);
    tell(&mount, "app", &receiver.url, json!({ "prefix": "app/" })).await;
    for path in ["app/a", "apples", "b"] {
        put(&mount, path).await;
    }
    mount.tend().await.unwrap();
    assert_eq!(told(&receiver.take()), pairs(&[("app/a", "live")]));
}

#[tokio::test]
async fn who_is_away_is_told_later_and_a_restart_loses_nothing() {
    let (mut mount, receiver) = (mount(), Receiver::start().await);
    tell(&mount, "all", &receiver.url, json!({})).await;
    receiver.answer(|_| (503, String::new()));
    put(&mount, "a").await;
    mount.tend().await.unwrap();
    assert_eq!(receiver.take().len(), 1);
    let shown = mount.read("webhooks/all").await.unwrap().data;
    assert_eq!((&shown["failures"], &shown["last_error"]), (&json!(1), &json!("it answered with status 503")));
    // Not before its time.
    mount.tend().await.unwrap();
    assert_eq!(receiver.take().len(), 0);
    mount.time().advance(Duration::from_secs(1));
    mount.tend().await.unwrap();
    assert_eq!(receiver.take().len(), 1);
    // Changed ten times, told once: how it is.
    for _ in 0..10 {
        put(&mount, "b").await;
    }
    mount = mount.reopened();
    mount.delete("metadata/a").await.unwrap();
    mount.time().advance(Duration::from_secs(2));
    receiver.answer(|_| (200, String::new()));
    mount.tend().await.unwrap();
    let calls = receiver.take();
    let mut all = told(&calls);
    all.sort();
    assert_eq!(all, pairs(&[("a", "removed"), ("b", "live")]));
    assert_eq!(
        calls[0].body["events"].as_array().unwrap().iter().find(|event| event["path"] == "b").unwrap()["version"],
        10
    );
    mount = mount.reopened();
    mount.tend().await.unwrap();
    assert_eq!(receiver.take().len(), 0);
}

#[tokio::test]
async fn many_changes_are_told_in_pages() {
    let (mount, receiver) = (mount(), Receiver::start().await);
    tell(&mount, "all", &receiver.url, json!({})).await;
    for at in 0..250 {
        put(&mount, &format!("s{at:03}")).await;
    }
    mount.tend().await.unwrap();
    let calls = receiver.take();
    assert_eq!((calls.len(), told(&calls).len()), (3, 250));
    // More than a follower may lag behind.
    for at in 0..1500 {
        put(&mount, &format!("t{:02}", at % 50)).await;
    }
    mount.tend().await.unwrap();
    let all = told(&receiver.take());
    assert_eq!(all.len(), 50, "{all:?}");
}

#[tokio::test]
async fn what_is_no_webhook_is_refused() {
    let mount = mount();
    let before = mount.dump().await;
    for (body, text) in [
        (json!({}), "url: a new webhook needs one"),
        (json!({ "url": "https://x.example.com" }), "secret: a new webhook needs one"),
        (json!({ "url": "https://x.example.com", "secret": "short" }), "secret: use at least 16"),
        (json!({ "url": "http://x.example.com", "secret": SECRET }), "url: it must begin with https://"),
        (json!({ "url": "http://169.254.169.254/", "secret": SECRET }), "url: it must begin with https://"),
        (json!({ "url": "https://u:p@x.example.com", "secret": SECRET }), "user name or password"),
        (json!({ "url": "file:///etc/passwd", "secret": SECRET }), "https://"),
        (json!({ "url": "https://x.example.com", "secret": SECRET, "timeout": "5m" }), "timeout: at most"),
        (json!({ "url": "https://x.example.com", "secret": SECRET, "ca_cert": "x" }), "ca_cert"),
        (json!({ "url": 5 }), "field \"url\""),
    ] {
        match mount.write("webhooks/w", body).await {
            Err(Error::Invalid(said)) => {
                assert!(said.contains(text) && !said.contains("hook."), "{said} instead of {text}")
            }
            other => panic!("{other:?} instead of {text}"),
        }
        assert_eq!(mount.dump().await, before);
    }
    assert!(mount.write("webhooks/-x", json!({})).await.is_err());
    for at in 0..32 {
        tell(&mount, &format!("w{at}"), "https://x.example.com", json!({})).await;
    }
    let more = mount.write("webhooks/more", json!({ "url": "https://x.example.com", "secret": SECRET })).await;
    assert!(matches!(more, Err(Error::Invalid(text)) if text.contains("at most 32")));
    let listed = mount.send(Verb::List, "webhooks", Value::Null).await.unwrap().data;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 32);
    // What is absent stays.
    tell(&mount, "w1", "https://y.example.com", json!({ "prefix": "/app/" })).await;
    mount.write("webhooks/w1", json!({ "timeout": "3s" })).await.unwrap();
    let shown = mount.read("webhooks/w1").await.unwrap().data;
    assert_eq!(
        (&shown["url"], &shown["prefix"], &shown["timeout"]),
        (&json!("https://y.example.com"), &json!("app/"), &json!(3))
    );
    let rights: &[Operation] = &[Operation::Read];
    let reader = mount.caller("reader", &[("kv/webhooks/*", rights)]);
    let sent = mount.send_as(Some(&reader), Verb::Write, "webhooks/w1", json!({ "timeout": "3s" })).await;
    assert!(matches!(sent, Err(Error::Denied(_))), "{sent:?}");
}
