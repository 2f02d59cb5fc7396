//! `oidc/client`: who signs people in with us.

use std::{sync::Arc, time::Duration};

use api::{CommaList, Name, Ttl};
use bytes::Bytes;
use crypto::{jws::Algorithm, random};
use engine::{Cx, Data, Done, Error, Keys, Scope};
use secret::{Disclosed, SecretString};
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};
use url::Url;

use super::assignment;
use crate::{
    Identity, Paging, Routes, Verb, given,
    oidc::{key, ring},
    shown,
};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "oidc/client", "List the OIDC clients.", list)
        .on(Verb::Read, "oidc/client/{name}", "Show an OIDC client with its secret.", read)
        .on(Verb::Write, "oidc/client/{name}", "Create or change an OIDC client.", write)
        .exists(exists)
        .on(Verb::Delete, "oidc/client/{name}", "Remove an OIDC client.", delete)
}

/// A client, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    /// The name of the key that signs its tokens.
    pub(crate) key: String,
    /// Where people may be sent back to.
    pub(crate) redirect_uris: Vec<String>,
    /// Who may sign in.
    pub(crate) assignments: Vec<String>,
    /// Whether it keeps a secret.
    pub(crate) confidential: bool,
    pub(crate) id_token_ttl: Duration,
    pub(crate) access_token_ttl: Duration,
}

impl Client {
    /// Whether people may be sent back to `uri`. On the machine of the user itself, a program listens where there is
    /// room, so there the port does not count (RFC 8252).
    pub(crate) fn leads_back_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|known| known == uri || same_but_for_port(known, uri))
    }

    fn kind(&self) -> &'static str {
        if self.confidential { "confidential" } else { "public" }
    }
}

fn same_but_for_port(known: &str, uri: &str) -> bool {
    let loopback = |url: &Url| matches!(url.host_str(), Some("127.0.0.1" | "[::1]"));
    let (Ok(mut known), Ok(mut uri)) = (Url::parse(known), Url::parse(uri)) else { return false };
    if !loopback(&known) || !loopback(&uri) || known.set_port(None).is_err() || uri.set_port(None).is_err() {
        return false;
    }
    known == uri
}

const PREFIX: &str = "sys/identity/oidc/client/";

fn at(name: &str) -> Key {
    Key::from(format!("{PREFIX}{name}"))
}

fn id_at(id: &str) -> Key {
    Key::from(format!("sys/identity/oidc/client-id/{id}"))
}

fn secret_at(name: &str) -> Key {
    Key::from(format!("sys/identity/oidc/client-secret/{name}"))
}

async fn load(tx: &Tx, name: &str) -> Result<Option<Client>, Error> {
    Ok(tx.get_json(&at(name)).await?)
}

/// The client with this id, and its name.
pub(crate) async fn by_id(tx: &Tx, id: &str) -> Result<Option<(String, Client)>, Error> {
    let Some(name) = tx.get_json::<String>(&id_at(id)).await? else { return Ok(None) };
    Ok(load(tx, &name).await?.map(|client| (name, client)))
}

/// Every client with its name.
pub(crate) async fn all(tx: &Arc<Tx>) -> Result<Vec<(String, Client)>, Error> {
    crate::stored(tx, PREFIX).await
}

/// The secret of a client; `None` if it keeps none.
pub(crate) async fn secret(tx: &Tx, name: &str) -> Result<Option<SecretString>, Error> {
    let secret = tx.get(&secret_at(name)).await?;
    Ok(secret.and_then(|secret| String::from_utf8(secret.to_vec()).ok()).map(SecretString::new))
}

#[derive(Serialize)]
struct Shown {
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<Disclosed<String>>,
    client_type: &'static str,
    key: String,
    redirect_uris: Vec<String>,
    assignments: Vec<String>,
    id_token_ttl: u64,
    access_token_ttl: u64,
}

fn show(client: Client, secret: Option<SecretString>) -> Shown {
    Shown {
        client_type: client.kind(),
        client_id: client.client_id,
        client_secret: secret.map(SecretString::disclose),
        key: client.key,
        redirect_uris: client.redirect_uris,
        assignments: client.assignments,
        id_token_ttl: client.id_token_ttl.as_secs(),
        access_token_ttl: client.access_token_ttl.as_secs(),
    }
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let all = all(cx.view().tx()).await?.into_iter();
    let page = all.filter(|(name, _)| paging.after().is_none_or(|after| name.as_str() > after)).take(paging.limit());
    shown::keys(page.map(|(name, client)| (name, show(client, None))))
}

async fn exists(cx: Cx<Identity>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view().tx(), name.as_str()).await?.is_some())
}

async fn read(cx: Cx<Identity>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let tx = cx.view().tx();
    let Some(client) = load(tx, name.as_str()).await? else { return Ok(None) };
    let secret = secret(tx, name.as_str()).await?;
    Ok(Some(Data(show(client, secret))))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClientBody {
    key: Option<String>,
    redirect_uris: Option<CommaList>,
    assignments: Option<CommaList>,
    client_type: Option<String>,
    id_token_ttl: Option<Ttl>,
    access_token_ttl: Option<Ttl>,
}

async fn write(cx: Cx<Identity>, name: Name, body: ClientBody) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let mut client = match load(tx, name.as_str()).await? {
        Some(client) => changed(client, &body)?,
        None => make(tx, &name, &body)?,
    };
    if let Some(uris) = body.redirect_uris {
        if uris.iter().any(|uri| Url::parse(uri).is_err()) {
            return Err(Error::invalid("redirect_uris: use whole URIs, such as https://app.example/callback"));
        }
        client.redirect_uris = uris.0;
    }
    if let Some(assignments) = body.assignments {
        for assignment in assignments.iter() {
            if assignment::load(tx, assignment).await?.is_none() {
                return Err(Error::invalid("assignments: there is no assignment with this name"));
            }
        }
        client.assignments = assignments.0;
    }
    client.id_token_ttl = body.id_token_ttl.map_or(client.id_token_ttl, |ttl| ttl.0);
    client.access_token_ttl = body.access_token_ttl.map_or(client.access_token_ttl, |ttl| ttl.0);
    register(cx.scope(), &name, &client).await?;
    tx.put_json(id_at(&client.client_id), &name.as_str())?;
    tx.put_json(at(name.as_str()), &client)?;
    Ok(Done)
}

fn make(tx: &Tx, name: &Name, body: &ClientBody) -> Result<Client, Error> {
    let confidential = match body.client_type.as_deref() {
        None | Some("" | "confidential") => true,
        Some("public") => false,
        Some(_) => return Err(Error::invalid("invalid client_type: use \"confidential\" or \"public\"")),
    };
    if confidential {
        let secret = format!("hvo_secret_{}", random::base62(64).as_str());
        tx.put(secret_at(name.as_str()), Bytes::from_owner(secret::Zeroizing::new(secret.into_bytes())));
    }
    Ok(Client {
        client_id: random::base62(32).to_string(),
        key: given(body.key.clone()).unwrap_or_else(|| DEFAULT_KEY.to_owned()),
        redirect_uris: Vec::new(),
        assignments: Vec::new(),
        confidential,
        id_token_ttl: DAY,
        access_token_ttl: DAY,
    })
}

fn changed(client: Client, body: &ClientBody) -> Result<Client, Error> {
    if given(body.key.clone()).is_some_and(|key| key != client.key) {
        return Err(Error::invalid("key modification is not allowed"));
    }
    if given(body.client_type.clone()).is_some_and(|kind| kind != client.kind()) {
        return Err(Error::invalid("client_type modification is not allowed"));
    }
    Ok(client)
}

/// Notes with the key that the client uses it. The key `default` is made for the first that does.
async fn register(cx: &Scope<Identity>, name: &Name, client: &Client) -> Result<(), Error> {
    let tx = cx.view().tx();
    let mut named = match (ring::load(tx, &client.key).await?, client.key.as_str()) {
        (Some(named), _) => named,
        (None, DEFAULT_KEY) => key::make_default(cx, DEFAULT_KEY, Algorithm::Rs256).await?,
        (None, _) => return Err(Error::invalid("key: there is no named key with this name")),
    };
    if client.id_token_ttl > named.verification_ttl {
        return Err(Error::invalid(
            "a client's id_token_ttl cannot be greater than the verification_ttl of the key it references",
        ));
    }
    named.clients.insert(name.as_str().to_owned(), client.id_token_ttl);
    ring::save(tx, &client.key, &named)
}

async fn delete(cx: Cx<Identity>, name: Name) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let Some(client) = load(tx, name.as_str()).await? else { return Ok(Done) };
    if let Some(mut named) = ring::load(tx, &client.key).await? {
        named.clients.remove(name.as_str());
        ring::save(tx, &client.key, &named)?;
    }
    tx.delete(id_at(&client.client_id));
    tx.delete(secret_at(name.as_str()));
    tx.delete(at(name.as_str()));
    Ok(Done)
}

const DEFAULT_KEY: &str = "default";
const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::same_but_for_port;

    #[test]
    fn on_the_users_own_machine_the_port_does_not_count() {
        assert!(same_but_for_port("http://127.0.0.1:8250/cb", "http://127.0.0.1:49152/cb"));
        assert!(same_but_for_port("http://[::1]/cb", "http://[::1]:1/cb"));
        for (known, uri) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/other"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:1/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.example:1/cb"),
            ("https://app.example/cb", "https://app.example:1/cb"),
            ("http://127.0.0.1/cb", "http://[::1]/cb"),
            ("http://127.0.0.1/cb", "http://user@127.0.0.1/cb"),
        ] {
            assert!(!same_but_for_port(known, uri), "{uri}");
        }
    }
}
