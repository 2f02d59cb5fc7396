//! One record, before it is formatted: borrowed parts that the core fills at no cost.
//!
//! Every part has a `Default` in which nothing is written; what is empty is left out of the record.

use std::{collections::BTreeMap, fmt, sync::Arc};

use clock::Timestamp;
use parking_lot::Mutex;
use secret::Kept;

/// One record of the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it happened.
    pub time: Timestamp,
    /// On the way in or on the way out.
    pub kind: Kind,
    /// Who asks; `None` before anybody is known.
    pub auth: Option<&'a Auth<'a>>,
    /// What is asked.
    pub request: &'a Request<'a>,
    /// What is answered; only in responses.
    pub response: Option<&'a Response<'a>>,
    /// Why it was refused or failed; empty if it was not.
    pub error: &'a str,
    /// The node that passed the request on; empty if none.
    pub forwarded_from: &'a str,
    /// What the two records of one request share; see [`Memo`].
    pub memo: Option<&'a Memo>,
}

impl<'a> Entry<'a> {
    /// The record of a request on its way in.
    pub fn request(time: Timestamp, request: &'a Request<'a>) -> Self {
        let kind = Kind::Request;
        Self { time, kind, auth: None, request, response: None, error: "", forwarded_from: "", memo: None }
    }

    /// The record of what came of a request.
    pub fn response(time: Timestamp, request: &'a Request<'a>, response: Option<&'a Response<'a>>) -> Self {
        Self { kind: Kind::Response, response, ..Self::request(time, request) }
    }

    /// The same record with who asks.
    pub fn auth(self, auth: Option<&'a Auth<'a>>) -> Self {
        Self { auth, ..self }
    }

    /// The same record with why it was refused or failed.
    pub fn error(self, error: &'a str) -> Self {
        Self { error, ..self }
    }

    /// The same record with what it shares with the request's other record.
    pub fn memo(self, memo: &'a Memo) -> Self {
        Self { memo: Some(memo), ..self }
    }
}

/// Which of the two records of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Written before the request is carried out.
    Request,
    /// Written before the answer is sent.
    Response,
}

impl Kind {
    /// The name in the record's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// Who asks, or (in a response) the login that was made.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names are those of the record")]
pub struct Auth<'a> {
    pub client_token: Sensitive<'a>,
    pub accessor: &'a str,
    pub display_name: &'a str,
    pub policies: Texts<'a>,
    pub token_policies: Texts<'a>,
    pub identity_policies: Texts<'a>,
    pub no_default_policy: bool,
    pub policy_results: Option<PolicyResults<'a>>,
    pub metadata: Pairs<'a>,
    pub num_uses: u64,
    pub remaining_uses: u64,
    pub entity_id: &'a str,
    pub entity_created: bool,
    /// `service` or `batch`.
    pub token_type: &'a str,
    /// In seconds.
    pub token_ttl: u64,
    pub token_issue_time: Option<Timestamp>,
    /// Remembers all of this but `remaining_uses` and `policy_results`, as it is written for this caller.
    pub kept: Option<&'a Kept>,
}

/// What the policies said.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicyResults<'a> {
    /// Whether the request was allowed.
    pub allowed: bool,
    /// The rules that decided.
    pub granting_policies: &'a [Granting<'a>],
}

/// One rule that decided.
#[derive(Clone, Copy, Debug, Default)]
pub struct Granting<'a> {
    /// The policy's name; empty where no policy was asked, as for root.
    pub name: &'a str,
    /// The id of the policy's namespace.
    pub namespace_id: &'a str,
    /// The path of the policy's namespace; empty for the root one.
    pub namespace_path: &'a str,
    /// `acl`.
    pub kind: &'a str,
    /// The rule's path pattern.
    pub rule: &'a str,
    /// The line of the policy where the rule begins; 0 if it is not known.
    pub line: u32,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names are those of the record")]
pub struct Request<'a> {
    pub id: &'a str,
    pub client_id: &'a str,
    /// `create`, `read`, `update`, `delete`, `list`, `patch`, `revoke`, `renew`, `rotate`.
    pub operation: &'a str,
    /// `system` if the server acted by itself; empty for a caller's request.
    pub actor: &'a str,
    pub mount_point: &'a str,
    pub mount_type: &'a str,
    pub mount_accessor: &'a str,
    pub mount_running_version: &'a str,
    /// `secret` or `auth`.
    pub mount_class: &'a str,
    pub client_token: Sensitive<'a>,
    pub client_token_accessor: &'a str,
    pub namespace: Namespace<'a>,
    pub path: &'a str,
    pub data: Data<'a>,
    pub policy_override: bool,
    pub remote_address: &'a str,
    pub remote_port: u16,
    /// In seconds.
    pub wrap_ttl: u64,
    /// Only those that the operator asked to have recorded.
    pub headers: &'a [Header<'a>],
    pub client_certificate_serial_number: &'a str,
    /// The lease that a server-started act is about.
    pub lease_id: &'a str,
    /// The issued user that a server-started act is about.
    pub username: &'a str,
    /// The serial number that a server-started act is about.
    pub serial: &'a str,
}

/// What is answered.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names are those of the record")]
pub struct Response<'a> {
    /// The login that was made, if one was.
    pub auth: Option<&'a Auth<'a>>,
    pub mount_point: &'a str,
    pub mount_type: &'a str,
    pub mount_accessor: &'a str,
    pub mount_running_plugin_version: &'a str,
    pub mount_class: &'a str,
    /// The lease that was granted, written as `secret.lease_id`.
    pub lease_id: &'a str,
    pub data: Data<'a>,
    pub warnings: Texts<'a>,
    pub redirect: &'a str,
    pub wrap_info: Option<WrapInfo<'a>>,
    pub headers: &'a [Header<'a>],
}

/// A wrapped reply.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names are those of the record")]
pub struct WrapInfo<'a> {
    /// In seconds.
    pub ttl: u64,
    pub token: Sensitive<'a>,
    pub accessor: &'a str,
    pub creation_time: Option<Timestamp>,
    pub creation_path: &'a str,
    pub wrapped_accessor: &'a str,
}

/// Where the mount lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespace<'a> {
    /// The namespace's id; `root` for the root one.
    pub id: &'a str,
    /// The namespace's path; empty for the root one.
    pub path: &'a str,
}

/// One header line. Lines of the same name stand next to each other.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// The name, in lower case.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
    /// Whether the value is recorded as its keyed hash.
    pub hashed: bool,
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({})", self.name)
    }
}

/// A text that is never recorded in clear, such as a token.
#[derive(Clone, Copy, Default)]
pub struct Sensitive<'a>(pub(crate) &'a str);

impl<'a> Sensitive<'a> {
    /// Lends `text` to the record; only its keyed hash is written.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Sensitive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(..)")
    }
}

/// The parameters of a request or the content of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Data<'a> {
    /// The bytes.
    pub body: Body<'a>,
    /// Top-level keys whose whole value stays in clear, at any depth below: the operator's choice for the mount
    /// (`audit_non_hmac_request_keys`, `audit_non_hmac_response_keys`).
    pub unhashed: Texts<'a>,
    /// Top-level keys whose value stays in clear if it is a plain string: the engine's choice for names that it
    /// issues (`username`, `serial_number`, `lease_id`). What is nested below is hashed.
    pub clear: &'a [&'a str],
    /// Remembers how these bytes are written, with these rules.
    pub kept: Option<&'a Kept>,
}

/// Bytes of a request or an answer.
#[derive(Clone, Copy, Default)]
pub enum Body<'a> {
    /// Nothing; `data` is left out.
    #[default]
    None,
    /// JSON text. If it is malformed or nested more than 128 deep it is treated as raw.
    Json(&'a [u8]),
    /// Anything else; recorded as the keyed hash of the whole.
    Raw(&'a [u8]),
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Json(bytes) => write!(f, "Json({} bytes)", bytes.len()),
            Self::Raw(bytes) => write!(f, "Raw({} bytes)", bytes.len()),
        }
    }
}

/// A list of texts in whichever form the caller has it.
#[derive(Clone, Copy, Debug)]
pub enum Texts<'a> {
    /// Borrowed texts.
    Borrowed(&'a [&'a str]),
    /// Owned texts.
    Owned(&'a [String]),
    /// Shared texts.
    Shared(&'a [Arc<str>]),
}

impl<'a> Texts<'a> {
    /// The texts, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).filter_map(move |at| match self {
            Self::Borrowed(list) => list.get(at).copied(),
            Self::Owned(list) => list.get(at).map(String::as_str),
            Self::Shared(list) => list.get(at).map(AsRef::as_ref),
        })
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self {
            Self::Borrowed(list) => list.len(),
            Self::Owned(list) => list.len(),
            Self::Shared(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl Default for Texts<'_> {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl<'a> From<&'a [&'a str]> for Texts<'a> {
    fn from(list: &'a [&'a str]) -> Self {
        Self::Borrowed(list)
    }
}

impl<'a> From<&'a [String]> for Texts<'a> {
    fn from(list: &'a [String]) -> Self {
        Self::Owned(list)
    }
}

impl<'a> From<&'a Vec<String>> for Texts<'a> {
    fn from(list: &'a Vec<String>) -> Self {
        Self::Owned(list)
    }
}

impl<'a> From<&'a [Arc<str>]> for Texts<'a> {
    fn from(list: &'a [Arc<str>]) -> Self {
        Self::Shared(list)
    }
}

/// Names with values in whichever form the caller has them.
#[derive(Clone, Copy, Debug)]
pub enum Pairs<'a> {
    /// Borrowed pairs.
    Borrowed(&'a [(&'a str, &'a str)]),
    /// Owned pairs.
    Owned(&'a [(String, String)]),
    /// A sorted map.
    Map(&'a BTreeMap<String, String>),
}

impl Pairs<'_> {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        match self {
            Self::Borrowed(list) => list.is_empty(),
            Self::Owned(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
        }
    }

    pub(crate) fn each(self, mut visit: impl FnMut(&str, &str)) {
        match self {
            Self::Borrowed(list) => list.iter().for_each(|(name, value)| visit(name, value)),
            Self::Owned(list) => list.iter().for_each(|(name, value)| visit(name, value)),
            Self::Map(map) => map.iter().for_each(|(name, value)| visit(name, value)),
        }
    }
}

impl Default for Pairs<'_> {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl<'a> From<&'a BTreeMap<String, String>> for Pairs<'a> {
    fn from(map: &'a BTreeMap<String, String>) -> Self {
        Self::Map(map)
    }
}

/// Remembers how who asks and what is asked are written, so that the second record of a request need not format and
/// hash them again.
///
/// Make one per request and give it to both records. Who asks and what is asked must be the same in both; for the record
/// of another request it is of no effect. It holds hashes, not secrets, unless a device logs everything in clear.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Vec<Remembered>>);

/// What one format wrote for a request.
#[derive(Debug)]
struct Remembered {
    format: u64,
    request: Box<str>,
    /// Whether it was known who asks.
    known: bool,
    text: Vec<u8>,
}

impl Memo {
    /// Appends what the format with this id writes for the parts of `entry`; `make` writes it the first time.
    pub(crate) fn write(&self, format: u64, entry: &Entry<'_>, out: &mut Vec<u8>, make: impl FnOnce(&mut Vec<u8>)) {
        let mut all = self.0.lock();
        let same = |it: &&Remembered| {
            it.format == format && *it.request == *entry.request.id && it.known == entry.auth.is_some()
        };
        if let Some(known) = all.iter().find(same) {
            return out.extend_from_slice(&known.text);
        }
        let start = out.len();
        make(out);
        let text = out.get(start..).unwrap_or_default().to_vec();
        all.push(Remembered { format, request: entry.request.id.into(), known: entry.auth.is_some(), text });
    }
}
