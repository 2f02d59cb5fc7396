//! Rekey and root token for holders of a token: the forms of `sys/rekey/…` and `sys/generate-root/…` that policies and
//! the audit log see. What begins in the one form can go on in the other; both ask for key shares all the same.

use std::sync::Arc;

use base64::Engine as _;
use engine::{Answer, Body, Data, Done};
use gate::Error;
use secret::{Disclosed, SecretString, Zeroizing};
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, running, seal};
use crate::{Core, sealing::Answered};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    let routes = root(routes);
    let routes = recovery(routes);
    routes
        .on(Verb::Read, "generate-root-token/attempt", "Show how far the making of a root token is.", attempt_status)
        .sudo()
        .on(Verb::Write, "generate-root-token/attempt", "Begin to make a root token.", begin_attempt)
        .sudo()
        .on(Verb::Delete, "generate-root-token/attempt", "Give up making a root token.", end_attempt)
        .sudo()
        .on(Verb::Write, "generate-root-token/update", "Give a key share for a root token.", update_attempt)
        .sudo()
        .on(Verb::Write, "decode-token", "Show a root token out of its encoded form and its one-time password.", decode)
        .open()
}

fn root(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Write, "rotate/root", "Make a new root key; only with key shares, see rotate/root/init.", rotate_root)
        .sudo()
        .on(Verb::Read, "rotate/root/init", "Show how far the rekey is.", status)
        .sudo()
        .on(Verb::Write, "rotate/root/init", "Begin a rekey: a new root key with new key shares.", begin)
        .sudo()
        .on(Verb::Delete, "rotate/root/init", "Give the rekey up.", end)
        .sudo()
        .on(Verb::Write, "rotate/root/update", "Give a key share for the rekey.", update)
        .sudo()
        .on(Verb::Read, "rotate/root/verify", "Show how far the verification of the new key shares is.", verification)
        .sudo()
        .on(Verb::Write, "rotate/root/verify", "Show a new key share.", verify)
        .sudo()
        .on(Verb::Delete, "rotate/root/verify", "Begin the verification of the new key shares again.", verify_again)
        .sudo()
        .on(Verb::Read, "rotate/root/backup", "Show the encrypted key shares of the last rekey.", seal::read_backup)
        .sudo()
        .on(Verb::Delete, "rotate/root/backup", "Delete the encrypted key shares.", seal::delete_backup)
        .sudo()
}

/// The shares beside a seal that opens by itself.
fn recovery(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "rotate/recovery/init", "Show how far the replacement of the recovery shares is.", recovering)
        .sudo()
        .on(Verb::Write, "rotate/recovery/init", "Begin to replace the recovery shares.", recover)
        .sudo()
        .on(Verb::Delete, "rotate/recovery/init", "Give the replacement of the recovery shares up.", recover_not)
        .sudo()
        .on(Verb::Write, "rotate/recovery/update", "Give a recovery share for their replacement.", recover_update)
        .sudo()
        .on(Verb::Read, "rotate/recovery/verify", "Show how far the verification is.", recovered)
        .sudo()
        .on(Verb::Write, "rotate/recovery/verify", "Show a new recovery share.", recover_verify)
        .sudo()
        .on(Verb::Delete, "rotate/recovery/verify", "Begin the verification again.", recover_again)
        .sudo()
        .on(
            Verb::Read,
            "rotate/recovery/backup",
            "Show the encrypted recovery shares of the last time.",
            recovery_backup,
        )
        .sudo()
        .on(Verb::Delete, "rotate/recovery/backup", "Delete the encrypted recovery shares.", forget_backup)
        .sudo()
        .on(
            Verb::Read,
            "rekey/recovery-key-backup",
            "Show the encrypted recovery shares of the last time.",
            recovery_backup,
        )
        .sudo()
        .on(Verb::Delete, "rekey/recovery-key-backup", "Delete the encrypted recovery shares.", forget_backup)
        .sudo()
}

async fn recovery_backup(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    core(&cx)?.must_have_recovery(true).await?;
    seal::read_backup(cx, ()).await
}

async fn forget_backup(cx: Cx<System>, (): ()) -> Result<Done, Error> {
    core(&cx)?.must_have_recovery(true).await?;
    seal::delete_backup(cx, ()).await
}

async fn recovering(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_recovery(Verb::Read, &[]).await)
}

async fn recover(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_recovery(Verb::Write, cx.body()).await)
}

async fn recover_not(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_recovery(Verb::Delete, cx.body()).await)
}

async fn recover_update(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_recovery_update(cx.body()).await)
}

async fn recovered(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_recovery_verify(Verb::Read, &[]).await)
}

async fn recover_verify(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_recovery_verify(Verb::Write, cx.body()).await)
}

async fn recover_again(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_recovery_verify(Verb::Delete, &[]).await)
}

async fn rotate_root(_: Cx<System>, (): ()) -> Result<Done, Error> {
    Err(Error::invalid(
        "the root key is held by key shares alone: begin with sys/rotate/root/init and give them to sys/rotate/root/update",
    ))
}

fn core(cx: &Cx<System>) -> Result<Arc<Core>, Error> {
    running(cx)?.core.upgrade().ok_or(Error::Sealed)
}

/// A reply of the key holders' routes, in an envelope. The bytes wipe themselves: it may hold new shares.
fn enveloped(answered: Answered) -> Result<Answer, Error> {
    let (status, json) = answered?;
    if json.is_null() {
        return Ok(Answer { status: Some(status), ..Answer::default() });
    }
    let json = serde_json::to_vec(&json).map_err(|_| Error::internal("a reply cannot be written as JSON"))?;
    Ok(Answer { body: Body::Json(bytes::Bytes::from_owner(Zeroizing::new(json))), ..Answer::default() })
}

async fn status(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey(Verb::Read, &[]).await)
}

async fn begin(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey(Verb::Write, cx.body()).await)
}

async fn end(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey(Verb::Delete, cx.body()).await)
}

async fn update(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_update(cx.body()).await)
}

async fn verification(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_verify(Verb::Read, &[]).await)
}

async fn verify(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_verify(Verb::Write, cx.body()).await)
}

async fn verify_again(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.rekey_verify(Verb::Delete, cx.body()).await)
}

async fn attempt_status(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.generate_root(Verb::Read, &[]).await)
}

async fn begin_attempt(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.generate_root(Verb::Write, cx.body()).await)
}

async fn end_attempt(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.generate_root(Verb::Delete, cx.body()).await)
}

async fn update_attempt(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    enveloped(core(&cx)?.generate_root_update(cx.body()).await)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Encoded {
    encoded_token: Option<SecretString>,
    otp: Option<SecretString>,
}

#[derive(Serialize)]
struct Decoded {
    token: Disclosed<String>,
}

/// Nothing is looked up: whoever has both parts has the token.
async fn decode(_: Cx<System>, (): (), input: Encoded) -> Result<Data<Decoded>, Error> {
    let missing = |field| Error::invalid(format!("missing {field}: give it in the field \"{field}\""));
    let given = |part: Option<SecretString>| part.filter(|part| !part.is_empty());
    let encoded = given(input.encoded_token).ok_or_else(|| missing("encoded_token"))?;
    let otp = given(input.otp).ok_or_else(|| missing("otp"))?;
    // EXPOSE: the two halves are joined and handed back to the one who sent them.
    let (encoded, otp) = (encoded.expose().trim_end_matches('='), otp.expose());
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded);
    let bytes = Zeroizing::new(bytes.map_err(|_| Error::invalid("encoded_token: it must be base64"))?);
    if bytes.len() != otp.len() {
        return Err(Error::invalid("otp: it must be as long as the token"));
    }
    let joined: Vec<u8> = bytes.iter().zip(otp.bytes()).map(|(one, other)| one ^ other).collect();
    let token = String::from_utf8(joined).map_err(|_| Error::invalid("otp: it does not belong to this token"))?;
    Ok(Data(Decoded { token: SecretString::new(token).disclose() }))
}
