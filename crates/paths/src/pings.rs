//! Own pings that have not been answered yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use pilot_proto::probe::Transaction;

use crate::via::Via;

/// A pong that comes later than this proves nothing about now.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// Pings that are remembered; beyond it the oldest is forgotten, and its pong
/// would be ignored. Birthday probing has about 500 under way.
pub(crate) const MAX_OUTSTANDING: usize = 1024;

/// The pings under way.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    sent: BTreeMap<Transaction, (Via, Instant)>,
    order: VecDeque<(Instant, Transaction)>,
}

impl Pings {
    pub(crate) fn note_sent(&mut self, tx: Transaction, via: Via, now: Instant) {
        while let Some((at, oldest)) = self.order.front().copied() {
            if now - at <= STALE_AFTER && self.order.len() < MAX_OUTSTANDING {
                break;
            }
            self.order.pop_front();
            self.sent.remove(&oldest);
        }
        self.order.push_back((now, tx));
        self.sent.insert(tx, (via, now));
    }

    /// The round trip, if this is the first pong to a ping that went this very
    /// way not too long ago.
    pub(crate) fn take_answered(
        &mut self,
        tx: Transaction,
        via: Via,
        now: Instant,
    ) -> Option<Duration> {
        let (sent_via, at) = self.sent.get(&tx).copied()?;
        if sent_via != via {
            return None;
        }
        self.sent.remove(&tx);
        Some(now - at).filter(|age| *age <= STALE_AFTER)
    }

    /// No pong that is still under way counts any more.
    pub(crate) fn forget(&mut self) {
        self.sent.clear();
        self.order.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.order.len().max(self.sent.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::via::{BeaconId, LocalId};

    const TX: Transaction = Transaction([1; 12]);
    const WAY: Via =
        Via::Direct { local: LocalId::MAIN, remote: std::net::SocketAddr::new(IP, 4000) };
    const IP: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 2));

    #[test]
    fn a_pong_counts_once_by_its_own_way_and_in_time() {
        let start = crate::clock::start();
        let soon = start + Duration::from_millis(30);
        let mut pings = Pings::default();

        pings.note_sent(TX, WAY, start);

        assert_eq!(pings.take_answered(Transaction([2; 12]), WAY, soon), None);
        assert_eq!(pings.take_answered(TX, Via::Relay(BeaconId(0)), soon), None);
        assert_eq!(pings.take_answered(TX, WAY, soon), Some(Duration::from_millis(30)));
        assert_eq!(pings.take_answered(TX, WAY, soon), None);
        pings.note_sent(TX, WAY, start);
        assert_eq!(pings.take_answered(TX, WAY, start + STALE_AFTER * 2), None);
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let start = crate::clock::start();
        let mut pings = Pings::default();
        let tx = |number: usize| {
            let mut bytes = [0; 12];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Transaction(bytes)
        };

        for number in 0..=MAX_OUTSTANDING {
            pings.note_sent(tx(number), WAY, start);
        }

        assert_eq!(pings.len(), MAX_OUTSTANDING);
        assert_eq!(pings.take_answered(tx(0), WAY, start), None);
        assert!(pings.take_answered(tx(1), WAY, start).is_some());
    }
}
