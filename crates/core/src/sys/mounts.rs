//! `sys/mounts` and `sys/auth`.

use std::collections::BTreeMap;

use api::{CommaList, Flag, Pairs, Ttl};
use engine::{Answer, Body, Data, Done, MountClass};
use gate::Error;
use mounts::{Config, Mounted, NewMount, UserLockout};
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, running, space};
use crate::namespaces::Space;

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Read, "mounts", "List the secrets engines.", list_secret)
        .on(Verb::Read, "mounts/{path...}", "Show a secrets engine or its settings.", read_secret)
        .on(Verb::Write, "mounts/{path...}", "Enable a secrets engine or change its settings.", write_secret)
        .on(Verb::Delete, "mounts/{path...}", "Disable a secrets engine and delete what it stored.", delete_secret)
        .on(Verb::Read, "auth", "List the auth methods.", list_auth)
        .on(Verb::Read, "auth/{path...}", "Show an auth method or its settings.", read_auth)
        .sudo()
        .on(Verb::Write, "auth/{path...}", "Enable an auth method or change its settings.", write_auth)
        .sudo()
        .on(Verb::Delete, "auth/{path...}", "Disable an auth method and revoke its tokens.", delete_auth)
        .sudo()
}

/// A mount as listings show it.
#[derive(Serialize)]
pub(super) struct Info {
    accessor: String,
    config: Shown,
    deprecation_status: &'static str,
    description: String,
    external_entropy_access: bool,
    local: bool,
    options: Option<BTreeMap<String, String>>,
    plugin_version: &'static str,
    running_plugin_version: String,
    running_sha256: &'static str,
    seal_wrap: bool,
    #[serde(rename = "type")]
    kind: String,
    uuid: String,
}

/// The settings of a mount as listings and tuning show them.
#[derive(Serialize)]
struct Shown {
    default_lease_ttl: u64,
    max_lease_ttl: u64,
    force_no_cache: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    token_type: String,
    #[serde(flatten)]
    more: More,
}

/// Settings that are shown only where they were set.
#[derive(Serialize)]
struct More {
    #[serde(skip_serializing_if = "String::is_empty")]
    listing_visibility: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_request_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_response_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passthrough_request_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_response_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_managed_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delegated_auth_accessors: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    identity_token_key: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    trim_request_trailing_slashes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_lockout_config: Option<UserLockout>,
}

fn more(config: &Config) -> More {
    let config = config.clone();
    More {
        listing_visibility: config.listing_visibility,
        audit_non_hmac_request_keys: config.audit_non_hmac_request_keys,
        audit_non_hmac_response_keys: config.audit_non_hmac_response_keys,
        passthrough_request_headers: config.passthrough_request_headers,
        allowed_response_headers: config.allowed_response_headers,
        allowed_managed_keys: config.allowed_managed_keys,
        delegated_auth_accessors: config.delegated_auth_accessors,
        identity_token_key: config.identity_token_key,
        trim_request_trailing_slashes: config.trim_request_trailing_slashes,
        user_lockout_config: config.user_lockout_config,
    }
}

/// The kind of tokens that a login makes; empty for secrets engines.
fn token_type(mounted: &Mounted) -> String {
    match mounted.entry.config.token_type.as_str() {
        "" if mounted.info.class == MountClass::Auth => "default-service".to_owned(),
        kind => kind.to_owned(),
    }
}

pub(super) fn info(mounted: &Mounted) -> Info {
    let (entry, config) = (&mounted.entry, &mounted.entry.config);
    Info {
        accessor: entry.accessor.clone(),
        config: Shown {
            default_lease_ttl: config.default_lease_ttl.as_secs(),
            max_lease_ttl: config.max_lease_ttl.as_secs(),
            force_no_cache: config.force_no_cache,
            token_type: token_type(mounted),
            more: more(config),
        },
        deprecation_status: "supported",
        description: entry.description.clone(),
        external_entropy_access: false,
        local: entry.local,
        options: (!entry.options.is_empty()).then(|| entry.options.clone()),
        plugin_version: "",
        running_plugin_version: running_version(),
        running_sha256: "",
        seal_wrap: entry.seal_wrap,
        kind: entry.kind.clone(),
        uuid: entry.uuid.clone(),
    }
}

/// The version of everything that can be mounted: it is built in.
pub(super) fn running_version() -> String {
    format!("v{}+builtin.strongroom", env!("CARGO_PKG_VERSION"))
}

/// The path of a mount relative to the listing it stands in.
pub(super) fn shown_path(mounted: &Mounted) -> String {
    let path = &*mounted.info.path;
    match mounted.info.class {
        MountClass::Auth => path.strip_prefix("auth/").unwrap_or(path).to_owned(),
        MountClass::Secret => path.to_owned(),
    }
}

/// Data that old clients also read from the top level.
pub(super) fn flat<T: Serialize + Send>(data: T) -> Result<Answer, Error> {
    Ok(Answer { flat: true, ..engine::IntoAnswer::into_answer(Data(data))? })
}

async fn list_secret(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    list(&cx, MountClass::Secret)
}

async fn list_auth(cx: Cx<System>, (): ()) -> Result<Answer, Error> {
    list(&cx, MountClass::Auth)
}

fn list(cx: &Cx<System>, class: MountClass) -> Result<Answer, Error> {
    let mounts = space(cx)?.mounts.list(class);
    flat(mounts.values().map(|mounted| (shown_path(mounted), info(mounted))).collect::<BTreeMap<_, _>>())
}

async fn read_secret(cx: Cx<System>, path: String) -> Result<Answer, Error> {
    // Auth methods are tuned through here too, without sudo, as `sys/mounts/auth/<path>/tune`.
    read(&cx, &path)
}

async fn read_auth(cx: Cx<System>, path: String) -> Result<Answer, Error> {
    read(&cx, &format!("auth/{path}"))
}

#[derive(Serialize)]
struct Tuning {
    default_lease_ttl: u64,
    max_lease_ttl: u64,
    description: String,
    force_no_cache: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    token_type: String,
    #[serde(flatten)]
    more: More,
}

fn read(cx: &Cx<System>, path: &str) -> Result<Answer, Error> {
    let space = space(cx)?;
    let Some(path) = tune_path(path) else {
        // Clients tell by this text that nothing is there.
        let missing = |_| match path.trim_matches('/').strip_prefix("auth/") {
            Some(inside) => Error::invalid(format!("No auth engine at {inside}/")),
            None => Error::invalid(format!("No secret engine mount at {}/", path.trim_matches('/'))),
        };
        return flat(info(&*space.mounts.exactly(path).map_err(missing)?));
    };
    let mounted = space.mounts.exactly(path)?;
    let (entry, config) = (&mounted.entry, &mounted.entry.config);
    flat(Tuning {
        default_lease_ttl: mounted.info.default_ttl.as_secs(),
        max_lease_ttl: mounted.info.max_ttl.as_secs(),
        description: entry.description.clone(),
        force_no_cache: config.force_no_cache,
        options: (!entry.options.is_empty()).then(|| entry.options.clone()),
        token_type: token_type(&mounted),
        more: more(config),
    })
}

fn tune_path(path: &str) -> Option<&str> {
    path.trim_end_matches('/').strip_suffix("/tune")
}

/// A request to enable or to tune: the fields of the one are those of the other.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MountInput {
    #[serde(rename = "type")]
    kind: String,
    plugin_name: String,
    description: Option<String>,
    config: ConfigInput,
    options: Option<Pairs>,
    local: Flag,
    seal_wrap: Flag,
    external_entropy_access: Flag,
    plugin_version: String,
    default_lease_ttl: Option<Life>,
    max_lease_ttl: Option<Life>,
    force_no_cache: Option<Flag>,
    listing_visibility: Option<String>,
    token_type: Option<String>,
    audit_non_hmac_request_keys: Option<CommaList>,
    audit_non_hmac_response_keys: Option<CommaList>,
    passthrough_request_headers: Option<CommaList>,
    allowed_response_headers: Option<CommaList>,
    allowed_managed_keys: Option<CommaList>,
    delegated_auth_accessors: Option<CommaList>,
    identity_token_key: Option<String>,
    trim_request_trailing_slashes: Option<Flag>,
    user_lockout_config: Option<LockoutInput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigInput {
    default_lease_ttl: Option<Life>,
    max_lease_ttl: Option<Life>,
    force_no_cache: Option<Flag>,
    listing_visibility: Option<String>,
    token_type: Option<String>,
    audit_non_hmac_request_keys: Option<CommaList>,
    audit_non_hmac_response_keys: Option<CommaList>,
    passthrough_request_headers: Option<CommaList>,
    allowed_response_headers: Option<CommaList>,
    allowed_managed_keys: Option<CommaList>,
    delegated_auth_accessors: Option<CommaList>,
    identity_token_key: Option<String>,
    trim_request_trailing_slashes: Option<Flag>,
    user_lockout_config: Option<LockoutInput>,
}

/// A life, where `system` means that of the server.
#[derive(Clone, Copy, Debug, Default)]
struct Life(Ttl);

impl<'de> Deserialize<'de> for Life {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LifeVisitor;
        impl serde::de::Visitor<'_> for LifeVisitor {
            type Value = Life;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration, such as 90, \"1h30m\" or \"system\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Life, E> {
                match text.trim() {
                    "system" => Ok(Life::default()),
                    text => api::parse_duration(text).map(|life| Life(life.into())).map_err(E::custom),
                }
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Life, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Life, E> {
                // The server's own life is also written as -1.
                if seconds == -1 { Ok(Life::default()) } else { self.visit_str(&seconds.to_string()) }
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Life, E> {
                self.visit_str(&format!("{seconds}s"))
            }
        }
        deserializer.deserialize_any(LifeVisitor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LockoutInput {
    lockout_threshold: Option<api::Count>,
    lockout_duration: Option<Ttl>,
    lockout_counter_reset: Option<Ttl>,
    /// The same under the name that clients send.
    lockout_counter_reset_duration: Option<Ttl>,
    lockout_disable: Option<Flag>,
}

impl LockoutInput {
    fn apply(self, lockout: &mut UserLockout) {
        if let Some(threshold) = self.lockout_threshold {
            lockout.lockout_threshold = threshold.0;
        }
        if let Some(duration) = self.lockout_duration {
            lockout.lockout_duration = duration;
        }
        if let Some(reset) = self.lockout_counter_reset_duration.or(self.lockout_counter_reset) {
            lockout.lockout_counter_reset = reset;
        }
        if let Some(disable) = self.lockout_disable {
            lockout.lockout_disable = disable.0;
        }
    }
}

impl ConfigInput {
    fn apply(self, config: &mut Config) {
        fn set<T, U>(target: &mut U, value: Option<T>, make: impl FnOnce(T) -> U) {
            if let Some(value) = value {
                *target = make(value);
            }
        }
        set(&mut config.default_lease_ttl, self.default_lease_ttl, |life| life.0);
        set(&mut config.max_lease_ttl, self.max_lease_ttl, |life| life.0);
        set(&mut config.force_no_cache, self.force_no_cache, |flag| flag.0);
        set(&mut config.listing_visibility, self.listing_visibility, |text| text);
        set(&mut config.token_type, self.token_type, |text| text);
        set(&mut config.audit_non_hmac_request_keys, self.audit_non_hmac_request_keys, |list| list.0);
        set(&mut config.audit_non_hmac_response_keys, self.audit_non_hmac_response_keys, |list| list.0);
        set(&mut config.passthrough_request_headers, self.passthrough_request_headers, |list| list.0);
        set(&mut config.allowed_response_headers, self.allowed_response_headers, |list| list.0);
        set(&mut config.allowed_managed_keys, self.allowed_managed_keys, |list| list.0);
        set(&mut config.delegated_auth_accessors, self.delegated_auth_accessors, |list| list.0);
        set(&mut config.identity_token_key, self.identity_token_key, |text| text);
        set(&mut config.trim_request_trailing_slashes, self.trim_request_trailing_slashes, |flag| flag.0);
        if let Some(lockout) = self.user_lockout_config {
            lockout.apply(config.user_lockout_config.get_or_insert_default());
        }
    }
}

impl MountInput {
    /// The settings given beside `config`, as tuning gives them.
    fn tuning(&mut self) -> ConfigInput {
        ConfigInput {
            default_lease_ttl: self.default_lease_ttl.take(),
            max_lease_ttl: self.max_lease_ttl.take(),
            force_no_cache: self.force_no_cache.take(),
            listing_visibility: self.listing_visibility.take(),
            token_type: self.token_type.take(),
            audit_non_hmac_request_keys: self.audit_non_hmac_request_keys.take(),
            audit_non_hmac_response_keys: self.audit_non_hmac_response_keys.take(),
            passthrough_request_headers: self.passthrough_request_headers.take(),
            allowed_response_headers: self.allowed_response_headers.take(),
            allowed_managed_keys: self.allowed_managed_keys.take(),
            delegated_auth_accessors: self.delegated_auth_accessors.take(),
            identity_token_key: self.identity_token_key.take(),
            trim_request_trailing_slashes: self.trim_request_trailing_slashes.take(),
            user_lockout_config: self.user_lockout_config.take(),
        }
    }
}

async fn write_secret(cx: Cx<System>, path: String, input: MountInput) -> Result<Done, Error> {
    let class = if path.starts_with("auth/") { MountClass::Auth } else { MountClass::Secret };
    match tune_path(&path) {
        Some(path) => tune(&cx, path, input).await,
        None if class == MountClass::Auth => {
            Err(Error::invalid("auth methods are enabled at sys/auth/, not at sys/mounts/auth/"))
        }
        None => enable(&cx, class, &path, input).await,
    }
}

async fn write_auth(cx: Cx<System>, path: String, input: MountInput) -> Result<Done, Error> {
    match tune_path(&path) {
        Some(path) => tune(&cx, &format!("auth/{path}"), input).await,
        None => enable(&cx, MountClass::Auth, &path, input).await,
    }
}

async fn enable(cx: &Cx<System>, class: MountClass, path: &str, mut input: MountInput) -> Result<Done, Error> {
    if path.trim_matches('/').is_empty() {
        return Err(Error::Unsupported);
    }
    let kind =
        if input.kind.is_empty() { std::mem::take(&mut input.plugin_name) } else { std::mem::take(&mut input.kind) };
    if kind.is_empty() {
        return Err(Error::invalid("backend type must be specified as a string in the field \"type\""));
    }
    check_version(&input.plugin_version)?;
    let mut config = Config::default();
    let tuning = input.tuning();
    std::mem::take(&mut input.config).apply(&mut config);
    tuning.apply(&mut config);
    let new = NewMount {
        path: path.to_owned(),
        kind,
        description: input.description.unwrap_or_default(),
        config,
        options: input.options.map(|pairs| pairs.0).unwrap_or_default(),
        local: input.local.0,
        seal_wrap: input.seal_wrap.0,
    };
    let space = space(cx)?;
    let _names = space.naming.lock().await;
    let at = if class == MountClass::Auth { format!("auth/{path}") } else { path.to_owned() };
    check_name(&space, &at).await?;
    space.mounts.enable(class, new).await?;
    Ok(Done)
}

/// Refuses the path of a mount that is in a namespace; to be asked while the names of `space` are held.
pub(super) async fn check_name(space: &Space, path: &str) -> Result<(), Error> {
    if space.is_leaving() {
        return Err(Error::invalid("path: the namespace is being deleted"));
    }
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match space.has_below(first).await? {
        true => Err(Error::invalid(format!("path: {first}/ is a namespace; mount inside of it by asking in it"))),
        false => Ok(()),
    }
}

/// Everything is built in, in one version.
fn check_version(version: &str) -> Result<(), Error> {
    match version {
        "" => Ok(()),
        version if version.trim_start_matches('v') == running_version().trim_start_matches('v') => Ok(()),
        _ => Err(Error::invalid("plugin_version: only the version that is built in is there; leave it out")),
    }
}

async fn tune(cx: &Cx<System>, path: &str, mut input: MountInput) -> Result<Done, Error> {
    check_version(&input.plugin_version)?;
    let tuning = input.tuning();
    let nested = std::mem::take(&mut input.config);
    let (running, space) = (running(cx)?, space(cx)?);
    if input.options.is_some() {
        // It may be an upgrade; a note of what is none is dropped at the next start.
        running.note_work(&space, &space.mounts.exactly(path)?.info.uuid).await?;
    }
    let before = space
        .mounts
        .tune(path, |entry| {
            if let Some(description) = input.description {
                entry.description = description;
            }
            if let Some(options) = input.options {
                entry.options.extend(options.0);
            }
            nested.apply(&mut entry.config);
            tuning.apply(&mut entry.config);
            Ok(())
        })
        .await?;
    if let Some(before) = before {
        running.upgrade(&space, before).await;
    }
    Ok(Done)
}

async fn delete_secret(cx: Cx<System>, path: String) -> Result<Answer, Error> {
    disable(&cx, &path).await
}

async fn delete_auth(cx: Cx<System>, path: String) -> Result<Answer, Error> {
    disable(&cx, &format!("auth/{path}")).await
}

/// Nothing mounted there is success too: the answer does not tell what exists. The listing itself cannot be deleted.
async fn disable(cx: &Cx<System>, path: &str) -> Result<Answer, Error> {
    if matches!(path.trim_matches('/'), "" | "auth") {
        return Err(Error::Unsupported);
    }
    let (running, space) = (running(cx)?, space(cx)?);
    if running.unmount(&space, path).await? {
        let path = format!("{}{}/", space.namespace.path(), path.trim_matches('/'));
        running.move_limits(&path, None).await?;
    }
    Ok(Answer { body: Body::Empty, ..Answer::default() })
}
