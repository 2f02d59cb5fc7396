//! What can go wrong, in words an operator can act on. No text holds the password.

use storage::Error;
use tokio_postgres::error::SqlState;

use crate::connection::Failure;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A table of that name is there, and is not ours.
    #[error("the table {table} was not made by strongroom: name another one as table")]
    Foreign {
        /// The table.
        table: String,
    },
    /// A setting is wrong; the text begins with its name.
    #[error("{0}")]
    Invalid(String),
    /// The tables were written by a newer version of the program.
    #[error(
        "the tables {table} have format {found}, this version knows formats up to {known}: install a newer strongroom"
    )]
    Newer {
        /// The table.
        table: String,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// The user may not do what is needed.
    #[error(
        "PostgreSQL does not let the user make or use the tables {table} ({why}): \
         let the user create in the schema (GRANT USAGE, CREATE ON SCHEMA … TO …), or name a schema of its own as table = \"SCHEMA.{table}\""
    )]
    NotPermitted {
        /// The table.
        table: String,
        /// What PostgreSQL said.
        why: String,
    },
    /// PostgreSQL said something else.
    #[error("PostgreSQL refused to open the store: {0}")]
    Refused(String),
    /// There is no connection.
    #[error("cannot connect to the store: {0}")]
    Unreachable(String),
}

/// What a failed statement means to the caller of the store.
pub(crate) fn fault(failure: &Failure) -> Error {
    let text = failure.to_string();
    let Some(code) = failure.code() else { return Error::Unavailable(text) };
    let class = code.code().get(..2).unwrap_or_default();
    match class {
        _ if *code == SqlState::DISK_FULL => {
            Error::Full(format!("free space on the disk of PostgreSQL; writes then go on ({text})"))
        }
        _ if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN => {
            Error::Damaged(format!("a table of the store is gone or was changed ({text}): restore a backup"))
        }
        "XX" => Error::Damaged(text),
        _ => Error::Unavailable(text),
    }
}
