//! `sys/capabilities`, for oneself, for a token, for an accessor.

use std::sync::Arc;

use api::CommaList;
use engine::Answer;
use gate::{Error, Refusal};
use secret::SecretString;
use serde::Deserialize;
use serde_json::{Map, json};

use super::{Cx, Rights, Routes, System, Verb, mounts::flat, running, space};

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
    let caller = Arc::clone(cx.holder()?);
    answer(&ask, &Rights::of_caller(space(&cx)?, &caller).await?)
}

async fn of_token(cx: Cx<System>, (): (), ask: Ask) -> Result<Answer, Error> {
    let Some(token) = &ask.token else { return of_self(cx, (), ask).await };
    let invalid = || Error::invalid("invalid token");
    let (_, record) = running(&cx)?.tokens.lookup(token).await?.ok_or_else(invalid)?;
    answer(&ask, &Rights::of_token(space(&cx)?, &record).await?.ok_or_else(invalid)?)
}

async fn of_accessor(cx: Cx<System>, (): (), ask: Ask) -> Result<Answer, Error> {
    let running = running(&cx)?;
    let invalid = || Error::Denied(Refusal::Other("invalid accessor".to_owned()));
    if gate::namespace::suffix_of(&ask.accessor) != cx.mount().namespace.suffix() {
        return Err(invalid());
    }
    let id = running.tokens.by_accessor(&ask.accessor).await?.ok_or_else(invalid)?;
    let record = running.tokens.find(&id).await?.ok_or_else(invalid)?;
    answer(&ask, &Rights::of_token(space(&cx)?, &record).await?.ok_or_else(invalid)?)
}

fn answer(ask: &Ask, rights: &Rights) -> Result<Answer, Error> {
    let paths: Vec<&String> = ask.paths.iter().chain(ask.path.iter()).collect();
    if paths.is_empty() {
        return Err(Error::invalid("path must be supplied: give it in the field \"path\" or \"paths\""));
    }
    let mut data = Map::new();
    for path in &paths {
        data.insert((*path).clone(), json!(rights.capabilities(path.trim_start_matches('/'))));
    }
    if let [path] = paths.as_slice() {
        data.insert("capabilities".to_owned(), json!(rights.capabilities(path.trim_start_matches('/'))));
    }
    flat(data)
}
