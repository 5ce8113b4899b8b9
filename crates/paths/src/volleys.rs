//! Rounds of pings from one socket to everything where the peer may be.

use std::time::{Duration, Instant};

use crate::via::LocalId;

/// Between the rounds: longer than most round trips, so that one more round
/// starts only where the one before had a chance.
const ROUND_EVERY: Duration = Duration::from_millis(200);

/// How long a socket is kept for pongs after its last round.
const LINGER: Duration = Duration::from_secs(1);

/// Volleys at once, on different sockets; a further one replaces the oldest.
const MAX_VOLLEYS: usize = 4;

/// The rounds under way.
#[derive(Debug, Default)]
pub(crate) struct Volleys(Vec<Volley>);

#[derive(Debug)]
struct Volley {
    local: LocalId,
    rounds: u8,
    next: Instant,
    wide_from: Instant,
}

/// One round to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) local: LocalId,
    /// Whether to ping those behind NATs too, whose mapping for us is spoilt
    /// if we are too early.
    pub(crate) wide: bool,
}

impl Volleys {
    /// Rounds from `local`, in place of those that may be under way from it.
    pub(crate) fn start(&mut self, local: LocalId, rounds: u8, first: Instant, wide_from: Instant) {
        self.0.retain(|volley| volley.local != local);
        if self.0.len() >= MAX_VOLLEYS {
            self.0.remove(0);
        }
        self.0.push(Volley { local, rounds, next: first, wide_from });
    }

    /// Let the rounds under way from `local` go everywhere from now on.
    pub(crate) fn widen(&mut self, local: LocalId, now: Instant) {
        for volley in self.0.iter_mut().filter(|volley| volley.local == local) {
            volley.wide_from = volley.wide_from.min(now);
            volley.next = volley.next.min(now);
        }
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Round> {
        self.0.retain(|volley| volley.rounds > 0 || now < volley.next);
        let due = self.0.iter_mut().find(|volley| volley.next <= now && volley.rounds > 0)?;
        due.rounds -= 1;
        due.next = now + if due.rounds > 0 { ROUND_EVERY } else { LINGER };
        Some(Round { local: due.local, wide: due.wide_from <= now })
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|volley| volley.next).min()
    }

    /// The sockets in use.
    pub(crate) fn locals(&self) -> impl Iterator<Item = LocalId> {
        self.0.iter().map(|volley| volley.local)
    }

    pub(crate) fn forget_local(&mut self, local: LocalId) {
        self.0.retain(|volley| volley.local != local);
    }

    pub(crate) fn stop(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(volleys: &mut Volleys, start: Instant) -> Vec<(u128, Round)> {
        let mut seen = Vec::new();
        while let Some(at) = volleys.deadline() {
            while let Some(round) = volleys.poll(at) {
                seen.push(((at - start).as_millis(), round));
            }
        }
        seen
    }

    #[test]
    fn rounds_follow_each_other_and_the_socket_is_kept_for_a_while() {
        let start = crate::clock::start();
        let mut volleys = Volleys::default();
        volleys.start(LocalId(3), 3, start, start + Duration::from_millis(300));

        let at = |millis| volleys_round(millis);
        assert_eq!(rounds(&mut volleys, start), [at(0), at(200), at(400)]);

        fn volleys_round(millis: u128) -> (u128, Round) {
            (millis, Round { local: LocalId(3), wide: millis >= 300 })
        }
        assert_eq!(volleys.locals().count(), 0);
    }

    #[test]
    fn the_socket_of_the_last_round_waits_for_pongs() {
        let start = crate::clock::start();
        let mut volleys = Volleys::default();
        volleys.start(LocalId(3), 1, start, start);

        assert!(volleys.poll(start).is_some());
        assert!(volleys.poll(start + LINGER / 2).is_none());
        assert_eq!(volleys.locals().collect::<Vec<_>>(), [LocalId(3)]);
        assert!(volleys.poll(start + LINGER).is_none());
        assert_eq!(volleys.locals().count(), 0);
    }

    #[test]
    fn a_new_volley_replaces_that_of_the_same_socket_and_the_oldest_of_too_many() {
        let start = crate::clock::start();
        let mut volleys = Volleys::default();
        for number in [1, 1, 2, 3, 4, 5] {
            volleys.start(LocalId(number), 1, start, start);
        }

        let kept: Vec<_> = volleys.locals().collect();

        assert_eq!(kept, [2, 3, 4, 5].map(LocalId));
    }
}
