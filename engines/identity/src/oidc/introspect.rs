//! `oidc/introspect`: whether a token is ours, in time, and its holder still welcome.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::{Answer, Body, Cx, Error};
use secret::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{config, ring};
use crate::{Identity, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes.on(Verb::Write, "oidc/introspect", "Tell whether an identity token is valid.", introspect)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    token: Option<SecretString>,
    client_id: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    kid: String,
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
}

async fn introspect(cx: Cx<Identity>, (): (), asked: Asked) -> Result<Answer, Error> {
    let body = match fault(&cx, &asked).await? {
        None => json!({ "active": true }),
        Some(fault) => json!({ "active": false, "error": fault }),
    };
    Ok(Answer { body: Body::Bare(body.to_string().into()), ..Answer::default() })
}

/// Why a token is not valid.
async fn fault(cx: &Cx<Identity>, asked: &Asked) -> Result<Option<&'static str>, Error> {
    let Some(token) = &asked.token else { return Ok(Some("missing token")) };
    // EXPOSE: its signature is checked; it goes no further.
    let parts: Vec<&str> = token.expose().split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Ok(Some("malformed jwt")) };
    let Some(known) = decoded::<Header>(header) else { return Ok(Some("malformed jwt")) };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return Ok(Some("malformed jwt")) };
    let message = format!("{header}.{claims}");
    let named = ring::by_kid(cx.scope(), &known.kid).await?;
    let right = named.is_some_and(|named| {
        let signer = named.verifying(cx.now()).find(|public| public.kid == known.kid && public.algorithm == known.alg);
        signer.is_some_and(|public| public.verifies(message.as_bytes(), &signature))
    });
    if !right {
        return Ok(Some("unable to validate the token signature"));
    }
    let Some(claims) = decoded::<Claims>(claims) else { return Ok(Some("malformed claims")) };
    if claims.iss != config::issuer(cx.scope()).await? {
        return Ok(Some("the token is from another issuer"));
    }
    if claims.exp <= cx.now().as_second() {
        return Ok(Some("the token is expired"));
    }
    if asked.client_id.as_ref().is_some_and(|client| !client.is_empty() && *client != claims.aud) {
        return Ok(Some("the token is for another client"));
    }
    Ok(match cx.engine().identities.look_up(&claims.sub).await? {
        None => Some("entity was not found"),
        Some(standing) if standing.is_disabled() => Some("entity is disabled"),
        Some(_) => None,
    })
}

fn decoded<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
