//! `oidc/provider/{name}/userinfo`: what the scopes of an access token say of who signed in.

use api::Name;
use engine::{Answer, Cx, Error};
use serde_json::{Value, json};

use super::{
    access::Access,
    assignment, client, record,
    reply::{bare, fault},
    scope,
};
use crate::{Identity, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::Read, "oidc/provider/{name}/userinfo", "Tell a client who signed in.", userinfo)
        .open()
        .on(Verb::Write, "oidc/provider/{name}/userinfo", "Tell a client who signed in.", userinfo)
        .open()
}

async fn userinfo(cx: Cx<Identity>, name: Name) -> Result<Answer, Error> {
    match told(&cx, &name).await? {
        Some(told) => Ok(bare(&told)),
        None => {
            let fault = fault("invalid_token", "access token is malformed or invalid");
            Ok(fault.unauthorized(
                "Bearer error=\"invalid_token\",error_description=\"access token is malformed or invalid\"",
            ))
        }
    }
}

/// `None` if there is no access token, or it is not good for this.
async fn told(cx: &Cx<Identity>, name: &Name) -> Result<Option<Value>, Error> {
    let tx = cx.view().tx();
    let Some(token) = cx.token() else { return Ok(None) };
    let Some(access) = Access::open(cx.scope(), token).await? else { return Ok(None) };
    if access.provider != name.as_str() || access.until <= cx.now().as_second() {
        return Ok(None);
    }
    let Some((_, client)) = client::by_id(tx, &access.client_id).await? else { return Ok(None) };
    let served = record::load(tx, name).await?.is_some_and(|provider| provider.serves(&client.client_id));
    let standing = match cx.engine().identities.standing(&access.entity).await {
        Ok(standing) => standing,
        Err(Error::Denied(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !served || !assignment::any_takes_in(tx, &client.assignments, &standing).await? {
        return Ok(None);
    }
    let mut claims = scope::claims(cx.scope(), &access.scopes, &standing).await?;
    claims.insert("sub".to_owned(), json!(&*standing.id));
    Ok(Some(Value::Object(claims)))
}
