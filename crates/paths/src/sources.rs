//! How often the peer's pings are answered: two nodes must not make a flood.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bucket::Bucket;
use crate::via::{LocalId, Via};

/// Sources with an account of their own; beyond it the one that was silent
/// longest makes room.
pub(crate) const MAX_SOURCES: usize = 32;

/// Pongs to one source: four pings a second are the most that an honest peer
/// sends there for long.
const PONGS: Bucket = Bucket::new(20, Duration::from_millis(100));

/// Pongs to all sources together, as many as birthday probing brings.
const ALL_PONGS: Bucket = Bucket::new(200, Duration::from_millis(10));

/// Pings back to a source that is not proven.
const CHECKS: Bucket = Bucket::new(2, Duration::from_millis(100));

/// The accounts.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Bucket,
    relayed: Bucket,
    direct: BTreeMap<(LocalId, SocketAddr), Source>,
}

#[derive(Debug)]
struct Source {
    pongs: Bucket,
    checks: Bucket,
    heard: Instant,
}

impl Sources {
    pub(crate) const fn new() -> Self {
        Self { all: ALL_PONGS, relayed: PONGS, direct: BTreeMap::new() }
    }

    /// Whether a ping that came this way is answered.
    pub(crate) fn may_answer(&mut self, via: Via, now: Instant) -> bool {
        let own = match via {
            Via::Relay(_) => self.relayed.take(now),
            Via::Direct { local, remote } => self.account((local, remote), now).pongs.take(now),
        };
        own && self.all.take(now)
    }

    /// Whether its source is pinged back.
    pub(crate) fn may_check(&mut self, local: LocalId, remote: SocketAddr, now: Instant) -> bool {
        self.account((local, remote), now).checks.take(now)
    }

    fn account(&mut self, key: (LocalId, SocketAddr), now: Instant) -> &mut Source {
        if self.direct.len() >= MAX_SOURCES && !self.direct.contains_key(&key) {
            let oldest = self.direct.iter().min_by_key(|(_, source)| source.heard);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.direct.remove(&oldest);
            }
        }
        let new = Source { pongs: PONGS, checks: CHECKS, heard: now };
        let source = self.direct.entry(key).or_insert(new);
        source.heard = now;
        source
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.direct.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> Via {
        let remote = SocketAddr::from(([198, 51, 100, 2], port));
        Via::Direct { local: LocalId::MAIN, remote }
    }

    fn answered(sources: &mut Sources, via: Via, times: usize, now: Instant) -> usize {
        (0..times).filter(|_| sources.may_answer(via, now)).count()
    }

    #[test]
    fn each_source_has_its_own_limit() {
        let now = crate::clock::start();
        let mut sources = Sources::new();

        assert_eq!(answered(&mut sources, source(1), 50, now), 20);
        assert_eq!(answered(&mut sources, source(2), 50, now), 20);
        let second = now + Duration::from_secs(1);
        assert_eq!(answered(&mut sources, source(1), 50, second), 10);
    }

    #[test]
    fn all_sources_together_have_one_too_and_their_number_is_bounded() {
        let now = crate::clock::start();
        let mut sources = Sources::new();

        let answered = (1..2_000).filter(|port| sources.may_answer(source(*port), now)).count();

        assert_eq!(answered, 200);
        assert_eq!(sources.len(), MAX_SOURCES);
    }
}
