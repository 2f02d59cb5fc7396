//! `sys/metrics`.

use engine::{Answer, Body};
use gate::Error;
use serde::Deserialize;

use super::{Cx, Routes, System, Verb, running};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes.on(Verb::Read, "metrics", "Show what the server counts.", read)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    format: Option<String>,
}

async fn read(cx: Cx<System>, (): (), wanted: Wanted) -> Result<Answer, Error> {
    if wanted.format.is_some_and(|format| format != "prometheus" && !format.is_empty()) {
        return Err(Error::invalid("format: the only format is prometheus"));
    }
    let running = running(&cx)?;
    let mut gauges: Vec<(String, &'static str, u64)> = Vec::new();
    let counted = running.settings.storage_counters.as_ref().map(|counters| counters()).unwrap_or_default();
    for (name, value) in counted {
        gauges.push((format!("storage_{name}"), "Counted by the store since it was opened", value));
    }
    let health = running.audit.health();
    let healthy = health.iter().filter(|device| device.condition == audit::Condition::Healthy).count();
    gauges.push(("audit_devices".to_owned(), "Audit devices that are enabled", health.len() as u64));
    gauges.push(("audit_devices_healthy".to_owned(), "Audit devices that take entries", healthy as u64));
    let text = running.metrics.text(&gauges).map_err(|_| Error::internal("the metrics cannot be written"))?;
    let content_type = "text/plain; version=0.0.4";
    Ok(Answer { body: Body::Raw { content_type, bytes: text.into() }, ..Answer::default() })
}
