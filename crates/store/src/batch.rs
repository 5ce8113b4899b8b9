//! What is committed together, and what becomes of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rusqlite::Transaction;
use tokio::sync::oneshot;

/// The time between two failed groups; see the crate's page on failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of a store that was just opened.
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

type Write = Box<dyn FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send>;

/// Writes that are durable together or not at all, in their order.
///
/// One without writes is a barrier: it resolves when everything committed
/// before it is durable.
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    epoch: Epoch,
    writes: Vec<Write>,
}

impl Batch {
    /// An empty batch by a machine that was loaded in `epoch`.
    pub const fn new(epoch: Epoch) -> Self {
        Self { epoch, writes: Vec::new() }
    }

    /// Adds a write. It runs on the writer thread, maybe after later calls of
    /// the machine that made it, and together with the writes of others: it
    /// owns what it needs, is short, and prepares with `prepare_cached`.
    pub fn write(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.writes.push(Box::new(write));
    }

    /// Whether it holds no write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many writes it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.writes.len()
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn into_writes(self) -> impl Iterator<Item = Write> {
        self.writes.into_iter()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("epoch", &self.epoch)
            .field("writes", &self.writes.len())
            .finish()
    }
}

/// Why a batch is not on disk.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// The file system has no room. The operator must make some; nothing else
    /// needs to be done.
    #[error("the disk is full")]
    DiskFull,
    /// An earlier group failed, so what this batch builds on may be lost: load
    /// the machine from disk again.
    #[error("an earlier write was lost, so this one was not tried")]
    Stale,
    /// A write of the group failed, maybe another caller's.
    #[error("the database refused a write")]
    Failed(#[source] Arc<rusqlite::Error>),
    /// The store is closed, or its writer ended by a panic in a write.
    #[error("the store is closed")]
    Closed,
}

/// Resolves when the batch is durable or refused.
///
/// Dropping it changes nothing: the batch was queued when
/// [`Store::commit`](crate::Store::commit) was called, and stays so.
#[derive(Debug)]
#[must_use = "what is not awaited may be refused unseen"]
pub struct Commit(State);

#[derive(Debug)]
enum State {
    Settled(Result<(), CommitError>),
    Queued(oneshot::Receiver<Result<(), CommitError>>),
}

impl Commit {
    pub(crate) const fn settled(outcome: Result<(), CommitError>) -> Self {
        Self(State::Settled(outcome))
    }

    pub(crate) const fn queued(outcome: oneshot::Receiver<Result<(), CommitError>>) -> Self {
        Self(State::Queued(outcome))
    }
}

impl Future for Commit {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Settled(outcome) => Poll::Ready(outcome.clone()),
            State::Queued(receiver) => {
                // A sender that is gone without a word was lost with its thread.
                Pin::new(receiver).poll(cx).map(|said| said.unwrap_or(Err(CommitError::Closed)))
            }
        }
    }
}
