//! Secrets that the server rotates by itself, alone and with the agreement of whoever keeps the other end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod receiver;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api::{Operation, Verb};
use engine::{
    Error,
    testing::{Mounted, Outcome},
};
use receiver::{Call, Receiver};
use serde_json::{Value, json};
use storage::{
    Store,
    testing::{CrashStore, When},
};

const SECRET: &str = "a secret of the hook";
const STEPS: [&str; 4] = ["create", "set", "test", "finish"];

fn mount() -> Mounted {
    Mounted::with(engine_kv::KIND, &[("version", "2")])
}

async fn put(mount: &Mounted, data: Value) {
    mount.write("data/app", json!({ "data": data })).await.unwrap();
}

async fn data(mount: &Mounted, query: &str) -> Value {
    mount.read(&format!("data/app{query}")).await.unwrap().data["data"].clone()
}

async fn status(mount: &Mounted) -> Value {
    mount.read("rotation/app").await.unwrap().data
}

async fn pass(mount: &Mounted, seconds: u64) -> Vec<(String, Result<(), Error>)> {
    mount.time().advance(Duration::from_secs(seconds));
    mount.run_due().await
}

#[track_caller]
fn refused(outcome: Result<Outcome, Error>, text: &str) {
    match outcome {
        Err(Error::Invalid(said)) => assert!(said.contains(text), "{said:?} instead of {text:?}"),
        other => panic!("{other:?} instead of {text:?}"),
    }
}

/// A mount with a secret whose field `key` is rotated each minute with the agreement of `receiver`.
async fn hooked(receiver: &Receiver) -> Mounted {
    let mount = mount();
    put(&mount, json!({ "key": "old", "url": "https://api.example.com" })).await;
    let body =
        json!({ "field": "key", "period": "1m", "overlap": "30s", "hook": { "url": receiver.url, "secret": SECRET } });
    mount.write("rotation/app", body).await.unwrap();
    mount
}

#[tokio::test]
async fn a_field_is_renewed_on_schedule_and_the_old_value_stays_for_the_overlap() {
    let mount = mount();
    put(&mount, json!({ "key": "old", "url": "u", "n": 1.50 })).await;
    let body = json!({ "field": "key", "period": "1m", "overlap": "30s", "generator": { "length": 40, "charset": "abcdefgh" } });
    assert_eq!(mount.write("rotation/app", body).await.unwrap().status, 204);
    assert!(pass(&mount, 59).await.is_empty());
    let done = pass(&mount, 1).await;
    assert!(matches!(&done[..], [(id, Ok(()))] if id == "app"), "{done:?}");
    let new = data(&mount, "").await;
    let key = new["key"].as_str().unwrap().to_owned();
    assert!(key.len() == 40 && key.chars().all(|letter| ('a'..='h').contains(&letter)), "{key}");
    assert_eq!((&new["url"], &new["n"]), (&json!("u"), &json!(1.5)));
    assert_eq!(data(&mount, "?label=previous").await["key"], "old");
    let shown = status(&mount).await;
    assert_eq!((&shown["current_version"], &shown["previous_version"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&shown["last_rotation"], &shown["previous_until"]),
        (&json!("2027-01-15T08:01:00Z"), &json!("2027-01-15T08:01:30Z"))
    );
    assert_eq!(shown["next_rotation"], "2027-01-15T08:02:00Z");
    assert_eq!(shown["history"], json!([{ "at": "2027-01-15T08:01:00Z", "error": null }]));
    let metadata = mount.read("metadata/app").await.unwrap().data;
    assert_eq!(metadata["versions"]["2"]["created_by"]["actor"], "rotation");
    // A write by hand in the overlap does not take the old value away from those who still hold it.
    put(&mount, json!({ "key": key, "url": "v" })).await;
    assert_eq!(data(&mount, "?label=previous").await["key"], "old");
    assert!(pass(&mount, 30).await.is_empty());
    assert!(matches!(mount.read("data/app?label=previous").await, Err(Error::NotFound)));
    assert_eq!(data(&mount, "?version=1").await["key"], "old", "nothing is deleted unasked");
    pass(&mount, 30).await[0].1.as_ref().unwrap();
    let newer = data(&mount, "").await;
    assert_eq!((&newer["url"], newer["key"] == json!(key)), (&json!("v"), false));
}

#[tokio::test]
async fn the_previous_version_is_deleted_if_asked() {
    let mount = mount();
    put(&mount, json!({ "key": "old" })).await;
    let body = json!({ "field": "key", "period": "1m", "overlap": "30s", "delete_previous": true });
    mount.write("rotation/app", body).await.unwrap();
    pass(&mount, 60).await[0].1.as_ref().unwrap();
    assert_eq!(data(&mount, "?version=1").await["key"], "old");
    pass(&mount, 30).await;
    assert_eq!(mount.read("data/app?version=1").await.unwrap().status, 404);
    assert_eq!(mount.read("data/app").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_previous_version_outlives_a_limit_of_one() {
    let mount = mount();
    mount.write("metadata/app", json!({ "max_versions": 1 })).await.unwrap();
    put(&mount, json!({ "key": "old" })).await;
    mount.write("rotation/app", json!({ "field": "key" })).await.unwrap();
    mount.write("rotate/app", json!({})).await.unwrap();
    assert_eq!(data(&mount, "?label=previous").await["key"], "old");
}

#[tokio::test]
async fn a_secret_without_a_value_gets_its_first_at_once() {
    let mount = mount();
    mount
        .write(
            "rotation/app",
            json!({ "field": "key", "schedule": "0 3 * * *", "generator": { "password_policy": "strong" } }),
        )
        .await
        .unwrap();
    assert!(matches!(mount.read("data/app").await, Err(Error::NotFound)));
    assert_eq!(mount.run_due().await.len(), 1);
    let first = data(&mount, "").await;
    assert!(first["key"].as_str().unwrap().starts_with("strong-"));
    assert_eq!(first.as_object().unwrap().len(), 1);
    assert!(mount.run_due().await.is_empty());
    assert_eq!(status(&mount).await["previous_version"], Value::Null);
}

#[tokio::test]
async fn it_is_rotated_by_hand_with_and_without_a_plan() {
    let mount = mount();
    refused(mount.write("rotate/app", json!({})).await, "no rotation is set up");
    put(&mount, json!({ "key": "old" })).await;
    mount.write("rotation/app", json!({ "field": "key" })).await.unwrap();
    assert!(mount.rotations().await.is_empty());
    assert_eq!(mount.write("rotate/app", Value::Null).await.unwrap().data, json!({ "version": 2 }));
    assert_eq!(data(&mount, "?label=previous").await["key"], "old");
    mount.write("rotation/app", json!({ "period": 3600 })).await.unwrap();
    mount.time().advance(Duration::from_secs(600));
    assert_eq!(mount.write("rotate/app", Value::Null).await.unwrap().data["version"], 3);
    let shown = status(&mount).await;
    assert_eq!(shown["next_rotation"], "2027-01-15T09:10:00Z", "the period begins anew");
    assert_eq!(shown["history"].as_array().unwrap().len(), 1);
    // Back to by hand only.
    mount.write("rotation/app", json!({ "period": 0 })).await.unwrap();
    assert!(mount.rotations().await.is_empty());
}

#[tokio::test]
async fn a_hook_agrees_in_four_signed_steps() {
    let receiver = Receiver::start().await;
    let mount = hooked(&receiver).await;
    pass(&mount, 60).await[0].1.as_ref().unwrap();
    let calls = receiver.take();
    assert_eq!(calls.iter().map(Call::step).collect::<Vec<_>>(), STEPS);
    let new = data(&mount, "").await["key"].clone();
    let id = calls[0].body["id"].as_str().unwrap();
    for call in &calls {
        let step = call.step();
        let expected = json!({
            "mount": "kv/", "path": "app", "field": "key", "version": 2, "overlap": 30, "id": id,
            "idempotency_key": format!("{id}/{step}"), "step": step,
        });
        let mut body = call.body.clone();
        let value = body.as_object_mut().unwrap().remove("value");
        let current = body.as_object_mut().unwrap().remove("current_value");
        assert_eq!(body, expected);
        assert_eq!(value, (step != "finish").then(|| new.clone()), "{step}");
        assert_eq!(current, (step == "set").then(|| json!("old")), "{step}");
        assert_eq!(call.header("idempotency-key"), format!("{id}/{step}"));
        assert_eq!(call.header("content-type"), "application/json");
        let signature = call.header("x-strongroom-signature");
        let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        assert_eq!(time, "1800000060");
        let signed = [format!("{time}.").as_bytes(), &call.bytes].concat();
        let expected = crypto::hmac::Key::new(SECRET.as_bytes()).sign(&signed);
        assert_eq!(tag, expected.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    assert_eq!(data(&mount, "?label=previous").await["key"], "old");
    assert_eq!(data(&mount, "").await["url"], "https://api.example.com");
    let shown = status(&mount).await;
    assert_eq!((&shown["step"], &shown["last_error"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_hook_may_name_the_value_itself() {
    let receiver = Receiver::start().await;
    let mount = hooked(&receiver).await;
    receiver.answer(|call| match call["step"].as_str() {
        Some("create") => (200, json!({ "value": "given \"by\" the other end" }).to_string()),
        _ => (204, String::new()),
    });
    pass(&mount, 60).await[0].1.as_ref().unwrap();
    let calls = receiver.take();
    for call in &calls[1..3] {
        assert_eq!(call.body["value"], "given \"by\" the other end");
    }
    assert_eq!(data(&mount, "").await["key"], "given \"by\" the other end");
    assert_eq!(mount.dump().await.iter().filter(|(key, _)| key.starts_with("v/")).count(), 2);
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_old_value_in_force_and_goes_on_later() {
    for (place, failing) in STEPS.into_iter().enumerate() {
        let receiver = Receiver::start().await;
        let mount = hooked(&receiver).await;
        receiver.answer(
            move |call| if call["step"] == failing { (500, "no: hunter2".to_owned()) } else { (200, String::new()) },
        );
        let (_, result) = pass(&mount, 60).await.remove(0);
        let error = result.unwrap_err().to_string();
        assert_eq!(error, format!("the hook failed at step {failing:?}: it answered with status 500"));
        let first = receiver.take();
        assert_eq!(first.iter().map(Call::step).collect::<Vec<_>>(), STEPS[..=place]);
        let shown = status(&mount).await;
        assert_eq!(
            (&shown["last_error"], &shown["failures"], &shown["step"]),
            (&json!(error), &json!(1), &json!(failing))
        );
        // The old value is in force until the test succeeded; the new one waits where no reader finds it.
        let in_force = if failing == "finish" { first[0].body["value"].clone() } else { json!("old") };
        assert_eq!(data(&mount, "").await["key"], in_force);
        let shown_versions = mount.read("metadata/app").await.unwrap().data["versions"].as_object().unwrap().len();
        if failing != "finish" {
            assert_eq!(shown_versions, 1);
            assert!(matches!(mount.read("data/app?version=2").await, Err(Error::NotFound)));
            refused(mount.read("data/app?label=pending").await, "label");
            let kept = mount.dump().await;
            let (_, kept) = kept.iter().find(|(key, _)| key == "v/0000000002/app").unwrap();
            assert!(kept.contains(first[0].body["value"].as_str().unwrap()), "stored before anybody learns of it");
        }
        // The next try goes on with the same value and the same keys, after a restart too.
        let mount = mount.reopened();
        receiver.answer(|_| (200, String::new()));
        pass(&mount, 5).await[0].1.as_ref().unwrap();
        let second = receiver.take();
        assert_eq!(second.iter().map(Call::step).collect::<Vec<_>>(), STEPS[place..]);
        assert_eq!(second[0].body["idempotency_key"], first[place].body["idempotency_key"]);
        assert_eq!(second[0].body["value"], first[place].body["value"]);
        assert_eq!(data(&mount, "").await["key"], first[0].body["value"]);
        assert_eq!(data(&mount, "?label=previous").await["key"], "old");
        let shown = status(&mount).await;
        assert_eq!((&shown["last_error"], &shown["failures"], &shown["step"]), (&Value::Null, &json!(0), &Value::Null));
        assert_eq!(shown["history"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_failed_rotation_by_hand_is_told_and_recorded() {
    let receiver = Receiver::start().await;
    let mount = hooked(&receiver).await;
    receiver.answer(|_| (503, String::new()));
    let outcome = mount.write("rotate/app", Value::Null).await;
    assert!(matches!(outcome, Err(Error::Target(_))), "{outcome:?}");
    let shown = status(&mount).await;
    assert_eq!((&shown["failures"], &shown["step"]), (&json!(1), &json!("create")));
    receiver.answer(|_| (200, String::new()));
    assert_eq!(mount.write("rotate/app", Value::Null).await.unwrap().data["version"], 2);
    assert_eq!(receiver.steps(), ["create", "create", "set", "test", "finish"]);
}

#[tokio::test]
async fn a_write_while_a_new_value_is_pending_loses_nothing() {
    let receiver = Receiver::start().await;
    let mount = hooked(&receiver).await;
    receiver.answer(|call| if call["step"] == "test" { (500, String::new()) } else { (200, String::new()) });
    pass(&mount, 60).await[0].1.as_ref().unwrap_err();
    let new = receiver.take()[0].body["value"].clone();
    // The writer neither sees the pending version nor a gap in the numbers.
    let body = json!({ "data": { "key": "old", "url": "moved" }, "options": { "cas": 1 } });
    assert_eq!(mount.write("data/app", body).await.unwrap().data["version"], 2);
    assert_eq!(data(&mount, "").await["url"], "moved");
    mount.write("delete/app", json!({ "versions": [3] })).await.unwrap();
    receiver.answer(|_| (200, String::new()));
    pass(&mount, 5).await[0].1.as_ref().unwrap();
    assert_eq!(receiver.take()[0].body["version"], 3);
    assert_eq!(data(&mount, "").await, json!({ "url": "moved", "key": new }));
    assert_eq!(data(&mount, "?label=previous").await["key"], "old");
    let versions = mount.read("metadata/app").await.unwrap().data;
    assert_eq!((&versions["current_version"], versions["versions"].as_object().unwrap().len()), (&json!(3), 3));
}

#[tokio::test]
async fn two_that_rotate_at_once_bring_about_one_new_value() {
    let receiver = Receiver::start().await;
    for hook in [true, false] {
        let mount = match hook {
            true => hooked(&receiver).await,
            false => {
                let mount = mount();
                put(&mount, json!({ "key": "old" })).await;
                mount.write("rotation/app", json!({ "field": "key", "overlap": 60 })).await.unwrap();
                mount
            }
        };
        let (one, two) = tokio::join!(mount.write("rotate/app", Value::Null), mount.write("rotate/app", Value::Null));
        assert_eq!((one.unwrap().data["version"].clone(), two.unwrap().data["version"].clone()), (json!(2), json!(2)));
        assert_eq!(data(&mount, "?label=previous").await["key"], "old");
        let ids: BTreeSet<_> = receiver.take().iter().map(|call| call.body["id"].to_string()).collect();
        assert_eq!(ids.len(), usize::from(hook));
    }
}

#[tokio::test]
async fn a_hook_is_only_called_where_its_certificate_is_trusted() {
    let (receiver, pem) = Receiver::start_tls("127.0.0.1").await;
    let (other, other_pem) = Receiver::start_tls("hook.example.com").await;
    let mount = mount();
    put(&mount, json!({ "key": "old" })).await;
    let rotate = async |url: &str, ca: &str| {
        let hook = json!({ "url": url, "secret": SECRET, "ca_cert": ca });
        mount.write("rotation/app", json!({ "field": "key", "hook": hook })).await.unwrap();
        mount.write("rotate/app", Value::Null).await
    };
    for (url, ca) in [(&receiver.url, &other_pem), (&other.url, &other_pem), (&receiver.url, &String::new())] {
        let outcome = rotate(url, ca).await;
        assert!(matches!(outcome, Err(Error::Target(_))), "{outcome:?}");
    }
    assert!(receiver.take().is_empty() && other.take().is_empty(), "no value was sent");
    assert_eq!(data(&mount, "").await["key"], "old");
    rotate(&receiver.url, &pem).await.unwrap();
    assert_eq!(receiver.steps(), STEPS);
}

#[tokio::test]
async fn bad_answers_and_dead_hooks_are_failures_that_tell_no_secret() {
    let receiver = Receiver::start().await;
    let mount = hooked(&receiver).await;
    let answers: [(u16, String); 4] = [
        (302, String::new()),
        (404, "hunter2".to_owned()),
        (200, "{\"value\": \"hunter2".to_owned()),
        (200, " ".repeat(65 * 1024)),
    ];
    for (status, text) in answers {
        receiver.answer(move |_| (status, text.clone()));
        let error = mount.write("rotate/app", Value::Null).await.unwrap_err().to_string();
        assert!(error.starts_with("the hook failed at step \"create\"") && !error.contains("hunter2"), "{error}");
    }
    assert!(receiver.take().iter().all(|call| call.step() == "create"));
    let dead = json!({ "hook": { "url": "http://127.0.0.1:1/x?token=hunter2" } });
    mount.write("rotation/app", dead).await.unwrap();
    let error = mount.write("rotate/app", Value::Null).await.unwrap_err().to_string();
    assert!(!error.contains("hunter2") && !error.contains("127.0.0.1"), "{error}");
    assert_eq!(data(&mount, "").await["key"], "old");
}

#[tokio::test]
async fn the_secret_of_a_hook_is_never_shown_and_stays_unless_replaced() {
    let receiver = Receiver::start().await;
    let mount = hooked(&receiver).await;
    let shown = mount.read("rotation/app").await.unwrap();
    assert_eq!(shown.data["hook"], json!({ "url": receiver.url, "ca_cert": "", "timeout": 10 }));
    assert!(!String::from_utf8_lossy(&shown.raw).contains(SECRET));
    let hook = json!({ "hook": { "url": receiver.url, "timeout": "3s" } });
    mount.write("rotation/app", hook).await.unwrap();
    mount.write("rotate/app", Value::Null).await.unwrap();
    let call = receiver.take().remove(0);
    let time = format!("{}.", engine::testing::START);
    let tag = crypto::hmac::Key::new(SECRET.as_bytes()).sign(&[time.as_bytes(), &call.bytes].concat());
    let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(call.header("x-strongroom-signature").ends_with(&tag));
    // Without the hook the generator goes on alone.
    mount.write("rotation/app", json!({ "hook": null })).await.unwrap();
    assert_eq!(status(&mount).await["hook"], Value::Null);
    mount.write("rotate/app", Value::Null).await.unwrap();
    assert!(receiver.take().is_empty());
}

#[tokio::test]
async fn a_rotation_ends_without_a_trace_of_what_was_pending() {
    let receiver = Receiver::start().await;
    let mount = hooked(&receiver).await;
    receiver.answer(|_| (500, String::new()));
    pass(&mount, 60).await[0].1.as_ref().unwrap_err();
    let pending = receiver.take()[0].body["value"].as_str().unwrap().to_owned();
    refused(mount.write("rotation/app", json!({ "field": "other" })).await, "under way");
    assert_eq!(mount.list("rotation").await.unwrap().data["keys"], json!(["app"]));
    mount.delete("rotation/app").await.unwrap();
    assert!(matches!(mount.read("rotation/app").await, Err(Error::NotFound)));
    assert!(mount.rotations().await.is_empty());
    assert!(mount.dump().await.iter().all(|(_, text)| !text.contains(&pending)));
    assert_eq!(data(&mount, "").await["key"], "old");
    mount.delete("rotation/app").await.unwrap();
    mount.delete("rotation/none").await.unwrap();
    assert!(mount.read("metadata/none").await.is_err());
    // Removing the secret ends it too.
    let mount = hooked(&receiver).await;
    mount.delete("metadata/app").await.unwrap();
    assert!(mount.rotations().await.is_empty());
    // That it was removed is noted, for streams of events.
    assert!(mount.dump().await.iter().all(|(key, _)| key == "fingerprint-key" || key.starts_with("x/")));
}

#[tokio::test]
async fn a_deleted_secret_is_not_brought_back_by_its_rotation() {
    let mount = mount();
    put(&mount, json!({ "key": "old" })).await;
    mount.write("rotation/app", json!({ "field": "key", "period": "1m" })).await.unwrap();
    mount.delete("data/app").await.unwrap();
    let (_, result) = pass(&mount, 60).await.remove(0);
    assert!(result.unwrap_err().to_string().contains("deleted"));
    assert_eq!(mount.read("data/app").await.unwrap().status, 404);
    mount.write("undelete/app", json!({ "versions": [1] })).await.unwrap();
    pass(&mount, 5).await[0].1.as_ref().unwrap();
    assert_eq!(mount.read("data/app").await.unwrap().data["metadata"]["version"], 2);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_and_change_nothing() {
    let mount = mount();
    let hook = |more: Value| {
        let mut hook = json!({ "url": "https://hook.example.com/", "secret": SECRET });
        hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "field": "key", "hook": hook })
    };
    let cases = [
        (json!({}), "field"),
        (json!({ "field": "" }), "field"),
        (json!({ "field": "x".repeat(513) }), "field"),
        (json!({ "field": "key", "period": 1 }), "rotation_period"),
        (json!({ "field": "key", "period": "1h", "schedule": "0 3 * * *" }), "exclude each other"),
        (json!({ "field": "key", "schedule": "at noon" }), "cron"),
        (json!({ "field": "key", "window": "1h" }), "must be set"),
        (json!({ "field": "key", "period": "1h", "window": "1h" }), "rotation_window"),
        (json!({ "field": "key", "overlap": "-1s" }), "overlap"),
        (json!({ "field": "key", "generator": { "length": 5 } }), "can be guessed"),
        (json!({ "field": "key", "generator": { "password_policy": "p", "length": 5 } }), "excludes"),
        (json!({ "field": "key", "generator": "long" }), "generator"),
        (json!({ "field": "key", "hook": { "url": "https://hook.example.com/" } }), "hook.secret"),
        (json!({ "field": "key", "hook": { "secret": SECRET } }), "hook"),
        (hook(json!({ "secret": "short" })), "hook.secret"),
        (hook(json!({ "url": "http://hook.example.com/" })), "hook.url"),
        (hook(json!({ "ca_cert": "no PEM" })), "hook.ca_cert"),
        (hook(json!({ "timeout": "1h" })), "hook.timeout"),
    ];
    for (body, text) in cases {
        refused(mount.write("rotation/app", body).await, text);
    }
    assert!(mount.dump().await.is_empty());
    let warned =
        mount.write("rotation/app", json!({ "field": "key", "period": 5, "overlap": 60, "x": 1 })).await.unwrap();
    assert_eq!(warned.warnings.len(), 2, "{:?}", warned.warnings);
    for verb in [Verb::Read, Verb::Delete, Verb::Write] {
        assert!(mount.send(verb, "rotation", json!({ "field": "key" })).await.is_err());
    }
    mount
        .write("rotation/other", json!({ "field": "key", "generator": { "password_policy": "missing" } }))
        .await
        .unwrap();
    refused(mount.write("rotate/other", Value::Null).await, "missing");
}

#[tokio::test]
async fn a_rotation_is_no_way_around_the_rights_on_the_secret() {
    let mount = mount();
    put(&mount, json!({ "key": "old" })).await;
    let plain = json!({ "field": "key", "period": "1h" });
    let hook = json!({ "hook": { "url": "https://hook.example.com/", "secret": SECRET } });
    let rotation: (&str, &[Operation]) = ("kv/rotation/*", &[Operation::Create, Operation::Update]);
    let cases: [(&str, &[Operation], bool, bool); 4] = [
        ("none", &[], false, false),
        ("reader", &[Operation::Read], false, false),
        ("writer", &[Operation::Update], true, false),
        ("both", &[Operation::Update, Operation::Read], true, true),
    ];
    for (name, rights, may_rotate, may_hook) in cases {
        let caller = mount.caller(name, &[rotation, ("kv/data/app", rights)]);
        for (body, may) in [(&plain, may_rotate), (&hook, may_hook)] {
            let outcome = mount.send_as(Some(&caller), Verb::Write, "rotation/app", body.clone()).await;
            assert_eq!(outcome.is_ok(), may, "{name}: {outcome:?}");
            assert!(may || matches!(outcome, Err(Error::Denied(_) | Error::Invalid(_))), "{outcome:?}");
        }
    }
    let caller = mount.caller("creator", &[rotation, ("kv/data/new", &[Operation::Create])]);
    mount.send_as(Some(&caller), Verb::Write, "rotation/new", plain.clone()).await.unwrap();
    let outcome = mount.send_as(Some(&caller), Verb::Write, "rotation/new", plain).await;
    assert!(matches!(outcome, Err(Error::Denied(_))), "what is there is not created again");
}

#[tokio::test]
async fn a_crash_at_any_commit_leaves_a_value_that_works_and_is_gone_on_from() {
    for when in [When::Before, When::After] {
        for n in 0.. {
            let receiver = Receiver::start().await;
            let disk: Arc<dyn Store> = store_memory::Memory::new();
            let over = |store| Mounted::over(engine_kv::KIND, &[("version", "2")], store);
            let mount = over(Arc::clone(&disk));
            put(&mount, json!({ "key": "old", "url": "u" })).await;
            let body = json!({ "field": "key", "period": "1h", "hook": { "url": receiver.url, "secret": SECRET } });
            mount.write("rotation/app", body).await.unwrap();
            let crashing = CrashStore::new(Arc::clone(&disk), n, when);
            let crashed = over(Arc::clone(&crashing) as Arc<dyn Store>);
            let done = crashing.until_crash(crashed.write("rotate/app", Value::Null)).await;
            let before = receiver.take();
            // Whatever the other end has tried and found good, or the old value, is in force.
            let mount = over(disk);
            let in_force = data(&mount, "").await;
            let tested = before.iter().find(|call| call.step() == "test").map(|call| call.body["value"].clone());
            assert!(in_force["key"] == "old" || Some(&in_force["key"]) == tested.as_ref(), "{n}");
            // What is unfinished is finished, with the value that the other end already knows.
            let shown = status(&mount).await;
            if shown["current_version"] == 1 || shown["step"] != Value::Null {
                mount.write("rotate/app", Value::Null).await.unwrap();
            }
            let after = receiver.take();
            let known: BTreeSet<_> = before.iter().chain(&after).map(|call| call.body["id"].to_string()).collect();
            assert_eq!(known.len(), 1, "{n}");
            let values: BTreeSet<_> = before.iter().chain(&after).map(|call| call.body["value"].to_string()).collect();
            let (new, url) = (data(&mount, "").await["key"].clone(), data(&mount, "").await["url"].clone());
            assert!(values.contains(&new.to_string()) && values.len() == 2, "{n}: one value, and none at the end");
            assert_eq!((url, status(&mount).await["step"].clone()), (json!("u"), Value::Null));
            assert_eq!(data(&mount, "?label=previous").await["key"], "old");
            if done.is_some() {
                assert!(n >= 5, "each step is a commit");
                break;
            }
        }
    }
}
