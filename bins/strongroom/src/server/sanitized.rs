//! The configuration as `sys/config/state/sanitized` shows it: what is set, and nothing that is secret.

use serde_json::{Value, json};
use strongroom_http::Address;

use super::config::{Config, Storage};

/// The configuration in Vault's names.
pub(super) fn of(config: &Config) -> Value {
    let seconds = |life: Option<std::time::Duration>| life.map_or(0, |life| life.as_secs());
    let listeners: Vec<_> = config.listeners.iter().map(listener).collect();
    let kind = match &config.storage {
        Storage::Embedded { .. } => "embedded",
        Storage::Memory => "inmem",
        Storage::Postgresql(_) => "postgresql",
    };
    json!({
        "api_addr": config.api_addr.as_deref().unwrap_or_default(),
        "cache_size": config.cache_bytes,
        "cluster_addr": "",
        "cluster_cipher_suites": "",
        "cluster_name": config.cluster_name,
        "default_lease_ttl": seconds(config.default_lease_ttl),
        "default_max_request_duration": 0,
        "disable_cache": false,
        "disable_clustering": false,
        "disable_mlock": false,
        "disable_performance_standby": true,
        "disable_printable_check": false,
        "disable_sealwrap": true,
        "enable_ui": false,
        "listeners": listeners,
        "log_format": if config.log_json { "json" } else { "standard" },
        "log_level": config.log_level,
        "max_lease_ttl": seconds(config.max_lease_ttl),
        "pid_file": config.pid_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "plugin_directory": "",
        "raw_storage_endpoint": false,
        "seals": seals(config),
        "storage": { "type": kind, "cluster_addr": "", "disable_clustering": false, "redirect_addr": "" },
        "compatibility_version": config.compatibility,
    })
}

/// The seals without their options; `shamir` if there is no other.
fn seals(config: &Config) -> Vec<Value> {
    let each = |keepers: &[std::sync::Arc<dyn seal::Keeper>], disabled: bool| {
        let show = |keeper: &std::sync::Arc<dyn seal::Keeper>| json!({ "type": keeper.kind(), "name": keeper.name(), "disabled": disabled });
        keepers.iter().map(show).collect::<Vec<_>>()
    };
    let mut all = each(&config.seals.active, false);
    if all.is_empty() {
        all.push(json!({ "type": "shamir", "disabled": false }));
    }
    all.extend(each(&config.seals.disabled, true));
    all
}

fn listener(listener: &strongroom_http::ListenerConfig) -> Value {
    let kind = match &listener.address {
        Address::Tcp(_) => "tcp",
        Address::Unix(_) => "unix",
    };
    json!({
        "type": kind,
        "config": { "address": listener.address.to_string(), "tls_disable": listener.tls.is_none() },
    })
}
