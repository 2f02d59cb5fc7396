//! What must be rotated when: a service of the server, not a script beside it.
//!
//! An engine plans a rotation in the same commit as the thing that is to rotate. The due index orders the plans by
//! time; a due one is claimed by a conditional commit, so that each runs once, on whichever node. A failed rotation
//! comes back with growing pauses and shows in the status, the history, the log and the audit journal; the stages of
//! the engines keep the old value working meanwhile.
//!
//! ```text
//! sys/rotation/item/<mount uuid>/<id>             plan and history
//! sys/rotation/due/<time>/<mount uuid>/<id>       what is due when
//! ```

mod schedule;

use std::{collections::HashMap, sync::Arc, time::Duration};

use clock::{Clock, Timestamp};
use gate::{Error, MountInfo, Namespace, Plan, RotationStatus, RotationTry};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{BoxFuture, Key, Scan, Store, Tx};
use tokio::sync::Notify;

pub use schedule::{check_plan, next_after};

/// The planned rotations of the server.
pub struct Rotations {
    store: Arc<dyn Store>,
    clock: Clock,
    wake: Notify,
    /// How many rotations of each mount are under way.
    busy: Mutex<HashMap<String, usize>>,
}

/// A planned rotation, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// The namespace of the mount.
    #[serde(default, skip_serializing_if = "Namespace::is_root")]
    pub namespace: Namespace,
    /// The mount's unchanging id.
    pub mount: String,
    /// The engine's id of what rotates.
    pub id: String,
    /// When to rotate.
    pub plan: Plan,
    /// How it stands.
    pub status: RotationStatus,
    /// Its place in the due index.
    due: Option<Timestamp>,
}

impl Item {
    /// What has no plan.
    fn by_hand(mount: &MountInfo, id: &str) -> Self {
        let plan = Plan { period: None, schedule: None, window: None, first_now: false };
        let status = RotationStatus::default_new();
        let namespace = mount.namespace.clone();
        Self { namespace, mount: mount.uuid.to_string(), id: id.to_owned(), plan, status, due: None }
    }
}

/// Does rotations; implemented by the program, which knows the engines.
pub trait Rotate: Send + Sync + 'static {
    /// Rotates one thing. `Ok(false)` if its mount is gone.
    fn rotate<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<bool, Error>>;
}

const CLAIM: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(120);
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(60);
const HISTORY: usize = 20;
const PAGE: usize = 128;
const AT_ONCE: usize = 64;
/// How many of these one mount may take, so that a target that hangs does not hold up the others.
const AT_ONCE_PER_MOUNT: usize = 4;

impl Rotations {
    /// The rotations in `store`. Nothing is read.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { store, clock, wake: Notify::new(), busy: Mutex::default() })
    }

    /// Plans, changes or (with `None`) ends a rotation, as part of `tx`.
    pub async fn plan(&self, tx: &Tx, mount: &MountInfo, id: &str, plan: Option<Plan>) -> Result<(), Error> {
        let (key, tx) = (item_key(&mount.uuid, id), tx.whole());
        let before: Option<Item> = tx.get_json(&key).await?;
        if let Some(due) = before.as_ref().and_then(|item| item.due) {
            tx.delete(due_key(due, &mount.uuid, id));
        }
        let Some(plan) = plan else {
            tx.delete(key);
            return Ok(());
        };
        check_plan(&plan)?;
        let now = self.clock.now();
        let mut status = before.map_or_else(RotationStatus::default_new, |item| item.status);
        let next = match (plan.first_now && status.last.is_none(), status.last) {
            (true, _) => Some(now),
            (false, Some(last)) if plan.period.is_some() => next_after(&plan, last).map(|next| next.max(now)),
            _ => next_after(&plan, now),
        };
        status.next = next;
        let item = Item { plan, status, due: next, ..Item::by_hand(mount, id) };
        self.put(tx, &item)?;
        self.wake.notify_one();
        Ok(())
    }

    /// Records a rotation that the engine did outside its plan, and plans the next, as part of `tx`. What has no plan is
    /// never due, but how it went is kept all the same.
    pub async fn rotated(
        &self,
        tx: &Tx,
        mount: &MountInfo,
        id: &str,
        outcome: Result<(), String>,
    ) -> Result<(), Error> {
        let tx = tx.whole();
        let before: Option<Item> = tx.get_json(&item_key(&mount.uuid, id)).await?;
        let mut item = before.unwrap_or_else(|| Item::by_hand(mount, id));
        if let Some(due) = item.due {
            tx.delete(due_key(due, &mount.uuid, id));
        }
        if let Err(why) = &outcome {
            tracing::warn!(mount = item.mount, id, why, "a rotation by hand failed; the old value stays in force");
        }
        self.note(&mut item, outcome);
        self.put(tx, &item)?;
        self.wake.notify_one();
        Ok(())
    }

    /// Has what is due looked at now. To be called after the commit of a [`Rotations::plan`]: until then there is nothing
    /// to see.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How a rotation stands; `None` if none is planned and none was done by hand.
    pub async fn status(&self, tx: &Tx, mount: &MountInfo, id: &str) -> Result<Option<RotationStatus>, Error> {
        let item: Option<Item> = tx.whole().get_json(&item_key(&mount.uuid, id)).await?;
        Ok(item.map(|item| item.status))
    }

    /// The planned rotations and those by hand, in order of mount and id, after `after` (a `<mount uuid>/<id>`).
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<(Vec<Item>, bool), Error> {
        let after = after.map(|after| format!("{ITEM}{after}"));
        let page = self.store.scan(&Scan { prefix: ITEM.to_owned(), after, limit, values: true }).await?;
        let items = page.entries.iter().filter_map(|(_, entry)| serde_json::from_slice(&entry.value).ok());
        Ok((items.collect(), page.more))
    }

    /// Has the rotations of a mount follow it into another namespace, in commits of their own. What is due stays due.
    pub async fn move_mount(&self, uuid: &str, namespace: &Namespace) -> Result<(), Error> {
        let mut after = None;
        loop {
            let scan = Scan { prefix: format!("{ITEM}{uuid}/"), after, limit: PAGE, values: false };
            let page = self.store.scan(&scan).await?;
            let tx = Tx::new(Arc::clone(&self.store));
            for (key, _) in &page.entries {
                if let Some(mut item) = tx.get_json::<Item>(key).await? {
                    item.namespace = namespace.clone();
                    tx.put_json(key.clone(), &item)?;
                }
            }
            tx.commit().await?;
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Ends all rotations of a mount, in commits of their own: the mount is being removed.
    pub async fn forget_mount(&self, uuid: &str) -> Result<(), Error> {
        loop {
            let scan = Scan { prefix: format!("{ITEM}{uuid}/"), after: None, limit: PAGE, values: true };
            let page = self.store.scan(&scan).await?;
            let tx = Tx::new(Arc::clone(&self.store));
            for (key, entry) in &page.entries {
                let item: Option<Item> = serde_json::from_slice(&entry.value).ok();
                if let Some((item, due)) = item.as_ref().and_then(|item| Some((item, item.due?))) {
                    tx.delete(due_key(due, &item.mount, &item.id));
                }
                tx.delete(key.clone());
            }
            tx.commit().await?;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Does what is due, for as long as the future is polled.
    pub async fn run(self: Arc<Self>, rotate: Arc<dyn Rotate>) {
        let slots = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        loop {
            let wait = match self.pass(&rotate, &slots).await {
                Ok(wait) => wait,
                Err(Error::Sealed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the planned rotations cannot be read");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = self.clock.sleep(wait) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    async fn pass(
        self: &Arc<Self>,
        rotate: &Arc<dyn Rotate>,
        slots: &Arc<tokio::sync::Semaphore>,
    ) -> Result<Duration, Error> {
        let mut after = None;
        loop {
            let now = self.clock.now();
            let page = self.store.scan(&Scan { prefix: DUE.to_owned(), after, limit: PAGE, values: false }).await?;
            for (key, _) in &page.entries {
                let Some((at, mount, id)) = parse_due(key) else { continue };
                if at > now {
                    return Ok(clock::between(now, at).min(IDLE));
                }
                if self.is_crowded(mount) {
                    continue;
                }
                let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return Ok(IDLE) };
                // The claim moves the entry into the future, so the next pass does not meet it again.
                let Some(item) = self.claim(at, mount, id).await? else { continue };
                let (rotations, rotate) = (Arc::clone(self), Arc::clone(rotate));
                *self.busy.lock().entry(item.mount.clone()).or_default() += 1;
                tokio::spawn(async move {
                    rotations.attempt(&*rotate, &item).await;
                    rotations.leave(&item.mount);
                    // What its mount was too busy for is looked at now.
                    rotations.wake();
                    drop(slot);
                });
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(IDLE);
            }
        }
    }

    fn is_crowded(&self, mount: &str) -> bool {
        self.busy.lock().get(mount).is_some_and(|busy| *busy >= AT_ONCE_PER_MOUNT)
    }

    fn leave(&self, mount: &str) {
        let mut busy = self.busy.lock();
        if let Some(count) = busy.get_mut(mount) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                busy.remove(mount);
            }
        }
    }

    /// Takes a due rotation for this task; `None` if it changed or another was quicker.
    async fn claim(&self, at: Timestamp, mount: &str, id: &str) -> Result<Option<Item>, Error> {
        let tx = Tx::new(Arc::clone(&self.store));
        let item: Option<Item> = tx.get_json(&item_key(mount, id)).await?;
        tx.delete(due_key(at, mount, id));
        let mut claimed = None;
        if let Some(mut item) = item {
            if item.due.is_none_or(|due| rounded(due) != at) {
                // A stale entry of the index: the item says when it is due.
                self.put(&tx, &item)?;
                tx.commit().await?;
                return Ok(None);
            }
            let now = self.clock.now();
            // The very first may be asked for at any time.
            let first = item.plan.first_now && item.status.last.is_none();
            if !first && schedule::missed_window(&item.plan, now) {
                item.status.next = next_after(&item.plan, now);
                item.due = item.status.next;
            } else {
                item.due = Some(clock::after(now, CLAIM));
                claimed = Some(item.clone());
            }
            self.put(&tx, &item)?;
        }
        match tx.commit().await {
            Ok(_) => Ok(claimed),
            Err(storage::CommitError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn attempt(&self, rotate: &dyn Rotate, item: &Item) {
        let result = tokio::time::timeout(PATIENCE, rotate.rotate(item)).await;
        let outcome = match result {
            Ok(Ok(true)) => Some(Ok(())),
            Ok(Ok(false)) => None,
            Ok(Err(error)) => Some(Err(error.to_string())),
            Err(_) => Some(Err("the rotation did not end in time".to_owned())),
        };
        if let Some(Err(why)) = &outcome {
            tracing::warn!(mount = item.mount, id = item.id, why, "a rotation failed; the old value stays in force");
        }
        if let Err(error) = self.settle(item, outcome).await {
            tracing::warn!(mount = item.mount, id = item.id, %error, "the outcome of a rotation could not be stored");
        }
    }

    async fn settle(&self, claimed: &Item, outcome: Option<Result<(), String>>) -> Result<(), Error> {
        for _ in 0..16 {
            let tx = Tx::new(Arc::clone(&self.store));
            let key = item_key(&claimed.mount, &claimed.id);
            let Some(mut item) = tx.get_json::<Item>(&key).await? else { return Ok(()) };
            if item.due != claimed.due && tries(&item) != tries(claimed) {
                // The engine has recorded this rotation by itself.
                return Ok(());
            }
            if let Some(due) = item.due {
                tx.delete(due_key(due, &item.mount, &item.id));
            }
            match outcome.clone() {
                Some(outcome) => {
                    self.note(&mut item, outcome);
                    self.put(&tx, &item)?;
                }
                None => tx.delete(key),
            }
            match tx.commit().await {
                Err(storage::CommitError::Conflict(_)) => tokio::task::yield_now().await,
                result => return result.map(drop).map_err(Into::into),
            }
        }
        Err(Error::Unavailable("the plan changes too often".to_owned()))
    }

    fn note(&self, item: &mut Item, outcome: Result<(), String>) {
        let now = self.clock.now();
        let status = &mut item.status;
        match &outcome {
            Ok(()) => {
                status.last = Some(now);
                status.last_error = None;
                status.failures = 0;
                item.due = next_after(&item.plan, now);
                status.next = item.due;
            }
            Err(why) => {
                status.failures = status.failures.saturating_add(1);
                status.last_error = Some(why.clone());
                let doubled = FIRST_RETRY.saturating_mul(1 << status.failures.saturating_sub(1).min(16));
                // Who rotates by hand tries again by hand.
                item.due = (!item.plan.is_by_hand()).then(|| clock::after(now, doubled.min(LONGEST_RETRY)));
                status.next = item.due;
            }
        }
        status.history.insert(0, RotationTry { at: now, error: outcome.err() });
        status.history.truncate(HISTORY);
    }

    fn put(&self, tx: &Tx, item: &Item) -> Result<(), Error> {
        tx.put_json(item_key(&item.mount, &item.id), item)?;
        if let Some(due) = item.due {
            tx.put(due_key(due, &item.mount, &item.id), bytes::Bytes::new());
        }
        Ok(())
    }
}

/// Tells whether a try was recorded in between.
fn tries(item: &Item) -> (Option<Timestamp>, u32, Option<Timestamp>) {
    let status = &item.status;
    (status.last, status.failures, status.history.first().map(|newest| newest.at))
}

trait NewStatus {
    fn default_new() -> Self;
}

impl NewStatus for RotationStatus {
    fn default_new() -> Self {
        Self { next: None, last: None, last_error: None, failures: 0, history: Vec::new() }
    }
}

const ITEM: &str = "sys/rotation/item/";
const DUE: &str = "sys/rotation/due/";

fn item_key(mount: &str, id: &str) -> Key {
    Key::from(format!("{ITEM}{mount}/{id}"))
}

fn due_key(at: Timestamp, mount: &str, id: &str) -> Key {
    Key::from(format!("{DUE}{:015}/{mount}/{id}", at.as_millisecond().max(0)))
}

/// A moment as precise as the index holds it.
fn rounded(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond().max(0)).unwrap_or(at)
}

fn parse_due(key: &Key) -> Option<(Timestamp, &str, &str)> {
    let rest = key.as_str().strip_prefix(DUE)?;
    let (stamp, rest) = rest.split_once('/')?;
    let at = Timestamp::from_millisecond(stamp.parse().ok()?).ok()?;
    let (mount, id) = rest.split_once('/')?;
    Some((at, mount, id))
}
