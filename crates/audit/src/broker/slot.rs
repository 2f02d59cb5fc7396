//! One enabled device, and what happens while it is bypassed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use clock::{Clock, Timestamp};
use parking_lot::Mutex;

use super::{Condition, Health};
use crate::{
    device::{Device, Written},
    entry::{Body, Data, Entry, Namespace, Request},
    error::Error,
    format::Format,
};

pub(super) struct Slot {
    pub(super) path: String,
    pub(super) device: Arc<dyn Device>,
    pub(super) format: Format,
    bypassed: AtomicBool,
    removed: AtomicBool,
    written: AtomicU64,
    unconfirmed: AtomicU64,
    condition: Mutex<Condition>,
}

impl Slot {
    pub(super) fn new(path: &str, device: Arc<dyn Device>, format: Format) -> Self {
        Self {
            path: path.to_owned(),
            device,
            format,
            bypassed: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            written: AtomicU64::new(0),
            unconfirmed: AtomicU64::new(0),
            condition: Mutex::new(Condition::Healthy),
        }
    }

    pub(super) fn bypassed(&self) -> bool {
        self.bypassed.load(Ordering::Relaxed)
    }

    /// The device has taken so many entries.
    pub(super) fn took(&self, records: u64) {
        self.written.fetch_add(records, Ordering::Relaxed);
    }

    /// The device may lack so many entries.
    pub(super) fn miss(&self, records: u64) {
        self.unconfirmed.fetch_add(records, Ordering::Relaxed);
    }

    /// The device is no longer wanted: nobody tries it again.
    pub(super) fn remove(&self) {
        self.removed.store(true, Ordering::Relaxed);
    }

    pub(super) fn health(&self) -> Health {
        Health {
            path: self.path.clone(),
            kind: self.device.kind(),
            condition: self.condition.lock().clone(),
            written: self.written.load(Ordering::Relaxed),
            unconfirmed: self.unconfirmed.load(Ordering::Relaxed),
            trouble: self.device.trouble().map(|error| error.chain()),
        }
    }

    /// The line that tells a reader of this device's log about the gap in it.
    fn notice(&self, now: Timestamp, since: Timestamp, missed: u64) -> Vec<u8> {
        let id = crypto::random::uuid();
        let path = format!("sys/audit/{}", self.path);
        let data = format!("{{\"unconfirmed_entries\":{missed}}}");
        let error = format!("the audit device took no entries from {since} to {now}; some may be missing here");
        let request = Request {
            id: &id,
            operation: "update",
            actor: "system",
            namespace: Namespace { id: "root", path: "" },
            path: &path,
            data: Data { body: Body::Json(data.as_bytes()), ..Data::default() },
            ..Request::default()
        };
        self.format.line(&Entry::request(now, &request).error(&error))
    }
}

/// Stops waiting for the device, which may lack so many entries, and tries it in the background. `pending` is the write
/// that it still owes.
pub(super) fn bypass(
    slot: &Arc<Slot>,
    error: Error,
    records: u64,
    pending: Option<Written>,
    clock: &Clock,
    pause: Duration,
) {
    slot.miss(records);
    let reason = error.chain();
    let since = clock.now();
    {
        let mut condition = slot.condition.lock();
        if let Condition::Bypassed { reason: known, .. } = &mut *condition {
            *known = reason;
            return;
        }
        *condition = Condition::Bypassed { since, reason: reason.clone() };
        slot.bypassed.store(true, Ordering::Relaxed);
    }
    tracing::error!(device = %slot.path, error = reason, "an audit device is bypassed");
    tokio::spawn(retry(slot.clone(), pending, since, clock.clone(), pause));
}

async fn retry(slot: Arc<Slot>, pending: Option<Written>, since: Timestamp, clock: Clock, mut pause: Duration) {
    if let Some(pending) = pending {
        // However long it takes: until then the device is stuck, and more lines would only queue up.
        let _ = pending.await;
    } else {
        clock.sleep(pause).await;
    }
    while !slot.removed.load(Ordering::Relaxed) {
        let missed = slot.unconfirmed.swap(0, Ordering::Relaxed);
        match slot.device.write(&slot.notice(clock.now(), since, missed)).await {
            Ok(()) => {
                *slot.condition.lock() = Condition::Healthy;
                slot.bypassed.store(false, Ordering::Relaxed);
                tracing::info!(device = %slot.path, missed, "an audit device takes entries again");
                return;
            }
            Err(error) => {
                slot.unconfirmed.fetch_add(missed, Ordering::Relaxed);
                if let Condition::Bypassed { reason, .. } = &mut *slot.condition.lock() {
                    *reason = error.chain();
                }
            }
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A device that is well again is in use again this soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
