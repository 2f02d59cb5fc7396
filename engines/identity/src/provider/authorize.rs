//! `oidc/provider/{name}/authorize`: a code for somebody who is signed in with us.

use api::{Count, Name};
use engine::{Answer, Cx, Error};
use serde::Deserialize;
use serde_json::json;

use super::{
    assignment, client,
    code::{Challenge, Code},
    record,
    reply::{Fault, bare, fault},
    scope::OPENID,
};
use crate::{Identity, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes.on(Verb::Read, "oidc/provider/{name}/authorize", "Sign the caller in at a client.", authorize).on(
        Verb::Write,
        "oidc/provider/{name}/authorize",
        "Sign the caller in at a client.",
        authorize,
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    scope: String,
    response_type: String,
    client_id: String,
    redirect_uri: String,
    state: Option<String>,
    nonce: Option<String>,
    max_age: Option<Count>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    request: Option<String>,
    request_uri: Option<String>,
}

async fn authorize(cx: Cx<Identity>, name: Name, asked: Asked) -> Result<Answer, Error> {
    let state = asked.state.clone();
    match code(&cx, &name, asked).await? {
        Err(fault) => Ok(fault.answer(state.as_deref())),
        Ok(code) => {
            let code = code.keep(cx.scope()).await?;
            // EXPOSE: handed to the caller, who takes it to the client.
            let mut body = json!({ "code": code.expose() });
            if let (Some(object), Some(state)) = (body.as_object_mut(), state.filter(|state| !state.is_empty())) {
                object.insert("state".to_owned(), json!(state));
            }
            Ok(bare(&body))
        }
    }
}

/// The outer error is a fault that is not the request's.
async fn code(cx: &Cx<Identity>, name: &Name, asked: Asked) -> Result<Result<Code, Fault>, Error> {
    let tx = cx.view().tx();
    let Some(provider) = record::load(tx, name).await? else {
        return Ok(Err(fault("invalid_request", "provider not found")));
    };
    if asked.client_id.is_empty() {
        return Ok(Err(fault("invalid_client_id", "client_id parameter is required")));
    }
    // First of all where people may be sent back to: all else is told there.
    let Some((_, client)) = client::by_id(tx, &asked.client_id).await? else {
        return Ok(Err(fault("invalid_client_id", "client with client_id not found")));
    };
    if asked.redirect_uri.is_empty() || !client.leads_back_to(&asked.redirect_uri) {
        return Ok(Err(fault("invalid_redirect_uri", "redirect_uri is not allowed for the client")));
    }
    if !provider.serves(&client.client_id) {
        return Ok(Err(fault("unauthorized_client", "client is not authorized to use the provider")));
    }
    if asked.request.is_some() {
        return Ok(Err(fault("request_not_supported", "request parameter is not supported")));
    }
    if asked.request_uri.is_some() {
        return Ok(Err(fault("request_uri_not_supported", "request_uri parameter is not supported")));
    }
    let mut scopes: Vec<String> = asked.scope.split_whitespace().map(str::to_owned).collect();
    if !scopes.iter().any(|scope| scope == OPENID) {
        return Ok(Err(fault("invalid_scope", "openid scope value is required")));
    }
    scopes.retain(|scope| provider.scopes_supported.contains(scope));
    match asked.response_type.as_str() {
        "code" => {}
        "" => return Ok(Err(fault("invalid_request", "response_type parameter is required"))),
        _ => return Ok(Err(fault("unsupported_response_type", "unsupported response_type value"))),
    }
    let challenge = match challenge(asked.code_challenge, asked.code_challenge_method.as_deref()) {
        Ok(None) if !client.confidential => {
            return Ok(Err(fault("invalid_request", "PKCE is required for public clients")));
        }
        Ok(challenge) => challenge,
        Err(fault) => return Ok(Err(fault)),
    };
    let caller = cx.holder()?;
    if caller.entity_id.is_empty() {
        return Ok(Err(fault("access_denied", "identity entity must be associated with the request")));
    }
    let standing = cx.engine().identities.standing(&caller.entity_id).await?;
    if !assignment::any_takes_in(tx, &client.assignments, &standing).await? {
        return Ok(Err(fault("access_denied", "identity entity not authorized by client assignment")));
    }
    let auth_time = caller.issued.as_second();
    let most = asked.max_age.map(|most| i64::try_from(most.0).unwrap_or(i64::MAX));
    if most.is_some_and(|most| cx.now().as_second().saturating_sub(auth_time) > most) {
        return Ok(Err(fault("max_age_violation", "active re-authentication is required by max_age")));
    }
    let nonce = asked.nonce.unwrap_or_default();
    let code = Code::new(name.as_str(), &client.client_id, &asked.redirect_uri, &standing.id);
    Ok(Ok(Code { scopes, nonce, auth_time, challenge, ..code }))
}

fn challenge(text: Option<String>, method: Option<&str>) -> Result<Option<Challenge>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if !(43..=128).contains(&text.len()) {
        return Err(fault("invalid_request", "code_challenge must have 43 to 128 characters"));
    }
    match method {
        None | Some("" | "plain") => Ok(Some(Challenge { hashed: false, text })),
        Some("S256") => Ok(Some(Challenge { hashed: true, text })),
        Some(_) => Err(fault("invalid_request", "invalid code_challenge_method: use plain or S256")),
    }
}
