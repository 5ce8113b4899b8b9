//! Carries out what a machine decided once it is on disk, in the order it was decided.
//!
//! A caller may go away at any moment (a client hangs up); what its request
//! set in motion must still happen. So effects belong to the ledger, not to
//! the caller, who is only told when they have been carried out.

use pilot_store::{Commit, CommitError};
use tokio::sync::{mpsc, oneshot};

/// Commits whose effects wait. A caller beyond that waits for a place before
/// it may ask the machine for anything.
const PLACES: usize = 1024;

/// What was decided in one turn.
struct Entry<E> {
    commit: Commit,
    effects: E,
    told: oneshot::Sender<Result<(), CommitError>>,
}

/// Where turns are entered.
#[derive(Debug)]
pub(crate) struct Ledger<E> {
    entries: mpsc::Sender<Entry<E>>,
}

/// Where they are carried out, by one task.
pub(crate) struct LedgerDriver<E> {
    entries: mpsc::Receiver<Entry<E>>,
}

/// A place in the ledger, taken before the machine is asked.
pub(crate) struct Place<'a, E>(mpsc::Permit<'a, Entry<E>>);

/// Resolves when the effects of a turn have been carried out.
#[must_use = "a turn may fail"]
pub(crate) struct Turn(oneshot::Receiver<Result<(), CommitError>>);

impl<E> Ledger<E> {
    pub(crate) fn new() -> (Self, LedgerDriver<E>) {
        let (sender, receiver) = mpsc::channel(PLACES);
        (Self { entries: sender }, LedgerDriver { entries: receiver })
    }

    /// Waits for a place. Cancel safe: nothing has been decided yet.
    pub(crate) async fn place(&self) -> Result<Place<'_, E>, CommitError> {
        self.entries.reserve().await.map(Place).map_err(|_| CommitError::Closed)
    }
}

impl<E> Place<'_, E> {
    /// Enters a turn. Call it under the lock of the machine, so that turns
    /// are entered in the order they were decided.
    pub(crate) fn enter(self, commit: Commit, effects: E) -> Turn {
        let (told, turn) = oneshot::channel();
        self.0.send(Entry { commit, effects, told });
        Turn(turn)
    }
}

impl Turn {
    /// Waits until the turn is on disk and carried out. Cancel safe: it
    /// happens in any case.
    pub(crate) async fn done(self) -> Result<(), CommitError> {
        self.0.await.unwrap_or(Err(CommitError::Closed))
    }
}

impl<E> LedgerDriver<E> {
    /// Carries out turns until every [`Ledger`] is gone. What `carry_out`
    /// gives back is a turn that follows from the one carried out. `lost` is
    /// called for a turn that could not be written, before its caller is told.
    pub(crate) async fn run(
        mut self,
        mut carry_out: impl FnMut(E) -> Option<(Commit, E)>,
        mut lost: impl FnMut(&CommitError),
    ) {
        while let Some(Entry { commit, effects, told }) = self.entries.recv().await {
            let written = commit.await;
            let mut next = match &written {
                Ok(()) => carry_out(effects),
                Err(error) => {
                    lost(error);
                    None
                }
            };
            // The caller may have gone.
            drop(told.send(written));
            while let Some((commit, effects)) = next {
                next = match commit.await {
                    Ok(()) => carry_out(effects),
                    Err(error) => {
                        lost(&error);
                        None
                    }
                };
            }
        }
    }
}
