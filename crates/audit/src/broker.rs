//! Gives each entry to all devices at once and fails closed.
//!
//! A call succeeds once every healthy device has the entry. A device that errs, or does not answer within the deadline,
//! is bypassed: later entries do not wait for it, an alert is logged, and the broker keeps trying it in the background.
//! When it takes lines again, the first one says since when and how many entries it may lack. As long as one device
//! takes the entry the call succeeds; if there are devices and none does, it fails and the caller refuses the request.

use std::{
    cell::RefCell,
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use clock::{Alarm, Clock, Timestamp};
use futures::{
    FutureExt as _,
    future::{self, Either},
};
use parking_lot::Mutex;

use self::slot::Slot;
use crate::{
    device::{Device, Written},
    entry::{Entry, Namespace, Request},
    error::Error,
    format::Format,
};

mod slot;
mod template;

pub use self::template::{Again, Template};

/// The devices of a server.
pub struct Broker {
    slots: ArcSwap<Vec<Arc<Slot>>>,
    /// There were devices and they are closed: nothing is let through any more.
    closed: AtomicBool,
    clock: Clock,
    settings: Settings,
    /// Deadlines that are not in use.
    alarms: Mutex<Vec<Alarm>>,
}

/// How long devices are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a healthy device may take before it is bypassed.
    pub deadline: Duration,
    /// The pause between two tries of a bypassed device; doubled after each, up to five seconds.
    pub retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(2), retry: Duration::from_millis(500) }
    }
}

/// How one device does.
#[derive(Clone, Debug)]
pub struct Health {
    /// The path it was enabled at, without a slash at the end.
    pub path: String,
    /// Its kind.
    pub kind: &'static str,
    /// Whether entries wait for it.
    pub condition: Condition,
    /// Entries it has taken since it was enabled.
    pub written: u64,
    /// Entries that it may lack because it was bypassed, and that its next line will speak of.
    pub unconfirmed: u64,
    /// What it noticed by itself.
    pub trouble: Option<String>,
}

/// Whether a device is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every entry waits for it.
    Healthy,
    /// No entry waits for it.
    Bypassed {
        /// Since when.
        since: Timestamp,
        /// Why, as last seen.
        reason: String,
    },
}

/// There are devices and none took the entry: the request must be refused.
#[derive(Debug, thiserror::Error)]
#[error("no audit device took the entry ({})", faults.iter().map(|(path, error)| format!("{path}/: {}", error.chain())).collect::<Vec<_>>().join("; "))]
pub struct Unwritten {
    /// Each device's path with what was wrong.
    pub faults: Vec<(String, Error)>,
}

impl Unwritten {
    /// Whether the devices were closed in order: the server is being sealed.
    pub fn is_closed(&self) -> bool {
        self.faults.is_empty()
    }
}

impl Broker {
    /// A broker without devices: it lets everything through.
    pub fn new(clock: Clock, settings: Settings) -> Self {
        let alarms = Mutex::default();
        Self { slots: ArcSwap::default(), closed: AtomicBool::new(false), clock, settings, alarms }
    }

    /// Adds `device` at `path`. A test entry is written first, unless the options say `skip_test`; if that fails, or
    /// the path is taken, nothing is changed.
    pub async fn enable(&self, path: &str, device: Arc<dyn Device>, format: Format) -> Result<(), Error> {
        let path = path.trim_matches('/');
        if self.find(path).is_some() {
            return Err(Error::Exists(path.to_owned()));
        }
        let slot = Arc::new(Slot::new(path, device, format));
        if !slot.format.skips_test() {
            let tested = self.test_record(&slot).await;
            if let Err(error) = tested {
                slot.remove();
                let _ = self.within(slot.device.close()).await;
                return Err(error);
            }
        }
        let mut added = false;
        self.slots.rcu(|slots| {
            added = !slots.iter().any(|known| known.path == slot.path);
            let mut slots = Vec::clone(slots);
            if added {
                slots.push(slot.clone());
            }
            slots
        });
        if added { Ok(()) } else { Err(Error::Exists(path.to_owned())) }
    }

    /// Takes the device at `path` away and closes it. Returns whether there was one. It is out of the way at once,
    /// also if it is stuck.
    pub async fn disable(&self, path: &str) -> bool {
        let Some(slot) = self.find(path) else { return false };
        self.slots.rcu(|slots| slots.iter().filter(|known| !Arc::ptr_eq(known, &slot)).cloned().collect::<Vec<_>>());
        slot.remove();
        if let Err(error) = self.within(slot.device.close()).await {
            tracing::warn!(device = %slot.path, error = error.chain(), "a removed audit device did not close cleanly");
        }
        true
    }

    /// Writes `entry` to all devices. With no device at all there is nothing to fail.
    ///
    /// The entry is handed over at the first poll; dropping the future does not take it back.
    pub async fn record(&self, entry: &Entry<'_>) -> Result<(), Unwritten> {
        self.settle([self.hand_over(entry)]).await
    }

    /// Gives `entry` to all devices, in the order of the calls, and waits for none: that is for [`Broker::settle`].
    /// Dropping what is returned does not take the entry back.
    pub fn hand_over(&self, entry: &Entry<'_>) -> Handed {
        let slots = self.slots.load();
        let pending = hand_over(&slots, 1, |_, slot, out| slot.format.write_line(entry, out));
        Handed { pending, taken: slots.is_empty() && self.is_empty() }
    }

    /// Waits until every healthy device has each of the entries. Fails if one of them was taken by none.
    pub async fn settle<const N: usize>(&self, mut entries: [Handed; N]) -> Result<(), Unwritten> {
        if entries.iter().all(|entry| entry.pending.is_empty() && entry.taken) {
            return Ok(());
        }
        let mut faults = Vec::new();
        let mut all = future::poll_fn(|cx| {
            let mut waits = false;
            for entry in &mut entries {
                self.ask(entry, &mut faults, cx);
                waits |= !entry.pending.is_empty();
            }
            if waits { Poll::Pending } else { Poll::Ready(()) }
        });
        // What is written at once needs no deadline.
        if futures::poll!(&mut all).is_pending() {
            let mut deadline = self.deadline();
            let late = matches!(future::select(all, &mut deadline).await, Either::Right(_));
            if late {
                self.give_up(&mut entries, &mut faults);
            } else {
                self.put_back(deadline);
            }
        }
        if entries.iter().all(|entry| entry.taken) { Ok(()) } else { Err(Unwritten { faults }) }
    }

    /// The keyed hash that the device at `path` writes for `input`.
    pub fn hash(&self, path: &str, input: &[u8]) -> Result<String, Error> {
        let slot = self.find(path).ok_or_else(|| Error::Unknown(path.trim_matches('/').to_owned()))?;
        Ok(slot.format.hasher().hash(input))
    }

    /// Whether there is no device and was none when the broker was closed: nothing has to be recorded.
    pub fn is_empty(&self) -> bool {
        self.slots.load().is_empty() && !self.closed.load(Ordering::Acquire)
    }

    /// How each device does, in the order in which they were enabled.
    pub fn health(&self) -> Vec<Health> {
        self.slots.load().iter().map(|slot| slot.health()).collect()
    }

    /// Has every device open its target anew, as after a log rotation. Returns the paths of those that could not.
    pub async fn reopen_all(&self) -> Vec<(String, Error)> {
        self.all(|device| device.reopen()).await
    }

    /// Has every device look after itself at once. Returns the paths of those that are not well.
    pub async fn check_all(&self) -> Vec<(String, Error)> {
        self.all(|device| device.check()).await
    }

    /// Takes all devices away and closes them, for a clean end of the server. Returns those that did not close in time.
    /// What is still to be recorded fails from now on, if there was any device.
    pub async fn close(&self) -> Vec<(String, Error)> {
        self.closed.store(!self.is_empty(), Ordering::Release);
        let slots = self.slots.swap(Arc::default());
        slots.iter().for_each(|slot| slot.remove());
        self.each(&slots, |device| device.close()).await
    }

    async fn all(&self, act: impl Fn(&dyn Device) -> Written) -> Vec<(String, Error)> {
        let slots = self.slots.load_full();
        self.each(&slots, act).await
    }

    async fn each(&self, slots: &[Arc<Slot>], act: impl Fn(&dyn Device) -> Written) -> Vec<(String, Error)> {
        let acts = slots.iter().map(|slot| {
            let done = self.within(act(&*slot.device));
            async move { done.await.err().map(|error| (slot.path.clone(), error)) }
        });
        future::join_all(acts).await.into_iter().flatten().collect()
    }

    /// The devices that have not written by the deadline are bypassed.
    fn give_up(&self, entries: &mut [Handed], faults: &mut Vec<(String, Error)>) {
        for Pending { slot, written, records } in entries.iter_mut().flat_map(|entry| entry.pending.drain(..)) {
            let error = Error::Slow(self.settings.deadline);
            faults.push((slot.path.clone(), error.clone()));
            slot::bypass(&slot, error, records, Some(written), &self.clock, self.settings.retry);
        }
    }

    fn deadline(&self) -> Alarm {
        let kept = self.alarms.lock().pop();
        match kept {
            Some(mut alarm) => {
                alarm.restart(self.settings.deadline);
                alarm
            }
            None => self.clock.alarm(self.settings.deadline),
        }
    }

    fn put_back(&self, deadline: Alarm) {
        let mut alarms = self.alarms.lock();
        if alarms.len() < KEPT_ALARMS {
            alarms.push(deadline);
        }
    }

    /// Asks the devices that have the entry in hand what became of it.
    fn ask(&self, entry: &mut Handed, faults: &mut Vec<(String, Error)>, cx: &mut Context<'_>) {
        let Handed { pending, taken } = entry;
        pending.retain_mut(|each| match each.written.poll_unpin(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => {
                each.slot.took(each.records);
                *taken = true;
                false
            }
            Poll::Ready(Err(error)) => {
                slot::bypass(&each.slot, error.clone(), each.records, None, &self.clock, self.settings.retry);
                faults.push((each.slot.path.clone(), error));
                false
            }
        });
    }

    async fn test_record(&self, slot: &Slot) -> Result<(), Error> {
        let id = crypto::random::uuid();
        let request = Request {
            id: &id,
            operation: "update",
            namespace: Namespace { id: "root", path: "" },
            path: "sys/audit/test",
            ..Request::default()
        };
        let line = slot.format.line(&Entry::request(self.clock.now(), &request));
        self.within(slot.device.write(&line)).await
    }

    async fn within(&self, written: Written) -> Result<(), Error> {
        match future::select(written, pin!(self.clock.sleep(self.settings.deadline))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(Error::Slow(self.settings.deadline)),
        }
    }

    fn find(&self, path: &str) -> Option<Arc<Slot>> {
        let path = path.trim_matches('/');
        self.slots.load().iter().find(|slot| slot.path == path).cloned()
    }
}

/// An entry, or both of a request, that was given to the devices; see [`Broker::settle`].
#[derive(Debug)]
#[must_use = "an entry that nobody waits for may not be written"]
pub struct Handed {
    pending: Vec<Pending>,
    /// Whether a device has it, or there is none that could.
    taken: bool,
}

impl Default for Handed {
    /// The entry that nobody needs.
    fn default() -> Self {
        Self { pending: Vec::new(), taken: true }
    }
}

/// Entries on their way to one device.
struct Pending {
    slot: Arc<Slot>,
    written: Written,
    records: u64,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({})", self.slot.path)
    }
}

thread_local! {
    /// Where a line is formatted before a device takes it.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How many deadlines are kept for the next entries.
const KEPT_ALARMS: usize = 256;
/// How much of the room for a long line is kept.
const KEPT_LINE: usize = 64 << 10;

/// Gives what `write` appends for a device, so many records, to every healthy device, or to every device if none is
/// healthy.
fn hand_over(slots: &[Arc<Slot>], records: u64, write: impl Fn(usize, &Slot, &mut Vec<u8>)) -> Vec<Pending> {
    let none_healthy = slots.iter().all(|slot| slot.bypassed());
    let mut pending = Vec::with_capacity(slots.len());
    for (at, slot) in slots.iter().enumerate() {
        if slot.bypassed() && !none_healthy {
            slot.miss(records);
            continue;
        }
        let written = LINE.with_borrow_mut(|line| {
            line.clear();
            write(at, slot, line);
            let written = if records > 1 { slot.device.write_through(line) } else { slot.device.write(line) };
            line.shrink_to(KEPT_LINE);
            written
        });
        pending.push(Pending { slot: slot.clone(), written, records });
    }
    pending
}

#[cfg(test)]
mod tests;
