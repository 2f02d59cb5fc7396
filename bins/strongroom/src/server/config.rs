//! The configuration file: Vault's HCL or JSON.

use std::{path::Path, path::PathBuf, time::Duration};

use strongroom_core::{FirstRequest, Seals};
use strongroom_http::{Address, ListenerConfig};

mod initialize;
mod listener;
mod postgresql;
mod seals;
mod section;
#[cfg(test)]
mod tests;
mod user_lockout;

use self::section::Section;
pub(crate) use self::{listener::resolve, postgresql::Postgresql};

/// What a configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) storage: Storage,
    pub(crate) listeners: Vec<ListenerConfig>,
    pub(crate) default_lease_ttl: Option<Duration>,
    pub(crate) max_lease_ttl: Option<Duration>,
    pub(crate) cluster_name: String,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) lockout: lockout::Stanzas,
    pub(crate) cache_bytes: u64,
    pub(crate) compatibility: String,
    pub(crate) allow_audit_log_prefixing: bool,
    pub(crate) api_addr: Option<String>,
    pub(crate) first_requests: Vec<FirstRequest>,
    pub(crate) seals: Seals,
}

/// Where data is kept.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    Embedded { path: PathBuf },
    Memory,
    Postgresql(Postgresql),
}

/// The version of Vault whose features clients may expect, unless the configuration says otherwise.
pub(crate) const COMPATIBILITY: &str = "1.16.3";

const DEFAULT_CACHE: u64 = 16 * 1024 * 1024;

/// Keys of other programs' configurations that mean nothing here, and may stand there all the same.
const IGNORED: &[&str] = &[
    "administrative_namespace_path",
    "cache_size",
    "cluster_addr",
    "cluster_cipher_suites",
    "detect_deadlocks",
    "disable_cache",
    "disable_clustering",
    "disable_indexing",
    "disable_mlock",
    "disable_performance_standby",
    "disable_printable_check",
    "disable_sealwrap",
    "disable_sentinel_trace",
    "enable_response_header_hostname",
    "enable_response_header_raft_node_id",
    "ha_backend",
    "ha_storage",
    "imprecise_lease_role_tracking",
    "introspection_endpoint",
    "license_path",
    "log_requests_level",
    "plugin_directory",
    "plugin_file_permissions",
    "plugin_file_uid",
    "raw_storage_endpoint",
    "reporting",
    "sentinel",
    "service_registration",
    "telemetry",
    "ui",
];

impl Config {
    /// The dev server's, without what `paths` add to it.
    fn dev() -> Self {
        Self {
            storage: Storage::Memory,
            listeners: Vec::new(),
            default_lease_ttl: None,
            max_lease_ttl: None,
            cluster_name: "strongroom-dev".to_owned(),
            log_level: "warn".to_owned(),
            log_json: false,
            pid_file: None,
            lockout: lockout::Stanzas::default(),
            cache_bytes: 0,
            compatibility: COMPATIBILITY.to_owned(),
            allow_audit_log_prefixing: false,
            api_addr: None,
            first_requests: Vec::new(),
            seals: Seals::default(),
        }
    }

    /// Reads files, or all `*.hcl` and `*.json` files of folders; what a later one says wins, listeners and first requests add up.
    /// Gives warnings too.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<(Self, Vec<String>), String> {
        let mut top = merged(paths)?.ok_or("the folder of the configuration holds no *.hcl and no *.json file")?;
        let mut warnings = Vec::new();
        let base = Self {
            storage: storage(&mut top, &mut warnings)?,
            cluster_name: "strongroom".to_owned(),
            log_level: "info".to_owned(),
            cache_bytes: DEFAULT_CACHE,
            ..Self::dev()
        };
        let config = Self::from_section(base, top, &mut warnings)?;
        match config.listeners.is_empty() {
            true => {
                Err("listener: name at least one, such as: listener \"tcp\" { address = \"127.0.0.1:8200\" … }".into())
            }
            false => Ok((config, warnings)),
        }
    }

    /// Reads what a dev server is told besides its flags; it stays in memory.
    pub(crate) fn read_dev(paths: &[PathBuf]) -> Result<(Self, Vec<String>), String> {
        let Some(mut top) = merged(paths)? else { return Ok((Self::dev(), Vec::new())) };
        let mut warnings = Vec::new();
        for key in ["storage", "backend"] {
            warnings
                .extend(top.pass_over(key).map(|place| format!("{place}: {key}: a dev server keeps all in memory")));
        }
        let config = Self::from_section(Self::dev(), top, &mut warnings)?;
        Ok((config, warnings))
    }

    fn from_section(base: Self, mut top: Section, warnings: &mut Vec<String>) -> Result<Self, String> {
        let seals = seals::seals(&mut top)?;
        let usual_duration = top.duration("default_max_request_duration")?.filter(|time| !time.is_zero());
        let mut listeners = Vec::new();
        for body in top.blocks("listener")? {
            let own = body.has("max_request_duration");
            let mut listener = listener::listener(body, warnings)?;
            listener.max_request_duration = usual_duration.filter(|_| !own).unwrap_or(listener.max_request_duration);
            listeners.push(listener);
        }
        let (default_lease_ttl, max_lease_ttl) = lease_ttls(&mut top)?;
        let config = Self {
            storage: base.storage,
            listeners,
            default_lease_ttl,
            max_lease_ttl,
            cluster_name: top.text("cluster_name")?.unwrap_or(base.cluster_name),
            log_level: log_level(&mut top)?.unwrap_or(base.log_level),
            log_json: log_json(&mut top)?.unwrap_or(base.log_json),
            pid_file: top.text("pid_file")?.map(PathBuf::from),
            lockout: user_lockout::user_lockout(&mut top, warnings)?,
            cache_bytes: top.number("cache_bytes")?.unwrap_or(base.cache_bytes),
            compatibility: compatibility(&mut top)?.unwrap_or(base.compatibility),
            allow_audit_log_prefixing: top.flag("allow_audit_log_prefixing")?.unwrap_or(false),
            api_addr: api_addr(&mut top)?,
            first_requests: initialize::first_requests(&mut top, warnings)?,
            seals,
        };
        for key in IGNORED {
            top.pass_over(key);
        }
        warnings.extend(top.unknown());
        Ok(config)
    }

    /// Where clients reach the server: as it is told, else its first listener.
    pub(crate) fn address(&self) -> String {
        let of = |listener: &ListenerConfig| match &listener.address {
            Address::Tcp(address) if listener.tls.is_some() => Some(format!("https://{address}")),
            Address::Tcp(address) => Some(format!("http://{address}")),
            Address::Unix(_) => None,
        };
        self.api_addr.clone().or_else(|| self.listeners.iter().find_map(of)).unwrap_or_default()
    }

    /// Reads the log's level alone, for a reload.
    pub(crate) fn log_level(paths: &[PathBuf]) -> Result<Option<String>, String> {
        merged(paths)?.map_or(Ok(None), |mut top| log_level(&mut top))
    }
}

/// How long leases live by default and at most.
fn lease_ttls(top: &mut Section) -> Result<(Option<Duration>, Option<Duration>), String> {
    let mut ttl = |key| Ok::<_, String>(top.duration(key)?.filter(|time| !time.is_zero()));
    let (default, max) = (ttl("default_lease_ttl")?, ttl("max_lease_ttl")?);
    match default.is_some_and(|default| default > max.unwrap_or(mounts::MAX_TTL)) {
        true => Err(top.says("default_lease_ttl: it must not exceed max_lease_ttl, which is 768h unless it is set")),
        false => Ok((default, max)),
    }
}

/// A version of Vault: clients take it apart.
fn compatibility(top: &mut Section) -> Result<Option<String>, String> {
    let Some(text) = top.text("compatibility_version")? else { return Ok(None) };
    let numbers: Vec<_> = text.split('.').map(str::parse::<u32>).collect();
    match numbers.len() == 3 && numbers.iter().all(Result::is_ok) {
        true => Ok(Some(text)),
        false => Err(top.says("compatibility_version: use three numbers, such as \"1.16.3\"")),
    }
}

fn api_addr(top: &mut Section) -> Result<Option<String>, String> {
    let Some(text) = top.text("api_addr")?.filter(|address| !address.is_empty()) else { return Ok(None) };
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match host.is_some_and(|host| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '{')) {
        true => Ok(Some(text)),
        false => {
            Err(top.says("api_addr: use the URL by which clients reach the server, such as https://vault.example:8200"))
        }
    }
}

/// All files one upon the other; `None` if there are none.
fn merged(paths: &[PathBuf]) -> Result<Option<Section>, String> {
    let mut top: Option<Section> = None;
    for path in paths {
        for file in files(path)? {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("cannot read the configuration {}: {error}", file.display()))?;
            let section = Section::top(&file, &text)?;
            match &mut top {
                Some(top) => top.merge(section, &["initialize", "listener", "seal"]),
                None => top = Some(section),
            }
        }
    }
    Ok(top)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries =
        std::fs::read_dir(path).map_err(|error| format!("cannot read the folder {}: {error}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "hcl" || ending == "json"));
    files.sort();
    Ok(files)
}

impl std::fmt::Display for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded { path } => write!(f, "embedded at {}", path.display()),
            Self::Memory => f.write_str("memory"),
            Self::Postgresql(settings) => write!(f, "PostgreSQL, table {}", settings.table),
        }
    }
}

impl Storage {
    /// Whether both are the same place, as far as their names tell.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Embedded { path }, Self::Embedded { path: other }) => path == other,
            (Self::Memory, Self::Memory) => true,
            (Self::Postgresql(settings), Self::Postgresql(other)) => settings.is_same(other),
            _ => false,
        }
    }
}

/// The two stores that a file for `operator migrate` names, and warnings.
pub(crate) fn migration(file: &Path) -> Result<(Storage, Storage, Vec<String>), String> {
    let mut top = merged(&[file.to_owned()])?.ok_or("there is no such file")?;
    let mut warnings = Vec::new();
    let source = named_storage(&mut top, &["storage_source"], &mut warnings)?;
    let destination = named_storage(&mut top, &["storage_destination"], &mut warnings)?;
    if [&source, &destination].iter().any(|store| matches!(store, Storage::Memory)) {
        return Err(top.says("a store in memory is empty at the start and lost at the end: name others"));
    }
    if source.is_same(&destination) {
        return Err(top.says("storage_source and storage_destination are the same store"));
    }
    // Where nodes reach each other means nothing for a copy.
    top.pass_over("cluster_addr");
    warnings.extend(top.unknown());
    Ok((source, destination, warnings))
}

fn storage(top: &mut Section, warnings: &mut Vec<String>) -> Result<Storage, String> {
    named_storage(top, &["storage", "backend"], warnings)
}

/// The store of the one block of these names.
fn named_storage(top: &mut Section, names: &[&str], warnings: &mut Vec<String>) -> Result<Storage, String> {
    let mut found = Vec::new();
    for name in names {
        found.extend(top.blocks(name)?);
    }
    let Some(mut body) = found.pop() else {
        let name = names.first().copied().unwrap_or_default();
        return Err(format!("{name}: name a store, such as: {name} \"embedded\" {{ path = \"/var/lib/strongroom\" }}"));
    };
    if !found.is_empty() {
        return Err(body.says("there are several stores; name exactly one"));
    }
    let kind = catalogue::store(&body.label).ok_or_else(|| {
        let known = catalogue::STORES.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
        body.says(&format!("this store is not known; the stores are {known}"))
    })?;
    if kind.name == "inmem" {
        warnings.extend(body.unknown());
        return Ok(Storage::Memory);
    }
    if kind.name == "postgresql" {
        return postgresql::postgresql(body, warnings).map(Storage::Postgresql);
    }
    let path = body.text("path")?.ok_or_else(|| body.says("path is missing: name a directory"))?;
    if body.label != kind.name {
        warnings.push(
            body.says(&format!("opens the {} store at {path}; it does not read another program's data", kind.name)),
        );
    }
    warnings.extend(body.unknown());
    Ok(Storage::Embedded { path: path.into() })
}

/// The level by the name that the log knows; other programs' names are taken too.
fn log_level(top: &mut Section) -> Result<Option<String>, String> {
    let Some(text) = top.text("log_level")? else { return Ok(None) };
    level(&text).map(|level| Some(level.to_owned())).map_err(|why| top.says(&why))
}

/// The log's own name of a level.
pub(crate) fn level(text: &str) -> Result<&'static str, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "trace" => Ok("trace"),
        "debug" => Ok("debug"),
        "info" | "notice" | "" => Ok("info"),
        "warn" | "warning" => Ok("warn"),
        "err" | "error" => Ok("error"),
        "off" => Ok("off"),
        _ => Err("log_level: use error, warn, info, debug or trace".to_owned()),
    }
}

fn log_json(top: &mut Section) -> Result<Option<bool>, String> {
    let Some(text) = top.text("log_format")? else { return Ok(None) };
    form(&text).map(Some).map_err(|why| top.says(&why))
}

/// Whether the log's format of this name is JSON.
pub(crate) fn form(text: &str) -> Result<bool, String> {
    match text {
        "json" => Ok(true),
        "standard" | "text" | "" => Ok(false),
        _ => Err("log_format: use standard or json".to_owned()),
    }
}
