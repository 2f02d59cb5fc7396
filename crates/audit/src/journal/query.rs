//! Answers: who read this path, what did this identity touch, who held this user at that time.

use std::{os::unix::fs::FileExt as _, path::Path};

use clock::Timestamp;
use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    chain::Link,
    facts::{Act as Does, Name},
    index::{Index, find_name, number, sql},
    segment::{Committed, Segment, open_read},
};
use crate::{
    entry::Kind,
    error::Error,
    hashing::{Hasher, PREFIX},
    writer::{Act, Asker},
};

/// Reads a journal, also one that no server has open. Calls block; run them away from async tasks.
pub struct Reader {
    index: Index,
    hasher: Option<Hasher>,
    /// The journal's thread, if this process writes it.
    writer: Option<Asker>,
}

impl Reader {
    /// A reader of the journal in `directory`. With the device's salt, hashed fields can be asked for by their clear
    /// value; without it, by their hash.
    pub fn open(directory: impl AsRef<Path>, hasher: Option<Hasher>) -> Result<Self, Error> {
        Ok(Self { index: Index::open(directory.as_ref(), None)?, hasher, writer: None })
    }

    /// The reader of a journal that this process writes.
    pub(super) fn beside(directory: &Path, hasher: Hasher, committed: Committed, writer: Asker) -> Result<Self, Error> {
        let index = Index::open(directory, Some(committed))?;
        Ok(Self { index, hasher: Some(hasher), writer: Some(writer) })
    }

    /// Has everything written so far signed now, without waiting for the next head to be due, so that a verification covers
    /// it. Does nothing in a journal that another process writes, or nobody.
    pub async fn sign(&self) -> Result<(), Error> {
        match &self.writer {
            Some(writer) => writer.act(Act::Vouch).await,
            None => Ok(()),
        }
    }

    /// The journal's directory.
    pub fn directory(&self) -> &Path {
        self.index.directory()
    }

    /// Reads up to `most` new records into the index. Returns the number of the last record that it holds.
    pub fn catch_up(&self, most: u64) -> Result<u64, Error> {
        self.index.catch_up(most)
    }

    /// Throws the index away and builds it anew from the segments, however long that takes.
    pub fn rebuild(&self) -> Result<u64, Error> {
        self.index.rebuild()?;
        self.index.catch_up(u64::MAX)
    }

    /// The records that match all that `filter` asks for.
    ///
    /// Records written before the call are found, unless the index is more than 100,000 records behind, as after it
    /// was deleted; [`Found::indexed`] tells.
    pub fn query(&self, filter: &Filter) -> Result<Found, Error> {
        let indexed = self.index.catch_up(CATCH_UP)?;
        let db = self.index.database()?;
        let mut found = Found { records: Vec::new(), indexed };
        if let Some(search) = self.search(&db, filter)? {
            for place in search.run(&db)? {
                found.records.push(self.read(&place)?);
            }
        }
        Ok(found)
    }

    /// Who was given the user `username`, newest first; with `at`, who held it at that moment.
    ///
    /// A holding begins with the answer that carried the user and ends with the record that its lease was revoked or
    /// its password rotated.
    pub fn held(&self, username: &str, at: Option<Timestamp>) -> Result<Vec<Holding>, Error> {
        self.index.catch_up(CATCH_UP)?;
        let db = self.index.database()?;
        let names = self.names(&db, Name::Username, username)?;
        let mut holdings = Vec::new();
        for name in &names {
            let search = Search {
                sql: format!(
                    "FROM posts p CROSS JOIN records r ON r.seq = p.seq
                     WHERE p.name = ? AND r.act = {} AND r.time <= ? ORDER BY p.seq DESC LIMIT {MOST_HOLDINGS}",
                    Does::Issues as i64
                ),
                values: vec![Value::from(*name), Value::from(at.map_or(i64::MAX, Timestamp::as_microsecond))],
            };
            for place in search.run(&db)? {
                let issued = self.read(&place)?;
                let lease_id = lease_of(&issued.entry);
                let ended = self.end_of(&db, issued.seq, *name, lease_id.as_deref())?;
                let over = at.zip(ended.as_ref()).is_some_and(|(at, ended)| ended.time <= at);
                if !over {
                    holdings.push(Holding { username: username.to_owned(), lease_id, issued, ended });
                }
            }
        }
        Ok(holdings)
    }

    /// The first record behind `seq` that ends the lease, or the user if it has none.
    fn end_of(&self, db: &Connection, seq: u64, user: i64, lease: Option<&str>) -> Result<Option<Record>, Error> {
        let mut names = vec![user];
        if let Some(lease) = lease {
            names.extend(find_name(db, Name::Lease, lease)?);
        }
        let mut first: Option<Place> = None;
        for name in names {
            let search = Search {
                sql: format!(
                    "FROM posts p CROSS JOIN records r ON r.seq = p.seq
                     WHERE p.name = ? AND p.seq > ? AND r.act = {} ORDER BY p.seq LIMIT 1",
                    Does::Ends as i64
                ),
                values: vec![Value::from(name), Value::from(sql(seq))],
            };
            let found = search.run(db)?.pop();
            first = first.into_iter().chain(found).min_by_key(|place| place.seq);
        }
        first.map(|place| self.read(&place)).transpose()
    }

    /// Turns the filter into SQL; `None` if a name does not occur at all.
    fn search(&self, db: &Connection, filter: &Filter) -> Result<Option<Search>, Error> {
        let mut wanted = Vec::new();
        // The rarest first: it leads the search.
        let by_name = [
            (Name::Request, &filter.request_id),
            (Name::Lease, &filter.lease_id),
            (Name::Username, &filter.username),
            (Name::Accessor, &filter.accessor),
            (Name::Path, &filter.path),
            (Name::Entity, &filter.entity),
            (Name::Display, &filter.display_name),
            (Name::Mount, &filter.mount),
        ];
        for (kind, value) in by_name {
            let Some(value) = value else { continue };
            let names = self.names(db, kind, value)?;
            if names.is_empty() {
                return Ok(None);
            }
            wanted.push(names);
        }
        Ok(Some(Search::of(&wanted, filter)))
    }

    /// The numbers of a name: as it is, or as its keyed hash.
    fn names(&self, db: &Connection, kind: Name, value: &str) -> Result<Vec<i64>, Error> {
        let mut names = Vec::from_iter(find_name(db, kind, value)?);
        let hashed = matches!(kind, Name::Accessor | Name::Username | Name::Lease);
        if let Some(hasher) = self.hasher.as_ref().filter(|_| hashed && !value.starts_with(PREFIX)) {
            names.extend(find_name(db, kind, &hasher.hash(value.as_bytes()))?);
        }
        Ok(names)
    }

    fn read(&self, place: &Place) -> Result<Record, Error> {
        let segment = Segment::at(self.index.directory(), place.segment);
        let mut line = vec![0; place.length];
        let read = open_read(&segment.path)?.read_exact_at(&mut line, place.offset);
        read.map_err(|error| Error::io(format!("read {}", segment.path.display()), error))?;
        let link = Link::parse(&line).filter(|link| link.seq == place.seq && link.holds());
        let entry = link.and_then(|link| std::str::from_utf8(link.entry).ok());
        let Some(entry) = entry else {
            let what = format!("record {} in {} is not what it was", place.seq, segment.path.display());
            return Err(Error::Journal { directory: self.index.directory().to_owned(), what });
        };
        Ok(Record { seq: place.seq, time: place.time, entry: entry.to_owned() })
    }
}

/// What to look for; everything that is set must match.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The request's path, mount included.
    pub path: Option<String>,
    /// The beginning of the request's path.
    pub path_prefix: Option<String>,
    /// The mount's path, with its slash at the end.
    pub mount: Option<String>,
    /// The id of the entity that asked or logged in.
    pub entity: Option<String>,
    /// The display name of the token that asked or was made.
    pub display_name: Option<String>,
    /// The accessor of the token that asked or was made, in clear or hashed.
    pub accessor: Option<String>,
    /// The lease.
    pub lease_id: Option<String>,
    /// The issued user name.
    pub username: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// The operation: `read`, `revoke`, …
    pub operation: Option<String>,
    /// Only requests or only responses.
    pub kind: Option<Kind>,
    /// Only failures and refusals (`true`) or only what went well (`false`).
    pub failed: Option<bool>,
    /// In which order.
    pub order: Order,
    /// How many at most; 100 if it is not said, never more than 10,000.
    pub limit: Option<usize>,
    /// Only records behind this one, in the order asked for: the last record's number of the page before.
    pub after: Option<u64>,
}

/// The order of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The records, in the order asked for.
    pub records: Vec<Record>,
    /// The number of the last record that was looked at.
    pub indexed: u64,
}

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// When it happened, to the microsecond; the entry holds it exactly.
    pub time: Timestamp,
    /// The entry as JSON text.
    pub entry: String,
}

/// One holder of a user.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The user.
    pub username: String,
    /// The lease it was given under.
    pub lease_id: Option<String>,
    /// The answer that carried it.
    pub issued: Record,
    /// The record that ended it; `None` if it is still held.
    pub ended: Option<Record>,
}

/// Where a record lies.
struct Place {
    seq: u64,
    time: Timestamp,
    segment: u64,
    offset: u64,
    length: usize,
}

struct Search {
    /// From `FROM` on.
    sql: String,
    values: Vec<Value>,
}

impl Search {
    fn of(wanted: &[Vec<i64>], filter: &Filter) -> Self {
        let mut search = Self { sql: String::new(), values: Vec::new() };
        match wanted.split_first() {
            Some((lead, others)) => {
                search.add("FROM posts p CROSS JOIN records r ON r.seq = p.seq WHERE p.name IN (", []);
                search.list(lead);
                for other in others {
                    search.add(" AND EXISTS (SELECT 1 FROM posts q WHERE q.seq = p.seq AND q.name IN (", []);
                    search.list(other);
                    search.add(")", []);
                }
            }
            None => search.add("FROM records r WHERE TRUE", []),
        }
        let column = if wanted.is_empty() { "r.seq" } else { "p.seq" };
        search.conditions(filter, column);
        let direction = if filter.order == Order::Newest { "DESC" } else { "ASC" };
        let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).min(MOST);
        search.add(&format!(" ORDER BY {column} {direction} LIMIT {limit}"), []);
        search
    }

    fn conditions(&mut self, filter: &Filter, column: &str) {
        if let Some(prefix) = &filter.path_prefix {
            self.add(
                &format!(
                    " AND r.path IN (SELECT id FROM names WHERE kind = {} AND value >= ? AND value < ?)",
                    Name::Path as i64
                ),
                [Value::from(prefix.clone()), Value::from(format!("{prefix}\u{10ffff}"))],
            );
        }
        if let Some(since) = filter.since {
            self.add(" AND r.time >= ?", [Value::from(since.as_microsecond())]);
        }
        if let Some(until) = filter.until {
            self.add(" AND r.time < ?", [Value::from(until.as_microsecond())]);
        }
        if let Some(operation) = &filter.operation {
            self.add(" AND r.operation = ?", [Value::from(operation.clone())]);
        }
        if let Some(kind) = filter.kind {
            self.add(" AND r.response = ?", [Value::from(i64::from(kind == Kind::Response))]);
        }
        if let Some(failed) = filter.failed {
            self.add(" AND r.failed = ?", [Value::from(i64::from(failed))]);
        }
        if let Some(after) = filter.after {
            let beyond = if filter.order == Order::Newest { "<" } else { ">" };
            self.add(&format!(" AND {column} {beyond} ?"), [Value::from(sql(after))]);
        }
    }

    fn add<const N: usize>(&mut self, sql: &str, values: [Value; N]) {
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    /// The rest of an `IN (`.
    fn list(&mut self, names: &[i64]) {
        let marks = vec!["?"; names.len()].join(", ");
        self.sql.push_str(&marks);
        self.sql.push(')');
        self.values.extend(names.iter().map(|name| Value::from(*name)));
    }

    fn run(&self, db: &Connection) -> Result<Vec<Place>, Error> {
        let sql = format!("SELECT r.seq, r.time, r.segment, r.offset, r.length {}", self.sql);
        let mut statement = db.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(&self.values), |row| {
            let time = Timestamp::from_microsecond(row.get(1)?).unwrap_or(Timestamp::UNIX_EPOCH);
            let length = usize::try_from(number(row, 4)?).unwrap_or(0);
            Ok(Place { seq: number(row, 0)?, time, segment: number(row, 2)?, offset: number(row, 3)?, length })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn lease_of(entry: &str) -> Option<String> {
    let entry: serde_json::Value = serde_json::from_str(entry).ok()?;
    let lease = entry.pointer("/response/secret/lease_id").or_else(|| entry.pointer("/request/lease_id"))?;
    lease.as_str().map(str::to_owned)
}

const CATCH_UP: u64 = 100_000;
const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 10_000;
const MOST_HOLDINGS: usize = 1000;
