//! The stored form of a lease.

use std::{sync::Arc, time::Duration};

use clock::Timestamp;
use gate::{Error, LeaseId, MountInfo, TokenId, namespace};
use secret::SecretBytes;
use serde::{Deserialize, Serialize};
use storage::Key;

/// Where the records lie, in their namespace's part of the store.
pub(crate) const ID: &str = "sys/lease/id/";

/// A lease, as stored.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: LeaseId,
    /// The mount's unchanging id; it is a mount of the namespace that the lease's id names.
    pub mount: Arc<str>,
    /// The token it belongs to.
    pub owner: Option<TokenId>,
    /// The role, for quotas.
    pub role: String,
    /// What the engine needs to revoke it; JSON as text. Encrypted by the barrier like everything here.
    pub(crate) data: Data,
    /// Where it stands.
    pub state: State,
    /// Whether it was revoked before it became active: the credential may never have been made.
    #[serde(default)]
    pub was_pending: bool,
    /// The run of the server that made it.
    pub instance: String,
    /// The run of the server that is ending it, until `due`; empty if none is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub claimed_by: String,
    /// When it was granted.
    pub issued: Timestamp,
    /// When it ends; `None` while pending.
    pub expires: Option<Timestamp>,
    /// When it was last renewed.
    pub last_renewal: Option<Timestamp>,
    /// The life it was granted with.
    pub ttl: Duration,
    /// The longest life, counted from `issued`.
    pub max_ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// When something has to be done about it next; its place in the due index.
    pub due: Timestamp,
    /// Tries to revoke it that failed.
    pub failures: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

/// Where a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In force.
    Active,
    /// An intent.
    Pending,
    /// To be revoked.
    Revoking,
}

impl Record {
    /// Whether its revocation failed and is to be tried again later; not while it is being tried.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state == State::Revoking && self.failures > 0 && self.claimed_by.is_empty()
    }

    pub(crate) fn new(id: LeaseId, mount: &MountInfo, now: Timestamp, due: Timestamp) -> Self {
        Self {
            id,
            mount: Arc::clone(&mount.uuid),
            owner: None,
            role: String::new(),
            data: Data::default(),
            state: State::Pending,
            was_pending: false,
            instance: String::new(),
            claimed_by: String::new(),
            issued: now,
            expires: None,
            last_renewal: None,
            ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            renewable: false,
            due,
            failures: 0,
            last_error: None,
        }
    }

    /// What the engine needs to revoke the lease.
    pub fn secret(&self) -> SecretBytes {
        SecretBytes::new(self.data.0.clone().into_bytes())
    }
}

/// What an engine stored with a lease: JSON as text, wiped on drop.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Data(String);

impl Drop for Data {
    fn drop(&mut self) {
        secret::Zeroize::zeroize(&mut self.0);
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

pub(crate) fn text(data: SecretBytes) -> Result<Data, Error> {
    // EXPOSE: copied into the record, which the barrier encrypts and which wipes itself.
    let text = std::str::from_utf8(data.expose()).map_err(|_| Error::internal("revocation data must be text"))?;
    Ok(Data(text.to_owned()))
}

pub(crate) fn key(id: &LeaseId) -> Key {
    Key::from(format!("{}{ID}{id}", namespace::scope(id.namespace())))
}

pub(crate) fn token_prefix(token: &TokenId) -> String {
    format!("{}sys/lease/token/{}/", namespace::scope(token.namespace()), token.0)
}

pub(crate) fn token_key(token: &TokenId, id: &LeaseId) -> Key {
    Key::from(format!("{}{id}", token_prefix(token)))
}

pub(crate) const PENDING: &str = "sys/lease/pending/";

pub(crate) fn pending_key(instance: &str, id: &LeaseId) -> Key {
    Key::from(format!("{PENDING}{instance}/{id}"))
}

/// Where the leases whose revocation fails are named, by mount.
pub const FAILING: &str = "sys/lease/failing/";

pub(crate) fn failing_prefix(mount: &str) -> String {
    format!("{FAILING}{mount}/")
}

pub(crate) fn failing_key(mount: &str, id: &LeaseId) -> Key {
    Key::from(format!("{FAILING}{mount}/{id}"))
}

/// Where the records of forced-away leases lie.
pub const ORPHAN: &str = "sys/lease/orphan/";

pub(crate) fn orphan_key(id: &LeaseId) -> Key {
    Key::from(format!("{ORPHAN}{id}"))
}
