//! The stored form of a token.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use clock::Timestamp;
use gate::{Caller, Error, Namespace, Refusal, TokenId, TokenKind, namespace};
use ipnet::IpNet;
use secret::SecretString;
use serde::{Deserialize, Serialize};
use storage::Key;

/// A token, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The namespace it was made in.
    #[serde(default, skip_serializing_if = "Namespace::is_root")]
    pub namespace: Namespace,
    /// Its accessor; empty for batch tokens.
    pub accessor: String,
    /// Its policies, sorted.
    pub policies: Arc<[String]>,
    /// The path it was made at.
    pub path: Arc<str>,
    /// What its creator or the login method noted.
    pub meta: Arc<BTreeMap<String, String>>,
    /// A name for people.
    pub display_name: Arc<str>,
    /// The limit on uses; 0 is none.
    pub num_uses: u64,
    /// Uses left of `num_uses`.
    #[serde(default)]
    pub uses_left: u64,
    /// When it was made.
    pub created: Timestamp,
    /// The life it was made with; zero is without end.
    pub ttl: Duration,
    /// When it ends; `None` is never.
    pub expires: Option<Timestamp>,
    /// A life from `created` that no renewal passes; zero is none.
    pub explicit_max_ttl: Duration,
    /// The longest life with renewals that its login role sets; zero takes the mount's.
    #[serde(default)]
    pub max_ttl: Duration,
    /// Renewals start this anew; zero is not periodic.
    pub period: Duration,
    /// The token that made it; `None` for orphans.
    pub parent: Option<TokenId>,
    /// The entity, or empty.
    pub entity_id: Arc<str>,
    /// Service or batch.
    pub kind: TokenKind,
    /// From where it may be used; empty is anywhere.
    #[serde(default)]
    pub bound_cidrs: Vec<IpNet>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// When it was last renewed.
    pub last_renewal: Option<Timestamp>,
    /// The token role it was made by, or empty.
    #[serde(default)]
    pub role: String,
    /// Whether the `default` policy was left out.
    #[serde(default)]
    pub no_default_policy: bool,
    /// For tokens of a login: the mount's unchanging id.
    #[serde(default)]
    pub login_mount: String,
    /// For tokens of a login: what the method needs to check a renewal.
    #[serde(default)]
    pub login_renewal: Renewal,
    /// Set when it is tied to a liveness stream.
    #[serde(default)]
    pub bound: Option<Bound>,
    /// Revoked: refused from now on, removed by the expirer.
    #[serde(default)]
    pub revoked: bool,
}

/// What a login method keeps with a token: never shown, wiped on drop.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Renewal(String);

impl Renewal {
    /// Keeps `data`.
    pub fn new(data: &SecretString) -> Self {
        // EXPOSE: copied into the token's record, which the barrier encrypts.
        Self(data.expose().clone())
    }

    /// What was kept.
    pub fn secret(&self) -> SecretString {
        SecretString::new(self.0.clone())
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        secret::Zeroize::zeroize(&mut self.0);
    }
}

impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewal(..)")
    }
}

/// A tie to a liveness stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// How long the token lives on without an attached stream.
    pub grace: Duration,
    /// The run of the server that its stream was attached to last.
    #[serde(default)]
    pub held_by: String,
}

impl Record {
    /// Whether the token may be used at `now`.
    pub fn in_force(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires.is_none_or(|end| now < end)
    }

    /// Whether all of its uses are used up.
    pub fn is_spent(&self) -> bool {
        self.num_uses != 0 && self.uses_left == 0
    }

    /// Whether this is a root token.
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    /// Whether the token has neither parent nor end hung on another token.
    pub fn is_orphan(&self) -> bool {
        self.parent.is_none()
    }

    /// Refuses addresses outside the bound CIDRs. A root token without end is not bound.
    pub(crate) fn check_address(&self, remote: Option<IpAddr>) -> Result<(), Error> {
        if self.bound_cidrs.is_empty() || (self.is_root() && self.expires.is_none()) {
            return Ok(());
        }
        let inside = remote.is_some_and(|address| self.bound_cidrs.iter().any(|net| net.contains(&address)));
        if inside { Ok(()) } else { Err(Error::Denied(Refusal::Address)) }
    }

    /// The holder as the rooms know it.
    pub(crate) fn caller(&self, id: &TokenId, remaining_uses: Option<u64>) -> Arc<Caller> {
        Arc::new(Caller {
            id: id.clone(),
            namespace: self.namespace.clone(),
            accessor: self.accessor.as_str().into(),
            display_name: Arc::clone(&self.display_name),
            token_policies: Arc::clone(&self.policies),
            // Found out anew for each request, by the program.
            identity_policies: Arc::clone(&NO_POLICIES),
            entity_id: Arc::clone(&self.entity_id),
            metadata: Arc::clone(&self.meta),
            kind: self.kind,
            is_root: self.is_root(),
            no_default_policy: self.no_default_policy,
            issued: self.created,
            ttl: self.ttl,
            expires: self.expires,
            num_uses: self.num_uses,
            remaining_uses,
            path: Arc::clone(&self.path),
            kept: Default::default(),
            all_policies: Default::default(),
        })
    }

    /// Until when a renewal at `now` lasts.
    pub(crate) fn renewal(
        &self,
        now: Timestamp,
        increment: Option<Duration>,
        mount_max: Duration,
        warnings: &mut Vec<String>,
    ) -> Result<Timestamp, Error> {
        let explicit = (!self.explicit_max_ttl.is_zero()).then(|| clock::after(self.created, self.explicit_max_ttl));
        let (wished, ceiling) = if self.period.is_zero() {
            let end = clock::after(self.created, self.longest(mount_max));
            let wish = increment.filter(|wish| !wish.is_zero()).unwrap_or(self.ttl);
            (wish, Some(explicit.map_or(end, |explicit| explicit.min(end))))
        } else {
            (self.period, explicit)
        };
        let until = clock::after(now, wished);
        match ceiling {
            Some(end) if end <= now => Err(Error::invalid("past the max TTL, cannot renew")),
            Some(end) if until > end => {
                warnings.push(format!(
                    "TTL of \"{}s\" exceeded the effective max_ttl of \"{}s\"; TTL value is capped accordingly",
                    wished.as_secs(),
                    clock::between(now, end).as_secs()
                ));
                Ok(end)
            }
            _ => Ok(until),
        }
    }

    /// The longest life with renewals of a token without a period.
    fn longest(&self, mount_max: Duration) -> Duration {
        match (self.max_ttl.is_zero(), self.login_mount.is_empty()) {
            (true, _) => mount_max,
            // The method that made the token has its own mount, with its own maximum.
            (false, false) => self.max_ttl,
            (false, true) => self.max_ttl.min(mount_max),
        }
    }

    /// The hard end that no renewal passes, and which setting makes it. `mount_max` is of `auth/token/`.
    pub fn hard_expiry(&self, mount_max: Duration) -> Option<(Timestamp, &'static str)> {
        let periodic = !self.period.is_zero();
        let max = if periodic { Duration::ZERO } else { self.longest(mount_max) };
        let why = if self.max_ttl == max { "max_ttl of the login" } else { "max_lease_ttl of the mount" };
        let ends = [(self.explicit_max_ttl, "explicit_max_ttl"), (max, why)];
        self.expires?;
        if !self.renewable {
            return self.expires.map(|end| (end, "not renewable"));
        }
        let set = ends.into_iter().filter(|(life, _)| !life.is_zero());
        set.map(|(life, why)| (clock::after(self.created, life), why)).min_by_key(|(end, _)| *end)
    }
}

/// An empty list, shared.
pub(crate) static NO_POLICIES: LazyLock<Arc<[String]>> = LazyLock::new(|| Arc::from([]));

/// Below this, in its namespace's part of the store, there is an entry for each service token.
pub const ACCESSOR: &str = "sys/token/accessor/";
/// Where tokens lie by the path they were made at, in their namespace's part of the store: below it `<path>/<token id>`.
pub const PATH: &str = "sys/token/path/";

pub(crate) fn key(id: &TokenId) -> Key {
    match id.namespace() {
        "" => Key::join(["sys/token/id/", &id.0]),
        namespace => Key::join([&namespace::scope(namespace), "sys/token/id/", &id.0]),
    }
}

pub(crate) fn accessor_key(accessor: &str) -> Key {
    Key::from(format!("{}{ACCESSOR}{accessor}", namespace::scope(namespace::suffix_of(accessor))))
}

pub(crate) fn parent_prefix(parent: &TokenId) -> String {
    format!("{}sys/token/parent/{}/", namespace::scope(parent.namespace()), parent.0)
}

pub(crate) fn parent_key(parent: &TokenId, child: &TokenId) -> Key {
    Key::from(format!("{}{}", parent_prefix(parent), child.0))
}

/// `path` is relative to the namespace of the token.
pub(crate) fn path_key(path: &str, id: &TokenId) -> Key {
    Key::from(format!("{}{PATH}{path}/{}", namespace::scope(id.namespace()), id.0))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or_default());
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}
