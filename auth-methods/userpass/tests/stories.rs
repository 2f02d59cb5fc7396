//! Userpass from outside: what operators and users do with it, and those who are none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{net::IpAddr, time::Duration};

use api::Verb;
use auth::testing::{Mounted, Outcome};
use engine::{Error, Refusal, TokenKind};
use futures::future::join_all;
use serde_json::{Value, json};

/// The hash of `secret`, by another program.
const SECRET: &str = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

fn mount() -> Mounted {
    Mounted::new(auth_userpass::KIND)
}

async fn with_alice(body: Value) -> Mounted {
    let mount = mount();
    mount.write("users/Alice", body).await.unwrap();
    mount
}

async fn login(mount: &Mounted, name: &str, password: &str) -> Result<Outcome, Error> {
    mount.write(&format!("login/{name}"), json!({ "password": password })).await
}

#[track_caller]
fn says(outcome: Result<Outcome, Error>, text: &str) {
    match outcome {
        Err(Error::Invalid(said)) => assert!(said.contains(text), "{said}"),
        other => panic!("{other:?} instead of {text}"),
    }
}

#[track_caller]
fn is_locked(outcome: Result<Outcome, Error>) {
    assert!(matches!(outcome, Err(Error::Denied(Refusal::Locked))), "{outcome:?}");
}

#[tokio::test]
async fn a_user_logs_in_and_stays_until_something_changes() {
    let mount = with_alice(json!({
        "password": "correct horse", "token_policies": "web,DB", "token_ttl": "20m", "token_max_ttl": "30m",
        "token_type": "batch", "token_bound_cidrs": "127.0.0.0/8",
    }))
    .await;
    let granted = login(&mount, "aLICE", "correct horse").await.unwrap().login();
    assert_eq!((granted.alias.as_str(), granted.role.as_str()), ("alice", "alice"));
    assert_eq!(granted.display_name, "alice");
    assert_eq!(granted.metadata, [("username".to_owned(), "alice".to_owned())].into());
    assert_eq!(granted.params.policies, ["db", "web"]);
    assert_eq!(granted.params.ttl, Duration::from_secs(1200));
    assert_eq!(granted.params.kind, TokenKind::Batch);
    mount.renew(&granted).await.unwrap();

    mount.write("users/alice", json!({ "token_ttl": "10m" })).await.unwrap();
    mount.renew(&granted).await.unwrap();
    login(&mount, "alice", "correct horse").await.unwrap();
    mount.write("users/ALICE/policies", json!({ "policies": "web" })).await.unwrap();
    let refused = mount.renew(&granted).await.unwrap_err().to_string();
    assert_eq!(refused, "policies have changed, not renewing");
    let granted = login(&mount, "alice", "correct horse").await.unwrap().login();
    assert_eq!(granted.params.policies, ["web"]);
    mount.send(Verb::Delete, "users/Alice", Value::Null).await.unwrap();
    let refused = mount.renew(&granted).await.unwrap_err().to_string();
    assert_eq!(refused, "user \"alice\" does not exist during renewal");
    says(login(&mount, "alice", "correct horse").await, "invalid username or password");
}

#[tokio::test]
async fn a_user_is_shown_without_the_password() {
    let mount = with_alice(json!({ "password": "correct horse", "policies": ["b", "a"], "ttl": 60 })).await;
    let shown = mount.read("users/alice").await.unwrap().data;
    let expected = json!({
        "policies": ["a", "b"], "ttl": 60,
        "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
        "token_num_uses": 0, "token_period": 0, "token_policies": ["a", "b"], "token_ttl": 60, "token_type": "default",
    });
    assert_eq!(shown, expected);
    mount.write("users/bob@example.org", json!({ "password": "x" })).await.unwrap();
    let listed = mount.send(Verb::List, "users", Value::Null).await.unwrap().data;
    assert_eq!(listed["keys"], json!(["alice", "bob@example.org"]));
    let listed = mount.send(Verb::List, "users?after=alice&limit=1", Value::Null).await.unwrap().data;
    assert_eq!(listed["keys"], json!(["bob@example.org"]));
    assert!(matches!(mount.read("users/carol").await, Err(Error::NotFound)));
    let dump = mount.dump().await;
    assert!(dump.iter().all(|(_, value)| !value.contains("correct horse")), "{dump:?}");
}

#[tokio::test]
async fn every_wrong_login_gets_the_same_answer() {
    let mount = with_alice(json!({ "password": "correct horse" })).await;
    mount.write("users/bob", json!({ "password": "staple" })).await.unwrap();
    for (name, password) in [
        ("nobody", "correct horse"),
        ("alice", "Correct horse"),
        ("bob", "staple "),
        ("alice", " correct horse"),
        ("alice", "staple"),
        ("bob", "correct horse"),
        ("user", "x"),
    ] {
        says(login(&mount, name, password).await, "invalid username or password");
    }
    says(login(&mount, "alice", "").await, "missing password");
    says(mount.write("login/alice", json!({})).await, "missing password");
    says(login(&mount, "alice%20", "correct horse").await, "invalid username");
    says(mount.write("login/alice", json!({ "password": ["correct horse"] })).await, "password");
    login(&mount, "alice", "correct horse").await.unwrap();
}

#[tokio::test]
async fn a_password_is_changed_alone() {
    let mount = with_alice(json!({ "password": "old", "token_policies": "a" })).await;
    mount.write("users/alice/password", json!({ "password": "new" })).await.unwrap();
    says(login(&mount, "alice", "old").await, "invalid username or password");
    assert_eq!(login(&mount, "alice", "new").await.unwrap().login().params.policies, ["a"]);
    says(mount.write("users/alice/password", json!({})).await, "missing password");
    says(mount.write("users/alice/password", json!({ "password": "" })).await, "missing password");
    says(mount.write("users/nobody/password", json!({ "password": "x" })).await, "username does not exist");
    says(mount.write("users/nobody/policies", json!({ "policies": "x" })).await, "username does not exist");
    says(mount.write("users/nobody", json!({ "token_policies": "x" })).await, "missing password");
    says(mount.write("users/alice", json!({ "token_policies": "root" })).await, "must not contain");
    login(&mount, "alice", "new").await.unwrap();
    mount.write("users/alice/policies", json!({ "policies": "b", "token_ttl": 5 })).await.unwrap();
    assert_eq!(mount.read("users/alice").await.unwrap().data["token_ttl"], 0);
}

#[tokio::test]
async fn only_from_where_the_user_may_come() {
    let mount = with_alice(json!({ "password": "x", "token_bound_cidrs": "10.0.0.0/8" })).await;
    let from = |address: [u8; 4]| {
        let body = json!({ "password": "x" });
        mount.send_from(IpAddr::from(address), Verb::Write, "login/alice", body)
    };
    assert!(matches!(from([127, 0, 0, 1]).await, Err(Error::Denied(Refusal::Address))));
    from([10, 1, 2, 3]).await.unwrap();
}

#[tokio::test]
async fn a_bcrypt_hash_is_brought_along_and_becomes_argon2id() {
    let mount = with_alice(json!({ "password_hash": SECRET })).await;
    assert!(mount.dump().await.iter().any(|(key, _)| key.contains("bcrypt/94/alice")));
    says(login(&mount, "alice", "wrong").await, "invalid username or password");
    login(&mount, "alice", "secret").await.unwrap();
    let dump = mount.dump().await;
    assert!(dump.iter().all(|(key, value)| !key.contains("bcrypt") && !value.contains("$2b$")), "{dump:?}");
    login(&mount, "alice", "secret").await.unwrap();
    says(login(&mount, "alice", "wrong").await, "invalid username or password");

    for wrong in [
        "secret",
        "$2b$15$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$argon2id$v=19$m=19456,t=2,p=1$YQ$YQ",
    ] {
        says(mount.write("users/bob", json!({ "password_hash": wrong })).await, "password_hash");
    }
    says(mount.write("users/bob", json!({ "password": "x", "password_hash": SECRET })).await, "give one of them");
}

/// bcrypt sees 72 bytes. Were the hash of what is typed kept from then on, whoever typed more once would have changed
/// the password.
#[tokio::test]
async fn a_long_password_stays_bcrypt() {
    const LONG: &str = "$2b$04$zyxwvutsrqponmlkjihgfeUIb02e2j50rSgXWN4Rr0POqFVytJFRu";
    let mount = with_alice(json!({ "password_hash": LONG })).await;
    for length in [80, 100, 72, 80] {
        login(&mount, "alice", &"x".repeat(length)).await.unwrap();
    }
    says(login(&mount, "alice", &"x".repeat(71)).await, "invalid username or password");
}

#[tokio::test]
async fn no_spelling_escapes_the_lock() {
    let mount = with_alice(json!({ "password": "right" })).await;
    for name in ["alice", "Alice", "ALICE", "aLiCe", "alicE"] {
        says(login(&mount, name, "wrong").await, "invalid username or password");
    }
    for name in ["alice", "AlIcE"] {
        is_locked(login(&mount, name, "right").await);
    }
    mount.time().advance(Duration::from_secs(15 * 60));
    login(&mount, "Alice", "right").await.unwrap();
}

#[tokio::test]
async fn a_name_that_nobody_has_locks_like_any_other() {
    let mount = mount();
    for _ in 0..5 {
        says(login(&mount, "nobody", "x").await, "invalid username or password");
    }
    is_locked(login(&mount, "nobody", "x").await);
}

#[tokio::test]
async fn guesses_at_the_same_time_are_answered_five_times() {
    let mount = with_alice(json!({ "password": "right" })).await;
    let answers = join_all((0..40).map(|_| login(&mount, "alice", "wrong"))).await;
    let (told, locked): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| matches!(answer, Err(Error::Invalid(_))));
    assert_eq!(told.len(), 5);
    locked.into_iter().for_each(is_locked);
    is_locked(login(&mount, "alice", "right").await);
}

#[tokio::test]
async fn what_is_no_guess_locks_nobody() {
    let mount = with_alice(json!({ "password": "right" })).await;
    for _ in 0..10 {
        says(login(&mount, "alice", "").await, "missing password");
    }
    let logins = join_all((0..40).map(|_| login(&mount, "alice", "right"))).await;
    assert!(logins.iter().all(Result::is_ok));
}
