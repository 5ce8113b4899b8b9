//! What became of blocks that are not in the journal.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;

/// Why a block is not in the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// No space on the file system, or a quota or limit is used up. Later
    /// appends work again when there is space.
    #[error("no space is left for the journal")]
    Full,
    /// The disk failed.
    #[error("the disk failed under the journal")]
    Io(#[source] Arc<io::Error>),
    /// The caller appended much more than [`Journal::room`](crate::Journal::room)
    /// said there is room for.
    #[error("more waits to be written to the journal than is allowed")]
    Overrun,
    /// The caller's block has no records or too many, or does not come after
    /// the one before it.
    #[error("the block does not belong into the journal")]
    Invalid,
    /// The journal was closed, or its writer is gone.
    #[error("the journal is closed")]
    Closed,
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            Self::Full
        } else {
            Self::Io(Arc::new(error))
        }
    }
}

/// Runs of events that failed together which are remembered, the newest: who
/// asks does so right after appending. A full disk makes one run.
const REMEMBERED: usize = 1024;

/// The events that are not in the journal, and why.
#[derive(Debug, Default)]
pub(crate) struct Failures(VecDeque<Run>);

#[derive(Debug)]
struct Run {
    first: u64,
    last: u64,
    why: AppendError,
}

impl Failures {
    pub(crate) fn add(&mut self, first: u64, last: u64, why: AppendError) {
        match self.0.back_mut() {
            Some(run) if run.goes_on(first, &why) => run.last = last,
            Some(_) | None => {
                if self.0.len() == REMEMBERED {
                    self.0.pop_front();
                }
                self.0.push_back(Run { first, last, why });
            }
        }
    }

    /// What became of this event.
    pub(crate) fn of(&self, seq: u64) -> Result<(), AppendError> {
        let run = self.0.iter().rev().find(|run| run.first <= seq && seq <= run.last);
        run.map_or(Ok(()), |run| Err(run.why.clone()))
    }
}

impl Run {
    fn goes_on(&self, first: u64, why: &AppendError) -> bool {
        self.last.checked_add(1) == Some(first)
            && mem::discriminant(&self.why) == mem::discriminant(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_from_what_did_not() {
        let mut failures = Failures::default();
        failures.add(3, 5, AppendError::Full);
        failures.add(6, 6, AppendError::Full);
        failures.add(7, 7, AppendError::Invalid);

        assert!(matches!(failures.of(6), Err(AppendError::Full)));
        assert!(matches!(failures.of(7), Err(AppendError::Invalid)));
        assert!(failures.of(2).is_ok() && failures.of(8).is_ok());
        assert_eq!(failures.0.len(), 2);
    }

    #[test]
    fn the_oldest_runs_are_forgotten() {
        let mut failures = Failures::default();
        for run in 0..=REMEMBERED as u64 {
            failures.add(run * 2, run * 2, AppendError::Full);
        }

        assert_eq!(failures.0.len(), REMEMBERED);
        assert!(failures.of(0).is_ok() && failures.of(2).is_err());
    }

    #[test]
    fn what_the_system_says_of_space_is_full() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(matches!(AppendError::from(io::Error::from(kind)), AppendError::Full));
        }
        let other = AppendError::from(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(matches!(other, AppendError::Io(_)));
    }
}
