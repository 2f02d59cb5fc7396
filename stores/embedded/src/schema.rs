//! The tables, and how connections to them are set up.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use storage::Revision;

use crate::{OpenError, Options, directory};

/// Makes the tables in the empty file `path`.
pub(crate) fn create(path: &Path) -> Result<(), OpenError> {
    let made = connect(path).and_then(|connection| {
        connection.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_SIZE};
             PRAGMA auto_vacuum = INCREMENTAL;
             PRAGMA application_id = {APPLICATION};
             PRAGMA synchronous = FULL;
             BEGIN;
             CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE entries (
                 id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL, value BLOB NOT NULL
             ) STRICT;
             INSERT INTO meta VALUES ('format', {FORMAT}), ('revision', 0);
             COMMIT;
             PRAGMA journal_mode = WAL;"
        ))?;
        connection.close().map_err(|(_, error)| error)
    });
    made.map_err(|error| OpenError::from_sqlite(path, &error))
}

/// The connection that writes.
pub(crate) fn open_writer(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let opened = connect(path).and_then(|connection| {
        let pages = options.max_bytes.map_or(MAX_PAGES, |bytes| (bytes / PAGE_SIZE).clamp(1, MAX_PAGES));
        // SQLite's own checkpoints would come before the answer to a commit; the writer makes them after it.
        connection.execute_batch(&format!(
            "PRAGMA cache_size = -{};
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = {LOG_KEPT};
             PRAGMA max_page_count = {pages};",
            options.cache_kib
        ))?;
        Ok(connection)
    });
    opened.map_err(|error| whole(path, &error))
}

/// A connection that reads.
pub(crate) fn open_reader(path: &Path, cache_kib: u32) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{cache_kib}; PRAGMA query_only = ON;"))?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Connections meet only inside this process, and only for moments: when one recovers the log or makes it anew.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch(
        "PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;",
    )?;
    Ok(connection)
}

/// Checks that the file is a store this version can use, and gives its newest revision.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<Revision, OpenError> {
    let failed = |error| whole(path, &error);
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let found = meta(connection, "format").map_err(failed)?;
    match found {
        Some(found) if found > FORMAT => return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT }),
        Some(FORMAT) => {}
        _ => return Err(damaged(path, "it names no known format")),
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(damaged(path, "its log cannot be switched on"));
    }
    let revision = meta(connection, "revision").map_err(failed)?;
    revision
        .and_then(|revision| Revision::try_from(revision).ok())
        .ok_or_else(|| damaged(path, "it does not know its revision"))
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.to_owned() }
}

/// As [`OpenError::from_sqlite`], and says so where the reason is that the end of the file is missing.
fn whole(path: &Path, error: &rusqlite::Error) -> OpenError {
    match OpenError::from_sqlite(path, error) {
        damaged @ OpenError::Damaged { .. } => directory::missing(path).unwrap_or(damaged),
        other => other,
    }
}

pub(crate) const PAGE_SIZE: u64 = 4096;
/// What the header of the file says it belongs to: "Strg".
const APPLICATION: i64 = 0x5374_7267;
/// The version of the tables.
const FORMAT: i64 = 1;
/// SQLite's own limit.
const MAX_PAGES: u64 = 0xFFFF_FFFE;
/// How many bytes of the log are kept when it begins anew.
const LOG_KEPT: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_synced_and_little_memory_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "").unwrap();
        create(&path).unwrap();
        let writer = open_writer(&path, &Options::default()).unwrap();
        assert_eq!(check(&writer, &path).unwrap(), 0);
        let reader = open_reader(&path, 1024).unwrap();
        let ask = |connection: &Connection, name: &str| -> i64 {
            connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(ask(&writer, "synchronous"), 2, "FULL: the log is synced at each commit");
        assert_eq!(ask(&writer, "auto_vacuum"), 2, "incremental");
        assert_eq!(ask(&writer, "page_size"), PAGE_SIZE as i64);
        assert_eq!(ask(&writer, "wal_autocheckpoint"), 0);
        assert_eq!((ask(&writer, "cache_size"), ask(&reader, "cache_size")), (-2048, -1024));
        assert_eq!((ask(&writer, "mmap_size"), ask(&reader, "mmap_size")), (0, 0));
        let mode: String = reader.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert!(reader.execute("DELETE FROM meta", []).is_err(), "a reader cannot write");
    }
}
