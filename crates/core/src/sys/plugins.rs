//! `sys/plugins`: everything that can be mounted is built in, so the catalogue is fixed. Reloading opens the engines of
//! mounts anew.

use std::{collections::BTreeMap, sync::Arc};

use api::CommaList;
use engine::{Answer, Data, Done, Keys, MountClass};
use gate::Error;
use mounts::Mounted;
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, mounts::running_version as version, running, space};
use crate::{namespaces::Space, running::Running};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "plugins/catalog", "List everything that can be mounted.", list_all)
        .on(Verb::List, "plugins/catalog", "List everything that can be mounted.", list_all)
        .on(Verb::List, "plugins/catalog/{type}", "List what can be mounted of a type.", list)
        .sudo()
        .on(Verb::Read, "plugins/catalog/{type}/{name}", "Show something that can be mounted.", read)
        .sudo()
        .on(Verb::Write, "plugins/catalog/{type}/{name}", "Refused: nothing can be added from outside.", refuse)
        .sudo()
        .on(Verb::Delete, "plugins/catalog/{type}/{name}", "Refused: what is built in stays.", refuse)
        .sudo()
        .on(Verb::Write, "plugins/reload/backend", "Open the engines of mounts anew.", reload)
        .on(Verb::Write, "plugins/reload/{type}/{name}", "Open all engines of a kind anew.", reload_kind)
}

/// The type of a plugin as the API names it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Auth,
    Database,
    Secret,
}

impl Type {
    fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "auth" => Ok(Self::Auth),
            "database" => Ok(Self::Database),
            "secret" => Ok(Self::Secret),
            _ => Err(Error::invalid("type: use auth, database or secret")),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Database => "database",
            Self::Secret => "secret",
        }
    }
}

fn names(running: &Running, of: Type) -> Vec<&'static str> {
    let class = |class| running.settings.kinds.iter().filter(move |kind| kind.class == class).map(|kind| kind.name);
    match of {
        Type::Auth => class(MountClass::Auth).collect(),
        Type::Database => running.settings.databases.clone(),
        Type::Secret => class(MountClass::Secret).collect(),
    }
}

#[derive(Serialize)]
struct Catalogue {
    auth: Vec<&'static str>,
    database: Vec<&'static str>,
    secret: Vec<&'static str>,
    detailed: Vec<Detail>,
}

#[derive(Serialize)]
struct Detail {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    version: String,
    builtin: bool,
    deprecation_status: &'static str,
}

async fn list_all(cx: Cx<System>, (): ()) -> Result<Data<Catalogue>, Error> {
    let running = running(&cx)?;
    let detail = |of: Type| {
        let detail = move |name| Detail {
            kind: of.as_str(),
            name,
            version: version(),
            builtin: true,
            deprecation_status: "supported",
        };
        names(&running, of).into_iter().map(detail)
    };
    Ok(Data(Catalogue {
        auth: names(&running, Type::Auth),
        database: names(&running, Type::Database),
        secret: names(&running, Type::Secret),
        detailed: [Type::Auth, Type::Database, Type::Secret].into_iter().flat_map(detail).collect(),
    }))
}

async fn list(cx: Cx<System>, of: String) -> Result<Keys, Error> {
    let names = names(&*running(&cx)?, Type::parse(&of)?);
    Ok(names.into_iter().map(str::to_owned).collect::<Vec<_>>().into())
}

#[derive(Serialize)]
struct Shown {
    name: String,
    args: Vec<String>,
    command: &'static str,
    sha256: &'static str,
    builtin: bool,
    version: String,
    deprecation_status: &'static str,
}

async fn read(cx: Cx<System>, (of, name): (String, String)) -> Result<Option<Data<Shown>>, Error> {
    let known = names(&*running(&cx)?, Type::parse(&of)?).contains(&name.as_str());
    Ok(known.then(|| {
        Data(Shown {
            name,
            args: Vec::new(),
            command: "",
            sha256: "",
            builtin: true,
            version: version(),
            deprecation_status: "supported",
        })
    }))
}

async fn refuse(_: Cx<System>, (of, _): (String, String)) -> Result<Done, Error> {
    Type::parse(&of)?;
    Err(Error::invalid("plugins from outside are not supported: what can be mounted is built in"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    plugin: String,
    mounts: CommaList,
    scope: String,
}

#[derive(Serialize)]
struct Reloaded {
    reload_id: String,
}

async fn reload(cx: Cx<System>, (): (), input: Input) -> Result<Answer, Error> {
    let (running, space) = (running(&cx)?, space(&cx)?);
    let wanted = match (input.plugin.as_str(), input.mounts.0.as_slice()) {
        ("", []) => return Err(Error::invalid("plugin or mounts must be provided")),
        ("", paths) => paths.iter().map(|path| space.mounts.exactly(path)).collect::<Result<Vec<_>, _>>()?,
        (plugin, []) => of_kind(&running, &space, plugin, None),
        _ => return Err(Error::invalid("plugin and mounts cannot be set at the same time")),
    };
    reopen(&space, &wanted).await?;
    scoped(&input.scope)
}

async fn reload_kind(cx: Cx<System>, (of, name): (String, String), input: Input) -> Result<Answer, Error> {
    let (running, space) = (running(&cx)?, space(&cx)?);
    let class = match Type::parse(&of)? {
        Type::Auth => Some(MountClass::Auth),
        Type::Secret => Some(MountClass::Secret),
        Type::Database => None,
    };
    reopen(&space, &of_kind(&running, &space, &name, class)).await?;
    scoped(&input.scope)
}

/// The mounts of a kind; a database stands for the engine that uses it.
fn of_kind(running: &Running, space: &Space, name: &str, class: Option<MountClass>) -> Vec<Arc<Mounted>> {
    let name = if running.settings.databases.contains(&name) { "database" } else { name };
    let classes =
        [MountClass::Auth, MountClass::Secret].into_iter().filter(|one| class.is_none_or(|class| class == *one));
    let all: BTreeMap<_, _> = classes.flat_map(|class| space.mounts.list(class)).collect();
    all.into_values().filter(|mounted| mounted.info.kind == name).collect()
}

async fn reopen(space: &Space, wanted: &[Arc<Mounted>]) -> Result<(), Error> {
    for mounted in wanted {
        space.mounts.reopen(mounted).await?;
    }
    Ok(())
}

/// One node is all there is, so a reload everywhere is done when the reply is sent.
fn scoped(scope: &str) -> Result<Answer, Error> {
    match scope {
        "" => Ok(Answer::default()),
        "global" => {
            let answer = engine::IntoAnswer::into_answer(Data(Reloaded { reload_id: crypto::random::uuid() }))?;
            Ok(Answer { status: Some(202), ..answer })
        }
        _ => Err(Error::invalid("scope: leave it out, or use global")),
    }
}
