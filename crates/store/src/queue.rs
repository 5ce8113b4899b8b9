//! The line of batches before the writer.
//!
//! Decides order, epochs and what a closed store answers; knows nothing of
//! SQLite. Filled by any thread, emptied by the writer alone.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::batch::{Batch, Commit, CommitError, Epoch};

/// Most batches in line. Beyond it the calling thread waits: the writer needs
/// nothing of the caller's runtime to go on, so that wait is one group long.
const MAX_QUEUED: usize = 8192;

/// A batch in line, with whom to tell.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) done: oneshot::Sender<Result<(), CommitError>>,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something to do for the writer.
    work: Condvar,
    /// Room in line for callers.
    room: Condvar,
}

struct State {
    waiting: VecDeque<Job>,
    epoch: Epoch,
    /// A group was taken and is not settled.
    busy: bool,
    /// The writer sleeps until there is work. Ringing costs a system call
    /// even if nobody hears it, so it is done for sleepers only.
    writer_sleeps: bool,
    /// Callers that sleep until there is room.
    callers_asleep: usize,
    closed: bool,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            epoch: Epoch::FIRST,
            busy: false,
            writer_sleeps: false,
            callers_asleep: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), work: Condvar::new(), room: Condvar::new() }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.lock().epoch
    }

    pub(crate) fn push(&self, batch: Batch) -> Commit {
        let mut state = self.lock();
        while state.waiting.len() >= MAX_QUEUED && !state.closed {
            state.callers_asleep += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.callers_asleep -= 1;
        }
        if state.closed {
            return Commit::settled(Err(CommitError::Closed));
        }
        if batch.epoch() != state.epoch {
            return Commit::settled(Err(CommitError::Stale));
        }
        if batch.is_empty() && state.waiting.is_empty() && !state.busy {
            return Commit::settled(Ok(()));
        }
        let (done, outcome) = oneshot::channel();
        state.waiting.push_back(Job { batch, done });
        let asleep = std::mem::take(&mut state.writer_sleeps);
        drop(state);
        if asleep {
            self.work.notify_one();
        }
        Commit::queued(outcome)
    }

    /// Waits for the first job of a group; `None` when closed and drained.
    pub(crate) fn next_group(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                state.busy = true;
                self.make_room(state);
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.writer_sleeps = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.writer_sleeps = false;
        }
    }

    /// One more job for the group, if one is in line.
    pub(crate) fn join_group(&self) -> Option<Job> {
        let mut state = self.lock();
        let job = state.waiting.pop_front();
        self.make_room(state);
        job
    }

    /// A job was taken out of line: wakes a caller that waits for its place.
    fn make_room(&self, state: MutexGuard<'_, State>) {
        let asleep = state.callers_asleep > 0;
        drop(state);
        if asleep {
            self.room.notify_one();
        }
    }

    /// Tells a group's callers, and on failure ends the epoch for all in line.
    pub(crate) fn settle(
        &self,
        group: Vec<oneshot::Sender<Result<(), CommitError>>>,
        outcome: &Result<(), CommitError>,
    ) {
        let mut state = self.lock();
        state.busy = false;
        let stale = if outcome.is_err() {
            state.epoch = state.epoch.next();
            std::mem::take(&mut state.waiting)
        } else {
            VecDeque::new()
        };
        let asleep = state.callers_asleep > 0;
        drop(state);
        if asleep {
            self.room.notify_all();
        }
        for done in group {
            tell(done, outcome.clone());
        }
        for job in stale {
            tell(job.done, Err(CommitError::Stale));
        }
    }

    /// Takes no more; what is in line is still written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    /// The writer is gone: nothing in line will be written.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        let lost = std::mem::take(&mut state.waiting);
        drop(state);
        self.room.notify_all();
        drop(lost);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that stopped waiting does not mind.
fn tell(done: oneshot::Sender<Result<(), CommitError>>, outcome: Result<(), CommitError>) {
    drop(done.send(outcome));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(queue: &Queue) -> Batch {
        let mut batch = Batch::new(queue.epoch());
        batch.write(|_| Ok(()));
        batch
    }

    fn outcome(commit: &mut Commit) -> Option<Result<(), CommitError>> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(commit).poll(&mut context) {
            std::task::Poll::Ready(outcome) => Some(outcome),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn a_barrier_waits_for_the_group_that_is_being_written() {
        let queue = Queue::new();
        assert!(matches!(outcome(&mut queue.push(Batch::new(queue.epoch()))), Some(Ok(()))));

        let mut first = queue.push(write(&queue));
        let job = queue.next_group().unwrap();
        let mut barrier = queue.push(Batch::new(queue.epoch()));

        assert!(outcome(&mut first).is_none() && outcome(&mut barrier).is_none());
        queue.settle(vec![job.done], &Ok(()));
        assert!(matches!(outcome(&mut first), Some(Ok(()))));
        assert!(outcome(&mut barrier).is_none(), "the barrier is a group of its own now");
    }

    #[test]
    fn a_failed_group_makes_all_of_its_epoch_stale() {
        let queue = Queue::new();
        let built_before = write(&queue);
        let mut failed = queue.push(write(&queue));
        let job = queue.next_group().unwrap();
        let mut behind = queue.push(write(&queue));
        let before = queue.epoch();

        queue.settle(vec![job.done], &Err(CommitError::DiskFull));

        assert!(queue.epoch() > before);
        assert!(matches!(outcome(&mut failed), Some(Err(CommitError::DiskFull))));
        assert!(matches!(outcome(&mut behind), Some(Err(CommitError::Stale))));
        assert!(matches!(outcome(&mut queue.push(built_before)), Some(Err(CommitError::Stale))));
        assert!(queue.join_group().is_none());
        assert!(outcome(&mut queue.push(write(&queue))).is_none(), "the new epoch is taken");
    }

    #[test]
    fn a_closed_queue_is_drained_and_takes_no_more() {
        let queue = Queue::new();
        let mut before = queue.push(write(&queue));
        queue.close();

        assert!(matches!(outcome(&mut queue.push(write(&queue))), Some(Err(CommitError::Closed))));
        let job = queue.next_group().unwrap();
        queue.settle(vec![job.done], &Ok(()));
        assert!(matches!(outcome(&mut before), Some(Ok(()))));
        assert!(queue.next_group().is_none());
    }

    #[test]
    fn a_full_line_makes_the_caller_wait_for_the_writer() {
        let queue = Queue::new();
        let mut waiting: Vec<Commit> = (0..MAX_QUEUED).map(|_| queue.push(write(&queue))).collect();

        std::thread::scope(|scope| {
            let last = scope.spawn(|| queue.push(write(&queue)));
            let mut taken = 0;
            let mut job = queue.next_group();
            while let Some(Job { done, .. }) = job {
                queue.settle(vec![done], &Ok(()));
                taken += 1;
                job = if taken > MAX_QUEUED { None } else { queue.next_group() };
            }
            waiting.push(last.join().unwrap());
        });

        assert!(waiting.iter_mut().all(|commit| matches!(outcome(commit), Some(Ok(())))));
    }
}
