//! `sys/capabilities`, for oneself, for a token, for an accessor.

use api::CommaList;
use engine::Answer;
use gate::{Error, Refusal};
use secret::SecretString;
use serde::Deserialize;
use serde_json::{Map, json};

use super::{Cx, Routes, System, Verb, mounts::flat, running};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Write, "capabilities", "Show what a token may do at paths.", of_token)
        .on(Verb::Write, "capabilities-self", "Show what the caller may do at paths.", of_self)
        .on(Verb::Write, "capabilities-accessor", "Show what the token of an accessor may do at paths.", of_accessor)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    path: CommaList,
    paths: CommaList,
    token: Option<SecretString>,
    accessor: String,
}

async fn of_self(cx: Cx<System>, (): (), ask: Ask) -> Result<Answer, Error> {
    let caller = std::sync::Arc::clone(cx.holder()?);
    answer(&cx, &ask, &caller.policies(), &caller.entity_id).await
}

async fn of_token(cx: Cx<System>, (): (), ask: Ask) -> Result<Answer, Error> {
    let Some(token) = &ask.token else { return of_self(cx, (), ask).await };
    let found = running(&cx)?.tokens.lookup(token).await?;
    let (_, record) = found.ok_or_else(|| Error::invalid("invalid token"))?;
    answer(&cx, &ask, &all(&record), &record.entity_id).await
}

async fn of_accessor(cx: Cx<System>, (): (), ask: Ask) -> Result<Answer, Error> {
    let tokens = std::sync::Arc::clone(&running(&cx)?.tokens);
    let invalid = || Error::Denied(Refusal::Other("invalid accessor".to_owned()));
    let id = tokens.by_accessor(&ask.accessor).await?.ok_or_else(invalid)?;
    let record = tokens.find(&id).await?.ok_or_else(invalid)?;
    answer(&cx, &ask, &all(&record), &record.entity_id).await
}

/// The names of all policies of a token.
pub(super) fn all(record: &tokens::Record) -> Vec<String> {
    record.policies.iter().chain(&*record.identity_policies).cloned().collect()
}

async fn answer(cx: &Cx<System>, ask: &Ask, policies: &[String], entity: &str) -> Result<Answer, Error> {
    let paths: Vec<&String> = ask.paths.iter().chain(ask.path.iter()).collect();
    if paths.is_empty() {
        return Err(Error::invalid("path must be supplied: give it in the field \"path\" or \"paths\""));
    }
    let acl = running(cx)?.policies.of(policies, entity).await?;
    let mut data = Map::new();
    for path in &paths {
        data.insert((*path).clone(), json!(acl.capabilities(path.trim_start_matches('/'))));
    }
    if let [path] = paths.as_slice() {
        data.insert("capabilities".to_owned(), json!(acl.capabilities(path.trim_start_matches('/'))));
    }
    flat(data)
}
