//! The background task that ends what is due.
//!
//! A due thing is claimed by moving its index entry into the future in a conditional commit, so that only one task, on
//! whichever node, works on it. What fails comes back later, for as long as it takes. One lease of a mount whose target
//! fails is kept on a short leash as a probe: when it succeeds, the others of the mount are due at once.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
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

    /// Ends a token that is due: its children, its leases, itself. What fails is tried again soon.
    fn end_token<'a>(&'a self, token: &'a TokenId, due: Timestamp) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether a run of the server, which is not this one, is over: then nobody else goes on with what it had under way.
    /// Where one server has the store to itself, every other one is.
    fn is_gone(&self, instance: &str) -> bool {
        let _ = instance;
        true
    }

    /// Whether a token is over, or gone: then it can only be due later because somebody has claimed its end.
    fn is_over<'a>(&'a self, token: &'a TokenId) -> BoxFuture<'a, Result<bool, Error>>;
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
const AT_ONCE: usize = 256;
/// How many of these one mount may take, so that a target that hangs does not hold up the others.
const AT_ONCE_PER_MOUNT: usize = 16;
/// How many due things that wait for their mount one pass goes by; the next pass goes on behind them, so that however
/// many wait, the others get their turn.
const PASSED_OVER: usize = 1024;
const CROWDED: Duration = Duration::from_millis(100);
/// The pause after the store failed.
const STORE_FAILED: Duration = Duration::from_secs(1);
/// The longest the index is left unread, in case the wall clock is moved.
const IDLE: Duration = Duration::from_secs(60);

impl Leases {
    /// Ends what is due, for as long as the future is polled.
    pub async fn expire(self: Arc<Self>, ends: Arc<dyn Ends>) {
        self.adopt();
        let mut round = Round::default();
        loop {
            if self.orphaned.swap(false, Ordering::AcqRel) {
                self.take_up(&*ends).await;
            }
            // What is put into the index from here on sounds it anew.
            *self.alarm.lock() = None;
            let wait = match self.pass(&ends, &mut round).await {
                Ok(wait) => wait,
                Err(Error::Sealed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the due index cannot be read");
                    STORE_FAILED
                }
            };
            self.rest(clock::after(self.clock.now(), wait)).await;
        }
    }

    /// Goes on with what runs of the server were at that are over. What this fails at waits for its time.
    async fn take_up(&self, ends: &dyn Ends) {
        if let Err(error) = self.adopt_intents(ends).await {
            tracing::warn!(%error, "intents of earlier runs wait for their time");
        }
        if let Err(error) = self.adopt_claims(ends).await {
            tracing::warn!(%error, "revocations that earlier runs were at wait for the end of their claims");
        }
        if let Err(error) = self.adopt_failing().await {
            tracing::warn!(%error, "revocations that failed in earlier runs wait for their time");
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

    /// Starts work on what is due; gives the time until the next pass.
    async fn pass(self: &Arc<Self>, ends: &Arc<dyn Ends>, round: &mut Round) -> Result<Duration, Error> {
        let mut after = round.resume.take();
        let (mut crowded, mut passed_over) = (after.is_some(), 0);
        loop {
            let now = self.clock.now();
            let scan = Scan { prefix: due::PREFIX.to_owned(), after, limit: PAGE, values: false };
            let page = self.store.scan(&scan).await?;
            for (key, _) in &page.entries {
                let Some((at, what)) = due::parse(key) else { continue };
                if at > now {
                    let wait = clock::between(now, at).min(IDLE);
                    return Ok(if crowded { wait.min(CROWDED) } else { wait });
                }
                match round.busy.begin(&what) {
                    Begun::Started => self.start(ends, round, at, what).await,
                    Begun::Already => {}
                    Begun::Crowded => {
                        crowded = true;
                        passed_over += 1;
                    }
                }
                if passed_over >= PASSED_OVER {
                    round.resume = Some(key.as_str().to_owned());
                    return Ok(CROWDED);
                }
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(if crowded { CROWDED } else { IDLE });
            }
        }
    }

    async fn start(self: &Arc<Self>, ends: &Arc<dyn Ends>, round: &Round, at: Timestamp, what: Due) {
        // The semaphore is never closed.
        let slot = Arc::clone(&round.slots).acquire_owned().await;
        let (leases, ends, busy) = (Arc::clone(self), Arc::clone(ends), Arc::clone(&round.busy));
        tokio::spawn(async move {
            let again = leases.end(&*ends, at, &what).await;
            // In this order: whoever is woken must not meet the thing as being worked on still.
            if busy.finish(&what) || again {
                leases.wake();
            }
            drop(slot);
        });
    }

    /// Whether the thing has to be looked at again now.
    async fn end(self: &Arc<Self>, ends: &dyn Ends, at: Timestamp, what: &Due) -> bool {
        let result = match what {
            Due::Lease(id) => self.end_lease(ends, at, id).await,
            Due::Token(id) => self.end_token(ends, at, id).await,
        };
        match result {
            Ok(()) | Err(Error::Sealed) => false,
            // Another task or node has it, or it changed meanwhile.
            Err(Error::Conflict) => true,
            Err(error) => {
                tracing::warn!(?what, %error, "what is due could not be ended yet");
                self.clock.sleep(STORE_FAILED).await;
                true
            }
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
        tx.put(due::token_key(later, id), self.instance.clone().into());
        tx.commit().await?;
        match ends.end_token(id, later).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let tx = Tx::new(Arc::clone(&self.store));
                let again = clock::after(self.clock.now(), FIRST_RETRY);
                self.watch_token(&tx, id, Some(due::rounded(later)), Some(again));
                tx.commit().await?;
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
            self.insert(&tx, &record)?;
            tx.commit().await?;
            return Ok(None);
        }
        self.unschedule(&tx, &record);
        record.was_pending |= record.state == State::Pending;
        record.state = State::Revoking;
        record.claimed_by.clone_from(&self.instance);
        // As precise as the index: it tells this claim from later ones.
        record.due = due::rounded(clock::after(self.clock.now(), CLAIM));
        self.insert(&tx, &record)?;
        tx.commit().await?;
        Ok(Some(record))
    }

    async fn finish(&self, id: &LeaseId, orphan: bool) -> Result<(), Error> {
        self.take_out(id, orphan).await.map(drop)
    }

    async fn postpone(&self, record: &Record, why: String) -> Result<(), Error> {
        let doubled = FIRST_RETRY.saturating_mul(1 << record.failures.min(16));
        let wait = doubled.min(LONGEST_RETRY);
        let probes = {
            let mut failing = self.failing.lock();
            *failing.entry(Arc::clone(&record.mount)).or_insert_with(|| record.id.clone()) == record.id
        };
        // The leash goes round among the leases that fail: one of them may fail for a reason of its own, and would
        // never notice that the target is back.
        if probes && let Some(next) = self.next_failing(record).await? {
            self.hand_on(record, next).await?;
        }
        let claimed = record.due;
        self.change(&record.id, |record, now| {
            // A claim that ran out, since the node stood still, is another one's now.
            if record.due != claimed || record.claimed_by != self.instance {
                return false;
            }
            record.claimed_by.clear();
            // Asked as part of the change: the leash may just be handed to this one.
            let probes = self.failing.lock().get(&record.mount) == Some(&record.id);
            record.due = clock::after(now, if probes { wait.min(PROBE) } else { wait });
            record.failures = record.failures.saturating_add(1);
            record.last_error = Some(why.chars().take(240).collect());
            true
        })
        .await?;
        self.wake();
        Ok(())
    }

    /// The lease that follows this one among those of its mount that fail.
    async fn next_failing(&self, record: &Record) -> Result<Option<LeaseId>, Error> {
        let own = record::failing_key(&record.mount, &record.id);
        for after in [Some(own.as_str().to_owned()), None] {
            let (ids, _) = self.failing_of(&record.mount, after, 1).await?;
            if let Some(id) = ids.into_iter().next() {
                return Ok(Some(id).filter(|id| *id != record.id));
            }
        }
        Ok(None)
    }

    /// Makes another lease the probe of a mount in place of `before`, unless it is gone. It is the probe before it is brought
    /// forward: if it fails at this very moment, either it sees that, or its pause is shortened here.
    async fn hand_on(&self, before: &Record, next: LeaseId) -> Result<(), Error> {
        self.failing.lock().insert(Arc::clone(&before.mount), next.clone());
        let changed = self.change(&next, |record, now| {
            let soon = clock::after(now, PROBE);
            // Also of one that is being tried at this moment: if it fails, it is due again that soon.
            let later = record.state == State::Revoking && record.failures > 0 && record.due > soon;
            if later {
                record.due = soon;
            }
            later
        });
        let changed = changed.await;
        if !matches!(changed, Ok(Some(_))) {
            self.failing.lock().insert(Arc::clone(&before.mount), before.id.clone());
        }
        changed.map(drop)
    }

    /// After the success of a lease that failed before, the target is back: whatever waits for it is due at once. The
    /// success of one that did not fail before says nothing: others may fail for reasons of their own.
    async fn recovered(&self, record: &Record) -> Result<(), Error> {
        if record.failures == 0 {
            return Ok(());
        }
        self.failing.lock().remove(&record.mount);
        let mut after: Option<String> = None;
        loop {
            let (ids, more) = self.failing_of(&record.mount, after, PAGE).await?;
            for id in &ids {
                self.hurry(id).await?;
            }
            self.wake();
            after = ids.last().map(|id| record::failing_key(&record.mount, id).as_str().to_owned());
            if !more {
                return Ok(());
            }
        }
    }

    /// Has a revocation that failed tried again at once.
    async fn hurry(&self, id: &LeaseId) -> Result<(), Error> {
        let hurried = self.change(id, |record, now| {
            let waits = record.is_waiting() && record.due > now;
            if waits {
                record.due = now;
            }
            waits
        });
        hurried.await.map(drop)
    }

    /// After a start: of each mount whose revocations failed, one is tried at once, and becomes the probe if it fails.
    async fn adopt_failing(&self) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let scan = Scan { prefix: record::FAILING.to_owned(), after, limit: 1, values: false };
            let page = self.store.scan(&scan).await?;
            let first = page.entries.first().and_then(|(key, _)| key.as_str().strip_prefix(record::FAILING));
            let Some((mount, id)) = first.and_then(|rest| rest.split_once('/')) else { return Ok(()) };
            let id = LeaseId(id.into());
            self.failing.lock().insert(mount.into(), id.clone());
            self.hurry(&id).await?;
            // Behind all of this mount: '0' follows '/'.
            after = Some(format!("{}{mount}0", record::FAILING));
        }
    }

    pub(crate) fn tell(&self, id: &LeaseId, result: Result<(), String>) {
        for waiter in self.waiting.lock().remove(id).unwrap_or_default() {
            // Whoever waited may have gone.
            let _ = waiter.send(result.clone());
        }
    }

    /// Intents of earlier runs belong to requests that can no longer finish: they are due at once.
    async fn adopt_intents(&self, ends: &dyn Ends) -> Result<(), Error> {
        let mut after = None;
        loop {
            let scan = Scan { prefix: record::PENDING.to_owned(), after, limit: PAGE, values: false };
            let page = self.store.scan(&scan).await?;
            for (key, _) in &page.entries {
                let rest = key.as_str().get(record::PENDING.len()..).unwrap_or_default();
                let Some((instance, id)) = rest.split_once('/') else { continue };
                if instance != self.instance && ends.is_gone(instance) {
                    self.abandon(&LeaseId(id.into())).await?;
                }
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Takes up the ends of leases and tokens that an earlier run was at when it ended; its claims would hold for a while yet.
    async fn adopt_claims(&self, ends: &dyn Ends) -> Result<(), Error> {
        let now = self.clock.now();
        let last = clock::after(now, CLAIM);
        let mut after = Some(due::end_of(now));
        loop {
            let scan = Scan { prefix: due::PREFIX.to_owned(), after, limit: PAGE, values: false };
            let page = self.store.scan(&scan).await?;
            for (key, _) in &page.entries {
                match due::parse(key) {
                    Some((at, _)) if at > due::rounded(last) => return Ok(()),
                    Some((_, Due::Lease(id))) => {
                        self.change(&id, |record, now| {
                            let over = record.claimed_by != self.instance && ends.is_gone(&record.claimed_by);
                            let claimed = record.state == State::Revoking && record.due > now && over;
                            record.due = if claimed { now } else { record.due };
                            claimed
                        })
                        .await?;
                    }
                    Some((at, Due::Token(id))) => self.adopt_token(ends, at, &id).await?,
                    None => {}
                }
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn adopt_token(&self, ends: &dyn Ends, at: Timestamp, id: &TokenId) -> Result<(), Error> {
        if !ends.is_over(id).await? {
            return Ok(());
        }
        let tx = Tx::new(Arc::clone(&self.store));
        let Some(claimed_by) = tx.get(&due::token_key(at, id)).await? else { return Ok(()) };
        let claimed_by = String::from_utf8_lossy(&claimed_by);
        if claimed_by == self.instance || !ends.is_gone(&claimed_by) {
            return Ok(());
        }
        self.watch_token(&tx, id, Some(at), Some(self.clock.now()));
        match tx.commit().await.map_err(Error::from) {
            // Somebody else has taken it up.
            Ok(_) | Err(Error::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What the expirer keeps from one pass to the next.
struct Round {
    slots: Arc<Semaphore>,
    busy: Arc<Busy>,
    /// Where the last pass stopped going by things that wait for their mount.
    resume: Option<String>,
}

impl Default for Round {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), busy: Arc::default(), resume: None }
    }
}

/// What is being worked on.
#[derive(Default)]
struct Busy(Mutex<AtWork>);

#[derive(Default)]
struct AtWork {
    /// The things, and whether they were met again meanwhile.
    things: HashMap<Due, bool>,
    mounts: HashMap<String, Share>,
}

/// What one mount takes.
#[derive(Default)]
struct Share {
    at_work: usize,
    /// Whether something of the mount was turned away.
    turned_away: bool,
}

enum Begun {
    Already,
    Crowded,
    Started,
}

impl Busy {
    fn begin(&self, what: &Due) -> Begun {
        let AtWork { things, mounts } = &mut *self.0.lock();
        if let Some(again) = things.get_mut(what) {
            *again = true;
            return Begun::Already;
        }
        let share = mounts.entry(mount_of(what)).or_default();
        if share.at_work >= AT_ONCE_PER_MOUNT {
            share.turned_away = true;
            return Begun::Crowded;
        }
        share.at_work += 1;
        things.insert(what.clone(), false);
        Begun::Started
    }

    /// Whether something was turned away that could begin now.
    fn finish(&self, what: &Due) -> bool {
        let AtWork { things, mounts } = &mut *self.0.lock();
        let again = things.remove(what).unwrap_or_default();
        let mount = mount_of(what);
        let Some(share) = mounts.get_mut(&mount) else { return again };
        share.at_work = share.at_work.saturating_sub(1);
        // Not for every one: half a share at a time keeps the passes over the index few.
        let room = share.turned_away && share.at_work <= AT_ONCE_PER_MOUNT / 2;
        if room {
            share.turned_away = false;
        }
        if share.at_work == 0 {
            mounts.remove(&mount);
        }
        again || room
    }
}

/// The first segment of a lease's path: mounts below the same one share their turn.
fn mount_of(what: &Due) -> String {
    match what {
        Due::Lease(id) => id.0.split('/').next().unwrap_or_default().to_owned(),
        Due::Token(_) => String::new(),
    }
}
