//! Transfers that were not let in: nothing else here would tell the operator.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pilot_identity::NodeId;
use pilot_proto::TransferId;

/// How many are remembered; the oldest is forgotten beyond.
const MOST: usize = 16;

/// For how long: those that wait outside are offered again every 10 s.
const LASTS: Duration = Duration::from_secs(600);

/// A transfer that was not let in when it was offered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TurnedAway {
    pub(crate) id: TransferId,
    pub(crate) peer: NodeId,
    pub(crate) bytes: u64,
    /// Why, in words.
    pub(crate) reason: String,
}

/// The last of them, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<VecDeque<(Instant, TurnedAway)>>);

impl Gate {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, TurnedAway)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is not let in; true if that is news.
    pub(super) fn shut(&self, away: TurnedAway, now: Instant) -> bool {
        let mut all = self.lock();
        let before = all.iter().position(|(_, known)| known.id == away.id);
        let is_news = before.and_then(|at| all.remove(at)).is_none_or(|(_, known)| known != away);
        if all.len() >= MOST {
            all.pop_front();
        }
        all.push_back((now, away));
        is_news
    }

    /// It is let in, or not wanted any more.
    pub(super) fn open(&self, id: TransferId) {
        self.lock().retain(|(_, known)| known.id != id);
    }

    pub(super) fn all(&self, now: Instant) -> Vec<TurnedAway> {
        let mut all = self.lock();
        all.retain(|(at, _)| now.saturating_duration_since(*at) < LASTS);
        all.iter().map(|(_, away)| away.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(number: u8, reason: &str) -> TurnedAway {
        let peer = pilot_identity::NodeKey::from_seed(&[1; 32].into()).id();
        let id = TransferId::from_bytes([number; 16]);
        TurnedAway { id, peer, bytes: 7, reason: reason.to_owned() }
    }

    #[test]
    fn what_is_turned_away_is_told_until_it_is_let_in_or_long_ago() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert!(gate.shut(away(1, "full"), start));
        assert!(!gate.shut(away(1, "full"), start), "the same again is no news");
        assert!(gate.shut(away(1, "fuller"), start));
        assert!(gate.shut(away(2, "full"), start + LASTS / 2));
        assert_eq!(gate.all(start), [away(1, "fuller"), away(2, "full")]);

        assert_eq!(gate.all(start + LASTS), [away(2, "full")]);
        gate.open(away(2, "").id);
        assert_eq!(gate.all(start), []);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (gate, now) = (Gate::default(), Instant::now());
        for number in 0..100 {
            gate.shut(away(number, "full"), now);
        }
        let all = gate.all(now);
        assert_eq!((all.len(), all.first().cloned()), (MOST, Some(away(84, "full"))));
    }
}
