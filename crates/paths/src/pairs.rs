//! All direct paths that were proven.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::pair::{Due, Duty, Origin, Pair};
use crate::via::{LocalId, Via};

/// Direct paths that are kept; beyond it the slowest one that is not in use
/// makes room.
pub(crate) const MAX_PAIRS: usize = 8;

/// The socket here and the address there.
pub(crate) type PairKey = (LocalId, SocketAddr);

/// The proven paths, by their ends.
#[derive(Debug, Default)]
pub(crate) struct Pairs(BTreeMap<PairKey, Pair>);

/// What the paths are for just now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) chosen: Option<PairKey>,
    pub(crate) active: bool,
    pub(crate) keepalive: Option<Duration>,
}

impl Usage {
    fn duty(&self, key: PairKey) -> Duty {
        let Self { chosen, active, keepalive } = *self;
        Duty { chosen: chosen == Some(key), active, keepalive }
    }
}

impl Pairs {
    /// A pong proved the path; `origin` is how it was found if it is new.
    pub(crate) fn handle_pong(
        &mut self,
        key: PairKey,
        origin: Origin,
        rtt: Duration,
        chosen: Option<PairKey>,
        now: Instant,
    ) {
        if let Some(pair) = self.0.get_mut(&key) {
            pair.handle_pong(rtt, now);
            return;
        }
        if self.0.len() >= MAX_PAIRS {
            let others = self.0.iter().filter(|(key, _)| chosen != Some(**key));
            let worst = others.max_by_key(|(_, pair)| (!pair.is_usable(), pair.srtt()));
            let Some(worst) = worst.map(|(key, _)| *key) else { return };
            self.0.remove(&worst);
        }
        self.0.insert(key, Pair::proven(key.1, origin, rtt, now));
    }

    /// What is due about any of them.
    pub(crate) fn poll(&mut self, usage: Usage, now: Instant) -> Option<(PairKey, Due)> {
        let due =
            self.0.iter_mut().find_map(|(key, pair)| match pair.poll(usage.duty(*key), now) {
                Due::Nothing => None,
                due @ (Due::Ping | Due::Died | Due::Forget) => Some((*key, due)),
            });
        if let Some((key, Due::Forget)) = due {
            self.0.remove(&key);
        }
        if let Some((key, Due::Died)) = due {
            for (_, other) in self.0.iter_mut().filter(|(other, _)| **other != key) {
                other.doubt(now);
            }
        }
        due
    }

    pub(crate) fn deadline(&self, usage: Usage) -> Option<Instant> {
        self.0.iter().filter_map(|(key, pair)| pair.deadline(usage.duty(*key))).min()
    }

    pub(crate) fn find(&self, key: PairKey) -> Option<&Pair> {
        self.0.get(&key)
    }

    /// Those that may be chosen.
    pub(crate) fn usable(&self) -> impl Iterator<Item = (PairKey, &Pair)> {
        self.0.iter().filter(|(_, pair)| pair.is_usable()).map(|(key, pair)| (*key, pair))
    }

    pub(crate) fn is_usable(&self, key: PairKey) -> bool {
        self.find(key).is_some_and(Pair::is_usable)
    }

    /// The peer pings by it.
    pub(crate) fn note_heard(&mut self, key: PairKey, now: Instant) {
        if let Some(pair) = self.0.get_mut(&key) {
            pair.note_heard(now);
        }
    }

    pub(crate) fn hurry(&mut self, key: PairKey, now: Instant) {
        if let Some(pair) = self.0.get_mut(&key) {
            pair.hurry(now);
        }
    }

    /// Look at all alternatives to this one.
    pub(crate) fn hurry_others(&mut self, than: PairKey, now: Instant) {
        for (_, pair) in self.0.iter_mut().filter(|(key, _)| **key != than) {
            pair.hurry(now);
        }
    }

    /// The sockets in use.
    pub(crate) fn locals(&self) -> impl Iterator<Item = LocalId> {
        self.0.keys().map(|(local, _)| *local)
    }

    pub(crate) fn forget_local(&mut self, local: LocalId) {
        self.0.retain(|(own, _), _| *own != local);
    }

    pub(crate) fn forget_all(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The ends of a direct way.
pub(crate) const fn key_of(via: Via) -> Option<PairKey> {
    match via {
        Via::Direct { local, remote } => Some((local, remote)),
        Via::Relay(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> PairKey {
        (LocalId::MAIN, SocketAddr::from(([198, 51, 100, 2], port)))
    }

    #[test]
    fn the_slowest_unused_one_makes_room() {
        let now = crate::clock::start();
        let mut pairs = Pairs::default();
        let chosen = Some(key(100));

        for (port, rtt) in [(100, 900), (1, 10), (2, 20), (3, 800)]
            .into_iter()
            .chain((4..20).map(|port| (port, u64::from(port))))
        {
            let rtt = Duration::from_millis(rtt);
            pairs.handle_pong(key(port), Origin::Plain, rtt, chosen, now);
        }

        assert_eq!(pairs.len(), MAX_PAIRS);
        assert!(pairs.is_usable(key(100)));
        assert!(!pairs.is_usable(key(3)));
    }

    #[test]
    fn a_death_makes_the_others_doubtful() {
        let now = crate::clock::start();
        let mut pairs = Pairs::default();
        let usage =
            Usage { chosen: Some(key(1)), active: true, keepalive: Some(Duration::from_secs(20)) };
        for port in [1, 2] {
            pairs.handle_pong(key(port), Origin::Plain, Duration::ZERO, usage.chosen, now);
        }

        let mut at = now;
        let died = loop {
            at = pairs.deadline(usage).unwrap().max(at);
            match pairs.poll(usage, at) {
                Some((who, Due::Died)) => break who,
                // The other one answers.
                Some((who, Due::Ping)) if who == key(2) => {
                    pairs.handle_pong(who, Origin::Plain, Duration::ZERO, usage.chosen, at);
                }
                _ => {}
            }
        };

        assert_eq!(died, key(1));
        assert_eq!(pairs.usable().count(), 0);
        let Some((asked, Due::Ping)) = pairs.poll(usage, at) else { panic!("not asked") };
        assert_eq!(asked, key(2));
    }
}
