//! Which beacon carries what goes to the peer while no direct path does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pilot_proto::probe::{BeaconTime, BeaconTimes, MAX_CALL_BEACONS};

use crate::chosen::Reason;
use crate::local::Beacon;
use crate::via::BeaconId;

/// What a round trip is taken for as long as it has not been measured.
const UNMEASURED: Duration = Duration::from_millis(500);

/// Added for a beacon of which the peer says nothing although it named others.
const NOT_NAMED: Duration = Duration::from_secs(10);

/// Another beacon must be nearer by a fifth and by this to take over.
const CLEARLY: Duration = Duration::from_millis(5);

/// The peer is there, whatever the beacon says, if it was heard by it so
/// recently: the two packets crossed, or somebody repeats an old one.
const HEARD_LATELY: Duration = Duration::from_secs(2);

/// The beacons here, and what is known of the peer's.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    beacons: Vec<Beacon>,
    /// From the newest answer to an own call.
    peers: Option<BeaconTimes>,
    standing: BTreeMap<BeaconId, Standing>,
    current: Option<BeaconId>,
}

/// What a beacon has shown of the peer.
#[derive(Debug, Clone, Copy)]
enum Standing {
    /// The peer was heard by it.
    Heard(Instant),
    /// It says that the peer is not there.
    Absent,
}

impl Relays {
    /// Whether this node is bound at a beacon now at which it was not before.
    pub(crate) fn set_beacons(&mut self, beacons: &[Beacon]) -> bool {
        let beacons: Vec<Beacon> = beacons.iter().take(MAX_CALL_BEACONS).copied().collect();
        let was_bound = |id| self.beacons.iter().any(|beacon| beacon.id == id && beacon.bound);
        let newly: Vec<BeaconId> = beacons
            .iter()
            .filter(|new| new.bound && !was_bound(new.id))
            .map(|new| new.id)
            .collect();
        self.standing
            .retain(|id, _| beacons.iter().any(|beacon| beacon.id == *id) && !newly.contains(id));
        self.beacons = beacons;
        !newly.is_empty()
    }

    /// The peer told, freshly, where it is bound.
    pub(crate) fn set_peers(&mut self, beacons: BeaconTimes) {
        self.peers = Some(beacons);
    }

    /// Something of the peer came by this beacon; whether that is news.
    pub(crate) fn note_heard(&mut self, id: BeaconId, now: Instant) -> bool {
        let known = self.beacons.iter().any(|beacon| beacon.id == id);
        let before = known.then(|| self.standing.insert(id, Standing::Heard(now))).flatten();
        matches!(before, Some(Standing::Absent))
    }

    /// The beacon says that the peer is not there; whether that is believed.
    pub(crate) fn note_absent(&mut self, id: BeaconId, now: Instant) -> bool {
        let known = self.beacons.iter().any(|beacon| beacon.id == id);
        let heard =
            matches!(self.standing.get(&id), Some(Standing::Heard(at)) if now < *at + HEARD_LATELY);
        if !known || heard {
            return false;
        }
        self.standing.insert(id, Standing::Absent);
        true
    }

    /// What beacons said of the peer's absence may no longer hold.
    pub(crate) fn forget_absences(&mut self) {
        self.standing.retain(|_, standing| matches!(standing, Standing::Heard(_)));
    }

    /// The one to use: where both are, the nearest to both.
    pub(crate) fn decide(&mut self) -> Option<BeaconId> {
        let usable =
            || self.beacons.iter().filter(|beacon| beacon.bound && !self.is_absent(beacon.id));
        let best = usable().min_by_key(|beacon| self.cost(beacon));
        let current = usable().find(|beacon| Some(beacon.id) == self.current);
        let pick = match (current, best) {
            (Some(current), Some(best)) => {
                let (now, then) = (self.cost(current), self.cost(best));
                if then + CLEARLY <= now && then * 5 <= now * 4 { best } else { current }
            }
            (None, Some(best)) => best,
            (_, None) => {
                self.current = None;
                return None;
            }
        };
        self.current = Some(pick.id);
        self.current
    }

    /// All at which this node is bound, wherever the peer is said to be.
    pub(crate) fn bound(&self) -> impl Iterator<Item = BeaconId> {
        self.beacons.iter().filter(|beacon| beacon.bound).map(|beacon| beacon.id)
    }

    /// Why there is no relay.
    pub(crate) fn why_none(&self) -> Reason {
        if self.bound().next().is_some() { Reason::PeerAbsent } else { Reason::NoPath }
    }

    /// What to tell the peer.
    pub(crate) fn times(&self) -> BeaconTimes {
        BeaconTimes::new(self.beacons.iter().filter(|beacon| beacon.bound).map(|beacon| {
            let millis = beacon.rtt.map(|rtt| u16::try_from(rtt.as_millis()).unwrap_or(u16::MAX));
            BeaconTime { key_prefix: beacon.key_prefix, rtt_ms: millis.unwrap_or(u16::MAX) }
        }))
    }

    /// The round trip from here through the beacon to the peer and back, as
    /// far as both ends have measured their part.
    pub(crate) fn rtt(&self, id: BeaconId, peers: Option<&BeaconTimes>) -> Option<Duration> {
        let beacon = self.beacons.iter().find(|beacon| beacon.id == id)?;
        let there = time_of(peers.or(self.peers.as_ref())?, beacon)?;
        Some(beacon.rtt? + measured(there)?)
    }

    fn is_absent(&self, id: BeaconId) -> bool {
        matches!(self.standing.get(&id), Some(Standing::Absent))
    }

    fn cost(&self, beacon: &Beacon) -> Duration {
        let heard = matches!(self.standing.get(&beacon.id), Some(Standing::Heard(_)));
        let there = match self.peers.as_ref().map(|peers| time_of(peers, beacon)) {
            Some(Some(time)) => measured(time).unwrap_or(UNMEASURED),
            Some(None) if !heard => NOT_NAMED,
            Some(None) | None => UNMEASURED,
        };
        beacon.rtt.unwrap_or(UNMEASURED) + there
    }
}

/// What the peer says of the beacon, if it is bound there.
fn time_of(peers: &BeaconTimes, beacon: &Beacon) -> Option<BeaconTime> {
    peers.as_slice().iter().find(|time| time.key_prefix == beacon.key_prefix).copied()
}

fn measured(time: BeaconTime) -> Option<Duration> {
    (time.rtt_ms != u16::MAX).then(|| Duration::from_millis(time.rtt_ms.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon(id: u8, rtt_ms: u64) -> Beacon {
        Beacon {
            id: BeaconId(id),
            key_prefix: [id; 8],
            rtt: Some(Duration::from_millis(rtt_ms)),
            bound: true,
        }
    }

    fn peers(times: &[(u8, u16)]) -> BeaconTimes {
        BeaconTimes::new(
            times.iter().map(|(id, rtt_ms)| BeaconTime { key_prefix: [*id; 8], rtt_ms: *rtt_ms }),
        )
    }

    #[test]
    fn the_nearest_to_both_is_used() {
        let mut relays = Relays::default();
        assert!(relays.set_beacons(&[beacon(1, 10), beacon(2, 20)]));
        assert_eq!(relays.decide(), Some(BeaconId(1)));

        relays.set_peers(peers(&[(1, 90), (2, 10)]));

        assert_eq!(relays.decide(), Some(BeaconId(2)));
        assert_eq!(relays.rtt(BeaconId(2), None), Some(Duration::from_millis(30)));
    }

    #[test]
    fn a_little_nearer_is_not_enough_to_move() {
        let mut relays = Relays::default();
        relays.set_beacons(&[beacon(1, 10), beacon(2, 20)]);
        relays.set_peers(peers(&[(1, 20), (2, 20)]));
        assert_eq!(relays.decide(), Some(BeaconId(1)));

        relays.set_peers(peers(&[(1, 20), (2, 5)]));

        assert_eq!(relays.decide(), Some(BeaconId(1)));
    }

    #[test]
    fn only_beacons_at_which_this_node_is_bound_count() {
        let mut relays = Relays::default();
        relays.set_beacons(&[Beacon { bound: false, ..beacon(1, 10) }, beacon(2, 200)]);

        assert_eq!(relays.decide(), Some(BeaconId(2)));
        assert_eq!(relays.times(), peers(&[(2, 200)]));
        assert!(!relays.set_beacons(&[Beacon { bound: false, ..beacon(2, 200) }]));
        assert_eq!((relays.decide(), relays.why_none()), (None, Reason::NoPath));
    }

    #[test]
    fn a_beacon_that_the_peer_does_not_name_comes_last_unless_it_was_heard_there() {
        let mut relays = Relays::default();
        relays.set_beacons(&[beacon(1, 10), beacon(2, 100)]);
        relays.set_peers(peers(&[(2, 600)]));
        assert_eq!(relays.decide(), Some(BeaconId(2)));

        relays.note_heard(BeaconId(1), crate::clock::start());

        assert_eq!(relays.decide(), Some(BeaconId(1)));
    }

    #[test]
    fn where_the_peer_is_absent_nothing_is_sent_until_it_is_heard() {
        let now = crate::clock::start();
        let mut relays = Relays::default();
        relays.set_beacons(&[beacon(1, 10), beacon(2, 100)]);
        assert_eq!(relays.decide(), Some(BeaconId(1)));

        assert!(relays.note_absent(BeaconId(1), now));
        assert_eq!(relays.decide(), Some(BeaconId(2)));
        assert!(relays.note_absent(BeaconId(2), now));
        assert_eq!((relays.decide(), relays.why_none()), (None, Reason::PeerAbsent));

        assert!(relays.note_heard(BeaconId(2), now));
        assert!(!relays.note_heard(BeaconId(2), now));
        assert_eq!(relays.decide(), Some(BeaconId(2)));
    }

    #[test]
    fn an_absence_is_not_believed_of_a_peer_just_heard() {
        let now = crate::clock::start();
        let mut relays = Relays::default();
        relays.set_beacons(&[beacon(1, 10)]);
        relays.note_heard(BeaconId(1), now);

        assert!(!relays.note_absent(BeaconId(1), now + Duration::from_secs(1)));
        assert!(relays.note_absent(BeaconId(1), now + Duration::from_secs(3)));
        assert!(!relays.note_absent(BeaconId(9), now), "an unknown beacon");
    }

    #[test]
    fn a_new_binding_clears_what_was_said_there() {
        let now = crate::clock::start();
        let mut relays = Relays::default();
        relays.set_beacons(&[beacon(1, 10)]);
        relays.note_absent(BeaconId(1), now);
        relays.set_beacons(&[Beacon { bound: false, ..beacon(1, 10) }]);

        assert!(relays.set_beacons(&[beacon(1, 10)]));

        assert_eq!(relays.decide(), Some(BeaconId(1)));
    }
}
