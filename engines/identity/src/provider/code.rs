//! Authorisation codes: made for a person who is signed in with us, used once by the client, within five minutes.

use std::time::Duration;

use clock::Timestamp;
use crypto::random;
use engine::{Error, Scope};
use secret::SecretString;
use serde::{Deserialize, Serialize};
use storage::{Key, Scan, Tx};

use crate::Identity;

/// What a code stands for, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Code {
    /// The name of the provider that made it.
    pub(crate) provider: String,
    /// The client that may use it.
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    /// Who signed in.
    pub(crate) entity: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) nonce: String,
    /// When they signed in with us, in seconds since 1970.
    pub(crate) auth_time: i64,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) until: Timestamp,
}

/// What the client has to prove to know (RFC 7636).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Challenge {
    pub(crate) hashed: bool,
    pub(crate) text: String,
}

/// How long a code may be used.
const LIFE: Duration = Duration::from_secs(300);
const DUE: &str = "sys/identity/oidc/code-due/";
/// How many codes that were never used are cleared away with each new one.
const SWEPT: usize = 16;

impl Code {
    /// Keeps a new code; its `until` is set here.
    pub(crate) async fn keep(mut self, cx: &Scope<Identity>) -> Result<SecretString, Error> {
        let tx = cx.view().tx();
        sweep(tx, cx.now()).await?;
        self.until = clock::after(cx.now(), LIFE);
        let code = SecretString::new(random::base62(32).to_string());
        let id = id(&code);
        tx.put_json(at(&id), &self)?;
        tx.put(due(self.until, &id), bytes::Bytes::new());
        Ok(code)
    }

    pub(crate) fn new(provider: &str, client_id: &str, redirect_uri: &str, entity: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            client_id: client_id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            entity: entity.to_owned(),
            scopes: Vec::new(),
            nonce: String::new(),
            auth_time: 0,
            challenge: None,
            until: Timestamp::default(),
        }
    }

    /// Takes a code out of the store: whoever comes second finds nothing, also at the same moment.
    pub(crate) async fn take(cx: &Scope<Identity>, code: &SecretString) -> Result<Option<Self>, Error> {
        let tx = cx.view().tx();
        let id = id(code);
        let Some(found) = tx.get_json::<Self>(&at(&id)).await? else { return Ok(None) };
        tx.delete(at(&id));
        tx.delete(due(found.until, &id));
        Ok((found.until > cx.now()).then_some(found))
    }
}

async fn sweep(tx: &Tx, now: Timestamp) -> Result<(), Error> {
    let scan = Scan { prefix: DUE.to_owned(), after: None, limit: SWEPT, values: false };
    for (key, _) in tx.scan(&scan).await?.0 {
        let rest = key.as_str().get(DUE.len()..).unwrap_or_default();
        let Some((when, id)) = rest.split_once('/') else { continue };
        if when > seconds(now).as_str() {
            return Ok(());
        }
        tx.delete(at(id));
        tx.delete(key.clone());
    }
    Ok(())
}

fn id(code: &SecretString) -> String {
    // EXPOSE: only its hash is stored.
    let hash = crypto::hash::sha256(code.expose().as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(id: &str) -> Key {
    Key::from(format!("sys/identity/oidc/code/{id}"))
}

fn due(until: Timestamp, id: &str) -> Key {
    Key::from(format!("{DUE}{}/{id}", seconds(until)))
}

/// So that the order of the texts is the order of the times.
fn seconds(at: Timestamp) -> String {
    format!("{:020}", at.as_second())
}
