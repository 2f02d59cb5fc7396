//! Response wrapping: the reply is kept in the cubbyhole of a new single-use token, and the token is sent instead.

pub(crate) mod jwt;

use std::{sync::Arc, time::Duration};

use api::{Envelope, WrapInfo};
use bytes::Bytes;
use gate::{Error, Facts, Namespace, TokenId};
use secret::{SecretString, Zeroizing};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use storage::{Key, Tx};
use tokens::New;

use crate::{Content, Success, running::Running};

/// What is kept beside a wrapped reply.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) creation_ttl: u64,
    pub(crate) creation_time: String,
    pub(crate) creation_path: String,
}

pub(crate) fn response_key(token: &TokenId) -> Key {
    Key::from(format!("{}response", tokens::private_prefix(token)))
}

pub(crate) fn info_key(token: &TokenId) -> Key {
    Key::from(format!("{}wrapinfo", tokens::private_prefix(token)))
}

/// Wraps a reply, as the caller asked for, if there is something to wrap.
pub(crate) async fn wrap(
    running: &Running,
    facts: &Facts,
    tx: &Tx,
    ttl: Duration,
    success: Box<Success>,
) -> Result<Box<Success>, Error> {
    let nothing = matches!(success.content, Content::Empty) && success.auth.is_none();
    let endless = matches!(success.content, Content::Stream(_));
    let failed = success.status.is_some_and(|status| status >= 400);
    let own = facts.request().path.as_str().starts_with("sys/wrapping/lookup");
    // What a login still needs is no secret, and is needed at once.
    let waits = success.auth.as_ref().is_some_and(|auth| auth.mfa_requirement.is_some());
    if nothing || endless || failed || own || waits {
        return Ok(success);
    }
    let wrapped_accessor =
        success.auth.as_ref().map(|auth| auth.accessor.clone()).or_else(|| secret_id_accessor(&success));
    let body = envelope(&facts.request().id, success)?;
    let (namespace, path) = (facts.request().namespace.clone(), facts.request().path.as_str());
    let mut info = keep(running, tx, namespace, path, ttl, body, wrapped_accessor).await?;
    // What callers send is not signed: they could have anything signed.
    if wants_jwt(facts) && path != "sys/wrapping/wrap" {
        let token = SecretString::new(std::mem::take(&mut info.token));
        let (address, now) = (&running.settings.address, running.clock.now().as_second());
        info.token = jwt::sign(tx, &token, &info.accessor, address, now).await?;
    }
    Ok(Box::new(Success { wrap_info: Some(info), ..Success::default() }))
}

/// Whether the token is asked for as a signed one.
fn wants_jwt(facts: &Facts) -> bool {
    facts.request().headers.iter().any(|(name, value)| name == "x-vault-wrap-format" && value == "jwt")
}

/// Keeps `body` for whoever holds the token that this makes.
pub(crate) async fn keep(
    running: &Running,
    tx: &Tx,
    namespace: Namespace,
    path: &str,
    ttl: Duration,
    body: Bytes,
    wrapped_accessor: Option<String>,
) -> Result<WrapInfo, Error> {
    let tx = tx.whole();
    let new = New {
        namespace,
        policies: vec![policy::RESPONSE_WRAPPING_NAME.to_owned()],
        no_default_policy: true,
        path: path.to_owned(),
        display_name: "wrapping".to_owned(),
        num_uses: 1,
        ttl,
        explicit_max_ttl: ttl,
        renewable: false,
        ..New::default()
    };
    let issued = running.tokens.issue(tx, new).await?;
    let creation_time = running.clock.now().to_string();
    let kept =
        Kept { creation_ttl: ttl.as_secs(), creation_time: creation_time.clone(), creation_path: path.to_owned() };
    tx.put(response_key(&issued.id), body);
    tx.put_json(info_key(&issued.id), &kept)?;
    Ok(WrapInfo {
        // EXPOSE: handed to the one who asked for the wrapping.
        token: issued.token.expose().clone(),
        accessor: issued.record.accessor,
        ttl: ttl.as_secs(),
        creation_time,
        creation_path: path.to_owned(),
        wrapped_accessor,
    })
}

/// The whole reply as it will be unwrapped.
fn envelope(id: &Arc<str>, success: Box<Success>) -> Result<Bytes, Error> {
    let raw = |bytes: &Bytes| {
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| Error::internal("a reply is not text"))?;
        RawValue::from_string(text).map_err(|_| Error::internal("a reply is not JSON"))
    };
    let data = match &success.content {
        Content::Data(json) => Some(raw(json)?),
        Content::Bare(json) => return Ok(json.clone()),
        Content::Raw(_, bytes) => return Ok(bytes.clone()),
        Content::Empty | Content::Stream(_) => None,
    };
    let envelope = Envelope {
        request_id: id.to_string(),
        lease_id: success.lease_id,
        renewable: success.renewable,
        lease_duration: success.lease_duration,
        data,
        wrap_info: None,
        warnings: (!success.warnings.is_empty()).then_some(success.warnings),
        auth: success.auth.map(|auth| *auth),
        mount_type: success.mount_type.to_owned(),
    };
    let json = serde_json::to_vec(&envelope).map_err(|_| Error::internal("a reply cannot be written as JSON"))?;
    Ok(Bytes::from_owner(Zeroizing::new(json)))
}

fn secret_id_accessor(success: &Success) -> Option<String> {
    #[derive(Deserialize)]
    struct Data {
        secret_id_accessor: Option<String>,
    }
    let Content::Data(json) = &success.content else { return None };
    serde_json::from_slice::<Data>(json).ok()?.secret_id_accessor
}
