//! `sys/quotas/rate-limit` and `sys/quotas/config`.

use api::{CommaList, Flag, Name, Ttl};
use engine::{Data, Done, Keys};
use gate::{Error, MountClass};
use quotas::RateLimit;
use serde::{Deserialize, Serialize};
use storage::Tx;

use super::{Cx, Routes, System, Verb, running};
use crate::live::{QUOTAS, QuotaConfig, RATE_LIMITS};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::List, "quotas/rate-limit", "List the rate limits.", list)
        .on(Verb::Read, "quotas/rate-limit/{name}", "Show a rate limit.", read)
        .on(Verb::Write, "quotas/rate-limit/{name}", "Create or replace a rate limit.", write)
        .on(Verb::Delete, "quotas/rate-limit/{name}", "Delete a rate limit.", delete)
        .on(Verb::Read, "quotas/config", "Show which paths no rate limit counts, and what is told of limits.", config)
        .on(Verb::Write, "quotas/config", "Change which paths no rate limit counts.", configure)
}

async fn list(cx: Cx<System>, (): ()) -> Result<Keys, Error> {
    Ok(cx.view().tx().view(RATE_LIMITS).list("", None, 10_000).await?.into())
}

#[derive(Serialize)]
struct Shown {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    path: String,
    role: String,
    rate: f64,
    interval: u64,
    block_interval: u64,
    inheritable: bool,
}

async fn read(cx: Cx<System>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let limit: Option<RateLimit> = cx.view().tx().view(RATE_LIMITS).get_json(name.as_str()).await?;
    let show = |limit: RateLimit| Shown {
        name: name.to_string(),
        kind: "rate-limit",
        path: limit.path,
        role: limit.role,
        rate: limit.rate,
        interval: limit.interval.as_secs(),
        block_interval: limit.block_interval.as_secs(),
        inheritable: limit.inheritable,
    };
    Ok(limit.map(show).map(Data))
}

/// A number, or its text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

impl Number {
    fn get(&self) -> Option<f64> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
        };
        number.filter(|number| number.is_finite() && *number > 0.0)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    path: String,
    role: String,
    rate: Option<Number>,
    interval: Option<Ttl>,
    block_interval: Ttl,
    inheritable: Option<Flag>,
    #[serde(rename = "type")]
    _kind: Option<String>,
}

async fn write(cx: Cx<System>, name: Name, input: Input) -> Result<Done, Error> {
    let rate = input.rate.as_ref().and_then(Number::get);
    let rate = rate.ok_or_else(|| Error::invalid("'rate' is invalid: it must be a number greater than zero"))?;
    let interval = match input.interval.map(|interval| interval.0) {
        None => std::time::Duration::from_secs(1),
        Some(interval) if interval.as_secs() >= 1 => interval,
        Some(_) => return Err(Error::invalid("'interval' is invalid: it must be at least one second")),
    };
    let Place { path, mount_length, is_namespace } = place(&cx, &input).await?;
    let inheritable = match input.inheritable {
        Some(Flag(true)) if !is_namespace => {
            return Err(Error::invalid("inheritable: only a limit on a whole namespace can be inherited"));
        }
        Some(Flag(wanted)) => wanted,
        None => path.is_empty(),
    };
    let role = input.role;
    let limit =
        RateLimit { path, mount_length, role, rate, interval, block_interval: input.block_interval.0, inheritable };
    store(&cx, &name, Some(&limit)).await
}

/// What a limit is about.
struct Place {
    /// The full path.
    path: String,
    /// How much of it is the namespace's and the mount's.
    mount_length: usize,
    /// Whether it is about a namespace as a whole.
    is_namespace: bool,
}

async fn place(cx: &Cx<System>, input: &Input) -> Result<Place, Error> {
    let running = running(cx)?;
    let (space, path) = running.locate(running.spaces.root(), input.path.trim_start_matches('/')).await?;
    let above = space.namespace.path();
    if path.is_empty() {
        return match input.role.as_str() {
            "" => Ok(Place { path: above.to_owned(), mount_length: above.len(), is_namespace: true }),
            _ => Err(Error::invalid("role: a limit for a role needs the path of its auth method")),
        };
    }
    let mounts = &space.mounts;
    let found = mounts.find(path).or_else(|| mounts.find(path.trim_end_matches('/')));
    let (mounted, inside) = found.ok_or_else(|| Error::invalid("path: nothing is mounted there"))?;
    let mount = format!("{above}{}", mounted.info.path);
    let place = |path| Place { path, mount_length: mount.len(), is_namespace: false };
    match (input.role.as_str(), inside) {
        ("", inside) if inside.contains('*') && !(inside.ends_with('*') && inside.matches('*').count() == 1) => {
            Err(Error::invalid("path: a '*' may stand at the end alone"))
        }
        ("", inside) => Ok(place(format!("{mount}{inside}"))),
        (_, "") if mounted.info.class == MountClass::Auth => Ok(place(mount.clone())),
        _ => {
            Err(Error::invalid("role: a limit for a role needs the path of an auth method, without anything below it"))
        }
    }
}

async fn delete(cx: Cx<System>, name: Name) -> Result<Done, Error> {
    store(&cx, &name, None).await
}

/// In a commit of its own, so that the limit is in force when the reply is sent.
async fn store(cx: &Cx<System>, name: &Name, limit: Option<&RateLimit>) -> Result<Done, Error> {
    let running = running(cx)?;
    let tx = Tx::new(running.store());
    let view = tx.view(RATE_LIMITS);
    match limit {
        Some(limit) => {
            for other in view.list("", None, 10_000).await?.names {
                let known: Option<RateLimit> = view.get_json(&other).await?;
                if other != name.as_str() && known.is_some_and(|known| known.rivals(limit)) {
                    let text = format!("quota rule with similar properties exists under the name \"{other}\"");
                    return Err(Error::invalid(text));
                }
            }
            view.put_json(name.as_str(), limit)?;
        }
        None => view.delete(name.as_str()),
    }
    tx.commit().await?;
    running.reload_live().await?;
    Ok(Done)
}

async fn config(cx: Cx<System>, (): ()) -> Result<Data<QuotaConfig>, Error> {
    Ok(Data(running(&cx)?.live.load().quotas.clone()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigInput {
    rate_limit_exempt_paths: Option<CommaList>,
    absolute_rate_limit_exempt_paths: Option<CommaList>,
    enable_rate_limit_audit_logging: Option<Flag>,
    enable_rate_limit_response_headers: Option<Flag>,
}

async fn configure(cx: Cx<System>, (): (), input: ConfigInput) -> Result<Done, Error> {
    let change = |config: &mut QuotaConfig| {
        if let Some(paths) = &input.rate_limit_exempt_paths {
            config.rate_limit_exempt_paths = paths.0.clone();
        }
        if let Some(paths) = &input.absolute_rate_limit_exempt_paths {
            config.absolute_rate_limit_exempt_paths = paths.0.clone();
        }
        if let Some(flag) = input.enable_rate_limit_audit_logging {
            config.enable_rate_limit_audit_logging = flag.0;
        }
        if let Some(flag) = input.enable_rate_limit_response_headers {
            config.enable_rate_limit_response_headers = flag.0;
        }
        Ok(())
    };
    running(&cx)?.change_live(QUOTAS, change).await?;
    Ok(Done)
}
