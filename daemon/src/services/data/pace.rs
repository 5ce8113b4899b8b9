//! When the next bytes of a transfer may go that has a limit.

use std::time::{Duration, Instant};

/// Parts of a second that are sent at once, at most.
const PARTS: u64 = 8;

/// Bytes that are sent at once, at most: others take their turn between them.
pub(super) const AT_ONCE: usize = 256 * 1024;

/// How much later than it might have been something may be and be made up for:
/// clocks tick by the millisecond.
const LATE: Duration = Duration::from_millis(10);

/// A limit, and how much of it is used up.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second.
    limit: u64,
    next: Instant,
}

impl Pace {
    pub(super) fn of(limit: u64, now: Instant) -> Self {
        Self { limit: limit.max(1), next: now }
    }

    /// Bytes that may go at once, at most.
    pub(super) fn at_once(&self) -> usize {
        usize::try_from(self.limit.div_ceil(PARTS)).unwrap_or(usize::MAX).min(AT_ONCE)
    }

    /// When so many bytes may go; they count from then on. What was not used
    /// long before is lost.
    pub(super) fn next(&mut self, bytes: usize, now: Instant) -> Instant {
        let at = now.checked_sub(LATE).map_or(self.next, |earliest| self.next.max(earliest));
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.limit;
        self.next = at + Duration::from_micros(micros);
        at
    }
}

/// Waits for that time. The runtime's clock ticks by the millisecond, and would
/// wait for the next tick even if the time is over.
pub(super) async fn wait_until(at: Instant) {
    if at > Instant::now() {
        tokio::time::sleep_until(at.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_as_many_bytes_as_the_limit_says() {
        let start = Instant::now();
        let mut pace = Pace::of(8000, start);
        assert_eq!(pace.at_once(), 1000);

        let times: Vec<Duration> = (0..9).map(|_| pace.next(1000, start) - start).collect();

        assert_eq!(times[..2], [Duration::ZERO, Duration::from_millis(125)]);
        assert_eq!(times[8], Duration::from_secs(1));
    }

    #[test]
    fn a_pause_saves_nothing_up() {
        let start = Instant::now();
        let mut pace = Pace::of(1000, start);
        pace.next(1000, start);

        let later = start + Duration::from_secs(60);

        assert_eq!(pace.next(500, later), later - LATE);
        assert_eq!(pace.next(500, later), later - LATE + Duration::from_millis(500));
    }
}
