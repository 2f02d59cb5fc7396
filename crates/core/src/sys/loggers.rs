//! `sys/loggers` and `sys/monitor`: how much is logged, and what.

use std::{collections::BTreeMap, sync::Arc};

use engine::{Answer, Body, Data, Done};
use gate::Error;
use serde::Deserialize;

use super::{Cx, Routes, System, Verb, running};
use crate::{Level, Line, Logs};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "loggers", "Show how much each part of the server logs.", all)
        .on(Verb::Write, "loggers", "Set how much the server logs, until it is started again.", set_all)
        .on(Verb::Delete, "loggers", "Log as the configuration says.", reset_all)
        .on(Verb::Read, "loggers/{name}", "Show how much a part of the server logs.", one)
        .on(Verb::Write, "loggers/{name}", "Set how much a part of the server logs.", set_one)
        .on(Verb::Delete, "loggers/{name}", "Have a part of the server log as the configuration says.", reset_one)
        .on(Verb::Read, "monitor", "Follow the server's log.", monitor)
}

fn logs(cx: &Cx<System>) -> Result<Arc<dyn Logs>, Error> {
    running(cx)?.settings.logs.clone().ok_or_else(|| Error::invalid("this server's log cannot be changed or followed"))
}

async fn all(cx: Cx<System>, (): ()) -> Result<Data<BTreeMap<&'static str, String>>, Error> {
    Ok(Data(logs(&cx)?.levels()))
}

fn unknown(name: &str) -> Error {
    Error::invalid(format!("logger \"{name}\" not found"))
}

async fn one(cx: Cx<System>, name: String) -> Result<Data<BTreeMap<String, String>>, Error> {
    let level = logs(&cx)?.levels().remove(name.as_str()).ok_or_else(|| unknown(&name))?;
    Ok(Data(BTreeMap::from([(name, level)])))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    level: String,
}

impl Wanted {
    fn level(&self) -> Result<Level, Error> {
        if self.level.is_empty() {
            return Err(Error::invalid("level is required"));
        }
        Level::parse(&self.level).ok_or_else(|| Error::invalid("invalid level: use trace, debug, info, warn or error"))
    }
}

async fn set_all(cx: Cx<System>, (): (), wanted: Wanted) -> Result<Done, Error> {
    logs(&cx)?.set(None, Some(wanted.level()?));
    Ok(Done)
}

async fn reset_all(cx: Cx<System>, (): ()) -> Result<Done, Error> {
    logs(&cx)?.set(None, None);
    Ok(Done)
}

async fn set_one(cx: Cx<System>, name: String, wanted: Wanted) -> Result<Done, Error> {
    set(&cx, &name, Some(wanted.level()?))
}

async fn reset_one(cx: Cx<System>, name: String) -> Result<Done, Error> {
    set(&cx, &name, None)
}

fn set(cx: &Cx<System>, name: &str, level: Option<Level>) -> Result<Done, Error> {
    if logs(cx)?.set(Some(name), level) { Ok(Done) } else { Err(unknown(name)) }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Followed {
    log_level: Option<String>,
    log_format: Option<String>,
}

async fn monitor(cx: Cx<System>, (): (), wanted: Followed) -> Result<Answer, Error> {
    let level = wanted.log_level.as_deref().filter(|level| !level.is_empty()).unwrap_or("info");
    let level = Level::parse(level)
        .ok_or_else(|| Error::invalid("unknown log level: use trace, debug, info, warn or error"))?;
    let format = match wanted.log_format.as_deref().unwrap_or_default() {
        "" | "standard" => Line::Text,
        "json" => Line::Json,
        _ => return Err(Error::invalid("unknown log_format: use standard or json")),
    };
    Ok(Answer { body: Body::Stream(logs(&cx)?.follow(level, format)), ..Answer::default() })
}
