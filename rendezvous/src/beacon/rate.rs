//! How many bytes somebody may send: a token bucket, kept as one moment.

use std::time::{Duration, Instant};

/// Bytes a second, with a quarter of a second's worth at once; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteRate(pub u64);

/// How far a bucket may be ahead of the clock, and still take more.
const BURST: Duration = Duration::from_millis(250);

impl ByteRate {
    /// How long so many bytes take; nothing without a limit.
    fn time_of(self, bytes: usize) -> Option<Duration> {
        if self.0 == 0 {
            return None;
        }
        let nanos = u128::try_from(bytes).ok()? * 1_000_000_000 / u128::from(self.0);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// Until when a sender is busy with what it has sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    busy_until: Option<Instant>,
}

impl Bucket {
    /// Of who has sent nothing.
    pub(super) const AT_REST: Self = Self { busy_until: None };

    /// Whether the bytes may go. What is refused costs nothing.
    pub(super) fn take(&mut self, rate: ByteRate, bytes: usize, now: Instant) -> bool {
        let Some(time) = rate.time_of(bytes) else { return true };
        let busy_until = self.busy_until.map_or(now, |busy| busy.max(now));
        if busy_until.duration_since(now) > BURST {
            return false;
        }
        self.busy_until = busy_until.checked_add(time);
        true
    }

    /// Whether it is as if nothing had been sent.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        self.busy_until.is_none_or(|busy| busy <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_after_a_burst() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let rate = ByteRate(100_000);
        let mut taken = 0;

        for millis in 0..10_000 {
            let now = start + Duration::from_millis(millis);
            taken += (0..4).filter(|_| bucket.take(rate, 1_000, now)).count();
        }

        // A second is 100 packets, and a quarter of one may be ahead.
        assert!((1_000..=1_026).contains(&taken), "{taken}");
    }

    #[test]
    fn one_large_batch_passes_a_small_rate_and_is_paid_for() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let rate = ByteRate(10_000);

        assert!(bucket.take(rate, 64_000, now));
        assert!(!bucket.take(rate, 1, now + Duration::from_secs(6)));
        assert!(!bucket.is_at_rest(now + Duration::from_secs(6)));
        assert!(bucket.take(rate, 1, now + Duration::from_millis(6_200)));
        assert!(bucket.is_at_rest(now + Duration::from_secs(7)));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());

        assert!((0..1_000).all(|_| bucket.take(ByteRate(0), usize::MAX, now)));
        assert!(bucket.is_at_rest(now));
    }
}
