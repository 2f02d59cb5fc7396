//! The batches that wait for the writer.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use storage::{Batch, CommitError, Error, Revision};
use tokio::sync::{Semaphore, oneshot};

/// A bounded queue between any number of tasks and one thread.
pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    /// Room for waiting batches, in KiB.
    room: Semaphore,
}

struct State {
    jobs: VecDeque<Job>,
    /// How many jobs the writer wants before it is woken.
    wanted: usize,
    closed: bool,
}

/// A batch, and whom to tell how it went.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Result<Revision, CommitError>>,
    size: usize,
}

/// What [`Queue::take`] comes back with.
pub(crate) enum Taken {
    /// At least one batch.
    Jobs(Vec<Job>),
    /// None came for the given time.
    Idle,
    /// None will come any more.
    Closed,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let state = State { jobs: VecDeque::new(), wanted: 1, closed: false };
        Self { state: Mutex::new(state), ready: Condvar::new(), room: Semaphore::new(ROOM_KIB) }
    }

    /// Hands `batch` to the writer, when there is room, and waits for the answer. Who stops waiting for the answer
    /// does not stop the batch.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        let size = batch.size();
        self.room.acquire_many(weight(size)).await.map_err(|_| stopped())?.forget();
        let (reply, answer) = oneshot::channel();
        self.push(Job { batch, reply, size })?;
        answer.await.unwrap_or_else(|_| Err(stopped().into()))
    }

    fn push(&self, job: Job) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(stopped());
        }
        state.jobs.push_back(job);
        if state.jobs.len() >= state.wanted {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for batches (no longer than `idle`, where given), and takes all that wait, up to the limits of a group.
    /// If there are fewer than `target` it gives the others a moment to come.
    pub(crate) fn take(&self, target: usize, idle: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        state.wanted = 1;
        while state.jobs.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            match idle {
                None => self.ready.wait(&mut state),
                Some(idle) => {
                    let timed_out = self.ready.wait_for(&mut state, idle).timed_out();
                    if timed_out && state.jobs.is_empty() && !state.closed {
                        return Taken::Idle;
                    }
                }
            }
        }
        self.gather(&mut state, target);
        state.wanted = usize::MAX;
        let jobs = state.group();
        drop(state);
        self.room.add_permits(jobs.iter().map(|job| weight(job.size) as usize).sum());
        Taken::Jobs(jobs)
    }

    /// With many clients, the answers to one group set off the requests of the next. To take the first of these at
    /// once would cost a sync for it alone, so the writer waits for about as many as came lately, as long as they keep
    /// coming. A single client never waits here.
    fn gather(&self, state: &mut MutexGuard<'_, State>, target: usize) {
        let until = Instant::now() + PATIENCE;
        state.wanted = target;
        while state.jobs.len() < target && !state.closed {
            let before = state.jobs.len();
            let left = until.saturating_duration_since(Instant::now());
            self.ready.wait_for(state, GAP.min(left));
            if state.jobs.len() == before || left <= GAP {
                break;
            }
        }
    }

    /// Lets what waits be served and refuses all else.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.room.close();
        self.ready.notify_all();
    }

    /// Refuses everything, also what waits.
    pub(crate) fn abandon(&self) {
        self.close();
        // Those who wait learn it from their dropped channels.
        self.state.lock().jobs.clear();
    }
}

impl State {
    fn group(&mut self) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(self.jobs.len().min(GROUP));
        let mut bytes = 0;
        while let Some(job) = self.jobs.pop_front() {
            bytes += job.size;
            if jobs.len() >= GROUP || (bytes > GROUP_BYTES && !jobs.is_empty()) {
                self.jobs.push_front(job);
                break;
            }
            jobs.push(job);
        }
        jobs
    }
}

fn weight(size: usize) -> u32 {
    u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX).min(ROOM_KIB as u32)
}

fn stopped() -> Error {
    Error::Unavailable("the store is closed".to_owned())
}

/// The most batches in one group, and so in one transaction.
pub(crate) const GROUP: usize = 256;
/// The most bytes in one group; a batch that is larger goes alone.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// The most that may wait; others wait outside, without their batch in the queue.
const ROOM_KIB: usize = 64 * 1024;
/// How long the writer waits for more batches at most.
const PATIENCE: Duration = Duration::from_millis(5);
/// How long it waits for the next one.
const GAP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use storage::Key;

    use super::*;

    fn job(bytes: usize) -> (Job, oneshot::Receiver<Result<Revision, CommitError>>) {
        let (reply, answer) = oneshot::channel();
        let batch = Batch { expect: vec![], writes: vec![(Key::new(""), Some(Bytes::from(vec![0; bytes])))] };
        (Job { size: batch.size(), batch, reply }, answer)
    }

    fn taken(queue: &Queue) -> usize {
        match queue.take(1, None) {
            Taken::Jobs(jobs) => jobs.len(),
            _ => 0,
        }
    }

    #[test]
    fn all_that_waits_is_one_group() {
        let queue = Queue::new();
        for _ in 0..GROUP + 44 {
            queue.push(job(10).0).unwrap();
        }
        assert_eq!((taken(&queue), taken(&queue)), (GROUP, 44));
    }

    #[test]
    fn a_group_ends_where_it_gets_too_large_and_a_large_batch_goes_alone() {
        let queue = Queue::new();
        for size in [GROUP_BYTES / 2, GROUP_BYTES / 2, 1, GROUP_BYTES * 2, 1, 1] {
            queue.push(job(size).0).unwrap();
        }
        assert_eq!([taken(&queue), taken(&queue), taken(&queue), taken(&queue)], [2, 1, 1, 2]);
    }

    #[test]
    fn a_closed_queue_serves_what_waits_and_refuses_the_rest() {
        let queue = Queue::new();
        queue.push(job(1).0).unwrap();
        queue.close();
        assert!(queue.push(job(1).0).is_err());
        assert_eq!(taken(&queue), 1);
        assert!(matches!(queue.take(9, Some(Duration::ZERO)), Taken::Closed));
    }

    #[test]
    fn who_waits_in_an_abandoned_queue_is_told() {
        let queue = Queue::new();
        let (job, mut answer) = job(1);
        queue.push(job).unwrap();
        queue.abandon();
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
    }

    #[test]
    fn an_idle_queue_says_so_and_a_target_that_is_not_met_ends() {
        let queue = Queue::new();
        assert!(matches!(queue.take(1, Some(Duration::ZERO)), Taken::Idle));
        queue.push(job(1).0).unwrap();
        assert!(matches!(queue.take(200, None), Taken::Jobs(jobs) if jobs.len() == 1));
    }

    #[tokio::test]
    async fn batches_wait_outside_a_full_queue() {
        let queue = Queue::new();
        let large =
            || Batch { writes: vec![(Key::new("k"), Some(Bytes::from(vec![0; ROOM_KIB * 1024])))], expect: vec![] };
        let mut first = Box::pin(queue.commit(large()));
        let mut second = Box::pin(queue.commit(large()));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        assert_eq!(queue.state.lock().jobs.len(), 1, "the second is not in the queue yet");
        assert_eq!(taken(&queue), 1);
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(queue.state.lock().jobs.len(), 1, "now it is");
    }
}
