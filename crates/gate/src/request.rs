//! A request as it comes in, and the mount it goes to.

use std::{net::IpAddr, sync::Arc, time::Duration};

use api::{ReqPath, Verb};
use bytes::Bytes;
use clock::Timestamp;
use secret::SecretString;

use crate::Namespace;

/// The id of a request: a random UUID, in every reply and audit entry.
pub type RequestId = Arc<str>;

/// A request below `/v1/`, as the listener hands it over.
#[derive(Debug)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// What it asks for.
    pub verb: Verb,
    /// The namespace: as the client names it when the request comes in, as it is once the request is routed.
    pub namespace: Namespace,
    /// The path below `/v1/`; once the request is routed, inside its namespace.
    pub path: ReqPath,
    /// The query parameters in order, decoded.
    pub query: Vec<(String, String)>,
    /// The body: empty, or a JSON object within the limits of the listener.
    pub body: Bytes,
    /// The body where a route takes it in pieces.
    pub upload: crate::Upload,
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

    /// The same request, at a path inside a namespace.
    pub fn moved(&self, namespace: Namespace, path: ReqPath) -> Self {
        Self {
            id: Arc::clone(&self.id),
            verb: self.verb,
            namespace,
            path,
            query: self.query.clone(),
            body: self.body.clone(),
            upload: self.upload.clone(),
            token: self.token.clone(),
            wrap_ttl: self.wrap_ttl,
            remote: self.remote,
            headers: self.headers.clone(),
            help: self.help,
            received: self.received,
            inline: self.inline.moved(),
        }
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
    /// The namespace that it is mounted in; its path is relative to that.
    pub namespace: Namespace,
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
