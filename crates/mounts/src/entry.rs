//! The stored form of a mount.

use std::{collections::BTreeMap, time::Duration};

use api::Ttl;
use clock::Timestamp;
use gate::{Error, MountClass, MountInfo, Namespace};
use serde::{Deserialize, Serialize};

use crate::Limits;

/// A mount, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// A random id that never changes.
    pub uuid: String,
    /// See [`MountInfo::accessor`].
    pub accessor: String,
    /// The full path with its trailing slash.
    pub path: String,
    /// The paths it had before it was moved: leases and tokens made there keep their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_paths: Vec<String>,
    /// The type.
    pub kind: String,
    /// `secret` or `auth`.
    pub class: String,
    /// What it is for.
    pub description: String,
    /// Its settings.
    pub config: Config,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// Kept and shown.
    pub local: bool,
    /// Kept and shown.
    pub seal_wrap: bool,
    /// It is being removed.
    pub tainted: bool,
    /// What it stored is being brought into the form that its options ask for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upgrading: bool,
    /// It is on its way to another namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// When it was mounted.
    pub created: Timestamp,
}

/// Where a mount goes that is moved to another namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// The id of the namespace; empty for the root one.
    pub namespace: String,
    /// The full path there, with its trailing slash.
    pub path: String,
    /// By which the move is asked about.
    pub migration: String,
    /// The id of the namespace in which the move was asked for; empty for the root one.
    pub asked_in: String,
}

/// The settings of a mount that can be tuned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The life of leases; zero takes the system's.
    pub default_lease_ttl: Ttl,
    /// The longest life of leases; zero takes the system's.
    pub max_lease_ttl: Ttl,
    /// Kept and shown.
    pub force_no_cache: bool,
    /// Top-level request keys that the audit log keeps in clear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audit_non_hmac_request_keys: Vec<String>,
    /// Top-level reply keys that the audit log keeps in clear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audit_non_hmac_response_keys: Vec<String>,
    /// `unauth`: shown to those without a token; `hidden` or empty: not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listing_visibility: String,
    /// Request headers that the engine sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passthrough_request_headers: Vec<String>,
    /// Reply headers that the engine may set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
    /// The kind of tokens a login makes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token_type: String,
    /// Kept and shown: there are no managed keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_managed_keys: Vec<String>,
    /// Kept and shown: no engine logs in for another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delegated_auth_accessors: Vec<String>,
    /// Kept and shown: the server signs no tokens for its own use elsewhere.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identity_token_key: String,
    /// Kept and shown: a slash at the end of a path means what it says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trim_request_trailing_slashes: bool,
    /// When a login method shuts out a user after failed logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_lockout_config: Option<UserLockout>,
}

/// When a login method shuts out a user after failed logins; what is zero is as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLockout {
    /// After how many failures.
    pub lockout_threshold: u64,
    /// For how long.
    pub lockout_duration: Ttl,
    /// After which time without a failure they are forgotten.
    pub lockout_counter_reset: Ttl,
    /// Whether nobody is shut out.
    pub lockout_disable: bool,
}

impl Config {
    /// Refuses settings that contradict each other.
    pub(crate) fn check(&self, limits: Limits) -> Result<(), Error> {
        let max = self.max_lease_ttl.set().unwrap_or(limits.max_ttl);
        if self.default_lease_ttl.set().is_some_and(|default| default > max) {
            return Err(Error::invalid(format!(
                "default_lease_ttl: {}s is longer than the maximum of {}s; raise max_lease_ttl or lower it",
                self.default_lease_ttl.as_secs(),
                max.as_secs()
            )));
        }
        if !matches!(self.listing_visibility.as_str(), "" | "hidden" | "unauth") {
            return Err(Error::invalid("listing_visibility: use \"hidden\" or \"unauth\""));
        }
        if !matches!(self.token_type.as_str(), "" | "service" | "batch" | "default-service" | "default-batch") {
            return Err(Error::invalid("token_type: use service, batch, default-service or default-batch"));
        }
        Ok(())
    }
}

impl Entry {
    /// What engines and the audit log may know.
    pub(crate) fn info(&self, kind: &'static str, limits: Limits, namespace: &Namespace) -> MountInfo {
        let max_ttl = self.config.max_lease_ttl.set().unwrap_or(limits.max_ttl);
        let default_ttl = self.config.default_lease_ttl.set().unwrap_or(limits.default_ttl);
        MountInfo {
            namespace: namespace.clone(),
            uuid: self.uuid.as_str().into(),
            accessor: self.accessor.as_str().into(),
            path: self.path.as_str().into(),
            kind,
            class: if self.class == "auth" { MountClass::Auth } else { MountClass::Secret },
            options: self.options.clone().into(),
            default_ttl: Duration::min(default_ttl, max_ttl),
            max_ttl,
            clear_request_keys: self.config.audit_non_hmac_request_keys.clone().into(),
            clear_response_keys: self.config.audit_non_hmac_response_keys.clone().into(),
            passed_headers: lower(&self.config.passthrough_request_headers),
            reply_headers: lower(&self.config.allowed_response_headers),
        }
    }
}

/// Names of headers as they are compared.
fn lower(names: &[String]) -> std::sync::Arc<[String]> {
    names.iter().map(|name| name.trim().to_ascii_lowercase()).collect()
}
