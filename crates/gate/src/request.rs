//! A request as it comes in, and the mount it goes to.

use std::{net::IpAddr, sync::Arc, time::Duration};

use api::{ReqPath, Verb};
use bytes::Bytes;
use clock::Timestamp;
use secret::SecretString;

/// The id of a request: a random UUID, in every reply and audit entry.
pub type RequestId = Arc<str>;

/// The namespace of a request: empty for the root namespace, else a path that ends in `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The root namespace.
    pub fn root() -> Self {
        Self::default()
    }

    /// A namespace from its path; surrounding slashes are dropped. Empty and `root` are the root namespace.
    pub fn new(path: &str) -> Self {
        match path.trim_matches('/') {
            "" | "root" => Self::root(),
            path => Self(format!("{path}/").into()),
        }
    }

    /// The path, empty for the root namespace.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The id: `root` for the root namespace.
    pub fn id(&self) -> &str {
        if self.is_root() { "root" } else { &self.0 }
    }

    /// Whether this is the root namespace.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// A request below `/v1/`, as the listener hands it over.
#[derive(Debug)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// What it asks for.
    pub verb: Verb,
    /// Where.
    pub namespace: Namespace,
    /// The path below `/v1/`.
    pub path: ReqPath,
    /// The query parameters in order, decoded.
    pub query: Vec<(String, String)>,
    /// The body: empty, or a JSON object within the limits of the listener.
    pub body: Bytes,
    /// The token, if one was sent.
    pub token: Option<Arc<SecretString>>,
    /// For how long the reply shall be wrapped.
    pub wrap_ttl: Option<Duration>,
    /// Where it comes from.
    pub remote: Option<(IpAddr, u16)>,
    /// Other headers, names in lower case, for the audit log and for engines that ask for them.
    pub headers: Vec<(String, String)>,
    /// Whether help is wanted instead of the reply.
    pub help: bool,
    /// When it came in.
    pub received: Timestamp,
    /// Whether it has to do with a login that serves one request.
    pub inline: crate::Inline,
}

impl Request {
    /// The first query parameter with this name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a mount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MountClass {
    /// An auth method, below `auth/`.
    Auth,
    /// A secrets engine.
    Secret,
}

impl MountClass {
    /// The class's name in audit entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Secret => "secret",
        }
    }
}

/// What an engine and the audit log may know about a mount.
#[derive(Clone, Debug)]
pub struct MountInfo {
    /// A random id that never changes; the storage of the mount lies below it.
    pub uuid: Arc<str>,
    /// The stable name for policies and identities, such as `kv_1a2b3c4d`.
    pub accessor: Arc<str>,
    /// The path with its trailing slash, such as `database/` or `auth/jwt/`.
    pub path: Arc<str>,
    /// The type, such as `kv`.
    pub kind: &'static str,
    /// Secrets engine or auth method.
    pub class: MountClass,
    /// The mount's own options, such as `version`.
    pub options: Arc<std::collections::BTreeMap<String, String>>,
    /// The life of a lease that asks for none.
    pub default_ttl: Duration,
    /// The longest life of a lease.
    pub max_ttl: Duration,
    /// Top-level keys of requests that the audit log keeps in clear.
    pub clear_request_keys: Arc<[String]>,
    /// Top-level keys of replies that the audit log keeps in clear.
    pub clear_response_keys: Arc<[String]>,
    /// Headers of requests that the engine sees besides [those of the protocol](MountInfo::lets_in), in lower case.
    pub passed_headers: Arc<[String]>,
    /// Headers that the engine may set on replies besides [those of the protocol](MountInfo::lets_out), in lower case.
    pub reply_headers: Arc<[String]>,
}

impl MountInfo {
    /// Whether the engine sees a header of a request, by its name in lower case. What the client already holds of a
    /// resource or a stream is a part of the protocol and always passed on; all else the operator lets in.
    pub fn lets_in(&self, header: &str) -> bool {
        matches!(header, "if-match" | "if-none-match" | "last-event-id")
            || self.passed_headers.iter().any(|name| name == header)
    }

    /// Whether the engine may set a header on a reply, by its name in lower case. What the reply is, is a part of the protocol.
    pub fn lets_out(&self, header: &str) -> bool {
        matches!(header, "cache-control" | "content-type" | "etag")
            || self.reply_headers.iter().any(|name| name == header)
    }
}
