//! Who is asking.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use clock::Timestamp;
use secret::Kept;
use serde::{Deserialize, Serialize};

use crate::{Namespace, TokenKind, namespace};

/// The id of a token: a keyed hash of it, in hexadecimal. It names the token in storage and memory and does not allow
/// using it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub Arc<str>);

impl TokenId {
    /// The id of the namespace of the token; empty for the root namespace.
    pub fn namespace(&self) -> &str {
        namespace::suffix_of(&self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({})", self.0)
    }
}

/// The id of a lease: the path it was made at and a random part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub Arc<str>);

impl LeaseId {
    /// The id of the namespace of the lease; empty for the root namespace.
    pub fn namespace(&self) -> &str {
        namespace::suffix_of(self.0.rsplit('/').next().unwrap_or_default())
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The holder of a valid token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's id; for a batch token, the hash of the whole token.
    pub id: TokenId,
    /// The namespace of the token: it may be used there and below.
    pub namespace: Namespace,
    /// The token's accessor; empty for a batch token.
    pub accessor: Arc<str>,
    /// A name for people and user names, such as `token-app`.
    pub display_name: Arc<str>,
    /// The policies that the token holds.
    pub token_policies: Arc<[String]>,
    /// The policies that come from the entity and its groups.
    pub identity_policies: Arc<[String]>,
    /// The entity, or empty.
    pub entity_id: Arc<str>,
    /// What the login method knows.
    pub metadata: Arc<BTreeMap<String, String>>,
    /// Service or batch.
    pub kind: TokenKind,
    /// Whether the token has the policy `root`.
    pub is_root: bool,
    /// Whether the `default` policy was left out.
    pub no_default_policy: bool,
    /// When the token was made.
    pub issued: Timestamp,
    /// The life it was made with; zero is without end.
    pub ttl: Duration,
    /// When it ends; `None` is never.
    pub expires: Option<Timestamp>,
    /// How often it may be used in all; 0 is without limit.
    pub num_uses: u64,
    /// How often it may still be used after this request; `None` is without limit.
    pub remaining_uses: Option<u64>,
    /// The path at which it was made.
    pub path: Arc<str>,
    /// How the audit log writes the holder.
    pub kept: Kept,
    /// The policies of both kinds, once they were asked for.
    pub all_policies: OnceLock<Vec<String>>,
}

impl Caller {
    /// All policies in force: the token's own, then those of the identity, without repetition.
    pub fn policies(&self) -> &[String] {
        if self.identity_policies.is_empty() {
            return &self.token_policies;
        }
        self.all_policies.get_or_init(|| {
            let mut all = self.token_policies.to_vec();
            for policy in &*self.identity_policies {
                if !all.contains(policy) {
                    all.push(policy.clone());
                }
            }
            all
        })
    }

    /// The same holder as this entity, which adds these policies.
    pub fn as_entity(&self, id: &Arc<str>, policies: &Arc<[String]>) -> Self {
        Self {
            entity_id: Arc::clone(id),
            identity_policies: Arc::clone(policies),
            all_policies: OnceLock::new(),
            ..self.clone()
        }
    }
}
