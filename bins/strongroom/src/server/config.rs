//! The configuration file: Vault's HCL or JSON.

use std::{net::SocketAddr, path::Path, path::PathBuf, time::Duration};

use serde_json::{Map, Value};

/// What a configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) storage: Storage,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) default_lease_ttl: Option<Duration>,
    pub(crate) max_lease_ttl: Option<Duration>,
    pub(crate) cluster_name: String,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) cache_bytes: u64,
    pub(crate) compatibility: String,
    pub(crate) allow_audit_log_prefixing: bool,
}

/// Where data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Embedded { path: PathBuf },
    Memory,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) max_request_size: Option<usize>,
    pub(crate) max_request_duration: Option<Duration>,
}

/// The certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

/// The version of Vault whose features clients may expect, unless the configuration says otherwise.
pub(crate) const COMPATIBILITY: &str = "1.16.3";

const DEFAULT_CACHE: u64 = 16 * 1024 * 1024;

/// Keys of other programs' configurations that mean nothing here, and may stand there all the same.
const IGNORED: &[&str] = &[
    "api_addr",
    "backend",
    "cluster_addr",
    "disable_cache",
    "disable_clustering",
    "disable_mlock",
    "disable_performance_standby",
    "enable_response_header_hostname",
    "ha_storage",
    "plugin_directory",
    "raw_storage_endpoint",
    "service_registration",
    "telemetry",
    "ui",
    "license_path",
    "log_requests_level",
    "introspection_endpoint",
];

impl Config {
    /// Reads files, or all `*.hcl` and `*.json` files of folders; what a later one says wins, listeners add up.
    /// Gives warnings too.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<(Self, Vec<String>), String> {
        let mut merged = Map::new();
        for path in paths {
            for file in files(path)? {
                merge(&mut merged, parse(&file)?);
            }
        }
        Self::from_map(merged)
    }

    fn from_map(mut map: Map<String, Value>) -> Result<(Self, Vec<String>), String> {
        // Taken for granted, a seal that is not there would leave a server closed after its first restart.
        if let Some((name, _)) =
            map.remove("seal").map(blocks).unwrap_or_default().iter().find(|(name, _)| name != "shamir")
        {
            return Err(format!("seal \"{name}\" is not known; the only seal is shamir, with key shares"));
        }
        let storage = storage(&mut map)?;
        let listeners = listeners(&mut map)?;
        let config = Self {
            storage,
            listeners,
            default_lease_ttl: duration(&mut map, "default_lease_ttl")?,
            max_lease_ttl: duration(&mut map, "max_lease_ttl")?,
            cluster_name: text(&mut map, "cluster_name")?.unwrap_or_else(|| "strongroom".to_owned()),
            log_level: text(&mut map, "log_level")?.unwrap_or_else(|| "info".to_owned()),
            log_json: text(&mut map, "log_format")?.is_some_and(|format| format == "json"),
            pid_file: text(&mut map, "pid_file")?.map(PathBuf::from),
            cache_bytes: number(&mut map, "cache_bytes")?.unwrap_or(DEFAULT_CACHE),
            compatibility: text(&mut map, "compatibility_version")?.unwrap_or_else(|| COMPATIBILITY.to_owned()),
            allow_audit_log_prefixing: flag(&mut map, "allow_audit_log_prefixing")?.unwrap_or(false),
        };
        let unknown = map.keys().filter(|key| !IGNORED.contains(&key.as_str()));
        let warnings = unknown.map(|key| format!("unknown or unsupported field {key} in the configuration")).collect();
        Ok((config, warnings))
    }
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

fn parse(path: &Path) -> Result<Map<String, Value>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration {}: {error}", path.display()))?;
    let wrong = |error: String| format!("{}: {error}", path.display());
    let value: Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
    } else {
        hcl::from_str(&text).map_err(|error| wrong(error.to_string()))?
    };
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(wrong("the configuration must be an object".to_owned())),
    }
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), key.as_str()) {
            (Some(known), "listener") => {
                let mut all = blocks(known.take());
                all.extend(blocks(value));
                let all =
                    all.into_iter().map(|(label, body)| Value::Object(Map::from_iter([(label, Value::Object(body))])));
                *known = Value::Array(all.collect());
            }
            _ => {
                into.insert(key, value);
            }
        }
    }
}

/// Labelled blocks, in each of the forms that HCL and JSON give them.
fn blocks(value: Value) -> Vec<(String, Map<String, Value>)> {
    match value {
        Value::Array(items) => items.into_iter().flat_map(blocks).collect(),
        Value::Object(map) => map.into_iter().flat_map(|(label, body)| bodies(&label, body)).collect(),
        _ => Vec::new(),
    }
}

/// The bodies that stand under one label.
fn bodies(label: &str, value: Value) -> Vec<(String, Map<String, Value>)> {
    match value {
        Value::Array(items) => items.into_iter().flat_map(|item| bodies(label, item)).collect(),
        Value::Object(body) => vec![(label.to_owned(), body)],
        _ => Vec::new(),
    }
}

fn storage(map: &mut Map<String, Value>) -> Result<Storage, String> {
    let named = map.remove("storage").or_else(|| map.remove("backend"));
    let mut found =
        blocks(named.ok_or("storage: name a store, such as: storage \"embedded\" { path = \"/var/lib/strongroom\" }")?);
    let Some((name, mut body)) = found.pop().filter(|_| found.is_empty()) else {
        return Err("storage: name exactly one store".to_owned());
    };
    let kind = catalogue::store(&name).ok_or_else(|| {
        let known = catalogue::STORES.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
        format!("storage \"{name}\" is not known; the stores are {known}")
    })?;
    if kind.name == "inmem" {
        return Ok(Storage::Memory);
    }
    let path =
        text(&mut body, "path")?.ok_or_else(|| format!("storage \"{name}\": path is missing: name a directory"))?;
    Ok(Storage::Embedded { path: path.into() })
}

fn listeners(map: &mut Map<String, Value>) -> Result<Vec<Listener>, String> {
    let Some(value) = map.remove("listener") else {
        return Err(
            "listener: name at least one, such as: listener \"tcp\" { address = \"127.0.0.1:8200\" … }".to_owned()
        );
    };
    blocks(value).into_iter().map(|(kind, body)| listener(&kind, body)).collect()
}

fn listener(kind: &str, mut body: Map<String, Value>) -> Result<Listener, String> {
    if kind != "tcp" {
        return Err(format!("listener \"{kind}\" is not known; the only kind is tcp"));
    }
    let text_address = text(&mut body, "address")?.unwrap_or_else(|| "127.0.0.1:8200".to_owned());
    let address = std::net::ToSocketAddrs::to_socket_addrs(text_address.as_str()).ok().and_then(|mut all| all.next());
    let address = address.ok_or_else(|| format!("listener \"tcp\": address {text_address:?} is not HOST:PORT"))?;
    let tls = if flag(&mut body, "tls_disable")?.unwrap_or(false) {
        None
    } else {
        let file = |body: &mut _, name| text(body, name).map(|path| path.map(PathBuf::from));
        match (file(&mut body, "tls_cert_file")?, file(&mut body, "tls_key_file")?) {
            (Some(cert_file), Some(key_file)) => Some(Tls { cert_file, key_file }),
            _ => return Err("listener \"tcp\": set tls_cert_file and tls_key_file, or tls_disable = true".to_owned()),
        }
    };
    let max_request_size =
        number(&mut body, "max_request_size")?.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    Ok(Listener { address, tls, max_request_size, max_request_duration: duration(&mut body, "max_request_duration")? })
}

fn text(map: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{key}: expected a text")),
    }
}

fn flag(map: &mut Map<String, Value>, key: &str) -> Result<Option<bool>, String> {
    let wrong = || format!("{key}: expected true or false");
    match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value::<api::Flag>(value).map(|flag| Some(flag.0)).map_err(|_| wrong()),
    }
}

fn number(map: &mut Map<String, Value>, key: &str) -> Result<Option<u64>, String> {
    let wrong = || format!("{key}: expected a whole number");
    match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value::<api::Count>(value).map(|count| Some(count.0)).map_err(|_| wrong()),
    }
}

fn duration(map: &mut Map<String, Value>, key: &str) -> Result<Option<Duration>, String> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            serde_json::from_value::<api::Ttl>(value).map(|ttl| ttl.set()).map_err(|error| format!("{key}: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Config, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.hcl");
        std::fs::write(&path, text).unwrap();
        Config::read(&[path])
    }

    const HCL: &str = r#"
        storage "embedded" { path = "/data" }
        listener "tcp" {
          address       = "127.0.0.1:8200"
          tls_cert_file = "c.pem"
          tls_key_file  = "k.pem"
        }
        listener "tcp" {
          address     = "127.0.0.1:8300"
          tls_disable = "true"
        }
        max_lease_ttl = "72h"
        disable_mlock = true
        frobnicate    = 1
    "#;

    #[test]
    fn hcl_and_json_say_the_same() {
        let (hcl, warnings) = read(HCL).unwrap();
        let json = r#"{"storage": {"raft": {"path": "/data"}},
            "listener": [{"tcp": {"address": "127.0.0.1:8200", "tls_cert_file": "c.pem", "tls_key_file": "k.pem"}},
                         {"tcp": {"address": "127.0.0.1:8300", "tls_disable": 1}}],
            "max_lease_ttl": 259200}"#;
        let (json, none) = read(json).unwrap();
        assert_eq!(hcl.storage, json.storage);
        assert_eq!(hcl.listeners, json.listeners);
        assert_eq!(hcl.max_lease_ttl, json.max_lease_ttl);
        assert_eq!(warnings, ["unknown or unsupported field frobnicate in the configuration"]);
        assert!(none.is_empty());
    }

    #[test]
    fn mistakes_name_the_field_and_the_remedy() {
        for (text, word) in [
            ("listener \"tcp\" { tls_disable = true }", "storage"),
            ("storage \"inmem\" {}", "listener"),
            ("storage \"consul\" {}\nlistener \"tcp\" { tls_disable = true }", "consul"),
            ("storage \"embedded\" {}\nlistener \"tcp\" { tls_disable = true }", "path"),
            ("storage \"inmem\" {}\nlistener \"tcp\" {}", "tls_cert_file"),
            ("storage \"inmem\" {}\nlistener \"unix\" {}", "unix"),
            ("storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = true address = \"x\" }", ""),
            ("storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = \"maybe\" }", "tls_disable"),
            ("storage \"inmem\" {", ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
