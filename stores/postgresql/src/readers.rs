//! Connections that read. They are made when they are needed, and kept.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use storage::{Entry, Error, Key, Page, Scan};
use tokio::sync::Semaphore;
use tokio_postgres::{Row, Statement};

use crate::{
    Shared,
    connection::{Connection, Failure},
    error::fault,
};

/// A fixed number of connections.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    slots: Semaphore,
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    connection: Connection,
    get: Statement,
    scan: Statement,
    list: Statement,
}

impl Readers {
    pub(crate) fn new(shared: Arc<Shared>, most: usize) -> Self {
        Self { shared, slots: Semaphore::new(most), idle: Mutex::default() }
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let rows = self.read(Ask::Entry(key.as_str().as_bytes())).await?;
        rows.first().map(|row| entry(row, 0, Some(1))).transpose()
    }

    pub(crate) async fn scan(&self, scan: &Scan) -> Result<Page, Error> {
        let limit = scan.limit.max(1);
        let (from, to) = bounds(scan);
        // One more tells whether there are more.
        let most = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let rows = self.read(Ask::Range { from, to, most, values: scan.values }).await?;
        let more = rows.len() > limit;
        let entries = rows.iter().take(limit).map(|row| {
            let key: &[u8] = row.try_get(0).map_err(|_| damaged())?;
            let key = std::str::from_utf8(key).map_err(|_| damaged())?;
            Ok((Key::new(key), entry(row, 1, scan.values.then_some(2))?))
        });
        Ok(Page { entries: entries.collect::<Result<_, Error>>()?, more })
    }

    /// Reads over any of the connections, and again over a new one if that turns out to be broken.
    async fn read(&self, ask: Ask<'_>) -> Result<Vec<Row>, Error> {
        let slot = tokio::time::timeout(BUSY, self.slots.acquire()).await;
        let _slot = slot.map_err(|_| Error::Unavailable("all connections to PostgreSQL are busy".to_owned()))?;
        let mut last = None;
        for _ in 0..TRIES {
            let reader = self.reader().await.map_err(|failure| fault(&failure))?;
            match reader.read(&ask).await {
                Ok(found) => {
                    self.idle.lock().push(reader);
                    return Ok(found);
                }
                Err(failure) => {
                    if !failure.is_broken() {
                        self.idle.lock().push(reader);
                    }
                    let again = failure.is_broken() || failure.is_collision();
                    last = Some(fault(&failure));
                    if !again {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::Unavailable("PostgreSQL did not answer".to_owned())))
    }

    async fn reader(&self) -> Result<Reader, Failure> {
        loop {
            let kept = self.idle.lock().pop();
            match kept {
                Some(reader) if reader.connection.is_closed() => {}
                Some(reader) => return Ok(reader),
                None => return Reader::open(&self.shared).await,
            }
        }
    }
}

/// What is read.
enum Ask<'k> {
    Entry(&'k [u8]),
    Range { from: Vec<u8>, to: Vec<u8>, most: i64, values: bool },
}

impl Reader {
    async fn read(&self, ask: &Ask<'_>) -> Result<Vec<Row>, Failure> {
        match ask {
            Ask::Entry(key) => self.connection.query(&self.get, &[key]).await,
            Ask::Range { from, to, most, values } => {
                let statement = if *values { &self.scan } else { &self.list };
                self.connection.query(statement, &[from, to, most]).await
            }
        }
    }

    async fn open(shared: &Shared) -> Result<Self, Failure> {
        let connection = shared.connect(None).await?;
        let table = shared.table.entries();
        let (get, scan, list) = (
            format!("SELECT revision, value FROM {table} WHERE key = $1"),
            format!("SELECT key, revision, value FROM {table} WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3"),
            format!("SELECT key, revision FROM {table} WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3"),
        );
        let (get, scan, list) =
            futures::try_join!(connection.prepare(&get), connection.prepare(&scan), connection.prepare(&list))?;
        Ok(Self { connection, get, scan, list })
    }
}

fn entry(row: &Row, revision: usize, value: Option<usize>) -> Result<Entry, Error> {
    let revision: i64 = row.try_get(revision).map_err(|_| damaged())?;
    let value = match value {
        Some(at) => Bytes::copy_from_slice(row.try_get(at).map_err(|_| damaged())?),
        None => Bytes::new(),
    };
    Ok(Entry::new(value, revision.cast_unsigned()))
}

fn damaged() -> Error {
    Error::Damaged("a table of the store holds what was not written by strongroom".to_owned())
}

/// The first key of a range and one behind its last. Keys are UTF-8, in which the bytes 0xFF and, behind a whole key, 0x00
/// stand between it and whatever follows.
fn bounds(scan: &Scan) -> (Vec<u8>, Vec<u8>) {
    let from = match &scan.after {
        Some(after) if *after >= scan.prefix => [after.as_bytes(), &[0]].concat(),
        _ => scan.prefix.clone().into_bytes(),
    };
    (from, [scan.prefix.as_bytes(), &[0xFF]].concat())
}

/// How long a read waits for a connection.
const BUSY: Duration = Duration::from_secs(5);
const TRIES: usize = 3;
