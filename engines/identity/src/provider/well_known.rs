//! `oidc/provider/{name}/.well-known`: what clients need to know, without a token.

use std::collections::BTreeSet;

use api::Name;
use crypto::jws::Algorithm;
use engine::{Answer, Cx, Error};
use serde_json::json;

use super::{client, record, reply::bare, scope::OPENID};
use crate::{Identity, Routes, Verb, oidc::ring};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    let configured = "oidc/provider/{name}/.well-known/openid-configuration";
    routes
        .on(Verb::Read, configured, "Show where to sign in, and what can be asked for.", configuration)
        .open()
        .on(Verb::Read, "oidc/provider/{name}/.well-known/keys", "Show the public keys of a provider.", keys)
        .open()
}

async fn configuration(cx: Cx<Identity>, name: Name) -> Result<Answer, Error> {
    let provider = record::load(cx.view().tx(), &name).await?.ok_or(Error::NotFound)?;
    let issuer = provider.issuer(cx.scope(), &name);
    let scopes: Vec<&str> = provider.scopes_supported.iter().map(String::as_str).chain([OPENID]).collect();
    Ok(bare(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/keys"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "id_token_signing_alg_values_supported": Algorithm::ALL.map(Algorithm::as_str),
        "response_types_supported": ["code"],
        "scopes_supported": scopes,
        "claims_supported": [],
        "subject_types_supported": ["public"],
        "grant_types_supported": ["authorization_code"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["plain", "S256"],
    })))
}

/// The keys of the clients that the provider serves.
async fn keys(cx: Cx<Identity>, name: Name) -> Result<Answer, Error> {
    let tx = cx.view().tx();
    let provider = record::load(tx, &name).await?.ok_or(Error::NotFound)?;
    let clients = client::all(tx).await?.into_iter().map(|(_, client)| client);
    let names: BTreeSet<String> =
        clients.filter(|client| provider.serves(&client.client_id)).map(|client| client.key).collect();
    let mut shown = Vec::new();
    for name in names {
        if let Some(named) = ring::load(tx, &name).await? {
            shown.extend(named.verifying(cx.now()).map(ring::Public::web_key));
        }
    }
    Ok(bare(&json!({ "keys": shown })))
}
