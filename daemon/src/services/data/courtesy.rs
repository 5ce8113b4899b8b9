//! Transfers leave some of the processor to tasks.
//!
//! Alone, a transfer takes all of the processor that it can use. A task goes
//! through a dozen wake-ups of several programs, and where every core is busy
//! each of them waits: of 3 ms come 16. So while tasks move on here, all
//! transfers together take as much as leaves the cores idle for half of the
//! time. That is more than a line of 1 Gbit/s has, which stays full.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::pace::Pace;

/// Bytes a second for each core. A transfer of 1 GB between two programs of
/// one machine takes 1.6 s of a core, or 3.1 s in ordinary datagrams.
const PER_CORE: u64 = 128 * 1000 * 1000;

/// How long it lasts after a task has moved on.
const LASTS: Duration = Duration::from_millis(250);

pub(super) struct Courtesy {
    begun: Instant,
    /// Milliseconds after the begin at which it is over.
    until: AtomicU64,
    pace: Mutex<Pace>,
}

impl Courtesy {
    pub(super) fn new(now: Instant) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let limit = PER_CORE.saturating_mul(cores as u64);
        Self { begun: now, until: AtomicU64::new(0), pace: Mutex::new(Pace::of(limit, now)) }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    /// A task moves on.
    pub(super) fn note(&self, now: Instant) {
        self.until.fetch_max(self.millis(now + LASTS), Ordering::Relaxed);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.millis(now) < self.until.load(Ordering::Relaxed)
    }

    /// When so many bytes may go; at once, if it is not due.
    pub(super) fn next(&self, bytes: usize, now: Instant) -> Instant {
        if !self.is_due(now) {
            return now;
        }
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).next(bytes, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_are_held_up_for_as_long_as_tasks_move_on() {
        let start = Instant::now();
        let courtesy = Courtesy::new(start);
        let next = |now| (0..64).map(|_| courtesy.next(1 << 30, now)).max().unwrap();
        assert_eq!(next(start), start);

        courtesy.note(start);

        assert!(courtesy.is_due(start) && courtesy.is_due(start + LASTS / 2));
        assert!(next(start) > start);
        let after = start + LASTS;
        assert!(!courtesy.is_due(after));
        assert_eq!(next(after), after);
    }
}
