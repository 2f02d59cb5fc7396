//! One thread per device that does the blocking work, so that a stuck disk, pipe or mount blocks no caller.
//!
//! Lines that are queued while the thread writes go out together in the next write. The first caller who waits for a
//! line while the thread is asleep lets the other ready tasks run before it wakes it: under load a batch then holds the
//! lines of each of them, and the cost of the hand-over is shared.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    thread,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, channel::oneshot, future::BoxFuture};
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
        let mut queue = self.0.queue.lock();
        if queue.closed {
            return Written::known(Err(Error::Closed));
        }
        if queue.lines.len() + line.len() > LIMIT {
            return Written::known(Err(Error::Swamped));
        }
        queue.lines.extend_from_slice(line);
        let batch = Arc::clone(&queue.batch.0);
        drop(queue);
        Written::queued(Line { shared: Arc::clone(&self.0), batch, wake: Wake::Unasked })
    }

    pub(crate) fn act(&self, act: Act) -> Written {
        let (reply, answer) = oneshot::channel();
        self.0.push_act(act, Some(reply));
        async move { answer.await.unwrap_or(Err(Error::Closed)) }.boxed().into()
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

/// A line in the queue, or on its way out of it.
pub(crate) struct Line {
    shared: Arc<Shared>,
    batch: Arc<Batch>,
    wake: Wake,
}

/// Who wakes the thread for a line.
enum Wake {
    /// Nobody has asked yet.
    Unasked,
    /// This line's caller, once the other ready tasks have run.
    Mine(BoxFuture<'static, ()>),
    /// Somebody else, or it is awake, or it was woken.
    Done,
}

impl Future for Line {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.batch.outcome(cx.waker()) {
            self.give_up_waking();
            return Poll::Ready(outcome);
        }
        if matches!(self.wake, Wake::Unasked) {
            let mine = self.shared.takes_wake();
            self.wake = if mine { Wake::Mine(Box::pin(gather(self.shared.clone()))) } else { Wake::Done };
        }
        if let Wake::Mine(others) = &mut self.wake {
            ready!(others.as_mut().poll(cx));
            self.wake = Wake::Done;
            self.shared.wake.notify_one();
        }
        Poll::Pending
    }
}

/// Lets the other ready tasks run, as long as they bring more lines.
async fn gather(shared: Arc<Shared>) {
    let queued = || shared.queue.lock().lines.len();
    let mut gathered = queued();
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
        let queued = queued();
        if queued == gathered {
            return;
        }
        gathered = queued;
    }
}

impl Line {
    /// Does at once what others rely on. The line itself may be written already: its batch can end, and the thread fall
    /// asleep, just before this line asks who wakes it.
    fn give_up_waking(&mut self) {
        if matches!(std::mem::replace(&mut self.wake, Wake::Done), Wake::Mine(_)) {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Nobody may have waited for it.
        if matches!(self.wake, Wake::Unasked) && self.shared.takes_wake() {
            self.shared.wake.notify_one();
        }
        self.give_up_waking();
    }
}

/// The lines of one write, for those who wait for them.
#[derive(Default)]
struct Batch {
    outcome: OnceLock<Result<(), Error>>,
    waiting: Mutex<Vec<Waker>>,
}

impl Batch {
    /// What came of it; if that is not known yet, `waker` is woken when it is.
    fn outcome(&self, waker: &Waker) -> Option<Result<(), Error>> {
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome.clone());
        }
        let mut waiting = self.waiting.lock();
        // Between the look above and the lock it may have ended, and nobody would be woken any more.
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome.clone());
        }
        // Both lines of a request are often waited for by the same task.
        if !waiting.last().is_some_and(|last| last.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        None
    }

    fn end(&self, outcome: Result<(), Error>) {
        if self.outcome.set(outcome).is_ok() {
            let waiting = std::mem::take(&mut *self.waiting.lock());
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// A batch as the thread has it: whoever waits for it is answered, also if the thread dies.
#[derive(Default)]
struct Owed(Arc<Batch>);

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.end(Err(Error::Closed));
    }
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
    /// What becomes of `lines`.
    batch: Owed,
    acts: Vec<(Act, Option<Reply>)>,
    asleep: bool,
    /// Whether somebody is about to wake the thread.
    called: bool,
    closed: bool,
}

/// What the thread found in the queue.
#[derive(Default)]
struct Work {
    lines: Vec<u8>,
    batch: Owed,
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

    /// Whether the caller is to wake the thread.
    fn takes_wake(&self) -> bool {
        let mut queue = self.queue.lock();
        let mine = queue.asleep && !queue.called;
        queue.called |= mine;
        mine
    }

    /// Waits for work until the next check is due; `work` gives its buffers back to the queue.
    fn take(&self, work: &mut Work) {
        let mut queue = self.queue.lock();
        if queue.lines.is_empty() && queue.acts.is_empty() {
            queue.asleep = true;
            self.wake.wait_for(&mut queue, CHECK);
            queue.asleep = false;
            queue.called = false;
        }
        std::mem::swap(&mut queue.lines, &mut work.lines);
        std::mem::swap(&mut queue.acts, &mut work.acts);
        if !work.lines.is_empty() {
            work.batch = std::mem::take(&mut queue.batch);
        }
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
            work.batch.0.end(outcome);
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

/// Answers everybody who waits when the thread ends, also by a panic.
struct CloseOnExit<'a>(&'a Shared);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.lines.clear();
        queue.batch = Owed::default();
        queue.acts.clear();
    }
}

/// How often a device is looked after.
pub(crate) const CHECK: Duration = Duration::from_secs(2);
/// How often the others may run before the thread is woken.
const ROUNDS: usize = 8;
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

    /// The batch of a line ended, and the thread fell asleep, between the two looks of the line's caller: it took it on
    /// itself to wake the thread, found its line written, and went. Others waited for the next check.
    #[tokio::test]
    async fn who_takes_the_waking_on_does_it_although_its_own_line_is_written() {
        let (writer, permit, seen) = gated();
        permit.send(Ok(())).unwrap();
        writer.write(b"x\n").await.unwrap();
        while !writer.0.takes_wake() {
            std::thread::yield_now();
        }
        let batch = Arc::new(Batch::default());
        batch.end(Ok(()));
        let mine = Wake::Mine(Box::pin(gather(writer.0.clone())));
        let written = Line { shared: writer.0.clone(), batch, wake: mine };
        let other = writer.write(b"y\n");
        written.await.unwrap();
        assert!(!writer.0.wake.notify_one(), "the thread was still asleep");
        permit.send(Ok(())).unwrap();
        other.await.unwrap();
        assert_eq!((seen.recv().unwrap(), seen.recv().unwrap()), (1, 1));
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
