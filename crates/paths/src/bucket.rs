//! A limit on how often something may happen.

use std::time::{Duration, Instant};

/// So many at once, then one every interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    interval: Duration,
    burst: u32,
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl Bucket {
    pub(crate) const fn new(burst: u32, interval: Duration) -> Self {
        Self { interval, burst, full_at: None }
    }

    /// Whether one more may happen now; if so it is counted.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        if full_at - now > self.interval * self.burst.saturating_sub(1) {
            return false;
        }
        self.full_at = Some(full_at + self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_burst_and_then_one_every_interval() {
        let start = crate::clock::start();
        let mut bucket = Bucket::new(3, Duration::from_millis(100));
        let mut taken = |ms| bucket.take(start + Duration::from_millis(ms));

        assert_eq!([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
        assert_eq!([taken(99), taken(100), taken(101)], [false, true, false]);
        assert_eq!([taken(1_000), taken(1_000), taken(1_000)], [true; 3]);
        assert!(!taken(1_000));
    }
}
