//! The one task that writes: many batches in one transaction.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use storage::{Batch, CommitError, Key, Revision};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Statement, types::ToSql};

use crate::{
    Shared,
    connection::{Connection, Failure},
    error::fault,
    follower,
};

/// A batch that waits, and who waits for it.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Answer>,
    pub(crate) since: Instant,
}

type Answer = Result<Revision, CommitError>;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// A connection that nothing is prepared on yet.
    fresh: Option<Connection>,
    ready: Option<Ready>,
    /// When old changes are taken out again.
    prune_at: Revision,
}

/// A connection with what is said over it.
struct Ready {
    connection: Connection,
    lock: Statement,
    look: Statement,
    find: Statement,
    delete: Statement,
    put: Statement,
    advance: Statement,
    prune: Statement,
    tell: Option<Statement>,
}

/// What becomes of the batches of a transaction.
struct Plan<'j> {
    outcomes: Vec<Outcome>,
    /// The revisions before and after it.
    before: Revision,
    after: Revision,
    writes: HashMap<&'j Key, (Revision, Option<&'j Bytes>)>,
}

#[derive(Clone)]
enum Outcome {
    Applied(Revision),
    Conflict(Key),
}

/// Why a transaction did not come to its end.
enum Trouble {
    /// Nothing was applied.
    Before(Failure),
    /// The connection broke while it was being committed: it may have been.
    Doubt(Failure),
}

/// A transaction of which it is not known whether it was committed.
struct Doubt {
    first: Revision,
    outcomes: Vec<Outcome>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, fresh: Connection) -> Self {
        Self { shared, fresh: Some(fresh), ready: None, prune_at: 0 }
    }

    /// Applies batches for as long as there may be some.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = Vec::new();
        while jobs.recv_many(&mut waiting, AT_ONCE).await > 0 {
            // What the callers gave up waiting for a place for is not begun either.
            waiting.retain(|job: &Job| !(job.reply.is_closed() && job.since.elapsed() > PATIENCE));
            while !waiting.is_empty() {
                let group: Vec<Job> = waiting.drain(..group_size(&waiting)).collect();
                self.serve(group).await;
            }
            self.prune().await;
        }
    }

    async fn serve(&mut self, jobs: Vec<Job>) {
        match self.apply(&jobs).await {
            Ok(outcomes) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    self.answer(job, outcome);
                }
            }
            Err(failure) => {
                tracing::warn!(error = %failure, batches = jobs.len(), "a commit failed");
                for job in jobs {
                    // An error only says that nobody waits for the answer.
                    let _ = job.reply.send(Err(fault(&failure).into()));
                }
            }
        }
    }

    fn answer(&self, job: Job, outcome: Outcome) {
        let counters = &self.shared.counters;
        let answer = match outcome {
            Outcome::Conflict(key) => {
                counters.conflicts.fetch_add(1, Ordering::Relaxed);
                Err(CommitError::Conflict(key))
            }
            Outcome::Applied(revision) => {
                if !job.batch.writes.is_empty() {
                    counters.commits.fetch_add(1, Ordering::Relaxed);
                    counters.bytes.fetch_add(job.batch.size() as u64, Ordering::Relaxed);
                }
                self.shared.saw(revision);
                Ok(revision)
            }
        };
        // An error only says that nobody waits for the answer.
        let _ = job.reply.send(answer);
    }

    /// Applies the batches, each of which sees those before it, in one transaction. After an error it is open whether they
    /// were applied.
    async fn apply(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, Failure> {
        let end = Instant::now() + PATIENCE;
        // Random, so that a transaction of which the answer was lost is found again.
        let mark = i64::from_be_bytes(crypto::random::bytes());
        let mut doubt: Option<Doubt> = None;
        loop {
            let failure = match self.attempt(jobs, mark, &mut doubt).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Trouble::Before(failure) | Trouble::Doubt(failure)) => failure,
            };
            let broken = failure.is_broken();
            if broken {
                self.ready = None;
            }
            let again = failure.is_collision() || broken;
            // Without a server there is nothing to wait for, unless it has to be found out what it did.
            let hopeless = broken && doubt.is_none() && self.connect().await.is_err();
            if !again || hopeless || Instant::now() >= end {
                return Err(failure);
            }
            self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
            if doubt.is_some() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.ready.as_ref().is_some_and(|ready| !ready.connection.is_closed()) {
            return Ok(());
        }
        let fresh = self.fresh.take().filter(|fresh| !fresh.is_closed());
        let connection = match fresh {
            Some(fresh) => fresh,
            None => self.shared.connect(None).await?,
        };
        self.ready = Some(Ready::prepare(&self.shared, connection).await?);
        Ok(())
    }

    async fn attempt(&mut self, jobs: &[Job], mark: i64, doubt: &mut Option<Doubt>) -> Result<Vec<Outcome>, Trouble> {
        self.connect().await.map_err(Trouble::Before)?;
        let Some(ready) = &self.ready else { return Err(Trouble::Before(Failure::slow("there is no connection"))) };
        let attempted = ready.attempt(jobs, mark, doubt).await;
        match attempted {
            Ok((outcomes, wrote)) => {
                self.shared.counters.transactions.fetch_add(wrote.into(), Ordering::Relaxed);
                Ok(outcomes)
            }
            Err(trouble) => {
                if let Trouble::Before(failure) = &trouble
                    && !failure.is_broken()
                    && ready.connection.batch("ROLLBACK").await.is_err()
                {
                    self.ready = None;
                }
                Err(trouble)
            }
        }
    }

    /// Takes out what every follower has been told long ago.
    async fn prune(&mut self) {
        let newest = self.shared.newest.load(Ordering::Acquire);
        let Some(ready) = self.ready.as_ref().filter(|_| newest >= self.prune_at) else { return };
        self.prune_at = newest + PRUNE_EVERY;
        let until = newest.saturating_sub(KEPT).cast_signed();
        if let Err(error) = ready.connection.execute(&ready.prune, &[&until]).await {
            // Nothing is lost: it is tried again later.
            tracing::debug!(%error, "old changes could not be taken out");
        }
    }
}

impl Ready {
    async fn prepare(shared: &Shared, connection: Connection) -> Result<Self, Failure> {
        let (entries, meta, changes) = (shared.table.entries(), shared.table.meta(), shared.table.changes());
        let lock = format!("SELECT value FROM {meta} WHERE name = 'revision' FOR UPDATE");
        let look = format!("SELECT key, revision FROM {entries} WHERE key = ANY($1)");
        let find = format!("SELECT 1 FROM {changes} WHERE revision = $1 AND mark = $2");
        let delete = format!("DELETE FROM {entries} WHERE key = ANY($1)");
        let put = format!(
            "INSERT INTO {entries} (key, revision, value) \
             SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) \
             ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, value = excluded.value"
        );
        let advance = format!(
            "WITH told AS (INSERT INTO {changes} (revision, mark, keys) \
             SELECT r, $3::bigint, k FROM unnest($1::bigint[], $2::bytea[]) AS u (r, k)) \
             UPDATE {meta} SET value = $4 WHERE name = 'revision'"
        );
        let prune = format!("DELETE FROM {changes} WHERE revision <= $1");
        let tell = format!("SELECT pg_catalog.pg_notify('{}', '')", shared.table.channel());
        let (lock, look, find, delete, put, advance, prune) = futures::try_join!(
            connection.prepare(&lock),
            connection.prepare(&look),
            connection.prepare(&find),
            connection.prepare(&delete),
            connection.prepare(&put),
            connection.prepare(&advance),
            connection.prepare(&prune),
        )?;
        let tell = if connection.notifies { Some(connection.prepare(&tell).await?) } else { None };
        Ok(Self { connection, lock, look, find, delete, put, advance, prune, tell })
    }

    /// One transaction; what became of the batches, and whether anything was written.
    async fn attempt(
        &self,
        jobs: &[Job],
        mark: i64,
        doubt: &mut Option<Doubt>,
    ) -> Result<(Vec<Outcome>, bool), Trouble> {
        let before = self.look(jobs).await.map_err(Trouble::Before)?;
        if let Some(Doubt { first, outcomes }) = doubt.take() {
            // With the lock held, nothing of an earlier transaction is under way any more.
            let found = self.connection.query(&self.find, &[&first.cast_signed(), &mark]).await;
            match found.map_err(Trouble::Before) {
                Ok(rows) if rows.is_empty() => {}
                Ok(_) => {
                    self.end().await;
                    return Ok((outcomes, true));
                }
                Err(trouble) => {
                    *doubt = Some(Doubt { first, outcomes });
                    return Err(trouble);
                }
            }
        }
        let plan = Plan::make(jobs, before);
        if plan.after == plan.before {
            self.end().await;
            return Ok((plan.outcomes, false));
        }
        match self.write(jobs, &plan, mark).await {
            Ok(()) => Ok((plan.outcomes, true)),
            Err(trouble) => {
                if let Trouble::Doubt(_) = trouble {
                    *doubt = Some(Doubt { first: plan.before + 1, outcomes: plan.outcomes });
                }
                Err(trouble)
            }
        }
    }

    /// Begins the transaction: locks, and reads all that the batches expect something of. One way to the server and back.
    async fn look(&self, jobs: &[Job]) -> Result<(Revision, HashMap<Key, Revision>), Failure> {
        let expected = jobs.iter().flat_map(|job| &job.batch.expect);
        let mut keys: Vec<&[u8]> = expected.map(|(key, _)| key.as_str().as_bytes()).collect();
        keys.sort_unstable();
        keys.dedup();
        let connection = &self.connection;
        // Sent in this order; the server does one after the other, so what is read is what the lock protects.
        let (begun, locked, found) = futures::join!(
            connection.batch("BEGIN ISOLATION LEVEL READ COMMITTED"),
            connection.query(&self.lock, &[]),
            async { if keys.is_empty() { Ok(Vec::new()) } else { connection.query(&self.look, &[&keys]).await } },
        );
        begun?;
        let (locked, found) = (locked?, found?);
        let newest: Option<i64> = locked.first().and_then(|row| row.try_get(0).ok());
        let newest = newest.ok_or_else(|| Failure::slow("the table of the newest revision is empty"))?;
        let pairs = found.iter().filter_map(|row| {
            let key = std::str::from_utf8(row.try_get(0).ok()?).ok()?;
            Some((Key::new(key), row.try_get::<_, i64>(1).ok()?.cast_unsigned()))
        });
        Ok((newest.cast_unsigned(), pairs.collect()))
    }

    /// Writes and commits. One way to the server and back.
    async fn write(&self, jobs: &[Job], plan: &Plan<'_>, mark: i64) -> Result<(), Trouble> {
        let (mut gone, mut keys, mut revisions, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (key, (revision, value)) in &plan.writes {
            match value {
                Some(value) => {
                    keys.push(key.as_str().as_bytes());
                    revisions.push(revision.cast_signed());
                    values.push(&***value);
                }
                None => gone.push(key.as_str().as_bytes()),
            }
        }
        let (told, changed) = plan.changes(jobs);
        let newest = plan.after.cast_signed();
        let connection = &self.connection;
        let news: [&(dyn ToSql + Sync); 4] = [&told, &changed, &mark, &newest];
        let entries: [&(dyn ToSql + Sync); 3] = [&keys, &revisions, &values];
        let (deleted, put, advanced, notified, committed) = futures::join!(
            async { if gone.is_empty() { Ok(0) } else { connection.execute(&self.delete, &[&gone]).await } },
            async { if keys.is_empty() { Ok(0) } else { connection.execute(&self.put, &entries).await } },
            connection.execute(&self.advance, &news),
            async {
                match &self.tell {
                    Some(tell) => connection.query(tell, &[]).await.map(drop),
                    None => Ok(()),
                }
            },
            connection.batch("COMMIT"),
        );
        // The first that failed says why; the COMMIT behind it then takes everything back, unless it got no answer.
        for result in [deleted.map(drop), put.map(drop), advanced.map(drop), notified] {
            result.map_err(
                |failure| if failure.is_broken() { Trouble::Doubt(failure) } else { Trouble::Before(failure) },
            )?;
        }
        committed.map_err(|failure| match failure.code() {
            // It was refused, or PostgreSQL ended in the middle of it.
            Some(_) if !failure.is_broken() => Trouble::Before(failure),
            _ => Trouble::Doubt(failure),
        })
    }

    /// Ends a transaction that wrote nothing.
    async fn end(&self) {
        // If this fails, so does the next thing on this connection.
        let _ = self.connection.batch("ROLLBACK").await;
    }
}

impl<'j> Plan<'j> {
    /// Goes through the batches in order, over what is stored.
    fn make(jobs: &'j [Job], (before, found): (Revision, HashMap<Key, Revision>)) -> Self {
        let mut plan = Self { outcomes: Vec::with_capacity(jobs.len()), before, after: before, writes: HashMap::new() };
        for Job { batch, .. } in jobs {
            let stands = |key: &Key| match plan.writes.get(key) {
                Some((revision, value)) => value.map(|_| *revision),
                None => found.get(key).copied(),
            };
            let conflict = batch.expect.iter().find(|(key, expected)| stands(key) != *expected);
            if let Some((key, _)) = conflict {
                plan.outcomes.push(Outcome::Conflict(key.clone()));
                continue;
            }
            if !batch.writes.is_empty() {
                plan.after += 1;
                let revision = plan.after;
                plan.writes.extend(batch.writes.iter().map(|(key, value)| (key, (revision, value.as_ref()))));
            }
            plan.outcomes.push(Outcome::Applied(plan.after));
        }
        plan
    }

    /// The commits, and the keys that each changed.
    fn changes(&self, jobs: &[Job]) -> (Vec<i64>, Vec<Vec<u8>>) {
        let applied = self.outcomes.iter().zip(jobs).filter(|(_, job)| !job.batch.writes.is_empty());
        let told = applied.filter_map(|(outcome, job)| match outcome {
            Outcome::Applied(revision) => {
                Some((revision.cast_signed(), follower::encode(job.batch.writes.iter().map(|(key, _)| key))))
            }
            Outcome::Conflict(_) => None,
        });
        told.unzip()
    }
}

/// How many of the waiting batches one transaction takes: not more bytes than are sent quickly.
fn group_size(waiting: &[Job]) -> usize {
    let mut bytes = 0;
    let fits = waiting.iter().take_while(|job| {
        bytes += job.batch.size();
        bytes <= MOST_BYTES
    });
    fits.count().max(1)
}

const AT_ONCE: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// How long a commit is tried before its callers are told that the store is unavailable.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);
/// How many commits a follower may lag behind before it is told that changes were lost.
const KEPT: u64 = 20_000;
const PRUNE_EVERY: u64 = 1000;
