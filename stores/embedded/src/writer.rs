//! The thread that writes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, DEFAULT_NAME, OptionalExtension, TransactionBehavior, params, wal::CheckpointMode};
use storage::{Batch, CommitError, Feed, Key, Revision};

use crate::{
    Options, Stats,
    error::{fault, is_full},
    queue::{GROUP, Job, Queue, Taken},
    readers::revision,
};

/// What the writer shares with the store.
pub(crate) struct Shared {
    pub(crate) file: PathBuf,
    pub(crate) feed: Feed,
    pub(crate) counters: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    syncs: AtomicU64,
    bytes: AtomicU64,
    conflicts: AtomicU64,
    checkpoints: AtomicU64,
}

/// Takes the batches that wait, applies them in one transaction, answers them.
pub(crate) struct Writer {
    connection: Connection,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    revision: Revision,
    /// The sizes of the last two groups.
    recent: [usize; 2],
    /// The length of the log, in pages; SQLite tells it at each commit.
    log: Arc<AtomicI32>,
    /// The length of the log at which it is next written back.
    checkpoint_at: i32,
    /// Whether something was deleted since free space was last looked for.
    deleted: bool,
    /// Whether it is being given back, a step at a time.
    reclaiming: bool,
    /// Pages were given back, and the file is not shorter yet.
    owed: bool,
    idle: Duration,
    /// When free space was last looked for, and how long to let others write before the next time.
    looked: Instant,
    busy: Duration,
}

/// How the check of a batch inside a transaction ended.
enum Outcome {
    Applied(Revision),
    Conflict(Key),
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        queue: Arc<Queue>,
        shared: Arc<Shared>,
        revision: Revision,
        options: &Options,
    ) -> rusqlite::Result<Self> {
        let log = Arc::new(AtomicI32::new(0));
        let told = Arc::clone(&log);
        connection.set_prepared_statement_cache_capacity(16);
        let mut connection = connection;
        connection.wal_hook(Some(move |_: &mut _, pages| {
            told.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let checkpoint_at = CHECKPOINT_PAGES;
        // Space may have been left over from before.
        let deleted = true;
        Ok(Self {
            connection,
            queue,
            shared,
            revision,
            recent: [1; 2],
            log,
            checkpoint_at,
            deleted,
            reclaiming: false,
            owed: false,
            idle: options.idle,
            looked: Instant::now(),
            busy: options.busy,
        })
    }

    /// Serves the queue until it is closed.
    pub(crate) fn run(mut self) {
        // Should the writer ever panic, nobody must wait for it.
        let _abandon = AbandonOnDrop(Arc::clone(&self.queue));
        loop {
            let target = self.recent.iter().sum::<usize>() / 2;
            match self.queue.take(target.min(GROUP / 2), self.patience()) {
                Taken::Jobs(jobs) => {
                    self.reclaiming = false;
                    self.recent = [jobs.len(), self.recent[0]];
                    self.serve(jobs);
                    // Those who write without a pause must not keep the file from getting shorter.
                    if self.deleted && self.looked.elapsed() >= self.busy {
                        self.reclaim();
                    }
                }
                Taken::Idle => self.reclaim(),
                Taken::Closed => break,
            }
            // After the answers, so that nobody waits for it who need not.
            if self.log.load(Ordering::Relaxed) >= self.checkpoint_at {
                self.checkpoint();
            }
        }
    }

    /// How long to wait for batches before looking for free space, if at all.
    fn patience(&self) -> Option<Duration> {
        let idle = if self.reclaiming { self.idle.min(RECLAIM_PAUSE) } else { self.idle };
        self.deleted.then_some(idle)
    }

    fn serve(&mut self, jobs: Vec<Job>) {
        match self.apply(&jobs) {
            Ok(outcomes) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    self.answer(job, outcome);
                }
            }
            // One batch that does not fit must not take the others with it.
            Err(error) if is_full(&error) && jobs.len() > 1 => jobs.into_iter().for_each(|job| self.serve(vec![job])),
            Err(error) => {
                tracing::error!(%error, file = %self.shared.file.display(), batches = jobs.len(), "a commit failed");
                for job in jobs {
                    // An error only says that nobody waits for the answer.
                    let _ = job.reply.send(Err(fault(&self.shared.file, &error).into()));
                }
            }
        }
    }

    /// Applies the batches, each of which sees those before it, in one transaction. After an error none is applied.
    fn apply(&mut self, jobs: &[Job]) -> rusqlite::Result<Vec<Outcome>> {
        let mut newest = self.revision;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for Job { batch, .. } in jobs {
            if let Some(key) = conflict(&transaction, batch)? {
                outcomes.push(Outcome::Conflict(key));
                continue;
            }
            if !batch.writes.is_empty() {
                newest += 1;
                write(&transaction, batch, newest)?;
            }
            outcomes.push(Outcome::Applied(newest));
        }
        if newest > self.revision {
            transaction
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'revision'")?
                .execute([stored(newest)])?;
        }
        transaction.commit()?;
        if newest > self.revision {
            self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        self.revision = newest;
        Ok(outcomes)
    }

    fn answer(&mut self, job: Job, outcome: Outcome) {
        let Shared { feed, counters, .. } = &*self.shared;
        let answer = match outcome {
            Outcome::Conflict(key) => {
                counters.conflicts.fetch_add(1, Ordering::Relaxed);
                Err(CommitError::Conflict(key))
            }
            Outcome::Applied(revision) => {
                let writes = job.batch.writes;
                if !writes.is_empty() {
                    counters.commits.fetch_add(1, Ordering::Relaxed);
                    let size = |(key, value): &(Key, Option<bytes::Bytes>)| {
                        key.as_str().len() + value.as_ref().map_or(0, bytes::Bytes::len)
                    };
                    counters.bytes.fetch_add(writes.iter().map(size).sum::<usize>() as u64, Ordering::Relaxed);
                    self.deleted |= writes.iter().any(|(_, value)| value.is_none());
                    if feed.is_followed() {
                        feed.announce(revision, writes.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
                    }
                }
                Ok(revision)
            }
        };
        // An error only says that nobody waits for the answer.
        let _ = job.reply.send(answer);
    }

    /// Writes the log back into the file, so that it can begin anew. Readers do not wait for it, nor it for them: what
    /// they still need it leaves in the log.
    ///
    /// Gives whether all of it is written back.
    fn checkpoint(&mut self) -> bool {
        match self.connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
            Ok((in_log, done)) => {
                let left = if done < in_log { in_log } else { 0 };
                self.log.store(left, Ordering::Relaxed);
                self.checkpoint_at = left.saturating_add(CHECKPOINT_PAGES);
                self.shared.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
                left == 0
            }
            Err(error) => {
                // Nothing is lost: it all stands in the log, which grows until a later try succeeds.
                tracing::warn!(%error, file = %self.shared.file.display(), "could not write back the log");
                self.checkpoint_at = self.log.load(Ordering::Relaxed).saturating_add(CHECKPOINT_PAGES);
                false
            }
        }
    }

    /// Gives one step's worth of free pages back to the file system, if a good part of the file is free. Otherwise
    /// they stay, for the next writes.
    fn reclaim(&mut self) {
        self.looked = Instant::now();
        let reclaimed = free_excess(&self.connection).and_then(|excess| {
            if excess > 0 {
                vacuum(&self.connection, excess.min(RECLAIM_STEP))?;
            }
            Ok(excess)
        });
        match reclaimed {
            Ok(excess) if excess > 0 => (self.reclaiming, self.owed) = (true, true),
            Ok(_) => {
                // Only with this does the file get shorter. A reader may stand in the way for the moment.
                self.owed = self.owed && !self.checkpoint();
                (self.deleted, self.reclaiming) = (self.owed, self.owed);
            }
            Err(error) => {
                (self.deleted, self.reclaiming, self.owed) = (false, false, false);
                tracing::warn!(%error, file = %self.shared.file.display(), "could not give back free space");
            }
        }
    }
}

/// The first key of the batch that is not as it expects.
fn conflict(connection: &Connection, batch: &Batch) -> rusqlite::Result<Option<Key>> {
    if batch.expect.is_empty() {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached("SELECT revision FROM entries WHERE key = ?1")?;
    for (key, expected) in &batch.expect {
        let found = statement.query_row([key.as_str()], |row| revision(row, 0)).optional()?;
        if found != *expected {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

fn write(connection: &Connection, batch: &Batch, revision: Revision) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO entries (key, revision, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, value = excluded.value",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?;
    for (key, value) in &batch.writes {
        match value {
            Some(value) => put.execute(params![key.as_str(), stored(revision), &**value])?,
            None => delete.execute([key.as_str()])?,
        };
    }
    Ok(())
}

/// SQLite's integers are signed; no store lives long enough to tell the difference.
fn stored(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// How many pages of the file are free beyond what is worth keeping: a tenth, once a quarter is free.
fn free_excess(connection: &Connection) -> rusqlite::Result<i64> {
    let all: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    Ok(if free > RECLAIM_FROM && free > all / 4 { free - (all - free) / 9 } else { 0 })
}

fn vacuum(connection: &Connection, pages: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    // Each row is a page moved.
    while rows.next()?.is_some() {}
    Ok(())
}

impl Shared {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, feed: Feed::new(), counters: Counters::default() }
    }
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: read(&self.commits),
            syncs: read(&self.syncs),
            bytes: read(&self.bytes),
            conflicts: read(&self.conflicts),
            checkpoints: read(&self.checkpoints),
        }
    }
}

struct AbandonOnDrop(Arc<Queue>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The length of the log, in pages, from which it is written back: 4 MiB.
const CHECKPOINT_PAGES: i32 = 1024;
/// How many pages are given back at once; a commit that comes meanwhile waits for no more than these.
const RECLAIM_STEP: i64 = 128;
/// The pause between two such steps.
const RECLAIM_PAUSE: Duration = Duration::from_millis(10);
/// The number of free pages up to which none are given back: 1 MiB.
const RECLAIM_FROM: i64 = 256;
