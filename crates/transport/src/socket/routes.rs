//! Which real way stands behind a peer's synthetic address.
//!
//! Towards QUIC a trusted peer is one unique-local IPv6 address (RFC 4193)
//! made from its key, and so is a carrier. What is sent there goes the way
//! chosen at that moment; what comes from a known source is shown as coming
//! from there. A source is known when it sent a probe that only the peer could
//! seal; QUIC proves everything again, so a wrong entry costs packets, no trust.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pilot_identity::NodeId;
use pilot_paths::LocalId;
use pilot_proto::beacon::RelayId;
use pilot_proto::part::Part;
use tokio::sync::Notify;

use super::parts::Partial;

/// First bytes of the addresses made here.
const PEER: [u8; 2] = [0xfd, b'p'];
const CARRIER: [u8; 2] = [0xfd, b'c'];

/// The port of all of them.
const PORT: u16 = 1;

/// Sources remembered for one peer; the oldest is forgotten beyond. A peer has
/// a few candidates, and one more with each change of its network.
const MAX_SOURCES: usize = 32;

/// Datagrams kept for a peer that has no way yet: a few handshakes.
const MAX_HELD: usize = 32;

/// For how long they are of use: longer than a dead path takes to be noticed.
const HELD_FOR: Duration = Duration::from_secs(4);

/// A TLS connection that carries datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CarrierId(pub u64);

impl CarrierId {
    /// What QUIC takes for its address.
    pub(crate) fn synthetic(self) -> SocketAddr {
        let mut octets = [0; 16];
        let [zero, one, .., _] = &mut octets;
        [*zero, *one] = CARRIER;
        if let Some(end) = octets.last_chunk_mut::<8>() {
            *end = self.0.to_be_bytes();
        }
        SocketAddr::new(Ipv6Addr::from(octets).into(), PORT)
    }

    fn of(ip: Ipv6Addr) -> Option<Self> {
        let octets = ip.octets();
        if !octets.starts_with(&CARRIER) {
            return None;
        }
        octets.last_chunk::<8>().map(|end| Self(u64::from_be_bytes(*end)))
    }
}

/// Where a beacon is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// At this address, over the main socket.
    Udp(SocketAddr),
    /// Over a carrier.
    Carrier(CarrierId),
}

/// The way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From one of this node's sockets to the peer's.
    Direct { local: LocalId, remote: SocketAddr },
    /// Through the relay of the beacon there.
    Relayed { place: Place },
}

/// A peer as the socket sees it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) peer: NodeId,
    pub(crate) relay_id: RelayId,
    /// What QUIC takes for its address.
    pub(crate) synthetic: SocketAddr,
    way: RwLock<Option<Way>>,
    /// Datagrams sent, and heard on the way in use.
    sent: AtomicU64,
    heard: AtomicU64,
    /// The first datagram sent in a quiet time stirs whoever watches.
    quiet: AtomicBool,
    /// Nothing has come back since it was quiet, or for a moment: what is sent
    /// is held, too.
    doubted: AtomicBool,
    /// What was sent while there was no way, or a doubted one, and when.
    held: Mutex<VecDeque<(Instant, Bytes)>>,
    /// A direct way was tried with datagrams that are too long for a relay.
    grown: AtomicBool,
    /// Of the next datagram that goes in parts.
    number: AtomicU16,
    /// What came in parts and is not whole.
    partial: Mutex<Partial>,
}

/// What a destination of QUIC's is.
#[derive(Debug)]
pub(crate) enum Destination {
    Real(SocketAddr),
    Peer(Arc<Route>),
    Carrier(CarrierId),
    /// A peer or carrier that is gone.
    Nobody,
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    tables: RwLock<Tables>,
    /// A quiet route was used.
    pub(crate) stirred: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    by_synthetic: HashMap<Ipv6Addr, Arc<Route>>,
    by_source: HashMap<SocketAddr, Arc<Route>>,
    by_relay: HashMap<RelayId, Arc<Route>>,
    sources: HashMap<NodeId, VecDeque<SocketAddr>>,
    relays: HashSet<Place>,
}

/// What QUIC takes for the address of `peer`.
pub(crate) fn synthetic(peer: &NodeId) -> SocketAddr {
    let mut octets = [0; 16];
    let mut hasher = blake3::Hasher::new_derive_key("pilot/1 synthetic address");
    hasher.update(peer.as_bytes()).finalize_xof().fill(&mut octets);
    if let Some(start) = octets.first_chunk_mut::<2>() {
        *start = PEER;
    }
    SocketAddr::new(Ipv6Addr::from(octets).into(), PORT)
}

fn synthetic_ip(addr: SocketAddr) -> Option<Ipv6Addr> {
    match addr {
        SocketAddr::V6(addr) if addr.port() == PORT => {
            let octets = addr.ip().octets();
            (octets.starts_with(&PEER) || octets.starts_with(&CARRIER)).then_some(*addr.ip())
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

/// Whether `addr` stands for a peer or a carrier, and is no place on a network.
pub(crate) fn is_synthetic(addr: SocketAddr) -> bool {
    synthetic_ip(addr).is_some()
}

impl Route {
    pub(crate) fn way(&self) -> Option<Way> {
        *self.way.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller sends what was held ([`Self::take_held`]).
    pub(super) fn set_way(&self, way: Option<Way>) {
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// Whether the way in use is in doubt. Then QUIC repeats itself ever less
    /// often: what it says is kept for the next way, or the peer would hear of
    /// that one only seconds after it is there.
    pub(crate) fn set_doubted(&self, doubted: bool) {
        if self.doubted.swap(doubted, Ordering::Relaxed) && !doubted {
            drop(std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner)));
        }
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// Keeps a datagram that has no way yet: the answer to a handshake comes
    /// before the path is proven from here, and QUIC repeats it only after a
    /// second. The oldest is lost beyond the bound.
    pub(crate) fn hold(&self, now: Instant, datagram: Bytes) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MAX_HELD {
            held.pop_front();
        }
        held.push_back((now, datagram));
    }

    /// What was kept and is still of use.
    pub(crate) fn take_held(&self, now: Instant) -> Vec<Bytes> {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let is_fresh = |(at, _): &(Instant, Bytes)| now.duration_since(*at) < HELD_FOR;
        held.into_iter().filter(is_fresh).map(|(_, datagram)| datagram).collect()
    }

    /// Whether what is too long for a relay is data: QUIC tries a size before it
    /// uses it, and nothing that is too long passes before it has passed straight.
    pub(super) fn is_grown(&self) -> bool {
        self.grown.load(Ordering::Relaxed)
    }

    pub(super) fn grow(&self) {
        self.grown.store(true, Ordering::Relaxed);
    }

    /// The number of the next datagram that goes in parts.
    pub(super) fn next_number(&self) -> u16 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a part; the datagram, if it is whole with it.
    pub(super) fn take_part(&self, part: &Part<'_>) -> Option<Vec<u8>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner).take(part)
    }

    /// Counts what was sent; true if nothing had been for a while.
    pub(crate) fn count_sent(&self, datagrams: usize) -> bool {
        self.sent.fetch_add(u64::try_from(datagrams).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.quiet.load(Ordering::Relaxed) && self.quiet.swap(false, Ordering::Relaxed)
    }

    fn count_heard(&self, datagrams: usize) {
        self.heard.fetch_add(u64::try_from(datagrams).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Datagrams of QUIC sent so far, and heard on the way in use.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.heard.load(Ordering::Relaxed))
    }

    /// From now on the next datagram sent stirs whoever watches, and is held
    /// until something comes back: the way may have died in the silence.
    pub(crate) fn rest(&self) {
        self.quiet.store(true, Ordering::Relaxed);
        self.doubted.store(true, Ordering::Relaxed);
    }
}

impl Routes {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The route of `peer`, made when it is first asked for. The caller bounds
    /// how many there are.
    pub(crate) fn admit(&self, peer: NodeId) -> Arc<Route> {
        let mut tables = self.write();
        let relay_id = RelayId::of(&peer);
        let fresh = || {
            Arc::new(Route {
                peer,
                relay_id,
                synthetic: synthetic(&peer),
                way: RwLock::new(None),
                sent: AtomicU64::new(0),
                heard: AtomicU64::new(0),
                quiet: AtomicBool::new(true),
                doubted: AtomicBool::new(false),
                held: Mutex::default(),
                grown: AtomicBool::new(false),
                number: AtomicU16::new(0),
                partial: Mutex::default(),
            })
        };
        let route = Arc::clone(tables.by_relay.entry(relay_id).or_insert_with(fresh));
        if let Some(ip) = synthetic_ip(synthetic(&peer)) {
            tables.by_synthetic.insert(ip, Arc::clone(&route));
        }
        route
    }

    /// Forgets `peer`; what is still sent to it is dropped.
    pub(crate) fn dismiss(&self, peer: &NodeId) {
        let mut tables = self.write();
        tables.by_relay.remove(&RelayId::of(peer));
        if let Some(ip) = synthetic_ip(synthetic(peer)) {
            tables.by_synthetic.remove(&ip);
        }
        for source in tables.sources.remove(peer).unwrap_or_default() {
            tables.by_source.remove(&source);
        }
    }

    /// `peer` was heard from `source`: what QUIC gets from there is its.
    pub(crate) fn learn_source(&self, peer: &NodeId, source: SocketAddr) {
        let mut tables = self.write();
        let Some(route) = tables.by_relay.get(&RelayId::of(peer)).cloned() else { return };
        let before = tables.by_source.insert(source, route);
        if before.as_ref().is_some_and(|before| before.peer == *peer) {
            return;
        }
        if let Some(other) = before
            && let Some(sources) = tables.sources.get_mut(&other.peer)
        {
            sources.retain(|kept| *kept != source);
        }
        let sources = tables.sources.entry(*peer).or_default();
        sources.push_back(source);
        let oldest = (sources.len() > MAX_SOURCES).then(|| sources.pop_front()).flatten();
        if let Some(oldest) = oldest {
            tables.by_source.remove(&oldest);
        }
    }

    /// QUIC is about to speak with `source` by its real address.
    pub(crate) fn forget_source(&self, source: SocketAddr) {
        let mut tables = self.write();
        let Some(route) = tables.by_source.remove(&source) else { return };
        if let Some(sources) = tables.sources.get_mut(&route.peer) {
            sources.retain(|kept| *kept != source);
        }
    }

    /// Whether `source` is another peer's than `peer`'s.
    pub(crate) fn belongs_to_another(&self, peer: &NodeId, source: SocketAddr) -> bool {
        self.read().by_source.get(&source).is_some_and(|route| route.peer != *peer)
    }

    /// Takes relayed packets from `place` from now on, or no more.
    pub(crate) fn set_relay(&self, place: Place, is_relay: bool) {
        let mut tables = self.write();
        if is_relay {
            tables.relays.insert(place);
        } else {
            tables.relays.remove(&place);
        }
    }

    /// The peer behind the id in a relayed packet from `place`, if this node
    /// is bound there and knows the peer.
    pub(crate) fn relayed(&self, place: Place, id: &RelayId) -> Option<Arc<Route>> {
        let tables = self.read();
        tables.relays.contains(&place).then(|| tables.by_relay.get(id).cloned()).flatten()
    }

    /// What QUIC is to take for the source of `datagrams` from `from`.
    pub(crate) fn source(&self, local: LocalId, from: SocketAddr, datagrams: usize) -> SocketAddr {
        let Some(route) = self.read().by_source.get(&from).cloned() else { return from };
        if route.way() == Some(Way::Direct { local, remote: from }) {
            route.count_heard(datagrams);
        }
        route.synthetic
    }

    /// The same for a relayed batch.
    pub(crate) fn relayed_source(
        &self,
        place: Place,
        id: &RelayId,
        datagrams: usize,
    ) -> Option<SocketAddr> {
        let route = self.relayed(place, id)?;
        if route.way() == Some(Way::Relayed { place }) {
            route.count_heard(datagrams);
        }
        Some(route.synthetic)
    }

    pub(crate) fn destination(&self, to: SocketAddr) -> Destination {
        let Some(ip) = synthetic_ip(to) else { return Destination::Real(to) };
        if let Some(carrier) = CarrierId::of(ip) {
            return Destination::Carrier(carrier);
        }
        match self.read().by_synthetic.get(&ip) {
            Some(route) => Destination::Peer(Arc::clone(route)),
            None => Destination::Nobody,
        }
    }

    /// The peer whose synthetic address this is.
    pub(crate) fn peer_at(&self, addr: SocketAddr) -> Option<Arc<Route>> {
        match self.destination(addr) {
            Destination::Peer(route) => Some(route),
            Destination::Real(_) | Destination::Carrier(_) | Destination::Nobody => None,
        }
    }
}

#[cfg(test)]
#[path = "tests/routes.rs"]
mod tests;
