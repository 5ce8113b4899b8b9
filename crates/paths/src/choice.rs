//! Which path is used: direct before relay, and not a new one every moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::chosen::{Chosen, Reason};
use crate::pair::{Origin, Pair};
use crate::pairs::{PairKey, Pairs, key_of};
use crate::via::{BeaconId, Via};

/// Another direct path must be faster by a fifth and by this, or jitter alone
/// would move the traffic.
const CLEARLY: Duration = Duration::from_millis(2);

/// And so at this many pongs in a row.
const CLEARLY_TIMES: u8 = 3;

/// Round trips that differ by less than this are equal: then the local network
/// is preferred, which costs nobody anything. Less than [`CLEARLY`], or the
/// two rules would chase each other.
const EQUAL: Duration = Duration::from_millis(1);

/// The decision in force.
#[derive(Debug)]
pub(crate) struct Choice {
    via: Option<Via>,
    reason: Reason,
    since: Instant,
    /// The reason to give if a relay is next.
    fallback: Reason,
    /// Pongs in a row at which an alternative was clearly faster.
    faster: BTreeMap<PairKey, u8>,
}

impl Choice {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            via: None,
            reason: Reason::NoPath,
            since: now,
            fallback: Reason::RelayFirst,
            faster: BTreeMap::new(),
        }
    }

    pub(crate) const fn via(&self) -> Option<Via> {
        self.via
    }

    pub(crate) const fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn direct(&self) -> Option<PairKey> {
        self.via.and_then(key_of)
    }

    pub(crate) fn chosen(&self, rtt: Option<Duration>) -> Option<Chosen> {
        let via = self.via?;
        Some(Chosen { via, reason: self.reason, since: self.since, rtt })
    }

    /// Should a relay take over from a direct path next, this is why.
    pub(crate) const fn blame(&mut self, reason: Reason) {
        self.fallback = reason;
    }

    /// A pong came for this path: compare it with the one in use.
    pub(crate) fn handle_pong(&mut self, key: PairKey, pairs: &Pairs) {
        self.faster.retain(|key, _| pairs.is_usable(*key));
        let current = self.direct().filter(|current| *current != key);
        let (Some(current), Some(other)) =
            (current.and_then(|key| pairs.find(key)), pairs.find(key))
        else {
            return;
        };
        if other.is_usable() && is_clearly_faster(other, current) {
            let times = self.faster.entry(key).or_default();
            *times = times.saturating_add(1);
        } else {
            self.faster.remove(&key);
        }
    }

    /// Decides anew; whether the way or the reason changed.
    ///
    /// `relay` is the best one that is usable, `none` the reason to give if
    /// there is nothing at all.
    pub(crate) fn decide(
        &mut self,
        pairs: &Pairs,
        relay: Option<BeaconId>,
        none: Reason,
        now: Instant,
    ) -> bool {
        let (via, reason) = match (self.pick_direct(pairs, now), relay) {
            (Some((key, reason)), _) => (Some(direct(key)), reason),
            (None, Some(relay)) => (Some(Via::Relay(relay)), self.relay_reason(relay)),
            (None, None) => (None, none),
        };
        if (via, reason) == (self.via, self.reason) {
            return false;
        }
        if via != self.via {
            self.since = now;
            self.faster.clear();
            self.fallback = match via {
                Some(Via::Direct { .. }) => Reason::DirectDied,
                Some(Via::Relay(_)) | None => Reason::RelayFirst,
            };
        }
        (self.via, self.reason) = (via, reason);
        true
    }

    fn pick_direct(&self, pairs: &Pairs, now: Instant) -> Option<(PairKey, Reason)> {
        let current = self.direct().and_then(|key| Some((key, pairs.find(key)?)));
        match current.filter(|(_, pair)| pair.is_usable()) {
            Some((key, pair)) => {
                Some(self.pick_other(key, pair, pairs, now).unwrap_or((key, self.reason)))
            }
            None => pairs.usable().min_by_key(|(_, pair)| rank(pair)).map(|(key, pair)| {
                let reason = match pair.origin() {
                    Origin::Plain => Reason::DirectProven,
                    Origin::Birthday => Reason::Birthday,
                };
                (key, reason)
            }),
        }
    }

    /// A direct path that is better than the one in use.
    fn pick_other(
        &self,
        key: PairKey,
        current: &Pair,
        pairs: &Pairs,
        now: Instant,
    ) -> Option<(PairKey, Reason)> {
        let others = || pairs.usable().filter(|(other, _)| *other != key);
        if let Some(since) = current.suspect_since(now) {
            let alive = others().filter(|(_, pair)| pair.answers_since(since));
            return Some((alive.min_by_key(|(_, pair)| rank(pair))?.0, Reason::DirectDied));
        }
        if !current.is_settled() {
            return None;
        }
        let settled = || others().filter(|(_, pair)| pair.is_settled());
        let nearer = settled().filter(|(_, pair)| {
            pair.is_lan() && !current.is_lan() && pair.srtt() <= current.srtt() + EQUAL
        });
        if let Some((nearer, _)) = nearer.min_by_key(|(_, pair)| pair.srtt()) {
            return Some((nearer, Reason::DirectNearer));
        }
        let faster = settled()
            .filter(|(key, _)| self.faster.get(key).is_some_and(|times| *times >= CLEARLY_TIMES));
        let (faster, _) = faster.min_by_key(|(_, pair)| pair.srtt())?;
        Some((faster, Reason::DirectFaster))
    }

    fn relay_reason(&self, relay: BeaconId) -> Reason {
        match self.via {
            Some(Via::Relay(current)) if current == relay => self.reason,
            Some(Via::Relay(_)) => Reason::RelayBetter,
            Some(Via::Direct { .. }) | None => self.fallback,
        }
    }
}

const fn direct((local, remote): PairKey) -> Via {
    Via::Direct { local, remote }
}

fn is_clearly_faster(other: &Pair, current: &Pair) -> bool {
    other.srtt() + CLEARLY <= current.srtt() && other.srtt() * 5 <= current.srtt() * 4
}

/// The order among paths of which none is in use: nearest first, and on the
/// local network if they are about equal.
fn rank(pair: &Pair) -> (u128, bool, Duration) {
    (pair.srtt().as_millis() / EQUAL.as_millis().max(1), !pair.is_lan(), pair.srtt())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::pairs::Usage;
    use crate::via::LocalId;

    const WAN: &str = "198.51.100.2:9";
    const OTHER_WAN: &str = "198.51.100.3:9";
    const LAN: &str = "192.168.1.2:9";
    const RELAY: Option<BeaconId> = Some(BeaconId(1));

    struct Bench {
        pairs: Pairs,
        choice: Choice,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let now = crate::clock::start();
            Self { pairs: Pairs::default(), choice: Choice::new(now), now }
        }

        fn pong(&mut self, remote: &str, millis: u64) {
            let key = key(remote);
            let rtt = Duration::from_millis(millis);
            let chosen = self.choice.direct();
            self.pairs.handle_pong(key, Origin::Plain, rtt, chosen, self.now);
            self.choice.handle_pong(key, &self.pairs);
        }

        fn pongs(&mut self, remote: &str, millis: u64, times: usize) {
            for _ in 0..times {
                self.pong(remote, millis);
            }
        }

        fn decide(&mut self, relay: Option<BeaconId>) -> (Option<Via>, Reason) {
            self.choice.decide(&self.pairs, relay, Reason::NoPath, self.now);
            (self.choice.via(), self.choice.reason())
        }
    }

    fn key(remote: &str) -> PairKey {
        (LocalId::MAIN, remote.parse::<SocketAddr>().unwrap())
    }

    fn by(remote: &str) -> Option<Via> {
        Some(direct(key(remote)))
    }

    #[test]
    fn direct_beats_relay_as_soon_as_it_is_proven() {
        let mut bench = Bench::new();
        assert_eq!(bench.decide(None), (None, Reason::NoPath));
        assert_eq!(bench.decide(RELAY), (RELAY.map(Via::Relay), Reason::RelayFirst));

        bench.pong(WAN, 900);

        assert_eq!(bench.decide(RELAY), (by(WAN), Reason::DirectProven));
    }

    #[test]
    fn another_beacon_takes_over_with_its_own_reason() {
        let mut bench = Bench::new();
        bench.decide(RELAY);

        let other = Some(BeaconId(2));

        assert_eq!(bench.decide(other), (other.map(Via::Relay), Reason::RelayBetter));
        assert_eq!(bench.decide(other).1, Reason::RelayBetter);
    }

    #[test]
    fn the_first_of_several_is_the_fastest() {
        let mut bench = Bench::new();
        bench.pong(WAN, 30);
        bench.pong(OTHER_WAN, 20);
        bench.pong(LAN, 40);

        assert_eq!(bench.decide(RELAY).0, by(OTHER_WAN));
    }

    #[test]
    fn of_equal_ones_that_on_the_local_network_is_taken() {
        let mut bench = Bench::new();
        bench.pong(WAN, 20);
        bench.pong(LAN, 20);

        assert_eq!(bench.decide(RELAY).0, by(LAN));
    }

    #[test]
    fn a_clearly_faster_one_takes_over_after_several_pongs() {
        let mut bench = Bench::new();
        bench.pongs(WAN, 20, 10);
        bench.decide(RELAY);

        bench.pongs(OTHER_WAN, 15, 2);
        assert_eq!(bench.decide(RELAY).0, by(WAN));
        bench.pong(OTHER_WAN, 15);

        assert_eq!(bench.decide(RELAY), (by(OTHER_WAN), Reason::DirectFaster));
    }

    #[test]
    fn a_little_faster_is_not_enough() {
        // Less than a fifth; and less than 2 ms.
        for (current, other) in [(20, 17), (3, 2)] {
            let mut bench = Bench::new();
            bench.pongs(WAN, current, 10);
            bench.decide(RELAY);

            bench.pongs(OTHER_WAN, other, 100);

            assert_eq!(bench.decide(RELAY).0, by(WAN), "{current} and {other}");
        }
    }

    #[test]
    fn a_slow_pong_between_begins_the_count_anew() {
        let mut bench = Bench::new();
        bench.pongs(WAN, 20, 10);
        bench.decide(RELAY);

        bench.pongs(OTHER_WAN, 15, 2);
        bench.pong(OTHER_WAN, 200);

        assert_eq!(bench.decide(RELAY).0, by(WAN));
    }

    #[test]
    fn the_local_network_takes_over_when_it_is_as_fast() {
        let mut bench = Bench::new();
        bench.pongs(WAN, 5, 3);
        bench.decide(RELAY);

        bench.pongs(LAN, 5, 3);
        assert_eq!(bench.decide(RELAY), (by(LAN), Reason::DirectNearer));

        bench.pongs(WAN, 4, 50);
        assert_eq!(bench.decide(RELAY).0, by(LAN));
    }

    #[test]
    fn a_lost_direct_path_gives_way_to_the_relay_with_the_reason_told() {
        for blamed in [None, Some(Reason::NetworkChanged)] {
            let mut bench = Bench::new();
            bench.pong(WAN, 20);
            bench.decide(RELAY);

            bench.pairs.forget_all();
            if let Some(reason) = blamed {
                bench.choice.blame(reason);
            }

            let reason = blamed.unwrap_or(Reason::DirectDied);
            assert_eq!(bench.decide(RELAY), (RELAY.map(Via::Relay), reason));
            assert_eq!(bench.decide(None), (None, Reason::NoPath));
            assert_eq!(bench.decide(RELAY).1, Reason::RelayFirst);
        }
    }

    #[test]
    fn a_suspect_path_gives_way_to_one_that_answers_now() {
        let mut bench = Bench::new();
        bench.pongs(WAN, 20, 3);
        bench.decide(RELAY);
        bench.pongs(OTHER_WAN, 80, 3);
        let usage = Usage { chosen: bench.choice.direct(), active: true, keepalive: None };

        bench.now += Duration::from_secs(1);
        for _ in 0..3 {
            assert!(bench.pairs.poll(usage, bench.now).is_some());
            bench.now += Duration::from_millis(250);
        }
        assert_eq!(bench.decide(RELAY).0, by(WAN));
        bench.pong(OTHER_WAN, 80);

        assert_eq!(bench.decide(RELAY), (by(OTHER_WAN), Reason::DirectDied));
    }
}
