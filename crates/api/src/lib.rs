//! Wire types of the HTTP API: what clients of Vault send and expect, as types.
//!
//! The lenient spellings that clients rely on are a newtype each ([`Ttl`], [`CommaList`], [`Flag`], [`Count`],
//! [`Pairs`]); the reply envelope is [`Envelope`], the error body [`Errors`].

mod envelope;
mod escape;
mod kv;
mod lenient;
mod path;

pub use envelope::{Auth, Envelope, Errors, MfaConstraint, MfaMethod, MfaRequirement, WrapInfo};
pub use escape::{UNRESERVED, percent_escape};
pub use kv::KV_FAMILIES;
pub use lenient::{CommaList, Count, Flag, Pairs, Ttl, parse_duration};
pub use path::{InvalidPath, Name, ReqPath};

use std::fmt;

/// What a request asks for, as HTTP says it. POST and PUT are both [`Verb::Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// DELETE.
    Delete,
    /// LIST, or GET with `list=true`.
    List,
    /// PATCH with a JSON merge patch.
    Patch,
    /// GET.
    Read,
    /// SCAN, or GET with `scan=true`.
    Scan,
    /// POST or PUT.
    Write,
}

/// What a request does, once it is known whether its target exists: what policies and the audit log speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A write to what does not exist yet.
    Create,
    /// A removal.
    Delete,
    /// A listing.
    List,
    /// A merge into what exists.
    Patch,
    /// A read.
    Read,
    /// A listing with everything below.
    Scan,
    /// A write to what exists, or where existence does not matter.
    Update,
}

impl Operation {
    /// The operation's name in policies and audit entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Update => "update",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
