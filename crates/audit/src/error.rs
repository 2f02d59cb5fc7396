//! What can go wrong with a device.

use std::{io, path::PathBuf, sync::Arc};

/// A fault of a device, its options or its files. Cheap to clone: one failed write may answer many callers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device has been closed.
    #[error("the audit device is closed")]
    Closed,
    /// The file that the device writes was deleted and could not be made again.
    #[error("the file {0} was deleted; restore its directory, or disable the device")]
    Deleted(PathBuf),
    /// There is a device at this path already.
    #[error("path is already in use at {0}/; disable that device first or choose another path")]
    Exists(String),
    /// The file system is full.
    #[error("the disk that holds {0} is full; free some space")]
    Full(PathBuf),
    /// The journal on disk is not what this server left behind.
    #[error("the journal in {directory} cannot be continued: {what}; verify it, then move the directory aside")]
    Journal {
        /// Where the journal lies.
        directory: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The index of the journal failed. It can be deleted; it is built again from the journal.
    #[error("the index of the journal failed")]
    Index(#[source] Arc<rusqlite::Error>),
    /// The operating system refused an act.
    #[error("cannot {act}")]
    Io {
        /// The act, as in "open /var/log/audit.log".
        act: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has the journal open.
    #[error("the journal in {0} is open in another process; stop it first")]
    Locked(PathBuf),
    /// An option of the device is missing, unknown or malformed.
    #[error("option {name}: {what}")]
    Option {
        /// The name of the option.
        name: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The device did not take the entry within the deadline.
    #[error("the audit device did not answer within {0:?}")]
    Slow(std::time::Duration),
    /// The device is so far behind that its queue is full.
    #[error("the queue of the audit device is full")]
    Swamped,
    /// There is no device at this path.
    #[error("no audit device at {0}/")]
    Unknown(String),
}

impl Error {
    pub(crate) fn io(act: impl Into<String>, source: io::Error) -> Self {
        Self::Io { act: act.into(), source: Arc::new(source) }
    }

    pub(crate) fn option(name: &str, what: impl Into<String>) -> Self {
        Self::Option { name: name.to_owned(), what: what.into() }
    }

    /// The fault with its causes in one line, for the log and for status pages.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(Arc::new(error))
    }
}
