//! Where the peer may be.

use std::net::SocketAddr;

use pilot_proto::MAX_ENDPOINTS;
use pilot_proto::probe::Candidates;

use crate::own::{Own, canonical};

/// Addresses of the peer that are pinged in one round; those that promise
/// least are left out.
pub(crate) const MAX_TARGETS: usize = 24;

/// Sources of the peer's own pings that are remembered, the newest.
const MAX_SEEN: usize = 4;

/// Everything that was said or seen about where the peer is. Each source has
/// its own place, so that none can push out the others.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// From where authentic pings came.
    seen: Vec<SocketAddr>,
    /// From the newest answer to an own call: certainly not old.
    answered: Candidates,
    /// From the newest call of the peer.
    called: Candidates,
    /// From its card.
    card: Vec<SocketAddr>,
}

impl Targets {
    /// Whether that changed anything.
    pub(crate) fn set_card(&mut self, endpoints: &[SocketAddr]) -> bool {
        let card: Vec<_> = endpoints.iter().copied().map(canonical).take(MAX_ENDPOINTS).collect();
        let changed = card != self.card;
        self.card = card;
        changed
    }

    pub(crate) fn set_called(&mut self, candidates: Candidates) {
        self.called = candidates;
    }

    pub(crate) fn set_answered(&mut self, candidates: Candidates) {
        self.answered = candidates;
    }

    pub(crate) fn add_seen(&mut self, source: SocketAddr) {
        self.seen.retain(|seen| *seen != source);
        self.seen.insert(0, source);
        self.seen.truncate(MAX_SEEN);
    }

    /// The own network changed: sources seen there mean nothing here.
    pub(crate) fn forget_seen(&mut self) {
        self.seen.clear();
    }

    /// The addresses worth a ping, different ones only, the most promising
    /// first, at most [`MAX_TARGETS`].
    pub(crate) fn list(&self, own: &Own) -> Vec<SocketAddr> {
        let mut list = Vec::new();
        let said = self.answered.as_slice().iter().chain(self.called.as_slice()).chain(&self.card);
        for address in self.seen.iter().chain(said).copied().map(canonical) {
            if list.len() < MAX_TARGETS && !list.contains(&address) && own.may_ping(address) {
                list.push(address);
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, last], 4000))
    }

    #[test]
    fn what_was_seen_comes_before_what_was_said() {
        let mut targets = Targets::default();
        targets.set_card(&[address(1), address(2)]);
        targets.set_called(Candidates::new([address(3), address(2)]));
        targets.set_answered(Candidates::new([address(4)]));
        targets.add_seen(address(5));

        let order = [5, 4, 3, 2, 1].map(address);
        assert_eq!(targets.list(&Own::default()), order);
    }

    #[test]
    fn the_list_is_bounded_whatever_is_said() {
        let mut targets = Targets::default();
        let many = |from: u8| (from..=255).map(address);
        targets.set_card(&many(1).collect::<Vec<_>>());
        targets.set_called(Candidates::new(many(50)));
        targets.set_answered(Candidates::new(many(100)));
        for source in many(200) {
            targets.add_seen(source);
        }

        let list = targets.list(&Own::default());

        assert_eq!(list.len(), MAX_TARGETS);
        assert_eq!(list.first(), Some(&address(255)));
    }

    #[test]
    fn a_card_that_says_the_same_is_no_news() {
        let mut targets = Targets::default();

        assert!(targets.set_card(&[address(1)]));
        assert!(!targets.set_card(&[address(1)]));
    }
}
