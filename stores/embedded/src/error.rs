//! What can go wrong, in words an operator can act on.

use std::{io, path::Path, path::PathBuf};

use rusqlite::ErrorCode;
use storage::Error;

/// Why a store could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is there but is no sound database.
    #[error("the store {path} is damaged ({what}): put a backup in its place, and keep the damaged file aside")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file is a database of another program.
    #[error("{path} was not made by strongroom: name another directory as the path of the store")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There is no space to open the store.
    #[error("no space is left on the disk that holds {path}: free some, then start again")]
    Full {
        /// The file or directory.
        path: PathBuf,
    },
    /// The operating system refused something else.
    #[error("cannot open the store {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error(
        "the store {path} is in use by another strongroom{}: stop that one first, or name another path",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, where known.
        pid: Option<u32>,
    },
    /// The store was written by a newer version of the program.
    #[error(
        "the store {path} has format {found}, this version knows formats up to {known}: install a newer strongroom"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// The operating system does not let this user read and write there.
    #[error(
        "no permission to read and write {path}: make the user that runs strongroom its owner (chown), with mode u+rwX"
    )]
    NoPermission {
        /// The file or directory.
        path: PathBuf,
    },
    /// The path leads to a file.
    #[error("{path} is a file, but the path of the store must be a directory: name another one")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The file system is mounted read-only.
    #[error("{path} is on a read-only file system: mount it writable, or name another path")]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
    },
    /// The file is shorter than it says it is.
    #[error("the store {path} is cut off ({found} of {expected} bytes are there): put a backup in its place")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length, in bytes.
        found: u64,
        /// The length it should have at least, in bytes.
        expected: u64,
    },
}

impl OpenError {
    /// What an I/O error on `path` means.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NoPermission { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }

    /// What an error of SQLite while opening `file` means.
    pub(crate) fn from_sqlite(file: &Path, error: &rusqlite::Error) -> Self {
        let path = file.to_owned();
        if is_full(error) {
            return Self::Full { path };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::NoPermission { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, what: error.to_string() }
            }
            Some(_) => Self::Io { path, source: io::Error::other(error.to_string()) },
            None => Self::Damaged { path, what: error.to_string() },
        }
    }
}

/// What an error of SQLite on an open store means.
pub(crate) fn fault(file: &Path, error: &rusqlite::Error) -> Error {
    let file = file.display();
    if is_full(error) {
        return Error::Full(format!(
            "free space on the disk that holds {file}, or raise max_bytes if it is set; writes then go on"
        ));
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => {
            Error::Damaged(format!("{file}: {error}: put a backup in its place, and keep the damaged file aside"))
        }
        Some(_) => Error::Unavailable(format!("{file}: {error}")),
    }
}

/// Whether space is lacking, for the file or for the index of its log (which SQLite reports on its own).
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}
