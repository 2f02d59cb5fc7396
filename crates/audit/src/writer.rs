//! One thread per device that does the blocking work, so that a stuck pipe or mount blocks no caller.
//!
//! Lines that are queued while the thread writes go out together in the next write. The first caller who waits for a
//! line while the thread is asleep lets the other ready tasks run before it wakes it: under load a batch then holds the
//! lines of each of them, and the cost of the hand-over is shared.
//!
//! To hand a line over costs more than to append it to a file of this machine. So a sink may say that it is
//! [direct](Sink::direct): then the caller writes what is queued, its own lines and those of others, unless somebody else
//! is at it, who then writes them too. A write that took long sends the next ones to the thread for a while.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock, Weak,
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

    /// Whether the next write takes about as long as a hand-over, so that callers may do it themselves.
    fn direct(&self) -> bool {
        false
    }

    /// Called after each batch, when its callers have their answer.
    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Opens anew what is written to.
    fn reopen(&mut self) -> Result<(), Error>;

    /// Looks whether all is well and mends what can be mended. Called every [`CHECK`] too.
    fn check(&mut self) -> Result<(), Error>;

    /// Vouches for all that was written so far, where the device has a way to.
    fn vouch(&mut self) -> Result<(), Error> {
        Ok(())
    }

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
        let sink: Box<dyn Sink> = Box::new(make(shared.stop.clone()));
        *shared.outlet.lock() = Some(Outlet { sink, lines: Vec::new(), slow_until: None });
        let run = {
            let shared = shared.clone();
            move || {
                let _closed = CloseOnExit(&shared);
                run(&shared);
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

    /// As [`Writer::write`]. If the sink is direct and nobody else is at it, the lines are written when this returns.
    pub(crate) fn write_through(&self, lines: &[u8]) -> Written {
        match self.0.write_alone(lines) {
            Some(outcome) => Written::known(outcome),
            None => self.write(lines),
        }
    }

    pub(crate) fn act(&self, act: Act) -> Written {
        self.0.act(act)
    }

    /// A handle that does not keep the thread alive.
    pub(crate) fn asker(&self) -> Asker {
        Asker(Arc::downgrade(&self.0))
    }

    /// What the last check found, or the last work after a batch.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.0.trouble.lock().clone()
    }
}

/// Asks a device's thread for something, as long as there is one.
pub(crate) struct Asker(Weak<Shared>);

impl Asker {
    pub(crate) fn act(&self, act: Act) -> Written {
        self.0.upgrade().map_or_else(|| Written::known(Err(Error::Closed)), |shared| shared.act(act))
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
    Vouch,
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
        if matches!(self.wake, Wake::Unasked) && self.shared.direct.load(Ordering::Relaxed) {
            self.wake = Wake::Done;
            self.shared.write_directly();
            return match self.batch.outcome(cx.waker()) {
                Some(outcome) => Poll::Ready(outcome),
                None => Poll::Pending,
            };
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
    /// Where lines go; `None` once it is closed. Whoever takes lines from the queue holds this, so that they stay in order.
    outlet: Mutex<Option<Outlet>>,
    /// Whether callers write themselves.
    direct: AtomicBool,
}

/// The sink, and what its writer needs.
struct Outlet {
    sink: Box<dyn Sink>,
    /// The lines that are being written; empty between two writes.
    lines: Vec<u8>,
    /// Until when only the thread writes, because a write took long.
    slow_until: Option<Instant>,
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

impl Shared {
    fn act(&self, act: Act) -> Written {
        let (reply, answer) = oneshot::channel();
        self.push_act(act, Some(reply));
        async move { answer.await.unwrap_or(Err(Error::Closed)) }.boxed().into()
    }

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

    /// Waits for work until the next check is due; gives what is to be done besides writing.
    fn wait(&self) -> Vec<(Act, Option<Reply>)> {
        let mut queue = self.queue.lock();
        if queue.lines.is_empty() && queue.acts.is_empty() {
            queue.asleep = true;
            self.wake.wait_for(&mut queue, CHECK);
            queue.asleep = false;
            queue.called = false;
        }
        std::mem::take(&mut queue.acts)
    }

    /// Writes what is queued, for a caller, unless somebody else is at it. Whoever is looks at the queue once more when it is
    /// done, so no line stays behind.
    fn write_directly(&self) {
        for _ in 0..DIRECT_ROUNDS {
            let Some(mut outlet) = self.outlet.try_lock() else { return };
            match outlet.as_mut() {
                Some(outlet) if outlet.may_be_direct() => self.write_queued(outlet),
                _ => break,
            }
            drop(outlet);
            if self.queue.lock().lines.is_empty() {
                return;
            }
        }
        self.wake.notify_one();
    }

    /// Writes the caller's lines if nothing is queued before them and the caller may write at all.
    fn write_alone(&self, lines: &[u8]) -> Option<Result<(), Error>> {
        if !self.direct.load(Ordering::Relaxed) {
            return None;
        }
        let mut held = self.outlet.try_lock()?;
        let outlet = held.as_mut().filter(|outlet| outlet.may_be_direct())?;
        {
            let queue = self.queue.lock();
            if queue.closed || !queue.lines.is_empty() {
                return None;
            }
        }
        let outcome = self.write_out(outlet, lines);
        self.settle(outlet);
        drop(held);
        // What others queued meanwhile, trusting in whoever was at it.
        if !self.queue.lock().lines.is_empty() {
            self.write_directly();
        }
        Some(outcome)
    }

    /// Writes what is queued and answers those who wait for it.
    fn write_queued(&self, outlet: &mut Outlet) {
        let batch = {
            let mut queue = self.queue.lock();
            if queue.lines.is_empty() {
                return;
            }
            std::mem::swap(&mut queue.lines, &mut outlet.lines);
            std::mem::take(&mut queue.batch)
        };
        let lines = std::mem::take(&mut outlet.lines);
        let outcome = self.write_out(outlet, &lines);
        outlet.lines = lines;
        outlet.lines.clear();
        // What one large batch made it grow to is given back.
        outlet.lines.shrink_to(KEPT_BUFFER);
        batch.0.end(outcome);
        self.settle(outlet);
    }

    /// Writes lines, and notes whether that took so long that callers had better not do it.
    fn write_out(&self, outlet: &mut Outlet, lines: &[u8]) -> Result<(), Error> {
        let begun = Instant::now();
        let outcome = outlet.sink.write(lines);
        outlet.slow_until = (begun.elapsed() > SLOW).then(|| Instant::now() + RECOVERY).or(outlet.slow_until);
        let direct = outlet.may_be_direct();
        if direct != self.direct.load(Ordering::Relaxed) {
            self.direct.store(direct, Ordering::Relaxed);
        }
        outcome
    }

    fn settle(&self, outlet: &mut Outlet) {
        if let Err(error) = outlet.sink.settle() {
            tracing::error!(error = error.chain(), "an audit device is in trouble");
            *self.trouble.lock() = Some(error);
        }
    }
}

impl Outlet {
    fn may_be_direct(&self) -> bool {
        self.sink.direct() && self.slow_until.is_none_or(|until| until <= Instant::now())
    }
}

fn run(shared: &Shared) {
    let mut checked = Instant::now();
    loop {
        let acts = shared.wait();
        let mut held = shared.outlet.lock();
        let Some(outlet) = held.as_mut() else { return };
        shared.write_queued(outlet);
        for (act, reply) in acts {
            let outcome = match act {
                Act::Check => check(shared, &mut *outlet.sink),
                Act::Reopen => outlet.sink.reopen(),
                Act::Vouch => outlet.sink.vouch(),
                Act::Close => {
                    let outcome = outlet.sink.close();
                    // What the sink holds is free again before anybody hears that it is closed.
                    *held = None;
                    answer(reply, outcome);
                    return;
                }
            };
            answer(reply, outcome);
        }
        if checked.elapsed() >= CHECK {
            let _ = check(shared, &mut *outlet.sink);
            shared.direct.store(outlet.may_be_direct(), Ordering::Relaxed);
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

fn check(shared: &Shared, sink: &mut dyn Sink) -> Result<(), Error> {
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
        self.0.direct.store(false, Ordering::Relaxed);
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
/// How often a caller writes what others have queued meanwhile before it leaves that to the thread.
const DIRECT_ROUNDS: usize = 4;
/// The longest write that a caller should have to do itself.
const SLOW: Duration = Duration::from_millis(20);
/// How long the thread writes after one that took longer.
const RECOVERY: Duration = Duration::from_secs(5);
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

    /// Notes who writes what.
    struct Direct(Arc<Mutex<Vec<Done>>>);

    type Done = (Option<String>, String);

    impl Sink for Direct {
        fn write(&mut self, lines: &[u8]) -> Result<(), Error> {
            let who = thread::current().name().map(str::to_owned);
            self.0.lock().push((who, String::from_utf8_lossy(lines).into_owned()));
            Ok(())
        }

        fn direct(&self) -> bool {
            // The first one opens what is written to.
            !self.0.lock().is_empty()
        }

        fn reopen(&mut self) -> Result<(), Error> {
            Ok(())
        }

        fn check(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn callers_write_to_a_direct_sink_themselves_in_the_order_of_the_lines() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer::start("direct", |_| Direct(Arc::clone(&seen))).unwrap();
        writer.write(b"first\n").await.unwrap();
        while !writer.0.queue.lock().asleep {
            thread::yield_now();
        }
        let (left, taken) = (writer.write(b"second\n"), writer.write(b"third\n"));
        taken.await.unwrap();
        left.await.unwrap();
        let seen = seen.lock();
        let texts: Vec<&str> = seen.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["first\n", "second\nthird\n"]);
        assert_eq!(seen[0].0.as_deref(), Some("direct"));
        assert_eq!(seen[1].0, thread::current().name().map(str::to_owned));
    }

    #[test]
    fn many_callers_of_a_direct_sink_leave_no_line_behind() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::new(Writer::start("direct", |_| Direct(Arc::clone(&seen))).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        runtime.block_on(async {
            let tasks = (0..8).map(|task| {
                let writer = Arc::clone(&writer);
                tokio::spawn(async move {
                    for n in 0..500 {
                        writer.write(format!("{task} {n}\n").as_bytes()).await.unwrap();
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
        let seen = seen.lock();
        let all: String = seen.iter().map(|(_, text)| text.as_str()).collect();
        for task in 0..8 {
            let own: Vec<usize> = all
                .lines()
                .filter_map(|line| line.strip_prefix(&format!("{task} ")))
                .map(|n| n.parse().unwrap())
                .collect();
            assert_eq!(own, (0..500).collect::<Vec<_>>(), "each once, in order");
        }
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
