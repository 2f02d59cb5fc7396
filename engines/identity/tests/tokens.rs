//! The routes as an engine of its own, and the life of the keys behind identity tokens.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{cell::RefCell, sync::Arc, time::Duration};

use api::Verb;
use engine::{
    Backend, Caller, Error, Kind, MountInfo, Opening, backend,
    testing::{Mounted, Outcome},
};
use engine_identity::{Identity, Program};
use identity::Identities;
use serde_json::{Value, json};
use storage::Store;

thread_local! {
    /// The store of the test that runs on this thread.
    static STORE: RefCell<Option<Arc<dyn Store>>> = const { RefCell::new(None) };
}

struct Nowhere;

impl Program for Nowhere {
    fn mount(&self, _: &str) -> Option<Arc<MountInfo>> {
        None
    }

    fn address(&self) -> String {
        "https://vault.example".to_owned()
    }

    fn login_kinds(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

fn open(opening: Opening) -> Arc<dyn Backend> {
    let store = STORE.with_borrow(Clone::clone).expect("the test has no store");
    backend(Identity::new(Arc::new(Identities::new(store, opening.clock)), Arc::new(Nowhere)))
}

const KIND: Kind = Kind::choose("identity", "Identities.", open);
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    mounted: Mounted,
    store: Arc<dyn Store>,
    bob: Arc<Caller>,
}

async fn world() -> World {
    let store: Arc<dyn Store> = store_memory::Memory::new();
    STORE.set(Some(Arc::clone(&store)));
    let mounted = Mounted::over(KIND, &[], Arc::clone(&store));
    let made = mounted.write("entity", json!({ "name": "bob", "metadata": { "team": "t1" } })).await.unwrap();
    let mut bob = Caller::clone(&mounted.caller("bob", &[("*", &[api::Operation::Read])]));
    bob.entity_id = made.data["id"].as_str().unwrap().into();
    World { mounted, store, bob: Arc::new(bob) }
}

impl World {
    async fn write(&self, path: &str, body: Value) -> Outcome {
        self.mounted.write(path, body).await.unwrap()
    }

    async fn refuses(&self, path: &str, body: Value, text: &str) {
        match self.mounted.write(path, body).await {
            Err(Error::Invalid(why)) => assert!(why.contains(text), "{why:?} does not say {text:?}"),
            other => panic!("{path}: {other:?}"),
        }
    }

    async fn token(&self, role: &str) -> Result<String, Error> {
        let path = format!("oidc/token/{role}");
        let made = self.mounted.send_as(Some(&self.bob), Verb::Read, &path, Value::Null).await?;
        Ok(made.data["token"].as_str().unwrap().to_owned())
    }

    /// `None` if the token is valid, else why not.
    async fn fault(&self, token: &str) -> Option<String> {
        let told = self.write("oidc/introspect", json!({ "token": token })).await.data;
        assert_eq!(told["active"], told["error"].is_null());
        told["error"].as_str().map(str::to_owned)
    }

    async fn kids(&self) -> Vec<String> {
        let shown = self.mounted.read("oidc/.well-known/keys").await.unwrap().data;
        let kids = shown["keys"].as_array().unwrap().iter();
        kids.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    async fn stored(&self, prefix: &str) -> usize {
        let scan = storage::Scan { prefix: prefix.to_owned(), after: None, limit: 1000, values: false };
        self.store.scan(&scan).await.unwrap().entries.len()
    }

    async fn role(&self, algorithm: &str) {
        let key = json!({
            "algorithm": algorithm, "rotation_period": "1h", "verification_ttl": "2h", "allowed_client_ids": "*",
        });
        self.write("oidc/key/k", key).await;
        self.write("oidc/role/r", json!({ "key": "k", "ttl": "1h", "client_id": "partner" })).await;
    }
}

fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_routes_are_as_routes_have_to_be() {
    world().await.mounted.conforms().await;
}

#[tokio::test]
async fn keys_rotate_by_themselves_and_verify_as_long_as_their_tokens_live() {
    let world = world().await;
    world.role("ES256").await;
    let first = world.token("r").await.unwrap();
    let [current, next] = <[String; 2]>::try_from(world.kids().await).unwrap();
    assert_eq!(kid(&first), current);
    assert_eq!(world.fault(&first).await, None);
    world.mounted.time().advance(HOUR - Duration::from_secs(1));
    assert!(world.mounted.run_due().await.is_empty(), "not due yet");
    assert_eq!(world.fault(&first).await, None);
    world.mounted.time().advance(Duration::from_secs(1));
    let done = world.mounted.run_due().await;
    assert!(done.len() == 1 && done[0].1.is_ok(), "{done:?}");
    let second = world.token("r").await.unwrap();
    assert_eq!(kid(&second), next, "what was shown beforehand signs now");
    assert_eq!(world.kids().await.len(), 3);
    assert_eq!(world.stored("sys/identity/oidc/private/").await, 2, "what signs no more is gone");
    assert_eq!(world.fault(&first).await.as_deref(), Some("the token is expired"));
    world.mounted.time().advance(HOUR * 2);
    assert!(!world.kids().await.contains(&current), "the first key verifies no more");
    assert_eq!(world.fault(&first).await.as_deref(), Some("unable to validate the token signature"));
    for _ in 0..5 {
        world.mounted.run_due().await;
        world.mounted.time().advance(HOUR);
    }
    assert!(world.kids().await.len() <= 5 && world.stored("sys/identity/oidc/kid/").await <= 6, "old keys pile up");
    // After a restart the same keys are there.
    let token = world.token("r").await.unwrap();
    let kids = world.kids().await;
    let world = World { mounted: world.mounted.reopened(), ..world };
    assert_eq!((world.kids().await, world.fault(&token).await), (kids, None));
}

#[tokio::test]
async fn a_key_that_was_found_out_can_be_ended_at_once() {
    let world = world().await;
    world.role("EdDSA").await;
    let token = world.token("r").await.unwrap();
    world.write("oidc/key/k/rotate", json!({})).await;
    assert_eq!(world.fault(&token).await, None, "by itself a rotation ends no token");
    let token = world.token("r").await.unwrap();
    world.write("oidc/key/k/rotate", json!({ "verification_ttl": 0 })).await;
    assert!(world.fault(&token).await.is_some());
    // Another algorithm takes over at once, and the tokens that are out stay valid.
    let token = world.token("r").await.unwrap();
    world.write("oidc/key/k", json!({ "algorithm": "ES384" })).await;
    assert_eq!(world.fault(&token).await, None);
    let token = world.token("r").await.unwrap();
    assert_eq!(world.fault(&token).await, None);
    let shown = world.mounted.read("oidc/.well-known/keys").await.unwrap().data;
    let algorithms = shown["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap());
    assert_eq!(algorithms.filter(|algorithm| *algorithm == "ES384").count(), 2);
    world.mounted.delete("oidc/role/r").await.unwrap();
    assert!(world.kids().await.is_empty(), "keys that nobody uses are not shown");
    world.mounted.delete("oidc/key/k").await.unwrap();
    assert_eq!(world.stored("sys/identity/oidc/").await, 0, "nothing is left of the key");
    assert!(world.mounted.rotations().await.is_empty());
}

#[tokio::test]
async fn a_token_is_only_as_good_as_its_words_and_its_holder() {
    let world = world().await;
    world.role("RS256").await;
    let template = r#"{"who": {{identity.entity.name}}, "team": {{identity.entity.metadata.team}}}"#;
    world.write("oidc/role/r", json!({ "template": template })).await;
    let token = world.token("r").await.unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(claims["iss"], "https://vault.example/v1/identity/oidc");
    assert_eq!((claims["aud"].as_str(), claims["sub"].as_str()), (Some("partner"), Some(&*world.bob.entity_id)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert_eq!((claims["who"].as_str(), claims["team"].as_str()), (Some("bob"), Some("t1")));
    for (part, other) in
        [(1, URL_SAFE_NO_PAD.encode(r#"{"sub":"x"}"#)), (0, URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"x"}"#))]
    {
        let mut forged = parts.clone();
        forged[part] = &other;
        assert!(world.fault(&forged.join(".")).await.is_some());
    }
    let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "kid": kid(&token) }).to_string());
    assert!(world.fault(&format!("{none}.{}.", parts[1])).await.is_some());
    for nonsense in ["", "a", "a.b.c", "....", &token[1..]] {
        assert!(world.fault(nonsense).await.is_some(), "{nonsense}");
    }
    let other = world.write("oidc/introspect", json!({ "token": token, "client_id": "other" })).await.data;
    assert_eq!(other["active"], false);
    world.write("oidc/config", json!({ "issuer": "https://other.example" })).await;
    assert_eq!(world.fault(&token).await.as_deref(), Some("the token is from another issuer"));
    world.write("oidc/config", json!({ "issuer": "" })).await;
    world.write("entity/name/bob", json!({ "disabled": true })).await;
    assert_eq!(world.fault(&token).await.as_deref(), Some("entity is disabled"));
    assert!(matches!(world.token("r").await, Err(Error::Denied(_))));
    world.mounted.delete("entity/name/bob").await.unwrap();
    assert_eq!(world.fault(&token).await.as_deref(), Some("entity was not found"));
}

#[tokio::test]
async fn keys_and_roles_hold_each_other_to_their_lives() {
    let world = world().await;
    world.role("ES256").await;
    world.refuses("oidc/key/x", json!({ "rotation_period": "59s" }), "at least one minute").await;
    let long = json!({ "rotation_period": "1m", "verification_ttl": "11m" });
    world.refuses("oidc/key/x", long, "longer than 10x").await;
    world.refuses("oidc/key/x", json!({ "algorithm": "none" }), "unknown signing algorithm").await;
    world.refuses("oidc/key/k", json!({ "verification_ttl": "30m" }), "must not outlive").await;
    world.refuses("oidc/role/x", json!({}), "key parameter is required").await;
    world.refuses("oidc/role/x", json!({ "key": "none" }), "no named key").await;
    world.refuses("oidc/role/r", json!({ "ttl": "3h" }), "cannot be longer than the verification_ttl").await;
    world.refuses("oidc/role/r", json!({ "template": r#"{"exp": 1}"# }), "not allowed").await;
    let error = world.mounted.delete("oidc/key/k").await.unwrap_err().to_string();
    assert!(error.contains("referenced by these roles: r"), "{error}");
    world.write("oidc/key/k", json!({ "allowed_client_ids": ["somebody"] })).await;
    let error = world.token("r").await.unwrap_err().to_string();
    assert!(error.contains("does not list the client ID"), "{error}");
    assert_eq!(world.mounted.read("oidc/key/k").await.unwrap().data["verification_ttl"], 7200);
    assert_eq!(world.mounted.list("oidc/role").await.unwrap().data["keys"], json!(["r"]));
}
