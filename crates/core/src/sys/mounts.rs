//! `sys/mounts` and `sys/auth`.

use std::collections::BTreeMap;

use api::{CommaList, Flag, Pairs, Ttl};
use engine::{Answer, Body, Data, Done, MountClass};
use gate::Error;
use mounts::{Config, Mounted, NewMount};
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb, running};

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

#[derive(Serialize)]
struct Shown {
    default_lease_ttl: u64,
    max_lease_ttl: u64,
    force_no_cache: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    listing_visibility: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    token_type: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_request_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_response_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passthrough_request_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_response_headers: Vec<String>,
}

pub(super) fn info(mounted: &Mounted) -> Info {
    let (entry, config) = (&mounted.entry, &mounted.entry.config);
    let auth = mounted.info.class == MountClass::Auth;
    let token_type = match config.token_type.as_str() {
        "" if auth => "default-service".to_owned(),
        kind => kind.to_owned(),
    };
    Info {
        accessor: entry.accessor.clone(),
        config: Shown {
            default_lease_ttl: config.default_lease_ttl.as_secs(),
            max_lease_ttl: config.max_lease_ttl.as_secs(),
            force_no_cache: config.force_no_cache,
            listing_visibility: config.listing_visibility.clone(),
            token_type,
            audit_non_hmac_request_keys: config.audit_non_hmac_request_keys.clone(),
            audit_non_hmac_response_keys: config.audit_non_hmac_response_keys.clone(),
            passthrough_request_headers: config.passthrough_request_headers.clone(),
            allowed_response_headers: config.allowed_response_headers.clone(),
        },
        deprecation_status: "supported",
        description: entry.description.clone(),
        external_entropy_access: false,
        local: entry.local,
        options: (!entry.options.is_empty()).then(|| entry.options.clone()),
        plugin_version: "",
        running_plugin_version: format!("v{}+builtin.strongroom", env!("CARGO_PKG_VERSION")),
        running_sha256: "",
        seal_wrap: entry.seal_wrap,
        kind: entry.kind.clone(),
        uuid: entry.uuid.clone(),
    }
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
    let mounts = running(cx)?.mounts.list(class);
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
    listing_visibility: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    token_type: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_request_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_response_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passthrough_request_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_response_headers: Vec<String>,
}

fn read(cx: &Cx<System>, path: &str) -> Result<Answer, Error> {
    let running = running(cx)?;
    let Some(path) = tune_path(path) else { return flat(info(&*running.mounts.exactly(path)?)) };
    let mounted = running.mounts.exactly(path)?;
    let shown = info(&mounted);
    flat(Tuning {
        default_lease_ttl: mounted.info.default_ttl.as_secs(),
        max_lease_ttl: mounted.info.max_ttl.as_secs(),
        description: shown.description,
        force_no_cache: shown.config.force_no_cache,
        options: shown.options,
        listing_visibility: shown.config.listing_visibility,
        token_type: shown.config.token_type,
        audit_non_hmac_request_keys: shown.config.audit_non_hmac_request_keys,
        audit_non_hmac_response_keys: shown.config.audit_non_hmac_response_keys,
        passthrough_request_headers: shown.config.passthrough_request_headers,
        allowed_response_headers: shown.config.allowed_response_headers,
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
    default_lease_ttl: Option<Ttl>,
    max_lease_ttl: Option<Ttl>,
    force_no_cache: Option<Flag>,
    listing_visibility: Option<String>,
    token_type: Option<String>,
    audit_non_hmac_request_keys: Option<CommaList>,
    audit_non_hmac_response_keys: Option<CommaList>,
    passthrough_request_headers: Option<CommaList>,
    allowed_response_headers: Option<CommaList>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigInput {
    default_lease_ttl: Option<Ttl>,
    max_lease_ttl: Option<Ttl>,
    force_no_cache: Option<Flag>,
    listing_visibility: Option<String>,
    token_type: Option<String>,
    audit_non_hmac_request_keys: Option<CommaList>,
    audit_non_hmac_response_keys: Option<CommaList>,
    passthrough_request_headers: Option<CommaList>,
    allowed_response_headers: Option<CommaList>,
}

impl ConfigInput {
    fn apply(self, config: &mut Config) {
        fn set<T, U>(target: &mut U, value: Option<T>, make: impl FnOnce(T) -> U) {
            if let Some(value) = value {
                *target = make(value);
            }
        }
        set(&mut config.default_lease_ttl, self.default_lease_ttl, |ttl| ttl);
        set(&mut config.max_lease_ttl, self.max_lease_ttl, |ttl| ttl);
        set(&mut config.force_no_cache, self.force_no_cache, |flag| flag.0);
        set(&mut config.listing_visibility, self.listing_visibility, |text| text);
        set(&mut config.token_type, self.token_type, |text| text);
        set(&mut config.audit_non_hmac_request_keys, self.audit_non_hmac_request_keys, |list| list.0);
        set(&mut config.audit_non_hmac_response_keys, self.audit_non_hmac_response_keys, |list| list.0);
        set(&mut config.passthrough_request_headers, self.passthrough_request_headers, |list| list.0);
        set(&mut config.allowed_response_headers, self.allowed_response_headers, |list| list.0);
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
    let kind =
        if input.kind.is_empty() { std::mem::take(&mut input.plugin_name) } else { std::mem::take(&mut input.kind) };
    if kind.is_empty() {
        return Err(Error::invalid("backend type must be specified as a string in the field \"type\""));
    }
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
    running(cx)?.mounts.enable(class, new).await?;
    Ok(Done)
}

async fn tune(cx: &Cx<System>, path: &str, mut input: MountInput) -> Result<Done, Error> {
    let tuning = input.tuning();
    let nested = std::mem::take(&mut input.config);
    running(cx)?
        .mounts
        .tune(path, |entry| {
            if let Some(description) = input.description {
                entry.description = description;
            }
            if let Some(options) = input.options {
                let version = entry.options.get("version").cloned();
                let wished = options.0.get("version").cloned();
                if entry.kind == "kv" && wished.is_some() && wished != version {
                    return Err(Error::invalid(
                        "options.version: the version of a kv mount cannot be changed; make a new mount",
                    ));
                }
                entry.options.extend(options.0);
            }
            nested.apply(&mut entry.config);
            tuning.apply(&mut entry.config);
            Ok(())
        })
        .await?;
    Ok(Done)
}

async fn delete_secret(cx: Cx<System>, path: String) -> Result<Answer, Error> {
    disable(&cx, &path).await
}

async fn delete_auth(cx: Cx<System>, path: String) -> Result<Answer, Error> {
    disable(&cx, &format!("auth/{path}")).await
}

/// Nothing mounted there is success too: the answer does not tell what exists.
async fn disable(cx: &Cx<System>, path: &str) -> Result<Answer, Error> {
    running(cx)?.unmount(path).await?;
    Ok(Answer { body: Body::Empty, ..Answer::default() })
}
