//! The line of blocks before the writer, and who waits for what.
//!
//! Decides order, when the writer has something to do, and what those who wait
//! are told; touches no file. Filled by any thread, emptied by the writer alone.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::block::Block;
use crate::outcome::{AppendError, Failures};
use crate::waiting::Waiting;

/// Bytes in line and being written beyond which publishers are asked to wait.
const QUEUED: usize = 32 << 20;

/// Bytes in line beyond which a block is refused: as much again for publishers
/// that all saw the same room.
const MAX_QUEUED: usize = 2 * QUEUED;

/// Bytes that are written at once, and synced together if somebody waits.
const GROUP: usize = 4 << 20;

/// Bytes in line for which no pause is made: a longer one would save no more
/// calls of the system.
const GATHERED: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Line {
    state: Mutex<State>,
    /// Something to do for the writer.
    work: Condvar,
    /// Room in line for publishers.
    freed: Notify,
    pause: Duration,
}

#[derive(Debug, Default)]
struct State {
    queued: VecDeque<Block>,
    /// Bytes of what is in line and what is being written.
    bytes: usize,
    /// When the first in line came.
    since: Option<Instant>,
    /// The last event that was taken into line.
    appended: u64,
    /// Everything up to it is written, or failed.
    settled: u64,
    /// Everything up to it is on the disk, or failed.
    synced: u64,
    failures: Failures,
    for_writing: Waiting<()>,
    for_disk: Waiting<Result<(), AppendError>>,
    /// The writer sleeps. Ringing costs a system call even if nobody hears it.
    writer_sleeps: bool,
    closed: bool,
    /// The writer is gone.
    ended: bool,
}

/// What the writer does next.
#[derive(Debug)]
pub(crate) enum Work {
    /// Write these, in order, at least one.
    Write(Vec<Block>),
    /// Bring what is written onto the disk: somebody waits for it.
    Sync,
    /// The journal is closed and everything written.
    End,
}

impl Line {
    pub(crate) fn new(pause: Duration) -> Self {
        let (work, freed) = (Condvar::new(), Notify::new());
        Self { state: Mutex::default(), work, freed, pause }
    }

    /// Takes a block into line.
    pub(crate) fn push(&self, block: Block) -> Result<(), AppendError> {
        let mut state = self.lock();
        if let Some(why) = state.refuses(&block) {
            state.failures.add(block.first, block.last, why.clone());
            return Err(why);
        }
        state.appended = block.last;
        state.bytes += block.size();
        let alone = state.queued.is_empty();
        if alone {
            state.since = Some(Instant::now());
        }
        state.queued.push_back(block);
        // A writer that makes a pause wakes by itself.
        if alone || state.bytes >= GATHERED {
            self.wake_writer(state);
        }
        Ok(())
    }

    /// Resolves when there is room in line.
    pub(crate) async fn room(&self) {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }

    fn has_room(&self) -> bool {
        let state = self.lock();
        state.closed || state.bytes < QUEUED
    }

    /// Resolves when everything up to `last` is readable, or failed.
    pub(crate) async fn written_up_to(&self, last: u64) {
        if let Some(settled) = self.wait_for_writing(last) {
            // An error is that of a writer which is gone: nothing will come.
            settled.await.unwrap_or(());
        }
    }

    fn wait_for_writing(&self, last: u64) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        let until = last.min(state.appended);
        if state.settled >= until || state.ended {
            return None;
        }
        let settled = state.for_writing.add(until, last);
        self.wake_writer(state);
        Some(settled)
    }

    /// Resolves when everything up to `last` is on the disk, or failed, and
    /// tells which of both is so for `last`.
    pub(crate) async fn durable_up_to(&self, last: u64) -> Result<(), AppendError> {
        match self.wait_for_disk(last) {
            Ok(synced) => synced.await.unwrap_or(Err(AppendError::Closed)),
            Err(known) => known,
        }
    }

    fn wait_for_disk(
        &self,
        last: u64,
    ) -> Result<oneshot::Receiver<Result<(), AppendError>>, Result<(), AppendError>> {
        let mut state = self.lock();
        let until = last.min(state.appended);
        if state.synced >= until {
            return Err(state.failures.of(last));
        }
        if state.ended {
            return Err(Err(AppendError::Closed));
        }
        let synced = state.for_disk.add(until, last);
        self.wake_writer(state);
        Ok(synced)
    }

    /// Waits for something to do.
    pub(crate) fn next(&self) -> Work {
        let mut state = self.lock();
        loop {
            if state.wants_sync() {
                return Work::Sync;
            }
            let Some(since) = state.since else {
                if state.closed {
                    return Work::End;
                }
                state.writer_sleeps = true;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.writer_sleeps = false;
                continue;
            };
            let left = self.pause.saturating_sub(since.elapsed());
            if left.is_zero() || state.is_urgent() {
                return Work::Write(state.take_group());
            }
            state.writer_sleeps = true;
            let woken = self.work.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
            state.writer_sleeps = false;
        }
    }

    /// These blocks of the last group are readable, or failed.
    pub(crate) fn settle(&self, blocks: &[Block], outcome: &Result<(), AppendError>) {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return };
        let mut state = self.lock();
        state.settled = last.last;
        if let Err(why) = outcome {
            state.failures.add(first.first, last.last, why.clone());
        }
        state.bytes -= blocks.iter().map(Block::size).sum::<usize>().min(state.bytes);
        let room = state.bytes < QUEUED;
        let settled = state.settled;
        let told = state.for_writing.take(settled);
        drop(state);
        if room {
            self.freed.notify_waiters();
        }
        for one in told {
            one.tell(());
        }
    }

    /// Everything that was settled is on the disk, or what was not yet failed.
    pub(crate) fn synced(&self, outcome: &Result<(), AppendError>) {
        let mut state = self.lock();
        if let Err(why) = outcome {
            let (first, last) = (state.synced.saturating_add(1), state.settled);
            state.failures.add(first, last, why.clone());
        }
        state.synced = state.settled;
        let synced = state.synced;
        let told = state.for_disk.take(synced).into_iter();
        let told: Vec<_> = told.map(|one| (state.failures.of(one.about), one)).collect();
        drop(state);
        for (outcome, one) in told {
            one.tell(outcome);
        }
    }

    /// Takes no more; what is in line is still written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
        self.freed.notify_waiters();
    }

    /// The writer is gone: whoever waits still is told so.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.ended = true;
        let lost = (
            std::mem::take(&mut state.queued),
            std::mem::take(&mut state.for_writing),
            std::mem::take(&mut state.for_disk),
        );
        drop(state);
        self.freed.notify_waiters();
        drop(lost);
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.writer_sleeps);
        drop(state);
        if asleep {
            self.work.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refuses(&self, block: &Block) -> Option<AppendError> {
        if self.closed {
            Some(AppendError::Closed)
        } else if !block.is_valid() || block.first <= self.appended {
            Some(AppendError::Invalid)
        } else if self.bytes + block.size() > MAX_QUEUED {
            Some(AppendError::Overrun)
        } else {
            None
        }
    }

    fn wants_sync(&self) -> bool {
        self.for_disk.has(self.settled)
    }

    fn is_urgent(&self) -> bool {
        let awaited = !self.for_writing.is_empty() || !self.for_disk.is_empty();
        self.closed || awaited || self.bytes >= GATHERED
    }

    fn take_group(&mut self) -> Vec<Block> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(block) = self.queued.pop_front_if(|block| {
            bytes += block.size();
            group.is_empty() || bytes <= GROUP
        }) {
            group.push(block);
        }
        if self.queued.is_empty() {
            self.since = None;
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn block(seq: u64, records: usize) -> Block {
        let records = Bytes::from(vec![1; records]);
        Block { first: seq, last: seq, at: 0, request: None, records }
    }

    #[test]
    fn what_does_not_belong_is_refused_and_remembered() {
        let line = Line::new(Duration::ZERO);
        line.push(block(5, 1)).unwrap();

        for wrong in [block(5, 1), block(4, 1), block(6, 0), block(6, crate::MAX_RECORDS + 1)] {
            assert!(matches!(line.push(wrong), Err(AppendError::Invalid)));
        }
        let backwards = Block { last: 6, ..block(7, 1) };
        assert!(matches!(line.push(backwards), Err(AppendError::Invalid)));
        assert!(line.lock().failures.of(6).is_err());
        line.close();
        assert!(matches!(line.push(block(7, 1)), Err(AppendError::Closed)));
    }

    #[test]
    fn there_is_no_room_beyond_the_bound_until_some_is_written() {
        let line = Line::new(Duration::ZERO);
        let block = |seq| block(seq, crate::MAX_RECORDS);
        for seq in 1..=7 {
            assert_eq!(line.has_room(), seq <= 4, "{seq}");
            line.push(block(seq)).unwrap();
        }
        assert!(matches!(line.push(block(8)), Err(AppendError::Overrun)));

        for _ in 0..4 {
            let Work::Write(group) = line.next() else { panic!("nothing to write") };
            assert_eq!(group.len(), 1);
            line.settle(&group, &Ok(()));
        }

        assert!(line.has_room());
        line.push(block(9)).unwrap();
    }

    #[test]
    fn the_writer_makes_its_pause_only_while_nobody_waits() {
        let line = Line::new(Duration::from_secs(3600));
        line.push(block(1, 1)).unwrap();
        line.push(block(2, 1)).unwrap();
        let (state, left) = (line.lock(), Duration::from_secs(3000));
        assert!(!state.is_urgent() && line.pause - state.since.unwrap().elapsed() > left);
        drop(state);

        let told = line.wait_for_writing(1).unwrap();

        let Work::Write(group) = line.next() else { panic!("nothing to write") };
        assert_eq!(group.len(), 2);
        line.settle(&group, &Ok(()));
        assert_eq!(told.blocking_recv(), Ok(()));
    }

    #[test]
    fn everybody_is_told_what_became_of_the_own_block() {
        let line = Line::new(Duration::ZERO);
        let mut told = Vec::new();
        for seq in 1..=3 {
            line.push(block(seq, 1)).unwrap();
            told.push(line.wait_for_disk(seq).unwrap());
        }
        let Work::Write(group) = line.next() else { panic!("nothing to write") };
        line.settle(&group[..1], &Ok(()));
        line.settle(&group[1..2], &Err(AppendError::Full));
        assert!(matches!(line.next(), Work::Sync));
        line.synced(&Ok(()));
        line.settle(&group[2..], &Ok(()));
        line.synced(&Err(AppendError::Closed));

        let outcomes: Vec<_> = told.into_iter().map(|one| one.blocking_recv().unwrap()).collect();
        assert!(matches!(
            outcomes.as_slice(),
            [Ok(()), Err(AppendError::Full), Err(AppendError::Closed)]
        ));
        line.close();
        assert!(matches!(line.next(), Work::End));
    }
}
