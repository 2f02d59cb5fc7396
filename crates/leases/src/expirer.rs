//! The background task that ends what is due.
//!
//! A due thing is claimed by moving its index entry into the future in a conditional commit, so that only one task, on
//! whichever node, works on it. What fails comes back later, for as long as it takes. One lease of a mount whose target
//! fails stays on a short leash as a probe: when it succeeds, the others of the mount are due at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use clock::Timestamp;
use gate::{Error, LeaseId, TokenId};
use parking_lot::Mutex;
use storage::{BoxFuture, Scan, Tx};
use tokio::sync::Semaphore;

use crate::{Due, Leases, Record, State, due, record};

/// What the expirer needs of the program.
pub trait Ends: Send + Sync + 'static {
    /// Revokes what a lease stands for.
    fn revoke_lease<'a>(&'a self, lease: &'a Record) -> BoxFuture<'a, Outcome>;

    /// Ends a token that is due: its children, its leases, itself. `Ok(Some(at))` asks to come back.
    fn end_token<'a>(&'a self, token: &'a TokenId, due: Timestamp) -> BoxFuture<'a, Result<(), Error>>;
}

/// How a revocation went.
#[derive(Debug)]
pub enum Outcome {
    /// Gone.
    Revoked,
    /// To be tried again; the text says why.
    Failed(String),
    /// The mount is gone, and with it whoever could revoke the lease.
    NoMount,
}

/// How long a claim lasts: longer than a revocation may take.
const CLAIM: Duration = Duration::from_secs(120);
/// The longest a revocation may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(3600);
const PROBE: Duration = Duration::from_secs(20);
const PAGE: usize = 256;
const AT_ONCE: usize = 64;
/// How many of these one mount may take, so that a target that hangs does not hold up the others.
const AT_ONCE_PER_MOUNT: usize = 16;
/// How many due things that wait for their mount are passed over before the others get their turn.
const PASSED_OVER: usize = 4096;
const CROWDED: Duration = Duration::from_millis(100);

impl Leases {
    /// Ends what is due, for as long as the future is polled.
    pub async fn expire(self: Arc<Self>, ends: Arc<dyn Ends>) {
        if let Err(error) = self.adopt_intents().await {
            tracing::warn!(%error, "intents of earlier runs wait for their time");
        }
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let busy = Arc::new(Busy::default());
        loop {
            // What is put into the index from here on sounds it anew.
            *self.alarm.lock() = None;
            let wait = match self.pass(&ends, &slots, &busy).await {
                Ok(wait) => wait,
                Err(Error::Sealed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the due index cannot be read");
                    Duration::from_secs(1)
                }
            };
            self.rest(clock::after(self.clock.now(), wait)).await;
        }
    }

    /// Waits until `next`, or until the alarm if that is earlier.
    async fn rest(&self, next: Timestamp) {
        loop {
            let now = self.clock.now();
            let until = self.alarm.lock().map_or(next, |alarm| alarm.min(next));
            if until <= now {
                return;
            }
            tokio::select! {
                () = self.clock.sleep(clock::between(now, until)) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Starts work on everything due; gives the time until the next thing is.
    async fn pass(
        self: &Arc<Self>,
        ends: &Arc<dyn Ends>,
        slots: &Arc<Semaphore>,
        busy: &Arc<Busy>,
    ) -> Result<Duration, Error> {
        let (mut after, mut passed_over) = (None, 0);
        loop {
            let now = self.clock.now();
            let scan = Scan { prefix: due::PREFIX.to_owned(), after, limit: PAGE, values: false };
            let page = self.store.scan(&scan).await?;
            for (key, _) in &page.entries {
                let Some((at, what)) = due::parse(key) else { continue };
                if at > now {
                    let wait = clock::between(now, at).min(IDLE);
                    return Ok(if passed_over > 0 { wait.min(CROWDED) } else { wait });
                }
                match busy.begin(&what) {
                    Begun::Started => {}
                    Begun::Already => continue,
                    Begun::Crowded => {
                        passed_over += 1;
                        continue;
                    }
                }
                let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return Ok(IDLE) };
                let (leases, ends, busy) = (Arc::clone(self), Arc::clone(ends), Arc::clone(busy));
                tokio::spawn(async move {
                    leases.end(&*ends, at, &what).await;
                    busy.finish(&what);
                    drop(slot);
                });
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if passed_over > PASSED_OVER {
                return Ok(CROWDED);
            }
            if !page.more {
                return Ok(if passed_over > 0 { CROWDED } else { IDLE });
            }
        }
    }

    async fn end(self: &Arc<Self>, ends: &dyn Ends, at: Timestamp, what: &Due) {
        let result = match what {
            Due::Lease(id) => self.end_lease(ends, at, id).await,
            Due::Token(id) => self.end_token(ends, at, id).await,
        };
        match result {
            // Another task or node has it, or it changed and will be looked at again.
            Ok(()) | Err(Error::Conflict | Error::Sealed) => {}
            Err(error) => tracing::warn!(?what, %error, "what is due could not be ended yet"),
        }
    }

    async fn end_token(&self, ends: &dyn Ends, at: Timestamp, id: &TokenId) -> Result<(), Error> {
        let tx = Tx::new(Arc::clone(&self.store));
        let later = clock::after(self.clock.now(), CLAIM);
        // Read, so that the commit fails if another has claimed it.
        let key = due::token_key(at, id);
        if tx.get(&key).await?.is_none() {
            return Ok(());
        }
        self.watch_token(&tx, id, Some(at), Some(later));
        tx.commit().await?;
        match ends.end_token(id, later).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let tx = Tx::new(Arc::clone(&self.store));
                let again = clock::after(self.clock.now(), FIRST_RETRY);
                self.watch_token(&tx, id, Some(due::rounded(later)), Some(again));
                tx.commit().await?;
                self.wake();
                Err(error)
            }
        }
    }

    async fn end_lease(self: &Arc<Self>, ends: &dyn Ends, at: Timestamp, id: &LeaseId) -> Result<(), Error> {
        let Some(record) = self.claim(at, id).await? else { return Ok(()) };
        let revoked = tokio::time::timeout(PATIENCE, ends.revoke_lease(&record)).await;
        let outcome = revoked.unwrap_or_else(|_| Outcome::Failed("the target did not answer in time".to_owned()));
        match outcome {
            Outcome::Revoked => {
                self.finish(id, false).await?;
                self.tell(id, Ok(()));
                self.recovered(&record).await
            }
            Outcome::NoMount => {
                self.finish(id, true).await?;
                self.tell(id, Ok(()));
                Ok(())
            }
            Outcome::Failed(why) => {
                self.tell(id, Err(why.clone()));
                tracing::warn!(lease = %id, failures = record.failures + 1, why, "a lease could not be revoked yet");
                self.postpone(&record, why).await
            }
        }
    }

    /// Moves a due lease into the future; `None` if somebody else did.
    async fn claim(&self, at: Timestamp, id: &LeaseId) -> Result<Option<Record>, Error> {
        let tx = Tx::new(Arc::clone(&self.store));
        let Some(mut record) = tx.get_json::<Record>(&record::key(id)).await? else {
            tx.delete(due::lease_key(at, id));
            tx.commit().await?;
            return Ok(None);
        };
        if due::rounded(record.due) != at {
            // A stale entry of the index: the record says where the lease stands now.
            tx.delete(due::lease_key(at, id));
            tx.commit().await?;
            return Ok(None);
        }
        self.unschedule(&tx, &record);
        record.was_pending |= record.state == State::Pending;
        record.state = State::Revoking;
        record.due = clock::after(self.clock.now(), CLAIM);
        self.insert(&tx, &record)?;
        tx.commit().await?;
        Ok(Some(record))
    }

    async fn finish(&self, id: &LeaseId, orphan: bool) -> Result<(), Error> {
        self.retried(|| {
            Box::pin(async {
                let tx = Tx::new(Arc::clone(&self.store));
                if let Some(record) = tx.get_json::<Record>(&record::key(id)).await? {
                    if orphan {
                        tx.put_json(record::orphan_key(id), &record)?;
                    }
                    self.remove(&tx, &record);
                }
                tx.commit().await?;
                Ok(())
            })
        })
        .await
    }

    async fn postpone(&self, record: &Record, why: String) -> Result<(), Error> {
        let doubled = FIRST_RETRY.saturating_mul(1 << record.failures.min(16));
        let mut wait = doubled.min(LONGEST_RETRY);
        {
            let mut failing = self.failing.lock();
            let probe = failing.entry(Arc::clone(&record.mount)).or_insert_with(|| record.id.clone());
            if *probe == record.id {
                wait = wait.min(PROBE);
            }
        }
        self.change(&record.id, |record, now| {
            record.due = clock::after(now, wait);
            record.failures = record.failures.saturating_add(1);
            record.last_error = Some(why.chars().take(240).collect());
        })
        .await?;
        self.wake();
        Ok(())
    }

    /// After the first success at a mount that failed: whatever waits there is due at once.
    async fn recovered(&self, record: &Record) -> Result<(), Error> {
        if self.failing.lock().remove(&record.mount).is_none() {
            return Ok(());
        }
        let mount = record.id.0.split_inclusive('/').next().unwrap_or_default().to_owned();
        let mut after: Option<String> = None;
        loop {
            let (ids, more) = self.ids(&mount, after.as_deref(), PAGE).await?;
            for id in &ids {
                let hurry = self.change(id, |record, now| {
                    if record.state == State::Revoking && record.failures > 0 {
                        record.due = now;
                    }
                });
                hurry.await?;
            }
            after = ids.last().map(|id| id.0.to_string());
            if !more {
                self.wake();
                return Ok(());
            }
        }
    }

    fn tell(&self, id: &LeaseId, result: Result<(), String>) {
        for waiter in self.waiting.lock().remove(id).unwrap_or_default() {
            // Whoever waited may have gone.
            let _ = waiter.send(result.clone());
        }
    }

    /// Intents of earlier runs belong to requests that can no longer finish: they are due at once.
    async fn adopt_intents(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let scan = Scan { prefix: record::PENDING.to_owned(), after, limit: PAGE, values: false };
            let page = self.store.scan(&scan).await?;
            for (key, _) in &page.entries {
                let rest = key.as_str().get(record::PENDING.len()..).unwrap_or_default();
                let Some((instance, id)) = rest.split_once('/') else { continue };
                if instance != self.instance {
                    self.abandon(&LeaseId(id.into())).await?;
                }
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }
}

/// What is being worked on.
#[derive(Default)]
struct Busy(Mutex<(HashSet<Due>, HashMap<String, usize>)>);

enum Begun {
    Already,
    Crowded,
    Started,
}

impl Busy {
    fn begin(&self, what: &Due) -> Begun {
        let (things, mounts) = &mut *self.0.lock();
        if things.contains(what) {
            return Begun::Already;
        }
        let at_work = mounts.entry(mount_of(what)).or_default();
        if *at_work >= AT_ONCE_PER_MOUNT {
            return Begun::Crowded;
        }
        *at_work += 1;
        things.insert(what.clone());
        Begun::Started
    }

    fn finish(&self, what: &Due) {
        let (things, mounts) = &mut *self.0.lock();
        things.remove(what);
        let mount = mount_of(what);
        if let Some(at_work) = mounts.get_mut(&mount) {
            *at_work -= 1;
            if *at_work == 0 {
                mounts.remove(&mount);
            }
        }
    }
}

/// The first segment of a lease's path: mounts below the same one share their turn.
fn mount_of(what: &Due) -> String {
    match what {
        Due::Lease(id) => id.0.split('/').next().unwrap_or_default().to_owned(),
        Due::Token(_) => String::new(),
    }
}

/// The longest the index is left unread, in case the wall clock is moved.
const IDLE: Duration = Duration::from_secs(60);
