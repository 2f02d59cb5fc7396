//! `sys/internal/counters`: how many tokens and entities there are. Clients are not counted: nothing is sold by their
//! number.

use engine::{Data, Done};
use gate::Error;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Cx, Routes, System, Verb, running};
use crate::census::count;

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "internal/counters/tokens", "Count the service tokens.", tokens)
        .on(Verb::Read, "internal/counters/entities", "Count the entities.", entities)
        .on(Verb::Read, "internal/counters/requests", "Refused: see sys/metrics for requests.", requests)
        .on(Verb::Read, "internal/counters/config", "Show that clients are not counted.", config)
        .on(Verb::Write, "internal/counters/config", "Refused where it would have clients counted.", configure)
        .on(Verb::Read, "internal/counters/activity", "Nothing: clients are not counted.", activity)
        .on(Verb::Read, "internal/counters/activity/monthly", "Nothing: clients are not counted.", activity)
}

async fn tokens(cx: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    let total = count(&*running(&cx)?.barrier, tokens::ACCESSORS).await?;
    Ok(Data(json!({ "counters": { "service_tokens": { "total": total } } })))
}

async fn entities(cx: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    let total = count(&*running(&cx)?.barrier, identity::entity_key("").as_str()).await?;
    Ok(Data(json!({ "counters": { "entities": { "total": total } } })))
}

async fn requests(_: Cx<System>, (): ()) -> Result<Done, Error> {
    Err(Error::NoRoute("functionality has been removed from this path: sys/metrics counts requests".to_owned()))
}

async fn config(_: Cx<System>, (): ()) -> Result<Data<Value>, Error> {
    Ok(Data(json!({
        "enabled": "default-disabled",
        "queries_available": false,
        "default_report_months": 12,
        "retention_months": 0,
        "minimum_retention_months": 0,
        "reporting_enabled": false,
        "billing_start_timestamp": "0001-01-01T00:00:00Z",
    })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigInput {
    enabled: Option<String>,
    #[serde(rename = "default_report_months")]
    _default_report_months: Option<api::Count>,
    #[serde(rename = "retention_months")]
    _retention_months: Option<api::Count>,
}

async fn configure(_: Cx<System>, (): (), input: ConfigInput) -> Result<Done, Error> {
    match input.enabled.as_deref().unwrap_or("default") {
        "default" | "disable" => Ok(Done),
        _ => Err(Error::invalid("enabled: clients are not counted; use default or disable")),
    }
}

/// As where counting is off: success with nothing to say.
async fn activity(_: Cx<System>, (): ()) -> Result<Done, Error> {
    Ok(Done)
}
