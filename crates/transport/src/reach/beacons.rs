//! The beacons of this node, each with a number.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, NodeKey, SignedTicket};
use pilot_paths::{Beacon as Seen, BeaconId, StunServer};
use pilot_proto::beacon::RelayId;
use pilot_proto::registry::MAX_BEACONS;

use super::beacon::{Beacon, BeaconAt, BeaconReport, Errand};
use super::binding::Means;
use crate::carrier::Carrier;
use crate::socket::{Place, Routes, Socket};

#[derive(Debug, Default)]
pub(super) struct Beacons {
    all: Vec<Beacon>,
}

impl Beacons {
    /// Takes the list of beacons; what is known of those that stay is kept.
    pub(super) fn set(&mut self, list: Vec<BeaconAt>, me: NodeId, routes: &Routes, now: Instant) {
        let mut before = std::mem::take(&mut self.all);
        for at in list.into_iter().take(MAX_BEACONS) {
            let known = before.iter().position(|beacon| beacon.is_at(&at));
            self.all.push(match known {
                Some(known) => before.swap_remove(known),
                None => Beacon::new(at, me, now),
            });
        }
        for gone in before {
            gone.leave(routes);
        }
    }

    /// The network or the ticket changed.
    pub(super) fn restart(&mut self, network_changed: bool, now: Instant) {
        for beacon in &mut self.all {
            beacon.restart(network_changed, now);
        }
    }

    pub(super) fn looked_up(
        &mut self,
        at: usize,
        found: std::io::Result<Vec<SocketAddr>>,
        me: NodeId,
        now: Instant,
    ) {
        if let Some(beacon) = self.all.get_mut(at) {
            beacon.looked_up(found, me, now);
        }
    }

    pub(super) fn carried(
        &mut self,
        at: usize,
        carried: Result<Carrier, String>,
        me: NodeId,
        now: Instant,
    ) {
        if let Some(beacon) = self.all.get_mut(at) {
            beacon.carried(carried, me, now);
        }
    }

    /// What takes a while and is due.
    pub(super) fn errands(&mut self, now: Instant) -> Vec<Errand> {
        let all = self.all.iter_mut().enumerate();
        all.flat_map(|(at, beacon)| beacon.errands(at, now)).collect()
    }

    /// Feeds a packet that came from `place` to whoever is bound there; gives
    /// the beacon and who it says is not there, if it says so.
    pub(super) fn handle_packet(
        &mut self,
        place: Place,
        packet: &[u8],
        means: &Means<'_>,
        now: Instant,
    ) -> Option<(BeaconId, RelayId)> {
        let at = self.at(place)?;
        let absent = self.get_mut(at)?.handle_packet(place, packet, means, now)?;
        Some((at, absent))
    }

    /// What went through this beacon's relay was not answered: asks whether it
    /// is still there.
    pub(super) fn doubt(&mut self, place: Place, now: Instant) {
        if let Some(at) = self.at(place)
            && let Some(beacon) = self.get_mut(at)
        {
            beacon.doubt(place, now);
        }
    }

    /// Lets all beacons act, sends what is to be said, and chooses the places;
    /// true if one of these is another now.
    pub(super) fn drive(
        &mut self,
        key: &NodeKey,
        ticket: Option<&SignedTicket>,
        keepalive: Duration,
        socket: &Socket,
        now: Instant,
    ) -> bool {
        let means = || means(key, ticket, keepalive);
        let mut moved = false;
        for beacon in &mut self.all {
            moved |= beacon.drive(means, socket, now);
        }
        moved
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.all.iter().filter_map(Beacon::next_deadline).min()
    }

    fn get_mut(&mut self, beacon: BeaconId) -> Option<&mut Beacon> {
        self.all.get_mut(usize::from(beacon.0))
    }

    /// Where packets for the beacon with this number go.
    pub(super) fn place(&self, beacon: BeaconId) -> Option<Place> {
        self.all.get(usize::from(beacon.0))?.bound().map(|(place, _)| place)
    }

    /// The number of the beacon at this place.
    pub(super) fn at(&self, place: Place) -> Option<BeaconId> {
        self.all.iter().position(|beacon| beacon.is_spoken_with_at(place)).map(id)
    }

    /// As the path machines want to know them.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let all = self.all.iter().enumerate();
        all.filter_map(|(at, beacon)| beacon.seen(id(at))).collect()
    }

    /// Where beacons see the main socket.
    pub(super) fn observed(&self) -> Vec<SocketAddr> {
        self.all.iter().filter_map(Beacon::observed).collect()
    }

    /// Whom to ask by STUN.
    pub(super) fn stun_servers(&self) -> Vec<StunServer> {
        self.all.iter().flat_map(Beacon::stun_servers).collect()
    }

    /// Whether there are beacons, and none of them answers over UDP.
    pub(super) fn is_udp_blocked(&self) -> bool {
        !self.all.is_empty() && self.all.iter().all(Beacon::udp_is_silent)
    }

    /// How many there are, at how many this node is bound, and of how many it
    /// is known why not.
    pub(super) fn tally(&self) -> (usize, usize, usize) {
        let bound = self.all.iter().filter(|beacon| beacon.bound().is_some()).count();
        let failed = self.all.iter().filter(|beacon| beacon.has_failed()).count();
        (self.all.len(), bound, failed)
    }

    pub(super) fn report(&self) -> Vec<BeaconReport> {
        self.all.iter().map(Beacon::report).collect()
    }
}

/// What a binding is lent for one call; none without randomness.
pub(super) fn means<'a>(
    key: &'a NodeKey,
    ticket: Option<&'a SignedTicket>,
    keepalive: Duration,
) -> Option<Means<'a>> {
    let mut nonce = [0; pilot_identity::NONCE_BYTES];
    getrandom::fill(&mut nonce).ok()?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
    Some(Means { key, ticket, keepalive, nonce, micros })
}

fn id(at: usize) -> BeaconId {
    BeaconId(u8::try_from(at).unwrap_or(u8::MAX))
}
