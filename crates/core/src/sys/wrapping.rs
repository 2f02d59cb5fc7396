//! `sys/wrapping`.

use std::{sync::Arc, time::Duration};

use engine::{Answer, Body, Data};
use gate::Error;
use secret::SecretString;
use serde::{Deserialize, Serialize};
use storage::Tx;
use tokens::Record;

use super::{Cx, Routes, System, Verb, running, space};
use crate::wrapping::{Kept, info_key, jwt, response_key};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(
            Verb::Read,
            "wrapping/pubkey",
            "Show the public key that signs wrapping tokens in the form of JWTs.",
            pubkey,
        )
        .open()
        .on(Verb::Write, "wrapping/wrap", "Wrap what is sent.", wrap)
        .on(Verb::Write, "wrapping/lookup", "Show what a wrapping token stands for.", lookup)
        .open()
        .on(Verb::Read, "wrapping/lookup", "Show what a wrapping token stands for.", lookup)
        .open()
        .on(Verb::Write, "wrapping/unwrap", "Fetch a wrapped reply, once.", unwrap)
        .open()
        .on(Verb::Write, "wrapping/rewrap", "Put a wrapped reply into a new token.", rewrap)
}

#[derive(Serialize)]
struct Public {
    jwt_x: String,
    jwt_y: String,
    jwt_curve: &'static str,
}

async fn pubkey(cx: Cx<System>, (): ()) -> Result<Data<Public>, Error> {
    let (jwt_x, jwt_y) = jwt::public(cx.view().tx()).await?;
    Ok(Data(Public { jwt_x, jwt_y, jwt_curve: "p521" }))
}

async fn wrap(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    if cx.wrap_ttl().is_none() {
        return Err(Error::invalid("endpoint requires response wrapping to be used: send the header X-Vault-Wrap-TTL"));
    }
    let body = if cx.body().is_empty() { bytes::Bytes::from_static(b"{}") } else { cx.body().clone() };
    Ok(Answer { body: Body::Json(body), ..Answer::default() })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ByToken {
    token: Option<SecretString>,
}

fn invalid() -> Error {
    Error::invalid("wrapping token is not valid or does not exist")
}

/// The wrapping token: the one in the body, else the caller's own.
async fn find(cx: &Cx<System>, by: ByToken) -> Result<(gate::TokenId, Arc<Record>), Error> {
    let running = running(cx)?;
    let given = match (by.token.filter(|token| !token.is_empty()), cx.token()) {
        (Some(token), _) => token,
        // EXPOSE: looked at as a wrapping token, like one of the body.
        (None, Some(token)) => SecretString::new(token.expose().clone()),
        (None, None) => {
            return Err(Error::invalid("missing token: give it in the field \"token\" or as X-Vault-Token"));
        }
    };
    let token = jwt::opened(cx.view().tx(), given).await?.ok_or_else(invalid)?;
    let found = running.tokens.lookup(&token).await?;
    let space = space(cx)?;
    found
        .filter(|(_, record)| space.from(record.namespace.suffix()).is_some())
        .filter(|(_, record)| record.policies.iter().any(|name| name == policy::RESPONSE_WRAPPING_NAME))
        .ok_or_else(invalid)
}

#[derive(Serialize)]
struct Shown {
    creation_ttl: u64,
    creation_time: String,
    creation_path: String,
}

async fn lookup(cx: Cx<System>, (): (), by: ByToken) -> Result<Data<Shown>, Error> {
    let (id, _) = find(&cx, by).await?;
    let kept: Kept = cx.view().tx().whole().get_json(&info_key(&id)).await?.ok_or_else(invalid)?;
    let Kept { creation_ttl, creation_time, creation_path } = kept;
    Ok(Data(Shown { creation_ttl, creation_time, creation_path }))
}

/// The reply that was wrapped, as it was. Fetching it and ending its token are one commit, so of two who try at the
/// same time one succeeds.
async fn unwrap(cx: Cx<System>, (): (), by: ByToken) -> Result<Answer, Error> {
    let (id, _) = find(&cx, by).await?;
    let tx = cx.view().tx().whole();
    let body = tx.get(&response_key(&id)).await?.ok_or_else(invalid)?;
    end(&cx, tx, &id).await?;
    Ok(Answer { body: Body::Bare(body), ..Answer::default() })
}

async fn end(cx: &Cx<System>, tx: &Tx, id: &gate::TokenId) -> Result<(), Error> {
    tx.delete(response_key(id));
    running(cx)?.tokens.revoke(tx, id).await?;
    running(cx)?.leases.wake();
    Ok(())
}

async fn rewrap(cx: Cx<System>, (): (), by: ByToken) -> Result<Answer, Error> {
    let (id, _) = find(&cx, by).await?;
    let tx = cx.view().tx().whole();
    let body = tx.get(&response_key(&id)).await?.ok_or_else(invalid)?;
    let kept: Kept = tx.get_json(&info_key(&id)).await?.ok_or_else(invalid)?;
    end(&cx, tx, &id).await?;
    let running = running(&cx)?;
    let ttl = Duration::from_secs(kept.creation_ttl);
    let namespace = cx.mount().namespace.clone();
    let info = crate::wrapping::keep(&running, tx, namespace, &kept.creation_path, ttl, body, None).await?;
    Ok(Answer { wrap_info: Some(Box::new(info)), ..Answer::default() })
}
