//! One thread per device that does the blocking work, so that a stuck disk, pipe or mount blocks no caller.
//!
//! Lines that are queued while the thread writes go out together in the next write. The first caller who finds the
//! thread asleep lets the other ready tasks run before it wakes it: under load a batch then holds one line of each of
//! them, and the cost of the hand-over is shared.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, channel::oneshot, future};
use parking_lot::{Condvar, Mutex};

use crate::{device::Written, error::Error};

/// What the thread works on. All methods may block.
pub(crate) trait Sink: Send + 'static {
    /// Writes all lines of the batch, each of which ends in a line feed, or reports that the batch failed.
    fn write(&mut self, lines: &[u8]) -> Result<(), Error>;

    /// Called after each batch, when its callers have their answer.
    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Opens anew what is written to.
    fn reopen(&mut self) -> Result<(), Error>;

    /// Looks whether all is well and mends what can be mended. Called every [`CHECK`] too.
    fn check(&mut self) -> Result<(), Error>;

    /// Writes what is left; nothing follows.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// The handle to a device's thread. The thread ends when the handle is dropped.
pub(crate) struct Writer(Arc<Shared>);

impl Writer {
    /// Starts the thread. `make` gets a flag that is set when the sink should give up waiting for a stuck target.
    pub(crate) fn start<S: Sink>(name: &str, make: impl FnOnce(Arc<AtomicBool>) -> S) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let sink = make(shared.stop.clone());
        let run = {
            let shared = shared.clone();
            move || {
                let _closed = CloseOnExit(&shared);
                run(&shared, sink);
            }
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(run);
        started.map_err(|error| Error::io("start the thread of the audit device", error))?;
        Ok(Self(shared))
    }

    pub(crate) fn write(&self, line: &[u8]) -> Written {
        let (reply, answer) = oneshot::channel();
        let first = {
            let mut queue = self.0.queue.lock();
            if queue.closed {
                return future::ready(Err(Error::Closed)).boxed();
            }
            if queue.lines.len() + line.len() > LIMIT {
                return future::ready(Err(Error::Swamped)).boxed();
            }
            queue.lines.extend_from_slice(line);
            queue.replies.push(reply);
            queue.asleep && queue.replies.len() == 1
        };
        let wake = first.then(|| WakeOnDrop(self.0.clone()));
        async move {
            if let Some(wake) = wake {
                tokio::task::yield_now().await;
                drop(wake);
            }
            answer.await.unwrap_or(Err(Error::Closed))
        }
        .boxed()
    }

    pub(crate) fn act(&self, act: Act) -> Written {
        let (reply, answer) = oneshot::channel();
        self.0.push_act(act, Some(reply));
        async move { answer.await.unwrap_or(Err(Error::Closed)) }.boxed()
    }

    /// What the last check found, or the last work after a batch.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.0.trouble.lock().clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.push_act(Act::Close, None);
    }
}

/// What the thread is asked to do besides writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Check,
    Close,
    Reopen,
}

type Reply = oneshot::Sender<Result<(), Error>>;

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    stop: Arc<AtomicBool>,
    trouble: Mutex<Option<Error>>,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    replies: Vec<Reply>,
    acts: Vec<(Act, Option<Reply>)>,
    asleep: bool,
    closed: bool,
}

/// What the thread found in the queue.
#[derive(Default)]
struct Work {
    lines: Vec<u8>,
    replies: Vec<Reply>,
    acts: Vec<(Act, Option<Reply>)>,
}

impl Shared {
    fn push_act(&self, act: Act, reply: Option<Reply>) {
        let mut queue = self.queue.lock();
        if queue.closed {
            // Whoever asked is told by the reply being dropped.
            return;
        }
        if act == Act::Close {
            queue.closed = true;
            self.stop.store(true, Ordering::Relaxed);
        }
        queue.acts.push((act, reply));
        self.wake.notify_one();
    }

    /// Waits for work until the next check is due; `work` gives its buffers back to the queue.
    fn take(&self, work: &mut Work) {
        let mut queue = self.queue.lock();
        if queue.lines.is_empty() && queue.acts.is_empty() {
            queue.asleep = true;
            self.wake.wait_for(&mut queue, CHECK);
            queue.asleep = false;
        }
        std::mem::swap(&mut queue.lines, &mut work.lines);
        std::mem::swap(&mut queue.replies, &mut work.replies);
        std::mem::swap(&mut queue.acts, &mut work.acts);
    }
}

fn run<S: Sink>(shared: &Shared, mut sink: S) {
    let mut work = Work::default();
    let mut checked = Instant::now();
    loop {
        shared.take(&mut work);
        if !work.lines.is_empty() {
            let outcome = sink.write(&work.lines);
            work.lines.clear();
            // What one large batch made it grow to is given back.
            work.lines.shrink_to(KEPT_BUFFER);
            work.replies.drain(..).for_each(|reply| answer(Some(reply), outcome.clone()));
            if let Err(error) = sink.settle() {
                tracing::error!(error = error.chain(), "an audit device is in trouble");
                *shared.trouble.lock() = Some(error);
            }
        }
        for (act, reply) in work.acts.drain(..) {
            let outcome = match act {
                Act::Check => check(shared, &mut sink),
                Act::Reopen => sink.reopen(),
                Act::Close => {
                    let outcome = sink.close();
                    // What the sink holds is free again before anybody hears that it is closed.
                    drop(sink);
                    answer(reply, outcome);
                    return;
                }
            };
            answer(reply, outcome);
        }
        if checked.elapsed() >= CHECK {
            let _ = check(shared, &mut sink);
            checked = Instant::now();
        }
    }
}

fn answer(reply: Option<Reply>, outcome: Result<(), Error>) {
    if let Some(reply) = reply {
        // A caller that has gone has nobody to tell.
        let _ = reply.send(outcome);
    }
}

fn check<S: Sink>(shared: &Shared, sink: &mut S) -> Result<(), Error> {
    let outcome = sink.check();
    let mut trouble = shared.trouble.lock();
    if let (None, Err(error)) = (trouble.as_ref(), &outcome) {
        tracing::error!(error = error.chain(), "an audit device is in trouble");
    }
    *trouble = outcome.as_ref().err().cloned();
    outcome
}

/// Wakes the thread also if the caller that was to do it is dropped.
struct WakeOnDrop(Arc<Shared>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake.notify_one();
    }
}

/// Answers everybody who waits when the thread ends, also by a panic.
struct CloseOnExit<'a>(&'a Shared);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.lines.clear();
        queue.replies.clear();
        queue.acts.clear();
    }
}

/// How often a device is looked after.
pub(crate) const CHECK: Duration = Duration::from_secs(2);
/// How large a buffer is kept from batch to batch.
const KEPT_BUFFER: usize = 1 << 20;
/// How many bytes may wait for a stuck device.
const LIMIT: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Waits for a permit before each batch and reports its size.
    struct Gated {
        permits: mpsc::Receiver<Result<(), Error>>,
        sizes: mpsc::Sender<usize>,
    }

    impl Sink for Gated {
        fn write(&mut self, lines: &[u8]) -> Result<(), Error> {
            self.sizes.send(lines.iter().filter(|byte| **byte == b'\n').count()).unwrap();
            self.permits.recv().unwrap()
        }

        fn reopen(&mut self) -> Result<(), Error> {
            Ok(())
        }

        fn check(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    fn gated() -> (Writer, mpsc::Sender<Result<(), Error>>, mpsc::Receiver<usize>) {
        let (permit, permits) = mpsc::channel();
        let (sizes, seen) = mpsc::channel();
        (Writer::start("gated", |_| Gated { permits, sizes }).unwrap(), permit, seen)
    }

    #[tokio::test]
    async fn lines_that_arrive_together_are_written_together() {
        let (writer, permit, seen) = gated();
        let first = tokio::spawn(writer.write(b"first\n"));
        tokio::task::yield_now().await;
        assert_eq!(seen.recv().unwrap(), 1);
        let rest: Vec<_> = (0..10).map(|_| tokio::spawn(writer.write(b"x\n"))).collect();
        permit.send(Ok(())).unwrap();
        first.await.unwrap().unwrap();
        permit.send(Err(Error::Swamped)).unwrap();
        for each in rest {
            assert!(matches!(each.await.unwrap(), Err(Error::Swamped)));
        }
        assert_eq!(seen.recv().unwrap(), 10);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_leave_the_line_behind() {
        let (writer, permit, seen) = gated();
        drop(writer.write(b"x\n"));
        assert_eq!(seen.recv().unwrap(), 1);
        permit.send(Ok(())).unwrap();
        writer.act(Act::Close).await.unwrap();
        assert!(matches!(writer.write(b"x\n").await, Err(Error::Closed)));
    }

    #[tokio::test]
    async fn the_queue_of_a_stuck_device_is_bounded() {
        let (writer, permit, seen) = gated();
        let stuck = tokio::spawn(writer.write(b"x\n"));
        tokio::task::yield_now().await;
        seen.recv().unwrap();
        let waiting = writer.write(&vec![b'x'; LIMIT]);
        assert!(matches!(writer.write(b"x\n").await, Err(Error::Swamped)));
        permit.send(Ok(())).unwrap();
        permit.send(Ok(())).unwrap();
        stuck.await.unwrap().unwrap();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_thread_that_dies_answers_everybody() {
        let (writer, permit, seen) = gated();
        drop(permit);
        let answer = writer.write(b"x\n");
        assert!(matches!(answer.await, Err(Error::Closed)));
        assert_eq!(seen.recv().unwrap(), 1);
        assert!(matches!(writer.write(b"x\n").await, Err(Error::Closed)));
    }
}
