//! The index: a separate SQLite file that says where each record lies and what it speaks of.
//!
//! It holds nothing that the segments do not hold, so it is not synced, and is built anew when it does not fit them:
//! another layout, a corrupt file, a journal that lost its unsigned end in a power cut.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::{
    chain::Link,
    facts::{Facts, Name},
    segment::{Committed, INDEX, Segment, open_append, open_read},
};
use crate::error::Error;

pub(super) struct Index {
    directory: PathBuf,
    /// How far the journal is written for good, if this process writes it.
    committed: Option<Committed>,
    /// Taken out only while the file is made anew.
    db: Mutex<Option<Connection>>,
}

impl Index {
    /// Opens the index of the journal in `directory`, or begins one.
    pub(super) fn open(directory: &Path, committed: Option<Committed>) -> Result<Self, Error> {
        let index = Self { directory: directory.to_owned(), committed, db: Mutex::new(None) };
        let db = match open_database(directory) {
            Ok(db) if fits(&db, directory)? => db,
            Ok(db) => {
                drop(db);
                begin_anew(directory)?
            }
            Err(error) if damaged(&error) => begin_anew(directory)?,
            Err(error) => return Err(error),
        };
        *index.db.lock() = Some(db);
        index.forget_archived()?;
        Ok(index)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The database; a fault of it is for the caller.
    pub(super) fn database(&self) -> Result<MappedMutexGuard<'_, Connection>, Error> {
        MutexGuard::try_map(self.db.lock(), Option::as_mut).map_err(|_| Error::Closed)
    }

    /// Reads up to `most` records that are not indexed yet. Returns the number of the last one that is.
    pub(super) fn catch_up(&self, most: u64) -> Result<u64, Error> {
        let mut left = most;
        loop {
            let (indexed, read) = self.read_some(left.min(CHUNK))?;
            left -= read;
            if read == 0 || left == 0 {
                return Ok(indexed);
            }
        }
    }

    fn read_some(&self, most: u64) -> Result<(u64, u64), Error> {
        let segments = Segment::list(&self.directory)?;
        let mut db = self.database()?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut at = Position::load(&tx)?;
        let mut read = 0;
        while read < most {
            let Some(segment) = at.segment(&segments) else { break };
            let end = self.committed.as_ref().map_or(u64::MAX, |committed| committed.length_of(segment));
            let more = index_segment(&tx, segment, end, &mut at, most - read)?;
            read += more;
            // What is still being written is not passed by, nor what another run of the journal wrote behind it.
            if more == 0 && (end != u64::MAX || !at.next_segment(&segments)) {
                break;
            }
        }
        if read > 0 {
            at.save(&tx)?;
        }
        tx.commit()?;
        Ok((at.seq, read))
    }

    /// Throws the index away and begins a new one; [`Index::catch_up`] fills it.
    pub(super) fn rebuild(&self) -> Result<(), Error> {
        let mut db = self.db.lock();
        *db = None;
        *db = Some(begin_anew(&self.directory)?);
        Ok(())
    }

    /// Drops what lies in segments that were taken away to an archive.
    fn forget_archived(&self) -> Result<(), Error> {
        let first = Segment::list(&self.directory)?.first().map_or(1, |segment| segment.first);
        let mut db = self.database()?;
        let oldest: Option<i64> = db.query_row("SELECT min(seq) FROM records", [], |row| row.get(0))?;
        let first = sql(first);
        if oldest.is_some_and(|oldest| oldest < first) {
            let tx = db.transaction()?;
            tx.execute("DELETE FROM records WHERE seq < ?1", [first])?;
            tx.execute("DELETE FROM posts WHERE seq < ?1", [first])?;
            tx.commit()?;
        }
        Ok(())
    }
}

/// How far the index goes.
#[derive(Default)]
struct Position {
    /// The first record of the segment, the place behind the last indexed line in it.
    segment: u64,
    offset: u64,
    /// The last indexed record, the place of its line, and its hash.
    seq: u64,
    line: u64,
    hash: Vec<u8>,
}

impl Position {
    fn load(db: &Connection) -> Result<Self, Error> {
        let row = db.prepare_cached("SELECT segment, offset, seq, line, hash FROM position")?.query_row([], |row| {
            let hash = row.get(4)?;
            let at = |column| number(row, column);
            Ok(Self { segment: at(0)?, offset: at(1)?, seq: at(2)?, line: at(3)?, hash })
        });
        Ok(row.optional()?.unwrap_or_default())
    }

    fn save(&self, tx: &Transaction<'_>) -> Result<(), Error> {
        tx.execute("DELETE FROM position", [])?;
        let row = params![sql(self.segment), sql(self.offset), sql(self.seq), sql(self.line), self.hash];
        tx.execute("INSERT INTO position(segment, offset, seq, line, hash) VALUES (?1, ?2, ?3, ?4, ?5)", row)?;
        Ok(())
    }

    fn segment<'s>(&mut self, segments: &'s [Segment]) -> Option<&'s Segment> {
        if self.segment == 0 {
            self.segment = segments.first()?.first;
        }
        segments.iter().find(|segment| segment.first == self.segment)
    }

    fn next_segment(&mut self, segments: &[Segment]) -> bool {
        let next = segments.iter().find(|segment| segment.first > self.segment);
        if let Some(next) = next {
            (self.segment, self.offset) = (next.first, 0);
        }
        next.is_some()
    }
}

/// Indexes up to `most` lines from the position on, up to the place `end`.
fn index_segment(
    tx: &Transaction<'_>,
    segment: &Segment,
    end: u64,
    at: &mut Position,
    most: u64,
) -> Result<u64, Error> {
    let fault = |error| Error::io(format!("read {}", segment.path.display()), error);
    let mut file = open_read(&segment.path)?;
    file.seek(SeekFrom::Start(at.offset)).map_err(fault)?;
    let mut reader = BufReader::with_capacity(1 << 16, file.take(end.saturating_sub(at.offset)));
    let mut line = Vec::new();
    let mut read = 0;
    while read < most {
        line.clear();
        reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(fault)?;
        let Some(text) = line.strip_suffix(b"\n") else { break };
        if let Some(link) = Link::parse(text) {
            insert(tx, &link, segment.first, at.offset, text.len())?;
            (at.seq, at.line) = (link.seq, at.offset);
            at.hash = link.hash.to_vec();
        } else {
            tracing::warn!(path = %segment.path.display(), offset = at.offset, "a line of the journal is no record");
        }
        at.offset += line.len() as u64;
        read += 1;
    }
    Ok(read)
}

fn insert(tx: &Transaction<'_>, link: &Link<'_>, segment: u64, offset: u64, length: usize) -> Result<(), Error> {
    let facts = Facts::of(link.entry);
    let mut path = None;
    for (kind, value) in &facts.names {
        let name = intern(tx, *kind, value)?;
        if *kind == Name::Path {
            path = Some(name);
        }
        tx.prepare_cached("INSERT OR IGNORE INTO posts(name, seq) VALUES (?1, ?2)")?.execute([name, sql(link.seq)])?;
    }
    let mut statement = tx.prepare_cached(
        "INSERT OR REPLACE INTO records(seq, time, response, operation, failed, act, path, segment, offset, length)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    statement.execute(params![
        sql(link.seq),
        facts.time,
        facts.response,
        facts.operation,
        facts.failed,
        facts.act as i64,
        path,
        sql(segment),
        sql(offset),
        sql(length as u64)
    ])?;
    Ok(())
}

/// The number of a name, which it gets when it is first met.
fn intern(tx: &Transaction<'_>, kind: Name, value: &str) -> Result<i64, Error> {
    if let Some(id) = find_name(tx, kind, value)? {
        return Ok(id);
    }
    tx.prepare_cached("INSERT INTO names(kind, value) VALUES (?1, ?2)")?.execute(params![kind as i64, value])?;
    Ok(tx.last_insert_rowid())
}

pub(super) fn find_name(db: &Connection, kind: Name, value: &str) -> Result<Option<i64>, Error> {
    let mut statement = db.prepare_cached("SELECT id FROM names WHERE kind = ?1 AND value = ?2")?;
    Ok(statement.query_row(params![kind as i64, value], |row| row.get(0)).optional()?)
}

/// A number as SQLite holds it; ours stay below its greatest.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that [`sql`] made.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn open_database(directory: &Path) -> Result<Connection, Error> {
    let path = directory.join(INDEX);
    // Made here so that nobody else may read it.
    drop(open_append(&path)?);
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.set_prepared_statement_cache_capacity(64);
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;")?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        db.execute_batch(SCHEMA)?;
    }
    Ok(db)
}

/// Whether the index was made for the journal that lies beside it.
fn fits(db: &Connection, directory: &Path) -> Result<bool, Error> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != VERSION {
        return Ok(false);
    }
    let at = match Position::load(db) {
        Ok(at) => at,
        Err(error) if damaged(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    if at.seq == 0 {
        return Ok(true);
    }
    let segments = Segment::list(directory)?;
    let last = segments.iter().rfind(|segment| segment.first <= at.seq);
    let Some(last) = last else { return Ok(false) };
    let mut start = vec![0; LINE_START];
    let Ok(length) = open_read(&last.path)?.read_at(&mut start, at.line) else { return Ok(false) };
    start.truncate(length);
    let want = format!("{{\"seq\":{},\"prev\":\"", at.seq).into_bytes();
    let hash_at = want.len() + 64 + "\",\"hash\":\"".len();
    let hash = start.get(hash_at..hash_at + 64).map(<[u8]>::to_vec);
    Ok(start.starts_with(&want) && hash == Some(data_encoding::HEXLOWER.encode(&at.hash).into_bytes()))
}

fn begin_anew(directory: &Path) -> Result<Connection, Error> {
    tracing::warn!(directory = %directory.display(), "the journal's index does not fit; it is built anew");
    for end in ["", "-wal", "-shm"] {
        let path = directory.join(format!("{INDEX}{end}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("remove {}", path.display()), error));
            }
            _ => {}
        }
    }
    open_database(directory)
}

fn damaged(error: &Error) -> bool {
    let Error::Index(error) = error else { return false };
    match error.as_ref() {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        _ => true,
    }
}

/// How many records are indexed in one transaction.
const CHUNK: u64 = 2000;
/// No record is longer: bodies are limited long before.
const LONGEST_LINE: u64 = 256 << 20;
/// How much of a line holds its number and its hash.
const LINE_START: usize = 256;
/// The layout below. Another one is built anew.
const VERSION: i64 = 1;
const SCHEMA: &str = "
    BEGIN;
    CREATE TABLE position(segment INTEGER, offset INTEGER, seq INTEGER, line INTEGER, hash BLOB);
    CREATE TABLE names(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, value TEXT NOT NULL, UNIQUE(kind, value));
    CREATE TABLE posts(name INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(name, seq)) WITHOUT ROWID;
    CREATE TABLE records(
        seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, response INTEGER NOT NULL, operation TEXT NOT NULL,
        failed INTEGER NOT NULL, act INTEGER NOT NULL, path INTEGER, segment INTEGER NOT NULL,
        offset INTEGER NOT NULL, length INTEGER NOT NULL
    );
    CREATE INDEX records_by_time ON records(time);
    PRAGMA user_version = 1;
    COMMIT;
";

#[cfg(test)]
mod tests;
