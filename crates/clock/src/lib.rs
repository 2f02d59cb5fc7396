//! The time, injected everywhere.
//!
//! No other crate asks the operating system what time it is. A [`Clock`] is cheap to clone and is handed down from
//! the place where the program starts; tests hand down a [`Simulated`] one and move it by hand.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures::channel::oneshot;
pub use jiff::Timestamp;
use parking_lot::Mutex;

/// A source of time, shared by everything that needs one.
#[derive(Clone)]
pub struct Clock(Arc<dyn Source>);

impl Clock {
    /// The clock of the operating system.
    pub fn system() -> Self {
        Self(Arc::new(System))
    }

    /// The present moment, with nanosecond resolution, in UTC.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Seconds since 1970-01-01 UTC, rounded down.
    pub fn now_seconds(&self) -> i64 {
        self.now().as_second()
    }

    /// Resolves once `wait` has passed.
    pub async fn sleep(&self, wait: Duration) {
        let due = after(self.now(), wait);
        self.sleep_until(due).await;
    }

    /// Goes off once `wait` has passed, unless it is started anew before.
    pub fn alarm(&self, wait: Duration) -> Alarm {
        Alarm { clock: self.clone(), ring: self.ring(wait) }
    }

    fn ring(&self, wait: Duration) -> Ring {
        if self.0.is_system() {
            return Ring::System(Box::pin(tokio::time::sleep(wait)));
        }
        let clock = self.clone();
        Ring::Other(Box::pin(async move { clock.sleep(wait).await }))
    }

    /// Resolves once [`Clock::now`] is at or past `due`; at once if it is already.
    pub async fn sleep_until(&self, due: Timestamp) {
        self.0.sleep_until(due).await;
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// A deadline that is seldom reached: to start it anew costs much less than a new [`Clock::sleep`]. Made by
/// [`Clock::alarm`]. It counts the time that passes, whatever the clock on the wall is set to.
pub struct Alarm {
    clock: Clock,
    ring: Ring,
}

enum Ring {
    System(Pin<Box<tokio::time::Sleep>>),
    Other(Sleep<'static>),
}

impl Alarm {
    /// Goes off when `wait` has passed from now, and not before.
    pub fn restart(&mut self, wait: Duration) {
        match &mut self.ring {
            Ring::System(sleep) => sleep.as_mut().reset(tokio::time::Instant::now() + wait),
            other => *other = self.clock.ring(wait),
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.ring {
            Ring::System(sleep) => sleep.as_mut().poll(cx),
            Ring::Other(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alarm(..)")
    }
}

/// `start` plus `wait`, held at the greatest representable moment instead of overflowing.
pub fn after(start: Timestamp, wait: Duration) -> Timestamp {
    start.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// The time from `start` to `end`; zero if `end` lies before `start`.
pub fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or(Duration::ZERO)
}

/// A clock that stands still until it is moved. Clones share the same time.
#[derive(Clone)]
pub struct Simulated(Arc<SimulatedSource>);

impl Simulated {
    /// A clock that shows `start`, cut to whole milliseconds: what is put down for "now" in an index that counts
    /// milliseconds would never come to pass while the time stands still in between.
    pub fn new(start: Timestamp) -> Self {
        let start = Timestamp::from_millisecond(start.as_millisecond()).unwrap_or(start);
        let state = State { now: start, sleepers: BTreeMap::new() };
        Self(Arc::new(SimulatedSource { state: Mutex::new(state), ids: AtomicU64::new(0) }))
    }

    /// A handle to hand down to the code under test.
    pub fn clock(&self) -> Clock {
        Clock(self.0.clone())
    }

    /// Moves the time forward and wakes every sleeper that became due, in order of their due times.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut state = self.0.state.lock();
            state.now = after(state.now, by);
            let now = state.now;
            let later = state.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.sleepers, later)
        };
        for (_, sleeper) in due {
            // A sleeper that was dropped has nobody to wake.
            let _ = sleeper.send(());
        }
    }
}

type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

trait Source: Send + Sync {
    fn now(&self) -> Timestamp;
    fn sleep_until(&self, due: Timestamp) -> Sleep<'_>;

    /// Whether it runs as the operating system's clock does.
    fn is_system(&self) -> bool {
        false
    }
}

struct System;

impl Source for System {
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn is_system(&self) -> bool {
        true
    }

    fn sleep_until(&self, due: Timestamp) -> Sleep<'_> {
        // Slept in pieces, so that a wall clock that is set forward is noticed.
        const PIECE: Duration = Duration::from_secs(30);
        Box::pin(async move {
            loop {
                let left = between(self.now(), due);
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(PIECE)).await;
            }
        })
    }
}

struct SimulatedSource {
    state: Mutex<State>,
    ids: AtomicU64,
}

struct State {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl Source for SimulatedSource {
    fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    fn sleep_until(&self, due: Timestamp) -> Sleep<'_> {
        Box::pin(async move {
            let woken = {
                let mut state = self.state.lock();
                if due <= state.now {
                    return;
                }
                let (wake, woken) = oneshot::channel();
                let id = self.ids.fetch_add(1, Ordering::Relaxed);
                state.sleepers.insert((due, id), wake);
                woken
            };
            // The sender is only dropped together with the clock.
            let _ = woken.await;
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_simulated_clock_wakes_sleepers_when_it_is_moved() {
        let simulated = Simulated::new(Timestamp::UNIX_EPOCH);
        let clock = simulated.clock();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(10)).await }
        });
        while simulated.0.state.lock().sleepers.is_empty() {
            tokio::task::yield_now().await;
        }
        simulated.advance(Duration::from_secs(9));
        assert!(!sleeper.is_finished());
        assert_eq!(simulated.0.state.lock().sleepers.len(), 1);
        simulated.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.now_seconds(), 10);
    }

    #[tokio::test]
    async fn an_alarm_that_is_started_anew_goes_off_later() {
        let simulated = Simulated::new(Timestamp::UNIX_EPOCH);
        let mut alarm = simulated.clock().alarm(Duration::from_secs(2));
        assert!(futures::poll!(&mut alarm).is_pending());
        simulated.advance(Duration::from_secs(1));
        alarm.restart(Duration::from_secs(2));
        assert!(futures::poll!(&mut alarm).is_pending());
        simulated.advance(Duration::from_secs(1));
        assert!(futures::poll!(&mut alarm).is_pending());
        simulated.advance(Duration::from_secs(1));
        alarm.await;
    }

    #[tokio::test]
    async fn an_alarm_of_the_system_goes_off() {
        let mut alarm = Clock::system().alarm(Duration::from_secs(3600));
        assert!(futures::poll!(&mut alarm).is_pending());
        alarm.restart(Duration::ZERO);
        alarm.await;
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        assert_eq!(after(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(between(Timestamp::MAX, Timestamp::MIN), Duration::ZERO);
    }
}
