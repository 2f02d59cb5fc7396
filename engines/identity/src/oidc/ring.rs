//! A named key and the keys behind its name: what signs now, what signs next, what still verifies.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use clock::Timestamp;
use crypto::jws::{Algorithm, PublicKey, SigningKey};
use engine::{Error, Scope};
use quick_cache::sync::Cache;
use secret::Zeroizing;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::{Key, Tx};

use crate::Identity;

/// A named key, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Named {
    /// The name of the algorithm.
    pub(crate) algorithm: String,
    /// Time between rotations.
    pub(crate) rotation_period: Duration,
    /// How long a key verifies after it has signed last.
    pub(crate) verification_ttl: Duration,
    /// Whose tokens it may sign; `*` is anybody's.
    pub(crate) allowed_client_ids: Vec<String>,
    /// What signs now.
    pub(crate) current: Public,
    /// What signs after the next rotation; shown already, so that verifiers have it by then.
    pub(crate) next: Public,
    /// What has signed, and when its last token is over.
    pub(crate) past: Vec<Past>,
    /// The roles whose tokens it signs, with the life of these.
    pub(crate) roles: BTreeMap<String, Duration>,
    /// The OIDC clients whose tokens it signs, with the life of these.
    #[serde(default)]
    pub(crate) clients: BTreeMap<String, Duration>,
}

/// A public key with its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Public {
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    /// The numbers of the key, as in a JSON Web Key.
    pub(crate) numbers: BTreeMap<String, String>,
}

/// A public key whose private one is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Past {
    #[serde(flatten)]
    pub(crate) public: Public,
    pub(crate) until: Timestamp,
}

/// A new key that is not stored yet.
pub(crate) struct Fresh {
    public: Public,
    private: Zeroizing<Vec<u8>>,
}

/// Private keys that were read already. A key id never gets another key, so none of these can be outdated.
pub(crate) struct Keys(Cache<String, Arc<SigningKey>>);

impl Default for Keys {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

/// How many private keys are kept in memory.
const KEPT: usize = 64;

impl Named {
    /// Whether it may sign tokens for this client.
    pub(crate) fn signs_for(&self, client_id: &str) -> bool {
        self.allowed_client_ids.iter().any(|id| id == "*" || id == client_id)
    }

    /// The longest life of a token that it signs.
    pub(crate) fn longest(&self) -> Duration {
        self.roles.values().chain(self.clients.values()).max().copied().unwrap_or_default()
    }

    /// Every key that verifies at `now`.
    pub(crate) fn verifying(&self, now: Timestamp) -> impl Iterator<Item = &Public> {
        let past = self.past.iter().filter(move |past| past.until > now).map(|past| &past.public);
        [&self.current, &self.next].into_iter().chain(past)
    }

    /// The next key signs from now on, `fresh` after it; what signed so far verifies for as long as its tokens live.
    pub(crate) fn advance(&mut self, tx: &Tx, name: &str, fresh: Fresh, ttl: Duration, now: Timestamp) {
        let next = keep(tx, name, fresh);
        let current = std::mem::replace(&mut self.next, next);
        self.retire(tx, current, ttl, now);
    }

    /// Both keys are replaced: another algorithm.
    pub(crate) fn replace(&mut self, tx: &Tx, name: &str, fresh: [Fresh; 2], ttl: Duration, now: Timestamp) {
        let [current, next] = fresh;
        let unused = std::mem::replace(&mut self.next, keep(tx, name, next));
        forget(tx, &unused);
        tx.delete(of_kid(&unused.kid));
        let current = keep(tx, name, current);
        self.retire(tx, current, ttl, now);
    }

    fn retire(&mut self, tx: &Tx, current: Public, ttl: Duration, now: Timestamp) {
        let before = std::mem::replace(&mut self.current, current);
        forget(tx, &before);
        for over in self.past.iter().filter(|past| past.until <= now) {
            tx.delete(of_kid(&over.public.kid));
        }
        self.past.retain(|past| past.until > now);
        self.past.push(Past { public: before, until: clock::after(now, ttl) });
    }

    /// Removes everything that belongs to the key.
    pub(crate) fn remove(&self, tx: &Tx, name: &str) {
        let past = self.past.iter().map(|past| &past.public);
        for public in [&self.current, &self.next].into_iter().chain(past) {
            forget(tx, public);
            tx.delete(of_kid(&public.kid));
        }
        tx.delete(at(name));
    }
}

impl Public {
    /// As a JSON Web Key.
    pub(crate) fn web_key(&self) -> Value {
        let mut key = json!({ "use": "sig", "kid": self.kid, "alg": self.algorithm });
        if let Some(object) = key.as_object_mut() {
            object.extend(self.numbers.iter().map(|(name, number)| (name.clone(), json!(number))));
        }
        key
    }

    fn new(kid: String, key: &SigningKey) -> Self {
        let encode = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
        let curve = match key.algorithm() {
            Algorithm::Es256 => "P-256",
            Algorithm::Es384 => "P-384",
            Algorithm::Es512 => "P-521",
            Algorithm::EdDsa | Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => "Ed25519",
        };
        let numbers = match key.public() {
            PublicKey::Ec { x, y } => {
                vec![("kty", "EC".to_owned()), ("crv", curve.to_owned()), ("x", encode(&x)), ("y", encode(&y))]
            }
            PublicKey::Ed25519 { x } => vec![("kty", "OKP".to_owned()), ("crv", curve.to_owned()), ("x", encode(&x))],
            PublicKey::Rsa { n, e } => vec![("kty", "RSA".to_owned()), ("n", encode(&n)), ("e", encode(&e))],
        };
        let numbers = numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
        Self { kid, algorithm: key.algorithm().as_str().to_owned(), numbers }
    }

    /// Whether `signature` is one of `message` by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let number = |name: &str| URL_SAFE_NO_PAD.decode(self.numbers.get(name)?).ok();
        let key = match (number("n"), number("x"), number("y")) {
            (Some(n), _, _) => number("e").map(|e| PublicKey::Rsa { n, e }),
            (None, Some(x), Some(y)) => Some(PublicKey::Ec { x, y }),
            (None, Some(x), None) => Some(PublicKey::Ed25519 { x }),
            (None, None, _) => None,
        };
        let algorithm = Algorithm::parse(&self.algorithm);
        key.zip(algorithm).is_some_and(|(key, algorithm)| key.verify(algorithm, message, signature))
    }
}

impl Keys {
    /// The private key with this id.
    pub(crate) async fn private(&self, tx: &Tx, public: &Public) -> Result<Arc<SigningKey>, Error> {
        let Some(private) = tx.get(&private_at(&public.kid)).await? else {
            return Err(Error::internal("a signing key is not there"));
        };
        if let Some(key) = self.0.get(&public.kid) {
            return Ok(key);
        }
        let algorithm = Algorithm::parse(&public.algorithm);
        let algorithm = algorithm.ok_or_else(|| Error::internal("a signing key has an unknown algorithm"))?;
        let key = SigningKey::from_private(algorithm, &private);
        let key = Arc::new(key.map_err(|_| Error::internal("a signing key cannot be understood"))?);
        self.0.insert(public.kid.clone(), Arc::clone(&key));
        Ok(key)
    }
}

/// New keys, made on a thread that may block: RSA takes a while.
pub(crate) async fn make<const N: usize>(algorithm: Algorithm) -> Result<[Fresh; N], Error> {
    let made = tokio::task::spawn_blocking(move || {
        let mut fresh = Vec::with_capacity(N);
        for _ in 0..N {
            let key = SigningKey::generate(algorithm).ok()?;
            let public = Public::new(crypto::random::uuid(), &key);
            fresh.push(Fresh { public, private: key.private().clone() });
        }
        <[Fresh; N]>::try_from(fresh).ok()
    });
    let made = made.await.map_err(|_| Error::internal("a signing key was not made to the end"))?;
    made.ok_or_else(|| Error::internal("a signing key cannot be made"))
}

/// A new named key.
pub(crate) fn named(tx: &Tx, name: &str, algorithm: Algorithm, [current, next]: [Fresh; 2]) -> Named {
    Named {
        algorithm: algorithm.as_str().to_owned(),
        rotation_period: Duration::ZERO,
        verification_ttl: Duration::ZERO,
        allowed_client_ids: Vec::new(),
        current: keep(tx, name, current),
        next: keep(tx, name, next),
        past: Vec::new(),
        roles: BTreeMap::new(),
        clients: BTreeMap::new(),
    }
}

fn keep(tx: &Tx, name: &str, fresh: Fresh) -> Public {
    tx.put(private_at(&fresh.public.kid), Bytes::from_owner(fresh.private));
    tx.put(of_kid(&fresh.public.kid), name.to_owned().into());
    fresh.public
}

fn forget(tx: &Tx, public: &Public) {
    tx.delete(private_at(&public.kid));
}

/// The named key that a key id is of.
pub(crate) async fn by_kid(cx: &Scope<Identity>, kid: &str) -> Result<Option<Named>, Error> {
    let tx = cx.view().tx();
    let Some(name) = tx.get(&of_kid(kid)).await? else { return Ok(None) };
    let name = std::str::from_utf8(&name).unwrap_or_default();
    load(tx, name).await
}

pub(crate) async fn load(tx: &Tx, name: &str) -> Result<Option<Named>, Error> {
    Ok(tx.get_json(&at(name)).await?)
}

pub(crate) fn save(tx: &Tx, name: &str, named: &Named) -> Result<(), Error> {
    Ok(tx.put_json(at(name), named)?)
}

/// Where the named keys lie.
pub(crate) const PREFIX: &str = "sys/identity/oidc/key/";

fn at(name: &str) -> Key {
    Key::from(format!("{PREFIX}{name}"))
}

fn private_at(kid: &str) -> Key {
    Key::from(format!("sys/identity/oidc/private/{kid}"))
}

fn of_kid(kid: &str) -> Key {
    Key::from(format!("sys/identity/oidc/kid/{kid}"))
}
