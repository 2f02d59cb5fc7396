//! A few connections that only read.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, Row, types::Type};
use storage::{BoxFuture, Entry, Error, Frozen, Key, Page, Revision, Scan};

use crate::{OpenError, Options, error::fault, schema};

/// The connections. A read takes a free one, and each read sees all that was committed before it began.
pub(crate) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
    file: PathBuf,
}

impl Readers {
    pub(crate) fn open(file: &Path, options: &Options) -> Result<Self, OpenError> {
        let open = |_| schema::open_reader(file, options.cache_kib).map(Mutex::new);
        let connections = (0..options.readers.max(1)).map(open).collect::<rusqlite::Result<_>>();
        let connections = connections.map_err(|error| OpenError::from_sqlite(file, &error))?;
        Ok(Self { connections, next: AtomicUsize::new(0), file: file.to_owned() })
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT revision, value FROM entries WHERE key = ?1")?;
            let mut rows = statement.query([key.as_str()])?;
            rows.next()?.map(|row| Ok(Entry::new(value(row, 1)?, revision(row, 0)?))).transpose()
        })
    }

    pub(crate) fn page(&self, scan: &Scan) -> Result<Page, Error> {
        self.read(|connection| page(connection, scan))
    }

    /// One more connection, which goes on to see what it sees now. The log of writes cannot begin anew meanwhile.
    pub(crate) fn freeze(file: &Path) -> Result<Still, Error> {
        let open = || {
            let connection = schema::open_reader(file, STILL_KIB)?;
            connection.execute_batch("BEGIN")?;
            // The first read settles which state it is.
            let revision =
                connection.query_row("SELECT value FROM meta WHERE name = 'revision'", [], |row| revision(row, 0))?;
            Ok((connection, revision))
        };
        let (connection, revision) = open().map_err(|error| fault(file, &error))?;
        Ok(Still { connection: Mutex::new(connection), revision, file: file.to_owned() })
    }

    /// Closes the connections; there must be no reads any more.
    pub(crate) fn close(&mut self) {
        self.connections.clear();
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let connection = self.free().ok_or_else(|| Error::Unavailable("the store is closed".to_owned()))?;
        work(&connection).map_err(|error| fault(&self.file, &error))
    }

    /// A free connection, or else the one whose turn it is, when it gets free.
    fn free(&self) -> Option<MutexGuard<'_, Connection>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || self.connections.iter().cycle().skip(first % self.connections.len().max(1));
        let free = in_turn().take(self.connections.len()).find_map(Mutex::try_lock);
        free.or_else(|| in_turn().next().map(Mutex::lock))
    }
}

/// The store as it was at one moment.
pub(crate) struct Still {
    connection: Mutex<Connection>,
    revision: Revision,
    file: PathBuf,
}

impl Frozen for Still {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { page(&self.connection.lock(), scan).map_err(|error| fault(&self.file, &error)) })
    }
}

/// The memory for pages of a connection that reads everything once.
const STILL_KIB: u32 = 512;

fn page(connection: &Connection, scan: &Scan) -> rusqlite::Result<Page> {
    let (start, behind) = match &scan.after {
        Some(after) if *after >= scan.prefix => (after, true),
        _ => (&scan.prefix, false),
    };
    let sql = match (behind, scan.values) {
        (true, true) => "SELECT key, revision, value FROM entries WHERE key > ?1 ORDER BY key",
        (true, false) => "SELECT key, revision FROM entries WHERE key > ?1 ORDER BY key",
        (false, true) => "SELECT key, revision, value FROM entries WHERE key >= ?1 ORDER BY key",
        (false, false) => "SELECT key, revision FROM entries WHERE key >= ?1 ORDER BY key",
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([start])?;
    let mut page = Page::default();
    // Rows are read from disk one by one, so the rest of the table costs nothing.
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_str()?;
        if !key.starts_with(&scan.prefix) {
            break;
        }
        if page.entries.len() >= scan.limit.max(1) {
            page.more = true;
            break;
        }
        let value = if scan.values { value(row, 2)? } else { Bytes::new() };
        page.entries.push((Key::new(key), Entry::new(value, revision(row, 1)?)));
    }
    Ok(page)
}

/// The revision in a column of `row`.
pub(crate) fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    let number: i64 = row.get(column)?;
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error));
    Revision::try_from(number).map_err(wrong)
}

fn value(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}
