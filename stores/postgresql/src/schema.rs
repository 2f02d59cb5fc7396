//! The tables, made and upgraded by whichever server comes first. See `docs/src/design/storage-layout.md`.

use std::time::Duration;

use storage::Revision;
use tokio_postgres::error::SqlState;

use crate::{
    OpenError,
    connection::{Connection, Failure},
};

/// The name of the table, with its schema if it has one, each part in quotes.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    name: String,
    quoted: String,
    meta: String,
    changes: String,
}

impl Table {
    /// A name as the configuration has it.
    pub(crate) fn new(name: &str) -> Result<Self, OpenError> {
        let wrong = || {
            OpenError::Invalid(format!(
                "table: use letters, digits and underscores, at most {LONGEST}, such as strongroom or my_schema.strongroom"
            ))
        };
        let parts: Vec<&str> = name.split('.').collect();
        let is_plain = |part: &&str| {
            let letters = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            letters && part.len() <= LONGEST && part.starts_with(|first: char| !first.is_ascii_digit())
        };
        let schema = match parts.as_slice() {
            [_] => String::new(),
            [schema, _] => format!("\"{schema}\"."),
            _ => return Err(wrong()),
        };
        if !parts.iter().all(is_plain) {
            return Err(wrong());
        }
        let own = parts.last().copied().unwrap_or_default();
        let quoted = |suffix: &str| format!("{schema}\"{own}{suffix}\"");
        Ok(Self { name: name.to_owned(), quoted: quoted(""), meta: quoted("_meta"), changes: quoted("_changes") })
    }

    /// As the configuration has it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The table of the entries.
    pub(crate) fn entries(&self) -> &str {
        &self.quoted
    }

    /// The table of numbers: the format, the newest revision.
    pub(crate) fn meta(&self) -> &str {
        &self.meta
    }

    /// The table of what changed lately.
    pub(crate) fn changes(&self) -> &str {
        &self.changes
    }

    /// The channel on which news is told; one for each table of a database.
    pub(crate) fn channel(&self) -> String {
        self.name.replace('.', "_")
    }
}

/// Makes the tables if they are not there, and checks that they are ours and of a format that this version knows.
pub(crate) async fn prepare(connection: &Connection, table: &Table) -> Result<(), OpenError> {
    for _ in 0..TRIES {
        match check(connection, table).await? {
            State::Ready => return Ok(()),
            State::Missing => {}
        }
        match create(connection, table).await {
            Ok(()) => {}
            // Another server makes them at this moment.
            Err(failure) if is_race(&failure) => tokio::time::sleep(AGAIN).await,
            Err(failure) => return Err(refused(failure, table)),
        }
    }
    Err(OpenError::Refused(format!("the tables {} are changed again and again by others", table.name())))
}

/// The newest revision.
pub(crate) async fn newest(connection: &Connection, table: &Table) -> Result<Revision, OpenError> {
    let sql = format!("SELECT value FROM {} WHERE name = 'revision'", table.meta());
    let rows = connection.ask(&sql, &[]).await.map_err(|failure| refused(failure, table))?;
    let value: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
    value.map(i64::cast_unsigned).ok_or_else(|| OpenError::Foreign { table: table.name().to_owned() })
}

enum State {
    Missing,
    Ready,
}

async fn check(connection: &Connection, table: &Table) -> Result<State, OpenError> {
    let foreign = || OpenError::Foreign { table: table.name().to_owned() };
    let sql = format!("SELECT value FROM {} WHERE name = 'format'", table.meta());
    let rows = match connection.ask(&sql, &[]).await {
        Ok(rows) => rows,
        Err(failure) if is_missing(&failure) => {
            let sql = format!("SELECT 1 FROM {} LIMIT 1", table.entries());
            return match connection.ask(&sql, &[]).await {
                Ok(_) => Err(foreign()),
                Err(failure) if is_missing(&failure) => Ok(State::Missing),
                Err(failure) => Err(refused(failure, table)),
            };
        }
        Err(failure) if failure.has(&SqlState::UNDEFINED_COLUMN) => return Err(foreign()),
        Err(failure) => return Err(refused(failure, table)),
    };
    match rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()) {
        Some(FORMAT) => Ok(State::Ready),
        Some(found) if found > FORMAT => Err(OpenError::Newer { table: table.name().to_owned(), found, known: FORMAT }),
        Some(_) | None => Err(foreign()),
    }
}

/// Makes the tables in one transaction.
async fn create(connection: &Connection, table: &Table) -> Result<(), Failure> {
    let (entries, meta, changes) = (table.entries(), table.meta(), table.changes());
    let sql = format!(
        "BEGIN;
         CREATE TABLE {entries} (key bytea PRIMARY KEY, revision bigint NOT NULL, value bytea NOT NULL);
         CREATE TABLE {changes} (revision bigint PRIMARY KEY, mark bigint NOT NULL, keys bytea NOT NULL);
         CREATE TABLE {meta} (name text PRIMARY KEY, value bigint NOT NULL);
         INSERT INTO {meta} (name, value) VALUES ('format', {FORMAT}), ('revision', 0);
         COMMIT"
    );
    let made = connection.batch(&sql).await;
    if made.is_err() {
        // What the failed statement left open; on a connection that is gone there is nothing to end.
        let _ = connection.batch("ROLLBACK").await;
    }
    made
}

fn is_missing(failure: &Failure) -> bool {
    failure.has(&SqlState::UNDEFINED_TABLE) || failure.has(&SqlState::INVALID_SCHEMA_NAME)
}

fn is_race(failure: &Failure) -> bool {
    let codes = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT];
    failure.is_collision() || codes.iter().any(|code| failure.has(code))
}

fn refused(failure: Failure, table: &Table) -> OpenError {
    let table = table.name().to_owned();
    match () {
        () if failure.is_broken() => OpenError::Unreachable(failure.to_string()),
        () if failure.has(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            OpenError::NotPermitted { table, why: failure.to_string() }
        }
        () if failure.has(&SqlState::INVALID_SCHEMA_NAME) => {
            OpenError::Invalid(format!("table: {failure}; make it first (CREATE SCHEMA), or name another one"))
        }
        () => OpenError::Refused(failure.to_string()),
    }
}

/// The format of the tables.
const FORMAT: i64 = 1;
/// PostgreSQL's names have 63 bytes at most, and ours are longer by a suffix.
const LONGEST: usize = 48;
const TRIES: usize = 20;
const AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let table = Table::new("vault.kv_Store").unwrap();
        assert_eq!(table.entries(), "\"vault\".\"kv_Store\"");
        assert_eq!((table.meta(), table.channel().as_str()), ("\"vault\".\"kv_Store_meta\"", "vault_kv_Store"));
        for bad in ["", ".", "a.", "a.b.c", "a b", "a\"b", "1a", "ä", "a;b", &"a".repeat(49)] {
            let error = Table::new(bad).unwrap_err().to_string();
            assert!(error.starts_with("table: "), "{bad}: {error}");
        }
    }
}
