//! What an engine answers.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use clock::Timestamp;
use futures::Stream;
use secret::{Kept, SecretBytes, SecretString};
use serde::{Deserialize, Serialize};

use crate::LeaseId;

/// The answer of an engine, before leases and tokens are granted.
#[derive(Default)]
pub struct Answer {
    /// The data.
    pub body: Body,
    /// How the audit log writes the data, where the same data is answered again.
    pub kept: Option<Arc<Kept>>,
    /// A status other than 200 (with data) or 204 (without).
    pub status: Option<u16>,
    /// What the caller should know although the request succeeded.
    pub warnings: Vec<String>,
    /// A lease on what was answered.
    pub lease: Option<LeaseGrant>,
    /// A lease that was renewed: its id, how long it lasts now, and whether it can be renewed again.
    pub renewed: Option<(LeaseId, Duration, bool)>,
    /// A token to issue.
    pub login: Option<Login>,
    /// A token that was issued or renewed by the token store itself, ready for the reply.
    pub auth: Option<Box<api::Auth>>,
    /// Where a reply that was wrapped anew can be fetched.
    pub wrap_info: Option<Box<api::WrapInfo>>,
    /// Whether the data is repeated at the top level of the reply, as some `sys/` routes do.
    pub flat: bool,
    /// A token that the commit revokes: the reply waits, within reason, until all that it leased is gone too.
    pub ends: Option<crate::TokenId>,
    /// Headers of the reply.
    pub headers: Vec<(&'static str, String)>,
    /// For how long the reply shall be wrapped, where the request does not say it but one before it did.
    pub wrap_ttl: Option<Duration>,
    /// Whether the same question is answered the same again.
    pub steady: Option<Steady>,
}

/// Said of an answer that depends on nothing but the caller's rights, the path, the headers of the request and what the
/// engine read from its storage for it: the program may give it again without asking, as long as none of that changes.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Before when; `None` is for ever.
    pub until: Option<Timestamp>,
}

/// The data of an answer.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// A JSON object for `data` of the envelope. The bytes wipe themselves if they hold a secret.
    Json(Bytes),
    /// A JSON text that is the whole body, without an envelope.
    Bare(Bytes),
    /// Other bytes that are the whole body.
    Raw {
        /// Their media type.
        content_type: &'static str,
        /// The bytes.
        bytes: Bytes,
    },
    /// A body without end, sent as it comes.
    Stream(Frames),
}

/// The frames of a streamed body.
pub type Frames = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A lease that an engine wants on what it answers.
pub struct LeaseGrant {
    /// The intent that was made before the credential; the lease takes its id and revocation data.
    pub intent: Option<LeaseId>,
    /// What revocation needs to know; empty where an intent says it already.
    pub revocation: SecretBytes,
    /// The wished life; `None` takes the mount's default.
    pub ttl: Option<Duration>,
    /// The longest life; `None` takes the mount's.
    pub max_ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// Service tokens are stored; batch tokens carry all they are in themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// As the mount says; for roles only.
    #[default]
    Default,
    /// Stored, renewable, revocable.
    Service,
    /// Not stored, ends at its time.
    Batch,
    /// Service unless the caller asks for batch; for roles only.
    DefaultService,
    /// Batch unless the caller asks for service; for roles only.
    DefaultBatch,
}

/// The `token_*` settings that all login roles share, in their meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenParams {
    /// The life of a token; zero takes the mount's default.
    pub ttl: Duration,
    /// The longest life with renewals; zero takes the mount's.
    pub max_ttl: Duration,
    /// The policies.
    pub policies: Vec<String>,
    /// From where the token may be used; empty is anywhere. CIDR texts, already checked.
    pub bound_cidrs: Vec<String>,
    /// A hard end that no renewal passes; zero is none.
    pub explicit_max_ttl: Duration,
    /// Leave out the `default` policy.
    pub no_default_policy: bool,
    /// How often the token may be used; 0 is without limit.
    pub num_uses: u64,
    /// Renewals start this period anew; zero is not periodic.
    pub period: Duration,
    /// Service or batch.
    pub kind: TokenKind,
}

/// A successful login: what the token shall be.
#[derive(Debug, Default)]
pub struct Login {
    /// The name of the holder in the login method's own terms; makes the entity alias. Empty: no entity.
    pub alias: String,
    /// Goes into the alias and the token.
    pub metadata: BTreeMap<String, String>,
    /// The display name without the mount's prefix.
    pub display_name: String,
    /// Names of groups in the login method's own terms.
    pub groups: Vec<String>,
    /// The token's settings.
    pub params: TokenParams,
    /// What the method needs at renewal; comes back to its renew callback.
    pub renewal: Option<SecretString>,
    /// The role, for the token's own metadata and quotas.
    pub role: String,
}
