//! The beacons of this node: where they are, and how each is spoken with.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, NodeKey, SignedTicket};
use pilot_paths::{Beacon as Seen, BeaconId, StunServer};
use pilot_proto::beacon::{BindRefusal, RelayId, Services};
use pilot_proto::registry::MAX_BEACONS;

use super::binding::{Binding, Bound, Means};
use crate::carrier::Carrier;
use crate::host_port::HostPort;
use crate::socket::{Place, Routes, Socket};

/// Addresses of one beacon that are tried at once; a name may have many.
const MAX_ADDRESSES: usize = 4;

/// Hellos over UDP without an answer before a carrier is opened beside it:
/// one second.
const UDP_PATIENCE: u32 = 3;

/// How often a beacon's name is looked up again while it does not answer.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(10);

/// Pause before a carrier that failed is tried again.
const CARRIER_PAUSE: Duration = Duration::from_secs(3);

/// A round trip is told to the path machines when it changed by this much;
/// more exactly nobody needs it.
const RTT_STEP: Duration = Duration::from_millis(2);

/// Where a beacon is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconAt {
    /// Where its UDP port and its carriers are.
    pub target: HostPort,
    /// The key it must have; without one, whoever answers is believed, which
    /// costs nothing but reachability: a beacon sees ciphertext.
    pub key: Option<NodeId>,
}

/// A beacon as it stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconReport {
    /// As configured, or as the registry told.
    pub target: HostPort,
    /// Its key, once known.
    pub key: Option<NodeId>,
    /// How it is spoken with, if it is.
    pub place: Option<Place>,
    /// Whether that goes through a proxy.
    pub by_proxy: bool,
    /// The round trip.
    pub rtt: Option<Duration>,
    /// Where it sees this node.
    pub observed: Option<SocketAddr>,
    /// What it does.
    pub services: Services,
    /// What it said when it did not take this node.
    pub refusal: Option<BindRefusal>,
    /// Why this node is not bound there, if there is more to say than silence.
    pub problem: Option<String>,
}

/// Something that takes a while.
#[derive(Debug)]
pub(super) enum Errand {
    LookUp(usize, HostPort),
    Carry(usize, HostPort, Option<NodeId>),
}

#[derive(Debug)]
pub(super) struct Beacon {
    pub(super) at: BeaconAt,
    bindings: Vec<(Place, Binding)>,
    carrier: Option<Carrier>,
    /// An errand is on its way.
    looking_up: bool,
    carrying: bool,
    look_up_at: Instant,
    carry_at: Instant,
    chosen: Option<Place>,
    problem: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Beacons {
    all: Vec<Beacon>,
}

impl Beacon {
    fn new(at: BeaconAt, now: Instant) -> Self {
        Self {
            at,
            bindings: Vec::new(),
            carrier: None,
            looking_up: false,
            carrying: false,
            look_up_at: now,
            carry_at: now,
            chosen: None,
            problem: None,
        }
    }

    fn binding(&self, place: Place) -> Option<&Binding> {
        self.bindings.iter().find(|(at, _)| *at == place).map(|(_, binding)| binding)
    }

    fn bound(&self) -> Option<(Place, &Bound)> {
        let place = self.chosen?;
        self.binding(place)?.bound().map(|bound| (place, bound))
    }

    fn stun_servers(&self) -> Vec<StunServer> {
        match self.bound() {
            Some((Place::Udp(address), bound)) if bound.services.contains(Services::STUN) => {
                // Where it gives no address, it means the one it was found at.
                let at = |other: &SocketAddr| match other.ip().is_unspecified() {
                    true => SocketAddr::new(address.ip(), other.port()),
                    false => *other,
                };
                vec![StunServer { address, others: bound.stun.iter().map(at).collect() }]
            }
            Some((Place::Udp(_), _)) => Vec::new(),
            Some((Place::Carrier(_), _)) | None => {
                let udp = self.bindings.iter().filter_map(|(place, _)| match place {
                    Place::Udp(address) => Some(*address),
                    Place::Carrier(_) => None,
                });
                udp.map(|address| StunServer { address, others: Vec::new() }).collect()
            }
        }
    }

    fn udp_is_silent(&self) -> bool {
        !self.looking_up
            && self.bindings.iter().filter(|(place, _)| matches!(place, Place::Udp(_))).all(
                |(_, binding)| binding.bound().is_none() && binding.unanswered() >= UDP_PATIENCE,
            )
    }

    /// UDP before a carrier, the nearer before the farther; what is in use
    /// stays while it is bound and of the same kind.
    fn choose(&mut self) {
        let is_udp = |place: &Place| matches!(place, Place::Udp(_));
        let bound = |place: Place| self.binding(place).and_then(Binding::bound);
        let best = self
            .bindings
            .iter()
            .filter_map(|(place, binding)| Some((*place, binding.bound()?.rtt)))
            .min_by_key(|(place, rtt)| (!is_udp(place), *rtt))
            .map(|(place, _)| place);
        let stays = self.chosen.is_some_and(|chosen| {
            bound(chosen).is_some() && best.is_some_and(|best| is_udp(&best) == is_udp(&chosen))
        });
        if !stays {
            self.chosen = best;
        }
    }
}

impl Beacons {
    /// Takes the list of beacons; what is known of those that stay is kept.
    pub(super) fn set(&mut self, list: Vec<BeaconAt>, me: NodeId, routes: &Routes, now: Instant) {
        let mut before = std::mem::take(&mut self.all);
        for at in list.into_iter().take(MAX_BEACONS) {
            let known = before.iter().position(|beacon| beacon.at == at);
            let mut beacon = match known {
                Some(known) => before.swap_remove(known),
                None => Beacon::new(at, now),
            };
            if let Ok(ip) = beacon.at.target.host().parse() {
                beacon.add(Place::Udp(SocketAddr::new(ip, beacon.at.target.port())), me, now);
                beacon.look_up_at = now + LOOK_UP_AGAIN;
            }
            self.all.push(beacon);
        }
        for gone in before {
            for (place, _) in gone.bindings {
                routes.set_relay(place, false);
            }
        }
    }

    /// The network or the ticket changed.
    pub(super) fn restart(&mut self, network_changed: bool, now: Instant) {
        for beacon in &mut self.all {
            if network_changed {
                beacon.carrier = None;
                beacon.bindings.retain(|(place, _)| matches!(place, Place::Udp(_)));
                beacon.carry_at = now;
                beacon.look_up_at = now;
            }
            for (_, binding) in &mut beacon.bindings {
                binding.restart(now);
            }
        }
    }

    pub(super) fn looked_up(
        &mut self,
        at: usize,
        found: std::io::Result<Vec<SocketAddr>>,
        me: NodeId,
        now: Instant,
    ) {
        let Some(beacon) = self.all.get_mut(at) else { return };
        beacon.looking_up = false;
        beacon.look_up_at = now + LOOK_UP_AGAIN;
        match found {
            Ok(found) => {
                for addr in found.into_iter().take(MAX_ADDRESSES) {
                    beacon.add(Place::Udp(addr), me, now);
                }
            }
            Err(error) => {
                beacon.problem = Some(format!("cannot look up {}: {error}", beacon.at.target));
            }
        }
    }

    pub(super) fn carried(
        &mut self,
        at: usize,
        carried: Result<Carrier, String>,
        me: NodeId,
        now: Instant,
    ) {
        let Some(beacon) = self.all.get_mut(at) else { return };
        beacon.carrying = false;
        beacon.carry_at = now + CARRIER_PAUSE;
        match carried {
            Ok(carrier) => {
                beacon.add(Place::Carrier(carrier.id()), me, now);
                beacon.carrier = Some(carrier);
            }
            Err(problem) => beacon.problem = Some(problem),
        }
    }

    /// What takes a while and is due.
    pub(super) fn errands(&mut self, now: Instant) -> Vec<Errand> {
        let mut errands = Vec::new();
        for (at, beacon) in self.all.iter_mut().enumerate() {
            if beacon.bound().is_none() && !beacon.looking_up && now >= beacon.look_up_at {
                beacon.looking_up = true;
                errands.push(Errand::LookUp(at, beacon.at.target.clone()));
            }
            if beacon.carrier.as_ref().is_some_and(Carrier::is_closed) {
                beacon.carrier = None;
                beacon.bindings.retain(|(place, _)| matches!(place, Place::Udp(_)));
            }
            if beacon.carrier.is_none()
                && !beacon.carrying
                && now >= beacon.carry_at
                && beacon.udp_is_silent()
            {
                beacon.carrying = true;
                let target = beacon.at.target.clone();
                errands.push(Errand::Carry(at, target, beacon.at.key));
            }
        }
        errands
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
        let (at, beacon) = self.at_place(place)?;
        let (_, binding) = beacon.bindings.iter_mut().find(|(at, _)| *at == place)?;
        let absent = binding.handle_packet(packet, means, now)?;
        Some((id(at), absent))
    }

    fn at_place(&mut self, place: Place) -> Option<(usize, &mut Beacon)> {
        self.all
            .iter_mut()
            .enumerate()
            .find(|(_, beacon)| beacon.bindings.iter().any(|(at, _)| *at == place))
    }

    /// What went through this beacon's relay was not answered: asks whether it
    /// is still there.
    pub(super) fn doubt(&mut self, place: Place, now: Instant) {
        if let Some((_, beacon)) = self.at_place(place)
            && let Some((_, binding)) = beacon.bindings.iter_mut().find(|(at, _)| *at == place)
        {
            binding.doubt(now);
        }
    }

    /// Lets all bindings act, sends what they say, and chooses the places; true
    /// if one of these is another now.
    pub(super) fn drive(
        &mut self,
        key: &NodeKey,
        ticket: Option<&SignedTicket>,
        keepalive: Duration,
        socket: &Socket,
        now: Instant,
    ) -> bool {
        let mut moved = false;
        for beacon in &mut self.all {
            for (place, binding) in &mut beacon.bindings {
                if let Some(means) = means(key, ticket, keepalive) {
                    binding.handle_timeout(&means, now);
                }
                while let Some(packet) = binding.poll_output() {
                    if let Err(error) = socket.send_to_place(*place, &packet) {
                        tracing::trace!(%error, ?place, "nothing sent to a beacon");
                    }
                }
                let relays = binding.bound().is_some();
                socket.routes.set_relay(*place, relays);
            }
            let before = beacon.chosen;
            beacon.choose();
            if beacon.chosen != before {
                moved = true;
                tracing::debug!(beacon = %beacon.at.target, place = ?beacon.chosen, "beacon");
            }
            if let Some(Place::Udp(_)) = beacon.chosen
                && beacon.carrier.take().is_some()
            {
                beacon.bindings.retain(|(place, _)| matches!(place, Place::Udp(_)));
            }
        }
        moved
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let of = |beacon: &Beacon| {
            let bindings = beacon.bindings.iter().map(|(_, binding)| binding.next_deadline());
            let look_up =
                (beacon.bound().is_none() && !beacon.looking_up).then_some(beacon.look_up_at);
            let carry = (beacon.carrier.is_none() && !beacon.carrying && beacon.udp_is_silent())
                .then_some(beacon.carry_at);
            bindings.chain(look_up).chain(carry).min()
        };
        self.all.iter().filter_map(of).min()
    }

    /// Where packets for the beacon with this number go.
    pub(super) fn place(&self, beacon: BeaconId) -> Option<Place> {
        self.all.get(usize::from(beacon.0))?.bound().map(|(place, _)| place)
    }

    /// The number of the beacon at this place.
    pub(super) fn at(&self, place: Place) -> Option<BeaconId> {
        let holds = |beacon: &Beacon| beacon.bindings.iter().any(|(at, _)| *at == place);
        self.all.iter().position(holds).map(id)
    }

    /// As the path machines want to know them.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = |(at, beacon): (usize, &Beacon)| {
            let bound = beacon.bound();
            let binding = bound.and_then(|(place, _)| beacon.binding(place));
            let key = binding.and_then(Binding::beacon).or(beacon.at.key)?;
            let step = RTT_STEP.as_micros().max(1);
            let rounded = |rtt: Duration| {
                let steps = rtt.as_micros() / step;
                RTT_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
            };
            Some(Seen {
                id: id(at),
                key_prefix: key.as_bytes().first_chunk().copied().unwrap_or_default(),
                rtt: bound.map(|(_, bound)| rounded(bound.rtt)),
                bound: bound.is_some_and(|(_, bound)| bound.services.contains(Services::PUNCH)),
            })
        };
        self.all.iter().enumerate().filter_map(seen).collect()
    }

    /// Where beacons see the main socket.
    pub(super) fn observed(&self) -> Vec<SocketAddr> {
        let observed = |beacon: &Beacon| match beacon.bound()? {
            (Place::Udp(_), bound) => Some(bound.observed),
            (Place::Carrier(_), _) => None,
        };
        self.all.iter().filter_map(observed).collect()
    }

    /// Whom to ask by STUN: those that this node is bound at, and those that
    /// do not answer as beacons, which may be STUN servers and no more.
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
        let is_bound = |beacon: &&Beacon| beacon.bound().is_some();
        let has_failed = |beacon: &&Beacon| {
            let mut bindings = beacon.bindings.iter();
            !is_bound(beacon)
                && (beacon.problem.is_some()
                    || bindings.any(|(_, binding)| binding.refusal().is_some()))
        };
        let bound = self.all.iter().filter(is_bound).count();
        (self.all.len(), bound, self.all.iter().filter(has_failed).count())
    }

    pub(super) fn report(&self) -> Vec<BeaconReport> {
        let report = |beacon: &Beacon| {
            let bound = beacon.bound();
            let key = beacon.bindings.iter().find_map(|(_, binding)| binding.beacon());
            let refusal = beacon.bindings.iter().find_map(|(_, binding)| binding.refusal());
            BeaconReport {
                target: beacon.at.target.clone(),
                key: key.or(beacon.at.key),
                place: bound.map(|(place, _)| place),
                by_proxy: beacon.carrier.as_ref().is_some_and(Carrier::is_by_proxy),
                rtt: bound.map(|(_, bound)| bound.rtt),
                observed: bound.map(|(_, bound)| bound.observed),
                services: bound.map_or(Services::NONE, |(_, bound)| bound.services),
                refusal: refusal.filter(|_| bound.is_none()),
                problem: match bound {
                    Some(_) => None,
                    None => refusal
                        .map(|refusal| refusal.to_string())
                        .or_else(|| beacon.problem.clone()),
                },
            }
        };
        self.all.iter().map(report).collect()
    }
}

impl Beacon {
    fn add(&mut self, place: Place, me: NodeId, now: Instant) {
        if self.binding(place).is_none() {
            self.bindings.push((place, Binding::new(me, self.at.key, now)));
        }
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
