//! The method from outside: what operators set up and what workloads get.

use std::{net::IpAddr, time::Duration};

use api::Verb;
use auth::testing::{Mounted, Outcome, START};
use engine::Error;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    KIND,
    corpus::{AUDIENCE, ISSUER, NOW, good, hostile, trusted_set},
    keys::{PAUSE, REFRESH},
    testing::{Behaviour, Publisher, jwks, signers},
};

/// A mount that trusts all known signers, with the role `app`.
async fn mount() -> Mounted {
    assert_eq!(START, NOW);
    let mount = Mounted::new(KIND);
    let all = signers();
    let keys = [&all.rsa, &all.p256, &all.p384, &all.ed].map(|signer| signer.public_pem.clone());
    mount.write("config", json!({ "jwt_validation_pubkeys": keys, "bound_issuer": ISSUER })).await.unwrap();
    mount.write("role/app", role()).await.unwrap();
    mount
}

fn role() -> Value {
    json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": AUDIENCE,
        "bound_claims": { "environment": ["production", "staging"] }, "token_policies": "app", "token_ttl": "10m",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn token(claims: &Value) -> String {
    signers().p256.sign(claims)
}

async fn log_in(mount: &Mounted, token: &str) -> Result<Outcome, Error> {
    mount.write("login", json!({ "role": "app", "jwt": token })).await
}

#[track_caller]
fn says(outcome: Result<Outcome, Error>, text: &str) {
    match outcome {
        Err(Error::Invalid(said)) => assert!(said.contains(text), "{said}"),
        other => panic!("{other:?} instead of {text}"),
    }
}

#[tokio::test]
async fn a_workload_logs_in_with_its_token() {
    let mount = mount().await;
    let changed = json!({
        "claim_mappings": { "environment": "env", "/repository/id": "repository", "missing": "nothing", "flag": "flag" },
        "groups_claim": "/teams/names", "user_claim": "/repository/name", "user_claim_json_pointer": true,
    });
    mount.write("role/App", changed).await.unwrap();
    let mut claims = good();
    claims["repository"] = json!({ "id": 42, "name": "acme/app" });
    claims["teams"] = json!({ "names": ["a", "b", "a"] });
    claims["flag"] = json!(true);
    let login = mount.write("login", json!({ "role": "APP", "jwt": token(&claims) })).await.unwrap().login();
    assert_eq!(
        (login.alias.as_str(), login.display_name.as_str(), login.role.as_str()),
        ("acme/app", "acme/app", "app")
    );
    assert_eq!(login.groups, ["a", "b"]);
    let metadata = [("env", "production"), ("flag", "true"), ("repository", "42"), ("role", "app")];
    assert_eq!(login.metadata, metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(login.params.policies, ["app"]);
    assert_eq!(login.params.ttl, Duration::from_secs(600));
    mount.renew(&login).await.unwrap();
    mount.send(Verb::Delete, "role/app", Value::Null).await.unwrap();
    says(mount.renew(&login).await.map(|()| unreachable!()), "role \"app\" does not exist during renewal");
    says(log_in(&mount, &token(&claims)).await, "role \"app\" could not be found");
}

#[tokio::test]
async fn no_hostile_token_logs_in() {
    let publisher = Publisher::start(Behaviour::Document(trusted_set())).await;
    let mount = Mounted::new(KIND);
    mount.write("config", json!({ "jwks_url": publisher.url, "bound_issuer": ISSUER })).await.unwrap();
    mount.write("role/app", role()).await.unwrap();
    mount.write("role/app", json!({ "bound_claims": { "environment": "production" } })).await.unwrap();
    log_in(&mount, &token(&good())).await.unwrap().login();
    let before = mount.dump().await;
    let tokens = hostile();
    for (name, token, _) in &tokens {
        match log_in(&mount, token).await {
            Err(Error::Invalid(said)) => assert!(token.len() < 9 || !said.contains(token), "{name}: {said}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(mount.dump().await, before);
    assert!(publisher.hits() <= 3, "{} fetches", publisher.hits());
}

#[tokio::test]
async fn a_login_needs_a_configuration_a_role_and_a_token() {
    let mount = Mounted::new(KIND);
    let good = token(&good());
    says(log_in(&mount, &good).await, "could not load configuration");
    let key = signers().p256.public_pem.clone();
    mount.write("config", json!({ "jwt_validation_pubkeys": key })).await.unwrap();
    says(mount.write("login", json!({ "jwt": good })).await, "missing role");
    says(mount.write("login", json!({ "role": "app" })).await, "missing token");
    says(mount.write("login", json!({ "role": "app", "jwt": "" })).await, "missing token");
    says(log_in(&mount, &good).await, "role \"app\" could not be found");
    says(mount.write("login", json!({ "role": "../config", "jwt": good })).await, "could not be found");
    let error = mount.write("login", json!({ "role": "app", "jwt": { "secret": "hunter2" } })).await.unwrap_err();
    assert!(error.to_string().contains("jwt") && !error.to_string().contains("hunter2"), "{error}");
    mount.write("role/app", role()).await.unwrap();
    mount.write("config", json!({ "jwt_validation_pubkeys": key, "default_role": "App" })).await.unwrap();
    mount.write("login", json!({ "jwt": good })).await.unwrap().login();
}

#[tokio::test]
async fn the_address_is_checked_before_the_token() {
    let mount = mount().await;
    mount.write("role/app", json!({ "token_bound_cidrs": "10.0.0.0/8" })).await.unwrap();
    let login = |address: &str, token: String| {
        let remote: IpAddr = address.parse().unwrap();
        mount.send_from(remote, Verb::Write, "login", json!({ "role": "app", "jwt": token }))
    };
    let login_inside = login("10.1.2.3", token(&good())).await.unwrap().login();
    assert_eq!(login_inside.params.bound_cidrs, ["10.0.0.0/8"]);
    assert!(matches!(login("11.1.2.3", token(&good())).await, Err(Error::Denied(_))));
    assert!(matches!(login("11.1.2.3", "nonsense".to_owned()).await, Err(Error::Denied(_))));
}

#[tokio::test]
async fn algorithms_can_be_narrowed() {
    let mount = mount().await;
    let all = signers();
    let keys = [&all.rsa, &all.p256].map(|signer| signer.public_pem.clone());
    let config = |algorithms: Value| json!({ "jwt_validation_pubkeys": keys, "jwt_supported_algs": algorithms });
    mount.write("config", config(json!(["RS256", "PS256"]))).await.unwrap();
    log_in(&mount, &all.rsa.sign(&good())).await.unwrap().login();
    says(log_in(&mount, &all.p256.sign(&good())).await, "unsupported signing algorithm");
    for bad in ["HS256", "none", "rs256", "ES512"] {
        says(mount.write("config", config(json!(bad))).await, "jwt_supported_algs");
    }
}

#[tokio::test]
async fn a_token_is_taken_once_where_the_role_says_so() {
    let mount = mount().await;
    mount.write("role/app", json!({ "single_use": true })).await.unwrap();
    let once = token(&good());
    let logins = join_all((0..20).map(|_| log_in(&mount, &once))).await;
    assert_eq!(logins.iter().filter(|login| login.is_ok()).count(), 1);
    for lost in logins.into_iter().filter(Result::is_err) {
        says(lost, "token was already used");
    }
    assert!(mount.conflicts() > 0, "the logins ran one after another, so nothing was tried");
    // Signed anew it is still the same token.
    says(log_in(&mount, &token(&with("iat", json!(NOW - 9)))).await, "token was already used");
    says(log_in(&mount.reopened(), &once).await, "token was already used");
    log_in(&mount, &token(&with("jti", json!("two")))).await.unwrap().login();
    for bad in [Value::Null, json!(""), json!(1)] {
        let refused = log_in(&mount, &token(&with("jti", bad))).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    // What has expired is forgotten along the way.
    let full = mount.dump().await.len();
    mount.time().advance(Duration::from_secs(500));
    let mut later = with("jti", json!("three"));
    later["exp"] = json!(NOW + 900);
    log_in(&mount, &token(&later)).await.unwrap().login();
    assert_eq!(mount.dump().await.len(), full - 2);
}

#[tokio::test]
async fn long_lived_tokens_can_be_refused() {
    let mount = mount().await;
    mount.write("role/app", json!({ "max_token_life": "5m" })).await.unwrap();
    let life = |from: i64, to: i64| {
        let mut claims = with("iat", json!(from));
        claims["exp"] = json!(to);
        token(&claims)
    };
    log_in(&mount, &life(NOW - 10, NOW + 290)).await.unwrap().login();
    says(log_in(&mount, &life(NOW - 10, NOW + 291)).await, "max_token_life");
    let mut unknown = good();
    unknown.as_object_mut().unwrap().retain(|name, _| name != "iat" && name != "nbf");
    says(log_in(&mount, &token(&unknown)).await, "max_token_life");
}

#[tokio::test]
async fn leeways_stretch_what_a_role_takes() {
    let mount = mount().await;
    let expired = |ago: i64| token(&with("exp", json!(NOW - ago)));
    let early = |by: i64| token(&with("nbf", json!(NOW + by)));
    let cases = [
        (json!({}), 59, 60),
        (json!({ "clock_skew_leeway": -1 }), -1, 0),
        (json!({ "clock_skew_leeway": "10s" }), 9, 10),
        (json!({ "clock_skew_leeway": 10, "expiration_leeway": "30", "not_before_leeway": 30 }), 39, 40),
        (json!({ "clock_skew_leeway": "-1", "expiration_leeway": "-1s", "not_before_leeway": -5 }), -1, 0),
    ];
    for (leeway, taken, refused) in cases {
        mount.write("role/app", leeway.clone()).await.unwrap();
        assert!(log_in(&mount, &expired(taken)).await.is_ok(), "{leeway}");
        says(log_in(&mount, &expired(refused)).await, "token is expired");
        assert!(log_in(&mount, &early(refused)).await.is_ok(), "{leeway}");
        says(log_in(&mount, &early(refused + 1)).await, "token is not yet valid");
    }
    says(mount.write("role/app", json!({ "expiration_leeway": "25h" })).await, "must not exceed 24h");
}

#[tokio::test]
async fn claims_are_bound_by_text_glob_number_and_list() {
    let mount = mount().await;
    let bind = |claims: Value, matching: &str| {
        let body = json!({ "bound_claims": claims, "bound_claims_type": matching });
        mount.write("role/app", body)
    };
    bind(json!({ "sub": ["app-?", "app-*"] }), "string").await.unwrap();
    says(log_in(&mount, &token(&good())).await, "claim \"sub\" does not match any associated bound claim values");
    bind(json!({ "sub": ["db-*", "app-*"] }), "glob").await.unwrap();
    log_in(&mount, &token(&good())).await.unwrap().login();
    says(log_in(&mount, &token(&with("sub", json!("web-1")))).await, "does not match");
    bind(json!({ "/deep/ids": [7, true], "environment": "production" }), "string").await.unwrap();
    for (ids, good) in
        [(json!([1, 7]), true), (json!(true), true), (json!("7"), false), (json!([]), false), (json!(7.0), false)]
    {
        let outcome = log_in(&mount, &token(&with("deep", json!({ "ids": ids })))).await;
        assert_eq!(outcome.is_ok(), good, "{ids}");
    }
    says(log_in(&mount, &token(&good())).await, "claim \"/deep/ids\" is missing");
    mount.write("role/app", json!({ "bound_claims": "{\"sub\":\"app-1\"}" })).await.unwrap();
    log_in(&mount, &token(&good())).await.unwrap().login();
    for (bad, matching) in [
        (json!({ "a": {} }), "string"),
        (json!({ "a": [] }), "string"),
        (json!({ "a": 1 }), "glob"),
        (json!([1]), "string"),
    ] {
        assert!(matches!(bind(bad.clone(), matching).await, Err(Error::Invalid(_))), "{bad}");
    }
    assert_eq!(bind(json!({ "sub": "*" }), "glob").await.unwrap().warnings.len(), 1);
}

#[tokio::test]
async fn an_audience_without_a_bound_one_is_refused() {
    let mount = mount().await;
    mount.write("role/app", json!({ "bound_audiences": [] })).await.unwrap();
    says(log_in(&mount, &token(&good())).await, "audience claim found in JWT but no audiences bound to the role");
    let mut claims = good();
    claims.as_object_mut().unwrap().remove("aud");
    log_in(&mount, &token(&claims)).await.unwrap().login();
}

#[tokio::test]
async fn a_role_is_shown_as_it_was_written() {
    let mount = mount().await;
    let shown = mount.read("role/APP").await.unwrap().data;
    let expected = json!({
        "allowed_redirect_uris": [], "bound_audiences": [AUDIENCE], "bound_claims_type": "string", "bound_subject": "",
        "bound_claims": { "environment": ["production", "staging"] }, "claim_mappings": null, "clock_skew_leeway": 0,
        "expiration_leeway": 0, "groups_claim": "", "max_age": 0, "max_token_life": 0, "not_before_leeway": 0,
        "oidc_scopes": [], "role_type": "jwt", "single_use": false, "user_claim": "sub", "user_claim_json_pointer": false,
        "verbose_oidc_logging": false, "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
        "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": ["app"],
        "token_ttl": 600, "token_type": "default",
    });
    assert_eq!(shown, expected);
    assert!(matches!(mount.read("role/gone").await, Err(Error::NotFound)));
    let listed = mount.send(Verb::List, "role", Value::Null).await.unwrap().data;
    assert_eq!(listed["keys"], json!(["app"]));
    mount.write("role/app", json!({ "ttl": 30, "policies": ["x"] })).await.unwrap();
    let shown = mount.read("role/app").await.unwrap().data;
    assert_eq!((&shown["ttl"], &shown["token_ttl"], &shown["policies"]), (&json!(30), &json!(30), &json!(["x"])));
    let reply = mount.write("role/app", json!({ "nonsense": 1, "oidc_scopes": "email" })).await.unwrap();
    assert_eq!(reply.warnings.len(), 2, "{:?}", reply.warnings);
}

#[tokio::test]
async fn roles_that_make_no_sense_are_refused() {
    let mount = mount().await;
    for (body, text) in [
        (json!({ "role_type": "oidc" }), "role_type \"oidc\" is the OIDC browser login"),
        (json!({ "role_type": "saml" }), "invalid 'role_type'"),
        (json!({ "user_claim": "" }), "a user claim must be defined"),
        (json!({ "bound_audiences": "", "bound_claims": {} }), "at least one bound constraint"),
        (json!({ "bound_claims_type": "regex" }), "invalid 'bound_claims_type'"),
        (json!({ "claim_mappings": { "sub": "role" } }), "metadata key \"role\" is reserved"),
        (json!({ "claim_mappings": { "sub": "x", "iss": "x" } }), "a metadata key of its own"),
        (json!({ "token_policies": "root" }), "must not contain \"root\""),
        (json!({ "clock_skew_leeway": "soon" }), "clock_skew_leeway"),
        (json!({ "bound_audiences": { "a": 1 } }), "bound_audiences"),
        (json!({ "max_token_life": "-1s" }), "max_token_life"),
    ] {
        let before = mount.read("role/app").await.unwrap().data;
        says(mount.write("role/app", body).await, text);
        assert_eq!(mount.read("role/app").await.unwrap().data, before, "{text}");
    }
}

#[tokio::test]
async fn a_configuration_has_exactly_one_source_that_works() {
    let mount = Mounted::new(KIND);
    assert!(matches!(mount.read("config").await, Err(Error::NotFound)));
    let all = signers();
    let publisher = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
    let (key, url) = (all.p256.public_pem.clone(), publisher.url.clone());
    for (body, text) in [
        (json!({}), "exactly one of"),
        (json!({ "jwt_validation_pubkeys": key, "jwks_url": url }), "exactly one of"),
        (json!({ "jwks_url": url, "jwks_pairs": [{ "jwks_url": url }] }), "exactly one of"),
        (json!({ "jwt_validation_pubkeys": "nonsense" }), "error parsing public key"),
        (json!({ "jwt_validation_pubkeys": all.p256.private_pem }), "a private key was given"),
        (json!({ "jwks_url": "http://issuer.test/keys" }), "error checking jwks URL: the URL must begin with https://"),
        (json!({ "jwks_url": "http://127.0.0.1:1/keys" }), "error checking jwks URL: the connection failed"),
        (json!({ "jwks_url": url, "jwks_ca_pem": "nonsense" }), "not PEM certificates"),
        (
            json!({ "oidc_discovery_url": url }),
            "error checking oidc discovery URL: the issuer's answer is no discovery document",
        ),
        (json!({ "jwks_pairs": [{ "jwks_url": url }, { "jwks_url": "ftp://x" }] }), "a jwks URL of jwks_pairs"),
        (json!({ "jwks_pairs": [{ "url": url }] }), "jwks_pairs"),
        (json!({ "jwks_url": url, "oidc_client_id": "me" }), "oidc_client_id belongs to the OIDC browser login"),
        (json!({ "jwks_url": url, "provider_config": { "provider": "azure" } }), "provider_config belongs to"),
    ] {
        says(mount.write("config", body).await, text);
    }
    assert!(matches!(mount.read("config").await, Err(Error::NotFound)), "nothing was written");
    mount.write("config", json!({ "jwks_pairs": [{ "jwks_url": url }, { "jwks_url": url }] })).await.unwrap();
    mount.write("config", json!({ "jwks_url": "https://127.0.0.1:1/", "skip_jwks_validation": true })).await.unwrap();
    mount.write("config", json!({ "jwks_url": url, "bound_issuer": ISSUER, "oidc_client_id": "" })).await.unwrap();
    let shown = mount.read("config").await.unwrap().data;
    let expected = json!({
        "bound_issuer": ISSUER, "default_role": "", "jwks_ca_pem": "", "jwks_pairs": [], "jwks_url": url,
        "jwt_supported_algs": [], "jwt_validation_pubkeys": [], "namespace_in_state": true, "oidc_client_id": "",
        "oidc_discovery_ca_pem": "", "oidc_discovery_url": "", "oidc_response_mode": "", "oidc_response_types": [],
        "provider_config": {},
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn published_keys_are_followed_through_rotation_and_outage() {
    let all = signers();
    let publisher = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
    let mount = Mounted::new(KIND);
    mount.write("config", json!({ "jwks_url": publisher.url })).await.unwrap();
    mount.write("role/app", role()).await.unwrap();
    let long = with("exp", json!(NOW + 100_000));
    let (old, new) = (all.p256.sign(&long), all.ed.sign(&long));
    log_in(&mount, &old).await.unwrap().login();
    publisher.becomes(Behaviour::Document(jwks(&[&all.ed])));
    mount.time().advance(PAUSE);
    log_in(&mount, &new).await.unwrap().login();
    says(log_in(&mount, &old).await, "no known key successfully validated the token signature");
    publisher.becomes(Behaviour::Status(502));
    mount.time().advance(REFRESH);
    log_in(&mount, &new).await.unwrap().login();
    mount.time().advance(Duration::from_secs(3600));
    let refused = log_in(&mount, &new).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    // A restarted server knows no keys until it reaches the issuer.
    assert!(matches!(log_in(&mount.reopened(), &new).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_discovered_issuer_is_the_one_that_tokens_must_name() {
    let all = signers();
    let publisher = Publisher::start(Behaviour::Silence).await;
    let issuer = publisher.url.clone();
    let about = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
    publisher.becomes(Behaviour::Discovery(about, jwks(&[&all.p256])));
    let mount = Mounted::new(KIND);
    mount.write("config", json!({ "oidc_discovery_url": issuer })).await.unwrap();
    mount.write("role/app", role()).await.unwrap();
    log_in(&mount, &token(&with("iss", json!(issuer)))).await.unwrap().login();
    says(log_in(&mount, &token(&good())).await, "invalid issuer (iss) claim");
    mount.write("config", json!({ "oidc_discovery_url": issuer, "bound_issuer": ISSUER })).await.unwrap();
    log_in(&mount, &token(&good())).await.unwrap().login();
}

#[tokio::test]
async fn only_login_answers_without_a_token() {
    let mount = Mounted::new(KIND);
    let open: Vec<&str> = mount.routes().iter().filter(|route| route.open).map(|route| route.pattern).collect();
    assert_eq!(open, ["login", "oidc/auth_url", "oidc/callback"]);
    assert!(mount.routes().iter().all(|route| route.summary.ends_with('.')));
}

#[tokio::test]
async fn a_login_through_a_browser_is_refused_with_another_way() {
    let mount = mount().await;
    let asked = json!({ "role": "app", "redirect_uri": "http://localhost:8250/oidc/callback" });
    says(mount.write("oidc/auth_url", asked).await, "no OIDC login through a browser: send a token of the issuer to");
}
