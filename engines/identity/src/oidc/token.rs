//! `oidc/token`: a signed token about the entity of who asks.

use api::Name;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::{Cx, Data, Error};
use identity::{Standing, claims};
use secret::{Disclosed, SecretString};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    config,
    ring::{self, Named},
    role::{self, Role},
};
use crate::{Identity, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes.on(Verb::Read, "oidc/token/{name}", "Make a signed token about the caller's entity.", make)
}

#[derive(Serialize)]
struct Made {
    token: Disclosed<String>,
    client_id: String,
    ttl: u64,
}

async fn make(cx: Cx<Identity>, name: Name) -> Result<Data<Made>, Error> {
    let tx = cx.view().tx();
    let entity = &cx.holder()?.entity_id;
    if entity.is_empty() {
        return Err(Error::invalid("no entity associated with the request's token"));
    }
    let role = role::load(tx, &name).await?;
    let role = role.ok_or_else(|| Error::invalid(format!("role {:?} not found", name.as_str())))?;
    let Some(key) = ring::load(tx, &role.key).await? else {
        return Err(Error::invalid(format!("key {:?} not found", role.key)));
    };
    if !key.signs_for(&role.client_id) {
        return Err(Error::invalid(format!(
            "the key {:?} does not list the client ID of the role {:?} as an allowed client ID",
            role.key,
            name.as_str()
        )));
    }
    let standing = cx.engine().identities.standing(entity).await?;
    let claims = claims_of(&cx, &role, &standing).await?;
    let token = sign(&cx, &key, &claims).await?;
    Ok(Data(Made { token: token.disclose(), client_id: role.client_id, ttl: role.ttl.as_secs() }))
}

async fn claims_of(cx: &Cx<Identity>, role: &Role, standing: &Standing) -> Result<Map<String, Value>, Error> {
    let now = cx.now().as_second();
    let mut claims = match role.template.as_str() {
        "" => Map::new(),
        template => claims::render(template, &standing.subject, now)
            .map_err(|why| Error::internal(format!("the template of a role cannot be used: {why}")))?,
    };
    let life = i64::try_from(role.ttl.as_secs()).unwrap_or(i64::MAX);
    let own = [
        ("iss", json!(config::issuer(cx.scope()).await?)),
        ("sub", json!(&*standing.id)),
        ("aud", json!(role.client_id)),
        ("iat", json!(now)),
        ("exp", json!(now.saturating_add(life))),
        ("namespace", json!(cx.mount().namespace.id())),
    ];
    claims.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(claims)
}

/// The claims as a signed token.
pub(crate) async fn sign(cx: &Cx<Identity>, key: &Named, claims: &Map<String, Value>) -> Result<SecretString, Error> {
    let header = json!({ "alg": key.current.algorithm, "kid": key.current.kid });
    let encode = |json: String| URL_SAFE_NO_PAD.encode(json);
    let claims = serde_json::to_string(claims).map_err(|_| Error::internal("claims cannot be written as JSON"))?;
    let text = format!("{}.{}", encode(header.to_string()), encode(claims));
    let private = cx.engine().keys.private(cx.view().tx(), &key.current).await?;
    let signature = private.sign(text.as_bytes()).map_err(|_| Error::internal("a token cannot be signed"))?;
    Ok(SecretString::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))))
}
