//! The settings that all mounts share, as flags.

use serde_json::{Map, Value};

use crate::{failure::Failure, input};

// No doc comment: it would replace the description of the command that this is part of.
#[derive(clap::Args)]
pub(super) struct MountOptions {
    /// What the mount is for, in words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// How long leases and tokens live unless they say otherwise
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    default_lease_ttl: Option<String>,

    /// How long leases and tokens may live at most
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    max_lease_ttl: Option<String>,

    /// A setting of the kind of mount, as NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    options: Vec<String>,

    /// The version of the kind of mount, as 2 for kv
    #[arg(long, value_name = "NUMBER")]
    version: Option<u32>,

    /// A request field that the audit log keeps in clear; may be repeated
    #[arg(long, value_name = "NAME")]
    audit_non_hmac_request_keys: Vec<String>,

    /// A reply field that the audit log keeps in clear; may be repeated
    #[arg(long, value_name = "NAME")]
    audit_non_hmac_response_keys: Vec<String>,

    /// Whether callers without a token see the mount: unauth or hidden
    #[arg(long, value_name = "WHO")]
    listing_visibility: Option<String>,

    /// A request header that the mount gets to see; may be repeated
    #[arg(long, value_name = "NAME")]
    passthrough_request_headers: Vec<String>,

    /// A reply header that the mount may set; may be repeated
    #[arg(long, value_name = "NAME")]
    allowed_response_headers: Vec<String>,
}

impl MountOptions {
    /// What the flags say of the mount itself: `description`, `options`.
    pub(super) fn own(&self) -> Result<Map<String, Value>, Failure> {
        let mut own = Map::new();
        if let Some(text) = &self.description {
            own.insert("description".to_owned(), text.as_str().into());
        }
        let mut options = input::pairs(&self.options)?;
        if let Some(version) = self.version {
            options.insert("version".to_owned(), version.to_string().into());
        }
        if !options.is_empty() {
            own.insert("options".to_owned(), options.into());
        }
        Ok(own)
    }

    /// What the flags say of its configuration.
    pub(super) fn config(&self) -> Map<String, Value> {
        let mut config = Map::new();
        let texts = [
            ("default_lease_ttl", &self.default_lease_ttl),
            ("max_lease_ttl", &self.max_lease_ttl),
            ("listing_visibility", &self.listing_visibility),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                config.insert(name.to_owned(), value.as_str().into());
            }
        }
        let lists = [
            ("audit_non_hmac_request_keys", &self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &self.passthrough_request_headers),
            ("allowed_response_headers", &self.allowed_response_headers),
        ];
        for (name, values) in lists {
            if !values.is_empty() {
                let values = values.iter().flat_map(|value| value.split(',')).map(Value::from);
                config.insert(name.to_owned(), values.collect());
            }
        }
        config
    }
}
