//! `mfa/method/totp`: codes of an authenticator.

use api::{Count, Ttl};
use engine::{Answer, Cx, Data, Done, Error, IntoAnswer, Refusal};
use identity::{
    Entity,
    mfa::{Enrolled, Method, MethodInput},
};
use secret::{Disclosed, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::method;
use crate::{Identity, Routes, Verb, directory, given};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "mfa/method/totp", "List the TOTP methods.", method::list)
        .on(Verb::Write, "mfa/method/totp", "Create a TOTP method.", create)
        .on(
            Verb::Write,
            "mfa/method/totp/generate",
            "Make the caller's own secret for a method, for an authenticator.",
            generate,
        )
        .on(
            Verb::Write,
            "mfa/method/totp/admin-generate",
            "Make the secret of an entity for a method, for an authenticator.",
            generate_for,
        )
        .on(Verb::Write, "mfa/method/totp/admin-destroy", "Remove the secret of an entity for a method.", destroy)
        .on(Verb::Read, "mfa/method/totp/{id}", "Show a TOTP method.", method::read)
        .on(
            Verb::Write,
            "mfa/method/totp/{id}",
            "Change a TOTP method; secrets that are made stay as they are.",
            change,
        )
        .on(Verb::Delete, "mfa/method/totp/{id}", "Remove a TOTP method that no login enforcement needs.", delete)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MethodBody {
    method_name: Option<String>,
    issuer: Option<String>,
    period: Option<Ttl>,
    key_size: Option<Count>,
    qr_size: Option<Count>,
    algorithm: Option<String>,
    digits: Option<Count>,
    skew: Option<Count>,
    max_validation_attempts: Option<Count>,
}

impl MethodBody {
    fn input(self) -> MethodInput {
        MethodInput {
            name: given(self.method_name),
            issuer: self.issuer,
            algorithm: self.algorithm,
            digits: self.digits.map(|count| count.0),
            period: self.period.map(|period| period.0),
            skew: self.skew.map(|count| count.0),
            key_size: self.key_size.map(|count| count.0),
            qr_size: self.qr_size.map(|count| count.0),
            max_validation_attempts: self.max_validation_attempts.map(|count| count.0),
        }
    }
}

async fn create(cx: Cx<Identity>, (): (), body: MethodBody) -> Result<Answer, Error> {
    let method = directory(&cx).write_mfa_method(None, body.input()).await?;
    Data(json!({ "method_id": method.id })).into_answer()
}

async fn change(cx: Cx<Identity>, id: String, body: MethodBody) -> Result<Done, Error> {
    directory(&cx).write_mfa_method(Some(&id), body.input()).await?;
    Ok(Done)
}

async fn delete(cx: Cx<Identity>, id: String) -> Result<Done, Error> {
    directory(&cx).delete_mfa_method(&id).await?;
    Ok(Done)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Whose {
    method_id: String,
    entity_id: String,
}

#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    barcode: Option<Disclosed<String>>,
    url: Disclosed<String>,
}

async fn method_of(cx: &Cx<Identity>, id: &str) -> Result<Method, Error> {
    if id.is_empty() {
        return Err(Error::invalid("missing method ID: give method_id"));
    }
    let found = directory(cx).mfa_method_called(id).await?;
    found.ok_or_else(|| Error::invalid("method_id: there is no MFA method with this id or name"))
}

async fn entity_of(cx: &Cx<Identity>, id: &str) -> Result<Entity, Error> {
    if id.is_empty() {
        return Err(Error::invalid("missing entity ID: give entity_id"));
    }
    let found = directory(cx).resolved(id).await?;
    found.ok_or_else(|| Error::invalid("entity_id: there is no entity with this id"))
}

async fn generate(cx: Cx<Identity>, (): (), whose: Whose) -> Result<Answer, Error> {
    let own = cx.holder()?.entity_id.to_string();
    if own.is_empty() {
        return Err(Error::invalid("the token has no entity: log in, or ask an operator for admin-generate"));
    }
    let entity = directory(&cx).resolved(&own).await?.ok_or(Error::Denied(Refusal::Entity))?;
    make(&cx, &entity, &whose.method_id).await
}

async fn generate_for(cx: Cx<Identity>, (): (), whose: Whose) -> Result<Answer, Error> {
    let entity = entity_of(&cx, &whose.entity_id).await?;
    make(&cx, &entity, &whose.method_id).await
}

/// The secret is shown once. Whoever has one already keeps it, or an operator destroys it.
async fn make(cx: &Cx<Identity>, entity: &Entity, method: &str) -> Result<Answer, Error> {
    let method = method_of(cx, method).await?;
    let Some(Enrolled { url, barcode }) = directory(cx).enrol_mfa(entity, &method).await? else {
        cx.warn("Entity already has a secret for this MFA method; it is not shown again and must be destroyed first");
        return Ok(Answer::default());
    };
    let shown = Shown { barcode: barcode.map(SecretString::disclose), url: url.disclose() };
    Data(shown).into_answer()
}

async fn destroy(cx: Cx<Identity>, (): (), whose: Whose) -> Result<Done, Error> {
    let (method, entity) = (method_of(&cx, &whose.method_id).await?, entity_of(&cx, &whose.entity_id).await?);
    directory(&cx).destroy_mfa(&entity.id, &method.id);
    Ok(Done)
}
