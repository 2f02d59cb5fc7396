//! Tells what has changed: listens for news, and asks again and again.
//!
//! Each answer is a snapshot, in which all commits up to the newest revision are visible, since commits are one after the
//! other. So whoever was told everything of it knows the state of the store when it was asked.

use std::{sync::Arc, time::Duration, time::Instant};

use storage::{Change, Key, Revision};
use tokio::sync::Notify;
use tokio_postgres::{Row, Statement};

use crate::{
    Shared,
    connection::{Connection, Failure},
};

/// Follows the store for as long as the future is polled, from `last` on.
pub(crate) async fn follow(shared: Arc<Shared>, last: Revision, max_staleness: Duration) {
    let pause = (max_staleness / 5).clamp(SHORTEST, LONGEST);
    let mut follower = Follower { shared, last, news: Arc::default(), max_staleness };
    let mut told = false;
    loop {
        match follower.listen(pause, &mut told).await {
            Ok(never) => match never {},
            Err(failure) => {
                if !told {
                    tracing::warn!(error = %failure, "the store cannot be followed");
                    told = true;
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

struct Follower {
    shared: Arc<Shared>,
    /// Everything up to here was told.
    last: Revision,
    news: Arc<Notify>,
    max_staleness: Duration,
}

enum Never {}

impl Follower {
    /// Follows over one connection until that fails. `told` is whether a failure was reported that lasts until now.
    async fn listen(&mut self, pause: Duration, told: &mut bool) -> Result<Never, Failure> {
        let connection = self.shared.connect(Some(Arc::clone(&self.news))).await?;
        let (table, meta) = (self.shared.table.changes(), self.shared.table.meta());
        let sql = format!(
            "SELECT m.value, c.revision, c.keys FROM {meta} m LEFT JOIN LATERAL \
             (SELECT revision, keys FROM {table} WHERE revision > $1 ORDER BY revision LIMIT {PAGE}) c ON true \
             WHERE m.name = 'revision' ORDER BY c.revision"
        );
        let ask = connection.prepare(&sql).await?;
        if connection.notifies {
            connection.batch(&format!("LISTEN \"{}\"", self.shared.table.channel())).await?;
        }
        loop {
            while !self.ask(&connection, &ask).await? {}
            if *told {
                tracing::info!("the store is followed again");
                *told = false;
            }
            // A connection that ended wakes it too.
            let _ = tokio::time::timeout(pause, self.news.notified()).await;
        }
    }

    /// Asks for changes and tells them; whether those were all.
    async fn ask(&mut self, connection: &Connection, ask: &Statement) -> Result<bool, Failure> {
        let at = Instant::now();
        let last = self.last.cast_signed();
        // An answer that comes later than this is of no use to anybody.
        let answer = tokio::time::timeout(self.max_staleness.max(SOON), connection.query(ask, &[&last])).await;
        let rows = answer.map_err(|_| Failure::slow("PostgreSQL did not answer in time"))??;
        let newest = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).map(i64::cast_unsigned);
        let newest = newest.ok_or_else(|| Failure::slow("the table of the newest revision is empty"))?;
        if newest < self.last {
            tracing::warn!(newest, known = self.last, "the store went back: it was restored, or lost what it had");
            self.shared.forget_newer(newest);
            return Ok(self.lose(newest, at));
        }
        let told = rows.iter().try_for_each(|row| self.tell(row));
        match told {
            Ok(()) if self.last == newest => {
                self.shared.saw(newest);
                self.shared.feed.tell(Change::Current { revision: newest, at });
                Ok(true)
            }
            Ok(()) => Ok(false),
            Err(Gap) => Ok(self.lose(newest, at)),
        }
    }

    /// Tells one commit, which has to be the next one.
    fn tell(&mut self, row: &Row) -> Result<(), Gap> {
        let Some(revision) = row.try_get::<_, Option<i64>>(1).map_err(|_| Gap)? else {
            // Nothing is newer.
            return Ok(());
        };
        let revision = revision.cast_unsigned();
        if revision != self.last + 1 {
            return Err(Gap);
        }
        let keys = decode(row.try_get(2).map_err(|_| Gap)?).ok_or(Gap)?;
        self.last = revision;
        self.shared.saw(revision);
        self.shared.feed.announce(revision, keys);
        Ok(())
    }

    /// Changes cannot be told one by one any more.
    fn lose(&mut self, newest: Revision, at: Instant) -> bool {
        self.last = newest;
        self.shared.saw(newest);
        self.shared.feed.tell(Change::Lost);
        self.shared.feed.tell(Change::Current { revision: newest, at });
        true
    }
}

/// Changes between the last known one and this are no longer there.
struct Gap;

/// The keys of a commit as the table of changes has them: each with its length before it (2 bytes, big-endian).
pub(crate) fn encode<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<u8> {
    let mut out = Vec::new();
    for key in keys {
        // No key is longer than MAX_KEY.
        let length = u16::try_from(key.as_str().len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(key.as_str().as_bytes());
    }
    out
}

fn decode(mut bytes: &[u8]) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        keys.push(Key::new(std::str::from_utf8(key).ok()?));
        bytes = rest;
    }
    Some(keys)
}

const PAGE: usize = 512;
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_went() {
        let keys = [Key::new(""), Key::new("a/ü"), Key::new("x".repeat(2048)), Key::new("nul\0")];
        assert_eq!(decode(&encode(keys.iter())).unwrap(), keys);
        assert_eq!(decode(&[]), Some(Vec::new()));
        for damaged in [&[0][..], &[0, 2, b'a'], &[0, 1, 0xFF]] {
            assert_eq!(decode(damaged), None, "{damaged:?}");
        }
    }
}
