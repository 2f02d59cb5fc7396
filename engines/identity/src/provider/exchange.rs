//! `oidc/provider/{name}/token`: a client turns a code into tokens.

use api::Name;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crypto::hash;
use engine::{Answer, Cx, Error};
use secret::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    access::Access,
    assignment,
    client::{self, Client},
    code::{Challenge, Code},
    record,
    reply::{Fault, bare, fault},
    scope,
};
use crate::{
    Identity, Routes, Verb, given,
    oidc::{ring, sign},
};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes.on(Verb::Write, "oidc/provider/{name}/token", "Turn an authorization code into tokens.", exchange).open()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    code: Option<SecretString>,
    grant_type: String,
    redirect_uri: String,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    code_verifier: Option<SecretString>,
}

async fn exchange(cx: Cx<Identity>, name: Name, asked: Asked) -> Result<Answer, Error> {
    let Some((client, named)) = authenticated(&cx, &name, &asked).await? else {
        return Ok(fault("invalid_client", "client failed to authenticate").unauthorized("Basic"));
    };
    match tokens(&cx, &name, &asked, &client, &named).await? {
        Ok(body) => Ok(bare(&body)),
        // What was taken out of the store stays out: a code is tried once.
        Err(fault) => Ok(fault.answer(None)),
    }
}

/// The client, if it is one, knows its secret, and is served by the provider; and the key that signs its tokens.
async fn authenticated(cx: &Cx<Identity>, name: &Name, asked: &Asked) -> Result<Option<(Client, ring::Named)>, Error> {
    let tx = cx.view().tx();
    let (id, secret) = match cx.header("authorization").and_then(basic) {
        Some((id, secret)) => (Some(id), Some(secret)),
        None => (given(asked.client_id.clone()), None),
    };
    let Some((client_name, client)) = client::by_id(tx, &id.unwrap_or_default()).await? else { return Ok(None) };
    if client.confidential {
        let known = client::secret(tx, &client_name).await?;
        let sent = secret.as_ref().or(asked.client_secret.as_ref());
        // EXPOSE: compared in constant time.
        if !known.zip(sent).is_some_and(|(known, sent)| known.matches(sent.expose())) {
            return Ok(None);
        }
    }
    let served = record::load(tx, name).await?.is_some_and(|provider| provider.serves(&client.client_id));
    let named = ring::load(tx, &client.key).await?.filter(|named| named.signs_for(&client.client_id));
    Ok(named.filter(|_| served).map(|named| (client, named)))
}

/// Id and secret of an `Authorization: Basic` header.
fn basic(header: &str) -> Option<(String, SecretString)> {
    let (scheme, text) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (id, secret) = plain.split_once(':')?;
    Some((id.to_owned(), SecretString::new(secret.to_owned())))
}

async fn tokens(
    cx: &Cx<Identity>,
    name: &Name,
    asked: &Asked,
    client: &Client,
    key: &ring::Named,
) -> Result<Result<Value, Fault>, Error> {
    match asked.grant_type.as_str() {
        "authorization_code" => {}
        "" => return Ok(Err(fault("invalid_request", "grant_type parameter is required"))),
        _ => return Ok(Err(fault("unsupported_grant_type", "unsupported grant_type value"))),
    }
    let Some(sent) = &asked.code else {
        return Ok(Err(fault("invalid_request", "code parameter is required")));
    };
    let Some(code) = Code::take(cx.scope(), sent).await? else {
        return Ok(Err(fault("invalid_grant", "authorization grant is invalid or expired")));
    };
    if code.client_id != client.client_id {
        return Ok(Err(fault("invalid_grant", "authorization code was not issued to the client")));
    }
    if code.provider != name.as_str() {
        return Ok(Err(fault("invalid_grant", "authorization code was not issued by the provider")));
    }
    if code.redirect_uri != asked.redirect_uri {
        return Ok(Err(fault("invalid_grant", "redirect_uri does not match the redirect_uri used in the request")));
    }
    if let Err(fault) = prove(code.challenge.as_ref(), asked.code_verifier.as_ref()) {
        return Ok(Err(fault));
    }
    let tx = cx.view().tx();
    let standing = match cx.engine().identities.standing(&code.entity).await {
        Ok(standing) => standing,
        Err(Error::Denied(_)) => return Ok(Err(fault("invalid_grant", "identity entity is gone or disabled"))),
        Err(error) => return Err(error),
    };
    if !assignment::any_takes_in(tx, &client.assignments, &standing).await? {
        return Ok(Err(fault("invalid_grant", "identity entity not authorized by client assignment")));
    }
    let now = cx.now().as_second();
    let later = |life: std::time::Duration| now.saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
    let access = Access {
        provider: code.provider.clone(),
        client_id: client.client_id.clone(),
        entity: standing.id.to_string(),
        scopes: code.scopes.clone(),
        until: later(client.access_token_ttl),
    };
    let access = access.seal(cx.scope()).await?;
    let Some(provider) = record::load(tx, name).await? else {
        return Ok(Err(fault("invalid_request", "provider not found")));
    };
    let mut claims = scope::claims(cx.scope(), &code.scopes, &standing).await?;
    own_claims(&mut claims, &code, sent, &access, &key.current.algorithm);
    claims.insert("namespace".to_owned(), json!(cx.mount().namespace.id()));
    claims.insert("iss".to_owned(), json!(provider.issuer(cx.scope(), name)));
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(later(client.id_token_ttl)));
    let id_token = sign(cx, key, &claims).await?;
    // EXPOSE: handed to the client that may have them.
    let (access, id_token) = (access.expose(), id_token.expose());
    Ok(Ok(json!({
        "access_token": access,
        "token_type": "Bearer",
        "id_token": id_token,
        "expires_in": client.access_token_ttl.as_secs(),
    })))
}

fn own_claims(
    claims: &mut Map<String, Value>,
    code: &Code,
    sent: &SecretString,
    access: &SecretString,
    algorithm: &str,
) {
    // EXPOSE: hashed, so that the token is tied to what it came with.
    let (c_hash, at_hash) = (half_hash(algorithm, sent.expose()), half_hash(algorithm, access.expose()));
    let own = [
        ("sub", json!(code.entity)),
        ("aud", json!(code.client_id)),
        ("auth_time", json!(code.auth_time)),
        ("at_hash", json!(at_hash)),
        ("c_hash", json!(c_hash)),
    ];
    claims.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
    if !code.nonce.is_empty() {
        claims.insert("nonce".to_owned(), json!(code.nonce));
    }
}

/// The left half of a hash, by the algorithm that signs.
fn half_hash(algorithm: &str, text: &str) -> String {
    let whole = match algorithm {
        "RS384" | "ES384" => hash::sha384(text.as_bytes()).to_vec(),
        "RS512" | "ES512" | "EdDSA" => hash::sha512(text.as_bytes()).to_vec(),
        _ => hash::sha256(text.as_bytes()).to_vec(),
    };
    URL_SAFE_NO_PAD.encode(whole.get(..whole.len() / 2).unwrap_or_default())
}

/// Whether the client that uses the code is the one that asked for it (RFC 7636).
fn prove(challenge: Option<&Challenge>, verifier: Option<&SecretString>) -> Result<(), Fault> {
    let (challenge, verifier) = match (challenge, verifier.filter(|verifier| !verifier.is_empty())) {
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            return Err(fault("invalid_request", "unexpected code_verifier: there was no code_challenge"));
        }
        (Some(_), None) => return Err(fault("invalid_grant", "expected a code_verifier")),
        (Some(challenge), Some(verifier)) => (challenge, verifier),
    };
    // EXPOSE: compared with what was said of it beforehand.
    let verifier = verifier.expose();
    let proof = match challenge.hashed {
        true => URL_SAFE_NO_PAD.encode(hash::sha256(verifier.as_bytes())),
        false => verifier.clone(),
    };
    let right = SecretString::new(proof).matches(&challenge.text);
    if right { Ok(()) } else { Err(fault("invalid_grant", "invalid code_verifier for the authorization code")) }
}
