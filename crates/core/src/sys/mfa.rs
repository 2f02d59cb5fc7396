//! `sys/mfa`: the second half of a login.

use std::collections::BTreeMap;

use engine::Answer;
use gate::Error;
use secret::SecretString;
use serde::Deserialize;

use super::{Cx, Routes, System, Verb, running, space};
use crate::login::{Codes, MOST_CODES};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes.on(Verb::Write, "mfa/validate", "Finish a login that waits for its second factor.", validate).open()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    mfa_request_id: Option<SecretString>,
    /// By the id or name of the method.
    mfa_payload: BTreeMap<String, Vec<SecretString>>,
}

async fn validate(cx: Cx<System>, (): (), shown: Shown) -> Result<Answer, Error> {
    let id = shown.mfa_request_id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Error::invalid("missing request ID: give mfa_request_id"))?;
    if shown.mfa_payload.is_empty() {
        return Err(Error::invalid("missing mfa_payload: give a code for a method, as {METHOD_ID: [CODE]}"));
    }
    if shown.mfa_payload.len() > MOST_CODES {
        return Err(Error::invalid(format!("mfa_payload: at most {MOST_CODES} methods are taken")));
    }
    let mut codes = Codes::new();
    for (method, mut given) in shown.mfa_payload {
        match (given.pop(), given.is_empty()) {
            (Some(code), true) => codes.push((method, code)),
            _ => return Err(Error::invalid("mfa_payload: give exactly one code for each method")),
        }
    }
    let (running, space) = (running(&cx)?, space(&cx)?);
    let (auth, warnings, wrap_ttl) = running.finish_login(&space, cx.view().tx(), &id, &codes).await?;
    Ok(Answer { auth: Some(auth), warnings, wrap_ttl, ..Answer::default() })
}
