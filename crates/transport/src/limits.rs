//! How often somebody may ask: one token bucket for each of many.
//!
//! Time is an argument. A bucket is one moment (the generic cell rate
//! algorithm): until when it is busy with what was taken from it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How many seconds' worth may be taken at once: enough for the moment in
/// which everybody comes back, or one starts and asks for all its peers.
const BURST_SECONDS: u32 = 4;

/// Pause between two searches for buckets that can go, since each costs a
/// walk over a full table.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// Limits each key to a rate. Holds at most a given number of busy buckets;
/// beyond it, keys that have none are refused.
#[derive(Debug)]
pub struct Limiter<K> {
    interval: Duration,
    tolerance: Duration,
    max_buckets: usize,
    busy_until: BTreeMap<K, Instant>,
    swept: Option<Instant>,
}

impl<K: Ord> Limiter<K> {
    /// Lets each key take `per_second`, and four seconds' worth at once.
    #[must_use]
    pub fn new(per_second: NonZeroU32, max_buckets: usize) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.get(),
            tolerance: Duration::from_secs(1) * BURST_SECONDS,
            max_buckets,
            busy_until: BTreeMap::new(),
            swept: None,
        }
    }

    /// Takes one from the bucket of `key`.
    ///
    /// # Errors
    ///
    /// After which time it is worth trying again.
    pub fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        self.take_many(key, 1, now)
    }

    /// Takes `count` from the bucket of `key`, all of them or none; more than
    /// four seconds' worth is never there.
    ///
    /// # Errors
    ///
    /// After which time it is worth trying again.
    pub fn take_many(&mut self, key: K, count: u32, now: Instant) -> Result<(), Duration> {
        let after = self.busy_until(&key, now) + self.interval.saturating_mul(count);
        let excess = after.duration_since(now).saturating_sub(self.tolerance);
        if !excess.is_zero() {
            return Err(excess);
        }
        if self.busy_until.len() >= self.max_buckets && !self.busy_until.contains_key(&key) {
            self.sweep(now);
            if self.busy_until.len() >= self.max_buckets {
                return Err(self.tolerance);
            }
        }
        self.busy_until.insert(key, after);
        Ok(())
    }

    /// Whether `key` has used more than half of its burst.
    pub fn is_strained(&self, key: &K, now: Instant) -> bool {
        self.busy_until(key, now).duration_since(now) > self.tolerance / 2
    }

    fn busy_until(&self, key: &K, now: Instant) -> Instant {
        self.busy_until.get(key).copied().map_or(now, |busy| busy.max(now))
    }

    fn sweep(&mut self, now: Instant) {
        let due = self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_PAUSE);
        if due {
            self.swept = Some(now);
            self.busy_until.retain(|_, busy| *busy > now);
        }
    }
}

/// What counts as one source: an IPv4 address, or the /64 network of an IPv6
/// address, within which anybody has all addresses.
#[must_use]
pub fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_second: u32, max_buckets: usize) -> Limiter<u8> {
        Limiter::new(NonZeroU32::new(per_second).unwrap(), max_buckets)
    }

    #[test]
    fn many_are_taken_at_once_or_none_of_them() {
        let mut limiter = limiter(10, 8);
        let now = Instant::now();

        assert_eq!(limiter.take_many(1, 30, now), Ok(()));
        assert_eq!(limiter.take_many(1, 11, now), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take_many(1, 10, now), Ok(()), "the refused took nothing");
        assert_eq!(limiter.take(1, now), Err(Duration::from_millis(100)));
    }

    #[test]
    fn a_burst_is_four_seconds_worth_and_then_the_rate_holds() {
        let mut limiter = limiter(10, 8);
        let now = Instant::now();

        let taken = (0..100).filter(|_| limiter.take(1, now).is_ok()).count();

        assert_eq!(taken, 40);
        assert_eq!(limiter.take(1, now), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take(1, now + Duration::from_millis(100)), Ok(()));
        assert!(limiter.take(1, now + Duration::from_millis(100)).is_err());
        assert_eq!(limiter.take(2, now), Ok(()), "another key has its own bucket");
    }

    #[test]
    fn a_full_table_refuses_new_keys_until_a_bucket_is_at_rest() {
        let mut limiter = limiter(1, 2);
        let now = Instant::now();
        limiter.take(1, now).unwrap();
        limiter.take(2, now).unwrap();

        assert!(limiter.take(3, now).is_err());
        assert_eq!(limiter.take(1, now), Ok(()), "a known key goes on");
        assert_eq!(limiter.take(3, now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn strain_begins_at_half_of_the_burst() {
        let mut limiter = limiter(1, 2);
        let now = Instant::now();
        for _ in 0..2 {
            limiter.take(1, now).unwrap();
            assert!(!limiter.is_strained(&1, now));
        }

        limiter.take(1, now).unwrap();

        assert!(limiter.is_strained(&1, now));
        assert!(!limiter.is_strained(&1, now + Duration::from_secs(1)));
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_a_network_of_64_bits() {
        let of = |text: &str| source(text.parse().unwrap()).to_string();

        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
