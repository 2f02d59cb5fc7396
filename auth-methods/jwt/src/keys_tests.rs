use std::{sync::Arc, time::Duration};

use clock::{Simulated, Timestamp};
use serde_json::json;

use crate::{
    corpus::{NOW, good},
    fetch::{Endpoint, FetchError, MAX_BODY, TIME_LIMIT},
    keys::{Keys, MAX_STALENESS, PAUSE, REFRESH, Source},
    refusal::Refusal,
    testing::{Behaviour, Publisher, Signer, jwks, signers},
    token::Unverified,
};

fn clock() -> Simulated {
    Simulated::new(Timestamp::from_second(NOW).unwrap())
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint { url: url.to_owned(), ca_pem: String::new(), discovery: false }
}

fn published(endpoints: Vec<Endpoint>, clock: &Simulated) -> Keys {
    Keys::new(&Source::Published(endpoints), &clock.clock()).unwrap()
}

async fn verify(keys: &Keys, token: &str) -> Result<(), Refusal> {
    keys.verify(&Unverified::parse(token).unwrap()).await.map(drop)
}

/// A token of `signer` under a kid that nobody knows.
fn unknown_kid(signer: &Signer, number: usize) -> String {
    let header = json!({ "alg": format!("{:?}", signer.algorithm), "kid": format!("unknown-{number}") });
    signer.sign_text(&header.to_string(), &good().to_string())
}

#[tokio::test]
async fn given_keys_verify_whatever_kid_the_token_names() {
    let all = signers();
    let source =
        Source::Given(vec![all.rsa.public_pem.clone(), format!("{}{}", all.p256.public_pem, all.ed.public_pem)]);
    let keys = Keys::new(&source, &clock().clock()).unwrap();
    for signer in [&all.rsa, &all.p256, &all.ed] {
        assert_eq!(verify(&keys, &signer.sign(&good())).await, Ok(()));
    }
    assert_eq!(verify(&keys, &unknown_kid(&all.p256, 1)).await, Ok(()));
    assert_eq!(verify(&keys, &all.p384.sign(&good())).await, Err(Refusal::KeyUnknown));
    assert_eq!(verify(&keys, &all.stranger.sign(&good())).await, Err(Refusal::SignatureInvalid));
}

#[test]
fn given_keys_must_be_public_keys() {
    let make = |text: &str| {
        Keys::new(&Source::Given(vec![text.to_owned()]), &clock().clock()).map(drop).map_err(|e| e.to_string())
    };
    let certificate = rcgen::generate_simple_self_signed(vec!["issuer.test".to_owned()]).unwrap().cert.pem();
    assert_eq!(make(&certificate), Ok(()));
    let private = make(&signers().rsa.private_pem).unwrap_err();
    assert!(private.contains("a private key was given"), "{private}");
    for text in ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(make(text).unwrap_err().starts_with("error parsing public key"), "{text}");
    }
}

#[tokio::test]
async fn weak_and_foreign_keys_of_a_set_are_left_out() {
    let all = signers();
    let weak = json!({ "kty": "RSA", "kid": "weak", "n": "AQAB", "e": "AQAB" });
    let even = json!({ "kty": "RSA", "kid": "even", "n": all.rsa.jwk["n"], "e": "AQAA" });
    let mac = json!({ "kty": "oct", "kid": "mac", "k": "c2VjcmV0" });
    let mut for_encryption = all.p384.jwk.clone();
    for_encryption["use"] = "enc".into();
    let set = json!({ "keys": [weak, even, mac, for_encryption, {"kty": "EC", "crv": "P-521"}, 7, all.p256.jwk] });
    let publisher = Publisher::start(Behaviour::Document(set)).await;
    let keys = published(vec![endpoint(&publisher.url)], &clock());
    assert_eq!(verify(&keys, &all.p256.sign(&good())).await, Ok(()));
    assert_eq!(verify(&keys, &all.p384.sign(&good())).await, Err(Refusal::KeyUnknown));
}

#[tokio::test]
async fn ten_thousand_unknown_kids_cause_one_fetch_each_five_seconds() {
    let all = signers();
    let publisher = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
    let time = clock();
    let keys = Arc::new(published(vec![endpoint(&publisher.url)], &time));
    let token = unknown_kid(&all.p256, 0);
    for round in 1..=3 {
        let logins = (0..2_500).map(|_| verify(&keys, &token));
        for outcome in futures::future::join_all(logins).await {
            assert_eq!(outcome, Err(Refusal::KeyUnknown));
        }
        assert_eq!(publisher.hits(), round);
        // Still the same five seconds.
        time.advance(PAUSE - Duration::from_millis(1));
        for _ in 0..1_000 {
            assert_eq!(verify(&keys, &token).await, Err(Refusal::KeyUnknown));
        }
        assert_eq!(publisher.hits(), round);
        time.advance(Duration::from_millis(1));
    }
    // Those who hold a good token notice nothing.
    assert_eq!(verify(&keys, &all.p256.sign(&good())).await, Ok(()));
}

#[tokio::test]
async fn a_new_key_works_at_once_and_a_removed_one_not_longer_than_the_refresh() {
    let all = signers();
    let publisher = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
    let time = clock();
    let keys = published(vec![endpoint(&publisher.url)], &time);
    let (old, new) = (all.p256.sign(&good()), all.ed.sign(&good()));
    assert_eq!(verify(&keys, &old).await, Ok(()));
    publisher.becomes(Behaviour::Document(jwks(&[&all.ed])));
    time.advance(PAUSE);
    assert_eq!(verify(&keys, &old).await, Ok(()), "not asked for again yet");
    assert_eq!(publisher.hits(), 1);
    assert_eq!(verify(&keys, &new).await, Ok(()), "an unknown kid asks");
    assert_eq!(publisher.hits(), 2);
    assert_eq!(verify(&keys, &old).await, Err(Refusal::KeyUnknown));

    publisher.becomes(Behaviour::Document(jwks(&[&all.p256])));
    time.advance(REFRESH - Duration::from_secs(1));
    assert_eq!(verify(&keys, &new).await, Ok(()));
    time.advance(Duration::from_secs(1));
    assert_eq!(verify(&keys, &new).await, Err(Refusal::KeyUnknown));
}

#[tokio::test]
async fn a_key_that_was_replaced_under_its_kid_is_found() {
    let all = signers();
    let publisher = Publisher::start(Behaviour::Document(jwks(&[&all.stranger]))).await;
    let time = clock();
    let keys = published(vec![endpoint(&publisher.url)], &time);
    let token = all.p256.sign(&good());
    assert_eq!(verify(&keys, &token).await, Err(Refusal::SignatureInvalid));
    publisher.becomes(Behaviour::Document(jwks(&[&all.p256])));
    time.advance(PAUSE);
    assert_eq!(verify(&keys, &token).await, Ok(()));
}

#[tokio::test]
async fn known_keys_outlive_an_outage_for_a_while_and_then_nothing_works() {
    let all = signers();
    let publisher = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
    let time = clock();
    let keys = published(vec![endpoint(&publisher.url)], &time);
    let (token, unknown) = (all.p256.sign(&good()), unknown_kid(&all.p256, 1));
    assert_eq!(verify(&keys, &token).await, Ok(()));
    publisher.becomes(Behaviour::Status(503));
    time.advance(REFRESH);
    assert_eq!(verify(&keys, &token).await, Ok(()));
    assert_eq!(publisher.hits(), 2);
    assert_eq!(verify(&keys, &unknown).await, Err(Refusal::KeyUnknown));
    time.advance(MAX_STALENESS - REFRESH - Duration::from_secs(1));
    assert_eq!(verify(&keys, &token).await, Ok(()));
    time.advance(Duration::from_secs(1));
    let refusal = verify(&keys, &token).await.unwrap_err();
    assert_eq!(refusal, Refusal::KeysUnavailable("the answer has status 503 instead of 200".to_owned()));
    publisher.becomes(Behaviour::Document(jwks(&[&all.p256])));
    time.advance(PAUSE);
    assert_eq!(verify(&keys, &token).await, Ok(()), "back as soon as the issuer is");
}

#[tokio::test]
async fn without_an_issuer_from_the_start_nothing_works() {
    let keys = {
        let publisher = Publisher::start(Behaviour::Status(500)).await;
        published(vec![endpoint(&publisher.url)], &clock())
    };
    let refusal = verify(&keys, &signers().p256.sign(&good())).await.unwrap_err();
    assert!(matches!(refusal, Refusal::KeysUnavailable(_)), "{refusal:?}");
    assert!(!refusal.to_string().contains("127.0.0.1"), "{refusal}");
}

#[tokio::test]
async fn a_hung_issuer_is_cut_off_and_delays_each_login_once() {
    let all = signers();
    for hung in [Behaviour::Silence, Behaviour::Drip] {
        let publisher = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
        let time = clock();
        let keys = Arc::new(published(vec![endpoint(&publisher.url)], &time));
        let token = all.p256.sign(&good());
        assert_eq!(verify(&keys, &token).await, Ok(()));
        publisher.arrival().await;
        publisher.becomes(hung);
        time.advance(REFRESH);
        let waiting = tokio::spawn({
            let (keys, token) = (Arc::clone(&keys), token.clone());
            async move { verify(&keys, &token).await }
        });
        publisher.arrival().await;
        assert!(!waiting.is_finished());
        time.advance(TIME_LIMIT);
        assert_eq!(waiting.await.unwrap(), Ok(()), "the keys are not stale yet");
        // The next tries go on behind the logins' backs.
        time.advance(PAUSE);
        assert_eq!(verify(&keys, &token).await, Ok(()));
        publisher.arrival().await;
        assert_eq!(publisher.hits(), 3);
    }
}

#[tokio::test]
async fn answers_that_are_too_large_or_come_from_elsewhere_are_refused() {
    let all = signers();
    let elsewhere = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
    let publisher = Publisher::start(Behaviour::Huge(MAX_BODY + 1)).await;
    let keys = published(vec![endpoint(&publisher.url)], &clock());
    assert_eq!(keys.try_out().await, Err(FetchError::TooLarge));
    publisher.becomes(Behaviour::Redirect(elsewhere.url.clone()));
    let error = keys.try_out().await.unwrap_err();
    assert_eq!(error, FetchError::Unreachable("redirected to another host".to_owned()));
    assert_eq!(elsewhere.hits(), 0, "nothing was sent there");
    publisher.becomes(Behaviour::Redirect("/loop".to_owned()));
    assert!(keys.try_out().await.is_err());
    for document in [json!({ "keys": [] }), json!({}), json!([]), json!({ "keys": vec![&all.p256.jwk; 101] })] {
        publisher.becomes(Behaviour::Document(document));
        assert!(matches!(keys.try_out().await, Err(FetchError::Keys(_))));
    }
}

#[tokio::test]
async fn a_discovery_document_must_name_the_configured_issuer() {
    let all = signers();
    let publisher = Publisher::start(Behaviour::Silence).await;
    let issuer = publisher.url.clone();
    let set = jwks(&[&all.p256]);
    let keys = published(vec![Endpoint { discovery: true, ..endpoint(&issuer) }], &clock());
    assert_eq!(keys.issuer(), Some(issuer.as_str()));
    let document = |issuer: &str, jwks_uri: &str| json!({ "issuer": issuer, "jwks_uri": jwks_uri });
    let about = document(&issuer, &format!("{issuer}/keys"));
    publisher.becomes(Behaviour::Discovery(about, set.clone()));
    assert_eq!(verify(&keys, &all.p256.sign(&good())).await, Ok(()));
    let cases = [
        (document("https://evil.test", &format!("{issuer}/keys")), FetchError::OtherIssuer),
        (document(&format!("{issuer}/"), &format!("{issuer}/keys")), FetchError::OtherIssuer),
        (json!({ "issuer": issuer }), FetchError::NotADiscoveryDocument),
    ];
    for (about, error) in cases {
        publisher.becomes(Behaviour::Discovery(about, set.clone()));
        assert_eq!(keys.try_out().await, Err(error));
    }
    publisher.becomes(Behaviour::Discovery(document(&issuer, "http://keys.evil.test/"), set));
    assert!(matches!(keys.try_out().await, Err(FetchError::Url(_))));
}

#[tokio::test]
async fn a_private_ca_is_trusted_only_if_configured() {
    let all = signers();
    let (publisher, pem) = Publisher::start_tls(Behaviour::Document(jwks(&[&all.p256]))).await;
    let trusting = published(vec![Endpoint { ca_pem: pem, ..endpoint(&publisher.url) }], &clock());
    assert_eq!(trusting.try_out().await, Ok(()));
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let wary = published(vec![Endpoint { ca_pem: other, ..endpoint(&publisher.url) }], &clock());
    assert!(matches!(wary.try_out().await, Err(FetchError::Unreachable(_))));
    let bad = Source::Published(vec![Endpoint { ca_pem: "nonsense".to_owned(), ..endpoint(&publisher.url) }]);
    assert!(Keys::new(&bad, &clock().clock()).is_err());
}

#[tokio::test]
async fn of_several_sources_one_that_knows_the_key_is_enough() {
    let all = signers();
    let first = Publisher::start(Behaviour::Status(503)).await;
    let second = Publisher::start(Behaviour::Document(jwks(&[&all.p256]))).await;
    let keys = published(vec![endpoint(&first.url), endpoint(&second.url)], &clock());
    let token = all.p256.sign(&good());
    assert_eq!(verify(&keys, &token).await, Ok(()));
    let tried = first.hits();
    assert_eq!(verify(&keys, &token).await, Ok(()));
    assert_eq!(first.hits(), tried, "a known key asks nobody");
    let refusal = verify(&keys, &all.ed.sign(&good())).await.unwrap_err();
    assert!(matches!(refusal, Refusal::KeysUnavailable(_)), "{refusal:?}");
}
