//! What can go wrong with a snapshot.

use std::io;

/// Why a snapshot could not be written, read or put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Others wrote to the store without a pause, and it cannot be frozen.
    #[error("the store changes too fast to be read at one moment; try again")]
    Busy,
    /// The file is a snapshot that is cut off or was changed.
    #[error("the snapshot is damaged ({0}): take another one")]
    Damaged(String),
    /// After the copy the two stores do not hold the same.
    #[error(
        "the copy differs from the source ({0}): something else writes to one of the stores; stop it and run this again"
    )]
    Differs(String),
    /// The file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The snapshot was written by a newer version of the program.
    #[error("the snapshot has format {found}, this version knows formats up to {known}: install a newer strongroom")]
    Newer {
        /// Its format.
        found: u64,
        /// The newest that this version knows.
        known: u64,
    },
    /// The store to copy into holds something else.
    #[error("{0}")]
    NotEmpty(String),
    /// The file is something else.
    #[error("this is no snapshot of a strongroom ({0})")]
    NotASnapshot(String),
    /// The receiver of the bytes is gone.
    #[error("nobody takes the snapshot any more")]
    Refused,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl From<storage::CommitError> for Error {
    fn from(error: storage::CommitError) -> Self {
        match error {
            storage::CommitError::Store(error) => error.into(),
            error => Self::Storage(storage::Error::Unavailable(error.to_string())),
        }
    }
}

pub(crate) fn damaged(what: impl Into<String>) -> Error {
    Error::Damaged(what.into())
}
