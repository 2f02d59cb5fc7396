//! Where bytes are kept: the four-method [`Store`], the unit of work [`Tx`], and (feature `testing`) the suite that
//! every store passes.
//!
//! A store is an ordered map from keys to values. Each value carries the revision of the commit that wrote it. A
//! commit is atomic and durable, and is refused if a key it expected has changed meanwhile. The stores know nothing
//! of encryption: the barrier is itself a store over a store.

mod derived;
mod feed;
mod part;
/// The conformance suite of the stores, and stores that fail on demand.
#[cfg(feature = "testing")]
pub mod testing;
mod tx;

use std::{fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::Stream;
pub use futures::future::BoxFuture;

pub use crate::derived::{Budget, Derived};
pub use crate::feed::Feed;
pub use crate::part::Part;
pub use crate::tx::{Folder, Tx, View};

/// The number of a commit. Later commits have greater numbers; the first is 1.
pub type Revision = u64;

/// An ordered map with atomic, durable, conditional commits.
pub trait Store: Send + Sync + 'static {
    /// The entry at `key`, or `None`.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>>;

    /// Up to `scan.limit` entries below `scan.prefix` and after `scan.after`, in byte order of their keys. One page is
    /// a snapshot: it shows a commit whole or not at all. Two pages need not be of the same state.
    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>>;

    /// Applies the whole batch durably, or nothing of it. A batch that expects an outdated revision is refused with
    /// [`CommitError::Conflict`]. A batch without writes only checks, and gives the newest revision; every other one
    /// takes a revision greater than all before. A read that starts after a commit was acknowledged sees it.
    ///
    /// After [`Error::Unavailable`] it is open whether the batch was applied; a store that knows it was not, says so.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>>;

    /// The keys that change from now on, in the order of their commits. A follower that falls too far behind gets
    /// [`Change::Lost`] and must forget what it holds in memory.
    fn follow(&self) -> Changes;

    /// The whole store as it is now, to be read in peace while commits go on; `None` if the store has no such thing, and
    /// whoever needs one state has to make it out of the four other methods. What it holds up may grow until it is dropped,
    /// such as a log.
    fn freeze(&self) -> BoxFuture<'_, Result<Option<Box<dyn Frozen>>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// A store as it was at one moment, see [`Store::freeze`].
pub trait Frozen: Send + Sync {
    /// The newest commit that it shows.
    fn revision(&self) -> Revision;

    /// As [`Store::scan`], but all pages are of the same state.
    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>>;
}

/// A stream of changes, see [`Store::follow`].
pub type Changes = Pin<Box<dyn Stream<Item = Change> + Send>>;

/// What a commit changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// These keys were written or deleted by the commit with this revision.
    Keys(Revision, Arc<[Key]>),
    /// Changes were missed: anything may have changed.
    Lost,
    /// Every commit up to this one that concerns the follower was told, and at `at` the store had no newer one. Told again
    /// and again by stores that several nodes share; one that only this process writes to has nothing to say here.
    Current {
        /// The newest commit.
        revision: Revision,
        /// When the store was asked, by the clock of this process that only goes forward.
        at: std::time::Instant,
    },
}

/// The name of an entry. Keys are ordered by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// A key from its text; `/` separates its segments.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(Arc::from(text.as_ref()))
    }

    /// A key from the pieces of its text.
    pub fn join<const N: usize>(pieces: [&str; N]) -> Self {
        Self(pieces.concat().into())
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// A stored value and the commit that wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes. Whoever makes them from a decrypted secret makes them wipe themselves (`Bytes::from_owner`).
    pub value: Bytes,
    /// The commit that wrote them.
    pub revision: Revision,
    /// What readers worked out from the bytes.
    pub derived: Derived,
}

impl Entry {
    /// A value as it is stored.
    pub fn new(value: Bytes, revision: Revision) -> Self {
        Self { value, revision, derived: Derived::default() }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} bytes at {})", self.value.len(), self.revision)
    }
}

/// Which entries to list.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Only keys that begin with this text; empty for all.
    pub prefix: String,
    /// Only keys greater than this text (in full, prefix included). It need not exist.
    pub after: Option<String>,
    /// At most so many; 0 counts as 1.
    pub limit: usize,
    /// Whether the values are wanted too; without them, the values in the page are empty.
    pub values: bool,
}

/// A part of an ordered listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, ascending.
    pub entries: Vec<(Key, Entry)>,
    /// Whether the range holds more entries behind the last of these.
    pub more: bool,
}

/// What a commit expects and changes. A key stands at most once among the writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The revision each of these keys must have; `None` where the key must not exist.
    pub expect: Vec<(Key, Option<Revision>)>,
    /// The new value of each of these keys; `None` deletes.
    pub writes: Vec<(Key, Option<Bytes>)>,
}

impl Batch {
    /// Whether every key and value is within what a store takes. Every store asks this first.
    pub fn check(&self) -> Result<(), Error> {
        for (key, value) in &self.writes {
            within(key.as_str().len(), MAX_KEY)?;
            within(value.as_ref().map_or(0, Bytes::len), MAX_VALUE)?;
        }
        Ok(())
    }

    /// The bytes of its keys and values together.
    pub fn size(&self) -> usize {
        let expected: usize = self.expect.iter().map(|(key, _)| key.as_str().len()).sum();
        let written: usize =
            self.writes.iter().map(|(key, value)| key.as_str().len() + value.as_ref().map_or(0, Bytes::len)).sum();
        expected + written
    }
}

fn within(size: usize, limit: usize) -> Result<(), Error> {
    if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
}

/// Why a commit was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another commit changed this key first. Read again and try again.
    #[error("another commit changed {0:?} first")]
    Conflict(Key),
    /// The store failed. Nothing of the batch was applied, unless the error is [`Error::Unavailable`]: then it may
    /// have been, for the answer itself may have been lost.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stored bytes are damaged or cannot be understood.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The store is full; `0` names what to free.
    #[error("the store is full: {0}")]
    Full(String),
    /// The barrier above the store is sealed.
    #[error("the barrier is sealed")]
    Sealed,
    /// A key or value is larger than the store takes.
    #[error("entry is too large: {size} bytes, at most {limit}")]
    TooLarge {
        /// The size of what was refused, in bytes.
        size: usize,
        /// The greatest size taken, in bytes.
        limit: usize,
    },
    /// The store cannot be reached or failed for a reason that may pass.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
}

/// The greatest value a store takes: 32 MiB, the greatest body of a request.
pub const MAX_VALUE: usize = 32 * 1024 * 1024;

/// The longest key a store takes, in bytes: what the index of every engine can hold.
pub const MAX_KEY: usize = 2048;
