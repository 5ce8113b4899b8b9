//! One beacon: where it is, how it is spoken with, and what it said.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_identity::NodeId;
use pilot_paths::{Beacon as Seen, BeaconId, StunServer};
use pilot_proto::beacon::{BindRefusal, RelayId, Services};

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
    at: BeaconAt,
    bindings: Vec<(Place, Binding)>,
    carrier: Option<Carrier>,
    /// Whether an errand is on its way.
    looking_up: bool,
    carrying: bool,
    look_up_at: Instant,
    carry_at: Instant,
    chosen: Option<Place>,
    problem: Option<String>,
}

impl Beacon {
    pub(super) fn new(at: BeaconAt, me: NodeId, now: Instant) -> Self {
        let mut beacon = Self {
            at,
            bindings: Vec::new(),
            carrier: None,
            looking_up: false,
            carrying: false,
            look_up_at: now,
            carry_at: now,
            chosen: None,
            problem: None,
        };
        if let Ok(ip) = beacon.at.target.host().parse() {
            beacon.add(Place::Udp(SocketAddr::new(ip, beacon.at.target.port())), me, now);
            beacon.look_up_at = now + LOOK_UP_AGAIN;
        }
        beacon
    }

    pub(super) fn is_at(&self, at: &BeaconAt) -> bool {
        self.at == *at
    }

    /// The network changed, or the ticket did.
    pub(super) fn restart(&mut self, network_changed: bool, now: Instant) {
        if network_changed {
            self.hang_up();
            (self.look_up_at, self.carry_at) = (now, now);
        }
        for (_, binding) in &mut self.bindings {
            binding.restart(now);
        }
    }

    /// It is this node's beacon no more.
    pub(super) fn leave(self, routes: &Routes) {
        for (place, _) in self.bindings {
            routes.set_relay(place, false);
        }
    }

    /// What takes a while and is due.
    pub(super) fn errands(&mut self, at: usize, now: Instant) -> Vec<Errand> {
        if self.carrier.as_ref().is_some_and(Carrier::is_closed) {
            self.hang_up();
        }
        let mut errands = Vec::new();
        let target = || self.at.target.clone();
        if self.looks_up_at().is_some_and(|at| at <= now) {
            errands.push(Errand::LookUp(at, target()));
        }
        if self.carries_at().is_some_and(|at| at <= now) {
            errands.push(Errand::Carry(at, target(), self.at.key));
        }
        for errand in &errands {
            match errand {
                Errand::LookUp(..) => self.looking_up = true,
                Errand::Carry(..) => self.carrying = true,
            }
        }
        errands
    }

    fn looks_up_at(&self) -> Option<Instant> {
        (self.bound().is_none() && !self.looking_up).then_some(self.look_up_at)
    }

    fn carries_at(&self) -> Option<Instant> {
        let is_wanted = self.carrier.is_none() && !self.carrying && self.udp_is_silent();
        is_wanted.then_some(self.carry_at)
    }

    pub(super) fn looked_up(
        &mut self,
        found: std::io::Result<Vec<SocketAddr>>,
        me: NodeId,
        now: Instant,
    ) {
        self.looking_up = false;
        self.look_up_at = now + LOOK_UP_AGAIN;
        match found {
            Ok(found) => {
                for addr in found.into_iter().take(MAX_ADDRESSES) {
                    self.add(Place::Udp(addr), me, now);
                }
            }
            Err(error) => {
                self.problem = Some(format!("cannot look up {}: {error}", self.at.target));
            }
        }
    }

    pub(super) fn carried(&mut self, carried: Result<Carrier, String>, me: NodeId, now: Instant) {
        self.carrying = false;
        self.carry_at = now + CARRIER_PAUSE;
        match carried {
            Ok(carrier) => {
                self.add(Place::Carrier(carrier.id()), me, now);
                self.carrier = Some(carrier);
            }
            Err(problem) => self.problem = Some(problem),
        }
    }

    fn add(&mut self, place: Place, me: NodeId, now: Instant) {
        if self.binding(place).is_none() {
            self.bindings.push((place, Binding::new(me, self.at.key, now)));
        }
    }

    /// Gives up the carrier and what was spoken over it.
    fn hang_up(&mut self) {
        self.carrier = None;
        self.bindings.retain(|(place, _)| matches!(place, Place::Udp(_)));
    }

    /// Takes a packet that came from `place`; gives who the beacon says is not
    /// there, if it says so.
    pub(super) fn handle_packet(
        &mut self,
        place: Place,
        packet: &[u8],
        means: &Means<'_>,
        now: Instant,
    ) -> Option<RelayId> {
        self.binding_mut(place)?.handle_packet(packet, means, now)
    }

    /// What went through its relay was not answered: asks whether it is there.
    pub(super) fn doubt(&mut self, place: Place, now: Instant) {
        if let Some(binding) = self.binding_mut(place) {
            binding.doubt(now);
        }
    }

    /// Lets the bindings act, sends what they say, and chooses the place; true
    /// if that is another now.
    pub(super) fn drive<'a>(
        &mut self,
        means: impl Fn() -> Option<Means<'a>>,
        socket: &Socket,
        now: Instant,
    ) -> bool {
        for (place, binding) in &mut self.bindings {
            if let Some(means) = means() {
                binding.handle_timeout(&means, now);
            }
            while let Some(packet) = binding.poll_output() {
                if let Err(error) = socket.send_to_place(*place, &packet) {
                    tracing::trace!(%error, ?place, "nothing sent to a beacon");
                }
            }
            socket.routes.set_relay(*place, binding.bound().is_some());
        }
        let before = self.chosen;
        self.choose();
        let moved = self.chosen != before;
        if moved {
            tracing::debug!(beacon = %self.at.target, place = ?self.chosen, "beacon");
        }
        if self.carrier.is_some() && matches!(self.chosen, Some(Place::Udp(_))) {
            self.hang_up();
        }
        moved
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let bindings = self.bindings.iter().map(|(_, binding)| binding.next_deadline());
        bindings.chain(self.looks_up_at()).chain(self.carries_at()).min()
    }

    pub(super) fn is_spoken_with_at(&self, place: Place) -> bool {
        self.binding(place).is_some()
    }

    fn binding(&self, place: Place) -> Option<&Binding> {
        self.bindings.iter().find(|(at, _)| *at == place).map(|(_, binding)| binding)
    }

    fn binding_mut(&mut self, place: Place) -> Option<&mut Binding> {
        self.bindings.iter_mut().find(|(at, _)| *at == place).map(|(_, binding)| binding)
    }

    /// Where it is spoken with, and what it said there.
    pub(super) fn bound(&self) -> Option<(Place, &Bound)> {
        let place = self.chosen?;
        self.binding(place)?.bound().map(|bound| (place, bound))
    }

    /// Whether nobody answers there over UDP.
    pub(super) fn udp_is_silent(&self) -> bool {
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

    /// Whom to ask by STUN: the beacon if this node is bound there, or its
    /// addresses, which may be those of a STUN server and no more.
    pub(super) fn stun_servers(&self) -> Vec<StunServer> {
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

    /// Where it sees the main socket.
    pub(super) fn observed(&self) -> Option<SocketAddr> {
        match self.bound()? {
            (Place::Udp(_), bound) => Some(bound.observed),
            (Place::Carrier(_), _) => None,
        }
    }

    /// As the path machines want to know it; none while its key is unknown.
    pub(super) fn seen(&self, id: BeaconId) -> Option<Seen> {
        let bound = self.bound();
        let binding = bound.and_then(|(place, _)| self.binding(place));
        let key = binding.and_then(Binding::beacon).or(self.at.key)?;
        let step = RTT_STEP.as_micros().max(1);
        let rounded = |rtt: Duration| {
            let steps = rtt.as_micros() / step;
            RTT_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
        };
        Some(Seen {
            id,
            key_prefix: key.as_bytes().first_chunk().copied().unwrap_or_default(),
            rtt: bound.map(|(_, bound)| rounded(bound.rtt)),
            bound: bound.is_some_and(|(_, bound)| bound.services.contains(Services::PUNCH)),
        })
    }

    fn refusal(&self) -> Option<BindRefusal> {
        let refusal = self.bindings.iter().find_map(|(_, binding)| binding.refusal());
        refusal.filter(|_| self.bound().is_none())
    }

    /// Whether this node is not bound there and it is known why.
    pub(super) fn has_failed(&self) -> bool {
        self.bound().is_none() && (self.problem.is_some() || self.refusal().is_some())
    }

    pub(super) fn report(&self) -> BeaconReport {
        let bound = self.bound();
        let refusal = self.refusal();
        let problem = || match refusal {
            Some(refusal) => Some(refusal.to_string()),
            None => self.problem.clone(),
        };
        BeaconReport {
            target: self.at.target.clone(),
            key: self.bindings.iter().find_map(|(_, binding)| binding.beacon()).or(self.at.key),
            place: bound.map(|(place, _)| place),
            by_proxy: self.carrier.as_ref().is_some_and(Carrier::is_by_proxy),
            rtt: bound.map(|(_, bound)| bound.rtt),
            observed: bound.map(|(_, bound)| bound.observed),
            services: bound.map_or(Services::NONE, |(_, bound)| bound.services),
            refusal,
            problem: bound.is_none().then(problem).flatten(),
        }
    }
}
