//! The envelope around every logical reply, and the error body.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The reply to a logical request. Absent parts are `null`, never left out, as clients expect.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// The request's id, as in the audit log; empty on wrapped replies.
    #[serde(default)]
    pub request_id: String,
    /// The lease, or empty.
    #[serde(default)]
    pub lease_id: String,
    /// Whether the lease can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// Seconds until the lease ends.
    #[serde(default)]
    pub lease_duration: u64,
    /// What was asked for.
    pub data: Option<Box<RawValue>>,
    /// Set instead of `data` and `auth` when the reply was wrapped.
    pub wrap_info: Option<WrapInfo>,
    /// What the caller should know although the request succeeded.
    pub warnings: Option<Vec<String>>,
    /// A new or renewed token.
    pub auth: Option<Auth>,
    /// The type of the mount that answered.
    #[serde(default)]
    pub mount_type: String,
}

/// A token as a login or renewal returns it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Auth {
    /// The token itself.
    pub client_token: String,
    /// A name for the token that allows looking it up and revoking it, not using it.
    pub accessor: String,
    /// The name that the token shows in logs. Not on the wire.
    #[serde(skip)]
    pub display_name: String,
    /// All policies in force.
    pub policies: Vec<String>,
    /// Those that the token holds.
    #[serde(default)]
    pub token_policies: Vec<String>,
    /// Those that come from the entity and its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_policies: Vec<String>,
    /// What the login method knows about the holder.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds until the token ends.
    pub lease_duration: u64,
    /// Whether the token can be renewed.
    pub renewable: bool,
    /// The entity the token belongs to, or empty.
    #[serde(default)]
    pub entity_id: String,
    /// `service` or `batch`.
    #[serde(default)]
    pub token_type: String,
    /// Whether the token has no parent.
    #[serde(default)]
    pub orphan: bool,
    /// What is still to be shown before there is a token.
    #[serde(default)]
    pub mfa_requirement: Option<MfaRequirement>,
    /// How often the token may be used; 0 is without limit.
    #[serde(default)]
    pub num_uses: u64,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("accessor", &self.accessor)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

/// What a login has to show besides: one of the methods of each constraint, at `sys/mfa/validate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MfaRequirement {
    /// Names the login that waits.
    pub mfa_request_id: String,
    /// By the name of the enforcement.
    pub mfa_constraints: BTreeMap<String, MfaConstraint>,
}

/// The methods of which one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MfaConstraint {
    /// The methods.
    pub any: Vec<MfaMethod>,
}

/// A method that a login may show something by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MfaMethod {
    /// Its kind, such as `totp`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Whether a code is typed in.
    pub uses_passcode: bool,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// Where a wrapped reply can be fetched, once.
#[derive(Clone, Serialize, Deserialize)]
pub struct WrapInfo {
    /// The single-use token.
    pub token: String,
    /// Its accessor.
    pub accessor: String,
    /// Seconds until it ends.
    pub ttl: u64,
    /// When it was made, RFC 3339.
    pub creation_time: String,
    /// The path that was asked for.
    pub creation_path: String,
    /// The accessor inside the wrapped reply, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapped_accessor: Option<String>,
}

impl std::fmt::Debug for WrapInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrapInfo").field("creation_path", &self.creation_path).finish_non_exhaustive()
    }
}

/// The body of an unsuccessful reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// What went wrong, for people; empty where "it is not there" says all.
    pub errors: Vec<String>,
}
