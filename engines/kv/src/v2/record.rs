//! The stored form of a secret: all that is known of it but its values.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use clock::Timestamp;
use engine::Error;
use serde::{Deserialize, Serialize};
use storage::View;

use super::{author::Author, references::Link, span::Span};

/// A secret. [`super::glance`] reads the same form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Names for versions: `current`, `pending` (made, not yet in force), `previous`, and any other.
    pub(crate) labels: BTreeMap<String, Label>,
    /// What users note about the secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) custom: BTreeMap<String, String>,
    /// Ascending. One that is pending is the last, as its number is open.
    pub(crate) versions: Vec<Version>,
    /// The lowest number that is still kept; 0 as long as none had to go.
    #[serde(default)]
    pub(crate) oldest: u64,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) updated_by: Option<Author>,
    /// 0 is as the mount says.
    #[serde(default)]
    pub(crate) max_versions: u64,
    #[serde(default)]
    pub(crate) cas_required: bool,
    /// How often its settings were changed.
    #[serde(default)]
    pub(crate) metadata_version: u64,
    #[serde(default)]
    pub(crate) metadata_cas_required: bool,
    /// Zero is as the mount says.
    #[serde(default)]
    pub(crate) delete_version_after: Span,
    /// How it is rotated, if it is: `generator` or `hook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation_class: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// Fields whose values lie in other secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<Link>,
    /// How long a deleted secret can be recovered, and whether it can be removed before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<Deletion>,
}

/// The version that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) version: u64,
    /// Until when; `None` is until it is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
}

/// How a secret goes that was deleted as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deletion {
    pub(crate) grace: Duration,
    pub(crate) locked: bool,
    pub(crate) since: Option<Timestamp>,
}

/// A version of a secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) n: u64,
    /// The id for those who name versions from outside.
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    pub(crate) created_by: Author,
    /// From when on it counts as deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_by: Option<Author>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) destroyed: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    pub(crate) media_type: String,
    /// The keyed hash of the value, to compare without reading.
    pub(crate) fingerprint: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What is to become a version.
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) value: Bytes,
    pub(crate) fingerprint: String,
    pub(crate) author: Author,
    pub(crate) now: Timestamp,
    /// After how long it counts as deleted.
    pub(crate) life: Option<Duration>,
}

impl Record {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            labels: BTreeMap::new(),
            custom: BTreeMap::new(),
            versions: Vec::new(),
            oldest: 0,
            created: now,
            updated: now,
            updated_by: None,
            max_versions: 0,
            cas_required: false,
            metadata_version: 0,
            metadata_cas_required: false,
            delete_version_after: Span::default(),
            rotation_class: None,
            owner: None,
            description: None,
            links: Vec::new(),
            deletion: None,
        }
    }

    pub(crate) async fn load(view: &View, path: &str) -> Result<Option<Self>, Error> {
        Ok(view.get_json(&record_key(path)).await?)
    }

    pub(crate) fn save(&self, view: &View, path: &str) -> Result<(), Error> {
        Ok(view.put_json(&record_key(path), self)?)
    }

    /// The number of the version in force; 0 if there never was one.
    pub(crate) fn current(&self) -> u64 {
        self.label(CURRENT).map_or(0, |label| label.version)
    }

    pub(crate) fn label(&self, name: &str) -> Option<Label> {
        self.labels.get(name).copied()
    }

    /// The number of the version that is made but not yet in force.
    pub(crate) fn pending(&self) -> Option<u64> {
        self.label(PENDING).map(|label| label.version)
    }

    /// The versions that were in force once, ascending.
    pub(crate) fn shown(&self) -> impl DoubleEndedIterator<Item = &Version> {
        let pending = self.pending();
        self.versions.iter().filter(move |version| Some(version.n) != pending)
    }

    pub(crate) fn version(&self, n: u64) -> Option<&Version> {
        self.shown().find(|version| version.n == n)
    }

    pub(crate) fn version_mut(&mut self, n: u64) -> Option<&mut Version> {
        let pending = self.pending();
        self.versions.iter_mut().find(|version| version.n == n && Some(n) != pending)
    }

    /// Adds a version and puts it in force; of the versions before, the newest `keep` - 1 stay. Gives its number.
    pub(crate) async fn add(&mut self, view: &View, path: &str, draft: Draft, keep: u64) -> Result<u64, Error> {
        let n = self.next();
        if let Some(pending) = self.take_pending(view, path).await? {
            self.put_pending(view, path, pending, n + 1);
        }
        let before = self.current();
        let now = draft.now;
        view.put(&value_key(n, path), draft.value.clone());
        let at = self.versions.partition_point(|version| version.n < n);
        self.versions.insert(at, draft.into_version(n));
        self.labels.insert(CURRENT.to_owned(), Label { version: n, until: None });
        let overlaps = self.label(PREVIOUS).and_then(|label| label.until).is_some_and(|until| until > now);
        if before > 0 && !overlaps {
            self.labels.insert(PREVIOUS.to_owned(), Label { version: before, until: None });
        }
        self.trim(view, path, n.saturating_sub(keep.max(1)));
        self.updated = now;
        Ok(n)
    }

    /// Adds a version that is not in force yet.
    pub(crate) fn add_pending(&mut self, view: &View, path: &str, draft: Draft) {
        let value = draft.value.clone();
        let n = self.next();
        self.put_pending(view, path, (draft.into_version(n), value), n);
    }

    /// Takes the version out that is not in force yet, with its value.
    pub(crate) async fn take_pending(&mut self, view: &View, path: &str) -> Result<Option<(Version, Bytes)>, Error> {
        let Some(n) = self.pending() else { return Ok(None) };
        self.labels.remove(PENDING);
        let at = self.versions.iter().position(|version| version.n == n);
        let version = at.map(|at| self.versions.remove(at)).ok_or_else(|| damaged(path))?;
        let value = value(view, path, n).await?;
        view.delete(&value_key(n, path));
        Ok(Some((version, value)))
    }

    /// Removes the versions up to and with `last`.
    fn trim(&mut self, view: &View, path: &str, last: u64) {
        let kept = self.versions.partition_point(|version| version.n <= last);
        if kept == 0 {
            return;
        }
        for version in self.versions.drain(..kept) {
            view.delete(&value_key(version.n, path));
        }
        self.oldest = last + 1;
        self.labels.retain(|_, label| label.version > last);
    }

    /// The number of the next version that is put in force.
    fn next(&self) -> u64 {
        self.shown().next_back().map_or(0, |version| version.n).max(self.current()) + 1
    }

    fn put_pending(&mut self, view: &View, path: &str, (version, value): (Version, Bytes), n: u64) {
        view.put(&value_key(n, path), value);
        self.versions.push(Version { n, ..version });
        self.labels.insert(PENDING.to_owned(), Label { version: n, until: None });
    }
}

impl Draft {
    fn into_version(self, n: u64) -> Version {
        Version {
            n,
            id: self.id,
            created: self.now,
            created_by: self.author,
            deletion: self.life.map(|life| clock::after(self.now, life)),
            deleted_by: None,
            destroyed: false,
            disabled: false,
            not_before: None,
            expires: None,
            media_type: JSON.to_owned(),
            fingerprint: self.fingerprint,
        }
    }
}

impl Version {
    /// Whether the time of its deletion has come.
    pub(crate) fn is_deleted(&self, now: Timestamp) -> bool {
        self.deletion.is_some_and(|deletion| deletion <= now)
    }

    /// Whether its value can be read.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        let early = self.not_before.is_some_and(|from| now < from);
        let late = self.expires.is_some_and(|until| until <= now);
        !(self.destroyed || self.disabled || early || late || self.is_deleted(now))
    }
}

/// The value of a version that the record says is there.
pub(crate) async fn value(view: &View, path: &str, n: u64) -> Result<Bytes, Error> {
    view.get(&value_key(n, path)).await?.ok_or_else(|| damaged(path))
}

pub(crate) fn record_key(path: &str) -> String {
    [RECORDS, path].concat()
}

pub(crate) fn value_key(n: u64, path: &str) -> String {
    format!("v/{n:010}/{path}")
}

/// The path stays out of it: its name may tell something.
pub(crate) fn damaged(_: &str) -> Error {
    Error::internal("the record of a secret does not fit its values")
}

/// Where the records lie.
pub(crate) const RECORDS: &str = "m/";
pub(crate) const CURRENT: &str = "current";
pub(crate) const PENDING: &str = "pending";
pub(crate) const PREVIOUS: &str = "previous";
const JSON: &str = "application/json";
