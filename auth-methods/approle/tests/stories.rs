//! AppRole from outside: what operators, orchestrators and machines do with it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{net::IpAddr, time::Duration};

use api::Verb;
use auth::testing::Mounted;
use engine::{Error, TokenKind};
use futures::future::join_all;
use serde_json::{Value, json};

fn mount() -> Mounted {
    Mounted::new(auth_approle::KIND)
}

async fn role(mount: &Mounted, body: Value) -> String {
    mount.write("role/app", body).await.unwrap();
    let reply = mount.read("role/app/role-id").await.unwrap();
    reply.data["role_id"].as_str().unwrap().to_owned()
}

async fn secret_id(mount: &Mounted, body: Value) -> (String, String) {
    let data = mount.write("role/app/secret-id", body).await.unwrap().data;
    let text = |key: &str| data[key].as_str().unwrap().to_owned();
    (text("secret_id"), text("secret_id_accessor"))
}

fn pair(role_id: &str, secret_id: &str) -> Value {
    json!({ "role_id": role_id, "secret_id": secret_id })
}

#[track_caller]
fn says(outcome: Result<auth::testing::Outcome, Error>, text: &str) {
    match outcome {
        Err(Error::Invalid(said)) => assert!(said.contains(text), "{said}"),
        other => panic!("{other:?} instead of {text}"),
    }
}

#[tokio::test]
async fn a_machine_logs_in_as_its_role() {
    let mount = mount();
    let settings = json!({
        "token_policies": "web,DB", "token_ttl": "20m", "token_max_ttl": "30m", "token_type": "batch",
        "secret_id_ttl": "10m", "secret_id_num_uses": 40,
    });
    let role_id = role(&mount, settings).await;
    let issued = mount.write("role/App/secret-id", json!({ "metadata": "{\"host\":\"web-1\"}" })).await.unwrap().data;
    assert_eq!((&issued["secret_id_ttl"], &issued["secret_id_num_uses"]), (&json!(600), &json!(40)));
    let secret_id = issued["secret_id"].as_str().unwrap();
    let login = mount.write("login", pair(&role_id, secret_id)).await.unwrap().login();
    assert_eq!(login.alias, role_id);
    assert_eq!(login.role, "app");
    assert_eq!(login.display_name, "");
    assert_eq!(login.metadata, [("host", "web-1"), ("role_name", "app")].map(|(k, v)| (k.into(), v.into())).into());
    assert_eq!(login.params.policies, ["db", "web"]);
    assert_eq!(login.params.ttl, Duration::from_secs(1200));
    assert_eq!(login.params.kind, TokenKind::Batch);
    mount.renew(&login).await.unwrap();
    mount.send(Verb::Delete, "role/app", Value::Null).await.unwrap();
    let refused = mount.renew(&login).await.unwrap_err().to_string();
    assert_eq!(refused, "role \"app\" does not exist during renewal");
}

#[tokio::test]
async fn every_wrong_pair_gets_the_same_answer() {
    let mount = mount().without_lockout();
    says(mount.write("login", pair("nobody", "nothing")).await, "invalid role or secret ID");
    let role_id = role(&mount, json!({})).await;
    let (good, accessor) = secret_id(&mount, json!({ "num_uses": 1 })).await;
    let (short, _) = secret_id(&mount, json!({ "ttl": 60 })).await;
    mount.write("role/other", json!({})).await.unwrap();
    let other = mount.read("role/other/role-id").await.unwrap().data["role_id"].as_str().unwrap().to_owned();
    mount.time().advance(Duration::from_secs(60));
    for wrong in [
        pair("nobody", &good),
        pair(&role_id, "nothing"),
        pair(&role_id, &accessor),
        pair(&role_id, &good.to_uppercase()),
        pair(&role_id.to_uppercase(), &good),
        pair(&other, &good),
        pair(&role_id, &short),
        pair("app", &good),
        pair(&format!("{role_id} "), &good),
        pair(&role_id, &format!("{good}\0")),
    ] {
        says(mount.write("login", wrong).await, "invalid role or secret ID");
    }
    says(mount.write("login", json!({})).await, "missing role_id");
    says(mount.write("login", json!({ "secret_id": good })).await, "missing role_id");
    says(mount.write("login", json!({ "role_id": role_id })).await, "missing secret_id");
    says(mount.write("login", json!({ "role_id": "nobody" })).await, "invalid role or secret ID");
    says(mount.write("login", json!({ "role_id": role_id, "secret_id": [good] })).await, "secret_id");
    mount.write("login", pair(&role_id, &good)).await.unwrap().login();
    says(mount.write("login", pair(&role_id, &good)).await, "invalid role or secret ID");
}

#[tokio::test]
async fn the_last_use_is_won_once() {
    let mount = mount().without_lockout();
    let role_id = role(&mount, json!({})).await;
    for uses in [1_u64, 3] {
        let (secret_id, _) = secret_id(&mount, json!({ "num_uses": uses })).await;
        let logins = join_all((0..40).map(|_| mount.write("login", pair(&role_id, &secret_id)))).await;
        let won = logins.iter().filter(|login| login.is_ok()).count();
        assert_eq!(won as u64, uses);
        for lost in logins.into_iter().filter(Result::is_err) {
            says(lost, "invalid role or secret ID");
        }
    }
    assert!(mount.conflicts() > 0, "the logins ran one after another, so nothing was tried");
    assert!(mount.send(Verb::List, "role/app/secret-id", Value::Null).await.is_err(), "nothing is left");
}

#[tokio::test]
async fn guesses_lock_the_role_for_a_while() {
    let mount = mount();
    let role_id = role(&mount, json!({})).await;
    let (good, _) = secret_id(&mount, json!({})).await;
    let wrong: Vec<_> = (0..20).map(|n| pair(&role_id, &n.to_string())).collect();
    let guesses = join_all(wrong.into_iter().map(|guess| mount.write("login", guess))).await;
    assert_eq!(guesses.iter().filter(|guess| matches!(guess, Err(Error::Invalid(_)))).count(), 5);
    assert!(matches!(mount.write("login", pair(&role_id, &good)).await, Err(Error::Denied(_))));
    mount.time().advance(Duration::from_secs(15 * 60));
    mount.write("login", pair(&role_id, &good)).await.unwrap().login();
}

#[tokio::test]
async fn a_secret_id_can_be_looked_up_and_destroyed() {
    let mount = mount();
    role(&mount, json!({})).await;
    let (first, accessor) = secret_id(&mount, json!({ "num_uses": 5, "ttl": "1h", "cidr_list": "127.0.0.1" })).await;
    let (second, other) = secret_id(&mount, json!({ "metadata": { "a": "b" } })).await;
    let data = mount.write("role/app/secret-id/lookup", json!({ "secret_id": first })).await.unwrap().data;
    let expected = json!({
        "secret_id_accessor": accessor, "secret_id_num_uses": 5, "secret_id_ttl": 3600,
        "creation_time": "2027-01-15T08:00:00Z", "expiration_time": "2027-01-15T09:00:00Z",
        "last_updated_time": "2027-01-15T08:00:00Z", "metadata": {}, "cidr_list": ["127.0.0.1"], "token_bound_cidrs": [],
    });
    assert_eq!(data, expected);
    let by_accessor = json!({ "secret_id_accessor": other });
    let data = mount.write("role/app/secret-id-accessor/lookup", by_accessor.clone()).await.unwrap().data;
    assert_eq!((&data["metadata"], &data["secret_id_ttl"]), (&json!({ "a": "b" }), &json!(0)));
    assert_eq!(data["expiration_time"], "0001-01-01T00:00:00Z");
    let mut accessors = vec![accessor.clone(), other.clone()];
    accessors.sort();
    let listed = mount.send(Verb::List, "role/app/secret-id", Value::Null).await.unwrap().data;
    assert_eq!(listed["keys"], json!(accessors));

    mount.write("role/app/secret-id/destroy", json!({ "secret_id": first })).await.unwrap();
    mount.write("role/app/secret-id-accessor/destroy", by_accessor.clone()).await.unwrap();
    for gone in [&first, &second] {
        let lookup = mount.write("role/app/secret-id/lookup", json!({ "secret_id": gone })).await.unwrap();
        assert_eq!(lookup.status, 204);
        assert_eq!(mount.write("role/app/secret-id/destroy", json!({ "secret_id": gone })).await.unwrap().status, 204);
    }
    for path in ["role/app/secret-id-accessor/lookup", "role/app/secret-id-accessor/destroy"] {
        let text = format!("failed to find accessor entry for secret_id_accessor: {other:?}");
        assert!(matches!(mount.write(path, by_accessor.clone()).await, Err(Error::NoRoute(said)) if said == text));
        says(mount.write(path, json!({})).await, "missing secret_id_accessor");
    }
    assert!(matches!(mount.send(Verb::List, "role/app/secret-id", Value::Null).await, Err(Error::NotFound)));
    for path in ["secret-id/lookup", "secret-id/destroy"] {
        says(mount.write(&format!("role/app/{path}"), json!({})).await, "missing secret_id");
        says(
            mount.write(&format!("role/gone/{path}"), json!({ "secret_id": first })).await,
            "role \"gone\" does not exist",
        );
    }
    says(mount.write("role/gone/secret-id", json!({})).await, "role \"gone\" does not exist");
    says(mount.send(Verb::List, "role/gone/secret-id", Value::Null).await, "role \"gone\" does not exist");
}

#[tokio::test]
async fn wishes_may_not_exceed_the_role() {
    let mount = mount();
    let limits = json!({
        "secret_id_num_uses": 5, "secret_id_ttl": 600,
        "secret_id_bound_cidrs": "127.0.0.0/8", "token_bound_cidrs": ["127.0.0.0/8", "10.0.0.0/8"],
    });
    role(&mount, limits).await;
    for (wish, text) in [
        (json!({ "num_uses": 6 }), "num_uses cannot be higher"),
        (json!({ "num_uses": 0 }), "num_uses cannot be higher"),
        (json!({ "num_uses": -1 }), "num_uses"),
        (json!({ "ttl": 601 }), "ttl cannot be longer"),
        (json!({ "ttl": 0 }), "ttl cannot be longer"),
        (json!({ "cidr_list": "0.0.0.0/0" }), "failed to verify subset relationship"),
        (json!({ "cidr_list": "127.0.0.1, 10.0.0.1" }), "failed to verify subset relationship"),
        (json!({ "token_bound_cidrs": "11.0.0.1" }), "failed to verify subset relationship"),
        (json!({ "cidr_list": "somewhere" }), "error parsing cidr_list"),
        (json!({ "metadata": "{\"a\":" }), "failed to parse metadata"),
        (json!({ "metadata": "{\"a\":{}}" }), "failed to parse metadata"),
    ] {
        says(mount.write("role/app/secret-id", wish).await, text);
    }
    let wish = json!({ "num_uses": 4, "ttl": "5m", "cidr_list": "127.0.0.1", "token_bound_cidrs": "127.0.0.1" });
    let (secret_id, _) = secret_id(&mount, wish).await;
    let role_id = mount.read("role/app/role-id").await.unwrap().data["role_id"].as_str().unwrap().to_owned();
    let login = mount.write("login", pair(&role_id, &secret_id)).await.unwrap().login();
    assert_eq!(login.params.bound_cidrs, ["127.0.0.1/32"]);
    let elsewhere: IpAddr = "127.0.0.2".parse().unwrap();
    let refused = mount.send_from(elsewhere, Verb::Write, "login", pair(&role_id, &secret_id)).await;
    says(refused, "source address \"127.0.0.2\" unauthorized through CIDR restrictions on the secret ID");
    let looked = mount.write("role/app/secret-id/lookup", json!({ "secret_id": secret_id })).await.unwrap().data;
    assert_eq!(looked["secret_id_num_uses"], 3, "a refused login spends nothing");
}

#[tokio::test]
async fn without_a_secret_id_the_address_decides() {
    let mount = mount();
    says(mount.write("role/app", json!({ "bind_secret_id": false })).await, "at least one constraint");
    let role_id = role(&mount, json!({ "bind_secret_id": "false", "bound_cidr_list": "10.0.0.0/8" })).await;
    says(mount.write("role/app/secret-id", json!({})).await, "bind_secret_id is not set on the role");
    let login =
        |address: &str| mount.send_from(address.parse().unwrap(), Verb::Write, "login", json!({ "role_id": role_id }));
    login("10.9.8.7").await.unwrap().login();
    login("::ffff:10.9.8.7").await.unwrap().login();
    says(login("11.0.0.1").await, "source address \"11.0.0.1\" unauthorized");
    says(mount.send(Verb::Delete, "role/app/secret-id-bound-cidrs", Value::Null).await, "at least one constraint");
}

#[tokio::test]
async fn a_role_is_shown_as_it_was_written() {
    let mount = mount();
    role(&mount, json!({ "policies": "a", "token_num_uses": 7, "secret_id_bound_cidrs": ["10.0.0.1/32"] })).await;
    let expected = json!({
        "bind_secret_id": true, "local_secret_ids": false, "policies": ["a"], "secret_id_bound_cidrs": ["10.0.0.1"],
        "secret_id_num_uses": 0, "secret_id_ttl": 0, "token_bound_cidrs": [], "token_explicit_max_ttl": 0,
        "token_max_ttl": 0, "token_no_default_policy": false, "token_num_uses": 7, "token_period": 0,
        "token_policies": ["a"], "token_ttl": 0, "token_type": "default",
    });
    assert_eq!(mount.read("role/APP").await.unwrap().data, expected);
    assert!(matches!(mount.read("role/gone").await, Err(Error::NotFound)));
    mount.write("role/Second", json!({ "token_ttl": 60 })).await.unwrap();
    let listed = mount.send(Verb::List, "role", Value::Null).await.unwrap().data;
    assert_eq!(listed["keys"], json!(["app", "second"]));
    let listed = mount.send(Verb::List, "role?after=app&limit=1", Value::Null).await.unwrap().data;
    assert_eq!(listed["keys"], json!(["second"]));
    let warned = mount.write("role/app", json!({ "token_polices": "a", "num_uses": 1 })).await.unwrap().warnings;
    assert_eq!(warned, ["Endpoint ignored these unrecognized parameters: [num_uses token_polices]"]);
    says(mount.write("role/app", json!({ "local_secret_ids": true })).await, "only be modified during role creation");
    says(mount.write("role/app", json!({ "token_period": "100d" })).await, "period of \"8640000s\" is greater");
    says(mount.write("role/app", json!({ "secret_id_ttl": "soon" })).await, "secret_id_ttl");
    says(mount.write("role/a b", json!({})).await, "invalid name in path");
}

#[tokio::test]
async fn role_ids_are_unique_and_can_be_chosen() {
    let mount = mount();
    role(&mount, json!({ "role_id": "chosen" })).await;
    says(mount.write("role/other", json!({ "role_id": "chosen" })).await, "role_id already in use");
    mount.write("role/other", json!({})).await.unwrap();
    says(mount.write("role/other/role-id", json!({ "role_id": "chosen" })).await, "role_id already in use");
    says(mount.write("role/other/role-id", json!({ "role_id": "" })).await, "missing role_id");
    says(mount.write("role/other/role-id", json!({ "role_id": "a\nb" })).await, "control characters");
    assert!(matches!(mount.write("role/gone/role-id", json!({ "role_id": "x" })).await, Err(Error::NotFound)));
    let (secret_id, _) = secret_id(&mount, json!({})).await;
    mount.write("role/app/role-id", json!({ "role_id": "changed" })).await.unwrap();
    says(mount.write("login", pair("chosen", &secret_id)).await, "invalid role or secret ID");
    mount.write("login", pair("changed", &secret_id)).await.unwrap().login();
    mount.write("role/other/role-id", json!({ "role_id": "chosen" })).await.unwrap();
}

#[tokio::test]
async fn every_setting_has_a_path_of_its_own() {
    let mount = mount();
    role(&mount, json!({ "secret_id_bound_cidrs": "127.0.0.1" })).await;
    let settings = [
        ("bind-secret-id", "bind_secret_id", json!(true), json!(false)),
        ("period", "token_period", json!(0), json!(90)),
        ("policies", "token_policies", json!([]), json!(["a"])),
        ("secret-id-bound-cidrs", "secret_id_bound_cidrs", json!([]), json!(["127.0.0.1"])),
        ("secret-id-num-uses", "secret_id_num_uses", json!(0), json!(3)),
        ("secret-id-ttl", "secret_id_ttl", json!(0), json!(77)),
        ("token-bound-cidrs", "token_bound_cidrs", json!([]), json!(["10.0.0.0/8"])),
        ("token-max-ttl", "token_max_ttl", json!(0), json!(500)),
        ("token-num-uses", "token_num_uses", json!(0), json!(4)),
        ("token-ttl", "token_ttl", json!(0), json!(400)),
        ("bound-cidr-list", "bound_cidr_list", json!([]), json!(["127.0.0.0/8"])),
    ];
    for (path, name, _, value) in &settings {
        let path = format!("role/App/{path}");
        mount.write(&path, json!({ *name: value })).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(mount.read(&path).await.unwrap().data[*name], *value, "{path}");
        let missing = mount.write(&path, json!({ "nonsense": 1 })).await;
        says(missing, "missing ");
        let gone = path.replace("App", "gone");
        assert!(matches!(mount.read(&gone).await, Err(Error::NotFound)), "{gone}");
        assert!(matches!(mount.write(&gone, json!({ *name: value })).await, Err(Error::NotFound)), "{gone}");
    }
    let policies = mount.read("role/app/policies").await.unwrap().data;
    assert_eq!(policies, json!({ "policies": ["a"], "token_policies": ["a"] }));
    mount.write("role/app/policies", json!({ "policies": "b" })).await.unwrap();
    assert_eq!(mount.read("role/app").await.unwrap().data["token_policies"], json!(["b"]));
    for (path, name, reset, _) in &settings {
        let path = format!("role/app/{path}");
        mount.send(Verb::Delete, &path, Value::Null).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(mount.read(&path).await.unwrap().data[*name], *reset, "{path}");
    }
    assert_eq!(mount.read("role/app/local-secret-ids").await.unwrap().data, json!({ "local_secret_ids": false }));
}

#[tokio::test]
async fn a_given_text_can_be_the_secret_id() {
    let mount = mount();
    let role_id = role(&mount, json!({})).await;
    let given = json!({ "secret_id": "correct horse battery staple" });
    let data = mount.write("role/app/custom-secret-id", given.clone()).await.unwrap().data;
    assert_eq!(data["secret_id"], "correct horse battery staple");
    says(mount.write("role/app/custom-secret-id", given.clone()).await, "SecretID is already registered");
    says(mount.write("role/app/custom-secret-id", json!({})).await, "missing secret_id");
    says(mount.write("role/app/custom-secret-id", json!({ "secret_id": "x".repeat(5000) })).await, "at most 4096");
    mount.write("login", pair(&role_id, "correct horse battery staple")).await.unwrap().login();
    mount.write("role/other", json!({})).await.unwrap();
    mount.write("role/other/custom-secret-id", given).await.unwrap();
    let warned = mount.write("role/app/secret-id", json!({ "secret_id": "mine" })).await.unwrap();
    assert_eq!(warned.warnings.len(), 1);
    assert_ne!(warned.data["secret_id"], "mine");
}

#[tokio::test]
async fn an_expired_secret_id_leaves_nothing_behind() {
    let mount = mount();
    let role_id = role(&mount, json!({})).await;
    let empty = mount.dump().await.len();
    for _ in 0..1200 {
        secret_id(&mount, json!({ "ttl": 60 })).await;
    }
    let given = json!({ "secret_id": "again", "ttl": 60 });
    let first = mount.write("role/app/custom-secret-id", given.clone()).await.unwrap().data;
    mount.time().advance(Duration::from_secs(60));
    // Given anew after its end, it is a new one: its predecessor's end does not end it.
    let second = mount.write("role/app/custom-secret-id", given).await.unwrap().data;
    assert_ne!(first["secret_id_accessor"], second["secret_id_accessor"]);
    let reply = mount.write("tidy/secret-id", json!({})).await.unwrap();
    assert_eq!(reply.status, 202);
    while mount.dump().await.len() > empty + 3 {
        tokio::task::yield_now().await;
    }
    mount.write("login", pair(&role_id, "again")).await.unwrap().login();
    mount.time().advance(Duration::from_secs(60));
    secret_id(&mount, json!({})).await;
    assert_eq!(mount.dump().await.len(), empty + 2, "an issue removes what expired");
    mount.close().await;
}

#[tokio::test]
async fn a_deleted_role_takes_its_secret_ids_along() {
    let mount = mount();
    let role_id = role(&mount, json!({})).await;
    let before = mount.dump().await.len();
    let mut last = String::new();
    for _ in 0..600 {
        (last, _) = secret_id(&mount, json!({ "ttl": "1h" })).await;
    }
    mount.write("role/app2", json!({})).await.unwrap();
    mount.write("role/app2/secret-id", json!({})).await.unwrap();
    mount.send(Verb::Delete, "role/app", Value::Null).await.unwrap();
    assert_eq!(mount.dump().await.len(), before + 2, "only the other role is left");
    role(&mount, json!({ "role_id": role_id })).await;
    says(mount.write("login", pair(&role_id, &last)).await, "invalid role or secret ID");
    mount.send(Verb::Delete, "role/gone", Value::Null).await.unwrap();
}

#[tokio::test]
async fn no_secret_id_lies_in_the_store() {
    let mount = mount();
    let role_id = role(&mount, json!({})).await;
    let (secret_id, accessor) = secret_id(&mount, json!({ "metadata": { "host": "web-1" } })).await;
    mount.write("role/app/custom-secret-id", json!({ "secret_id": "correct horse" })).await.unwrap();
    for (key, value) in mount.dump().await {
        for secret in [secret_id.as_str(), "correct horse"] {
            assert!(!key.contains(secret) && !value.contains(secret), "{key}");
        }
        assert!(!key.contains(&accessor) && !key.contains(&role_id), "{key} names an id");
    }
    let reopened = mount.reopened();
    reopened.write("login", pair(&role_id, &secret_id)).await.unwrap().login();
}

#[tokio::test]
async fn only_login_answers_without_a_token() {
    let mount = mount();
    let open: Vec<&str> = mount.routes().iter().filter(|route| route.open).map(|route| route.pattern).collect();
    assert_eq!(open, ["login"]);
    assert!(mount.routes().iter().all(|route| route.summary.ends_with('.')));
}
