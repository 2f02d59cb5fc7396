//! `oidc/.well-known`: what verifiers of identity tokens need, without a token.

use crypto::jws::Algorithm;
use engine::{Answer, Body, Cx, Error};
use serde_json::{Value, json};

use super::{
    config,
    ring::{self, Named},
};
use crate::{Identity, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::Read, "oidc/.well-known/openid-configuration", "Show where the keys are.", configuration)
        .open()
        .on(Verb::Read, "oidc/.well-known/keys", "Show the public keys that verify identity tokens.", keys)
        .open()
}

fn bare(body: &Value) -> Result<Answer, Error> {
    Ok(Answer { body: Body::Bare(body.to_string().into()), ..Answer::default() })
}

async fn configuration(cx: Cx<Identity>, (): ()) -> Result<Answer, Error> {
    let issuer = config::issuer(cx.scope()).await?;
    bare(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/keys"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": Algorithm::ALL.map(Algorithm::as_str),
    }))
}

/// The keys that a role signs with; one that nobody uses says nothing.
async fn keys(cx: Cx<Identity>, (): ()) -> Result<Answer, Error> {
    let named: Vec<(String, Named)> = crate::stored(cx.view().tx(), ring::PREFIX).await?;
    let used = named.iter().filter(|(_, named)| !named.roles.is_empty());
    let shown = used.flat_map(|(_, named)| named.verifying(cx.now()).map(ring::Public::web_key));
    bare(&json!({ "keys": shown.collect::<Vec<_>>() }))
}
