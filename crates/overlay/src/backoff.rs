//! How long to wait before trying again.

use core::time::Duration;

/// Doubles from a first pause to a longest one, each spread by a quarter so
/// that nodes which lost the same peer do not all return at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The pause before the next try. `chance` is any random byte.
    pub(crate) fn pause(&mut self, chance: u8) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(self.longest);
        base * 3 / 4 + base / 2 * u32::from(chance) / 255
    }

    /// Starts again from the first pause.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random byte, or a middling one where the system has none to give.
pub(crate) fn chance() -> u8 {
    let mut byte = [128];
    if let Err(error) = getrandom::fill(&mut byte) {
        tracing::debug!(%error, "no randomness for a pause");
    }
    let [byte] = byte;
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_spreads_by_a_quarter() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));

        assert_eq!(backoff.pause(0), Duration::from_millis(150));
        assert_eq!(backoff.pause(255), Duration::from_millis(500));
        assert_eq!(backoff.pause(0), Duration::from_millis(600));
        assert_eq!(backoff.pause(0), Duration::from_millis(750));
        assert_eq!(backoff.pause(0), Duration::from_millis(750));
        backoff.reset();
        assert_eq!(backoff.pause(0), Duration::from_millis(150));
    }
}
