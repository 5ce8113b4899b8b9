//! Reaching trusted peers, whatever stands between.
//!
//! [`Reach`] is what a node knows of its network: its beacons, what kind of
//! NAT it is behind, where it may be reached, and by which path each trusted
//! peer is reached at this moment. The decisions are those of the machines in
//! `pilot_paths`; here they get their packets, clocks and sockets.
//! [`Reach::drive`] does the work, and somebody must await it.

mod asks;
mod beacon;
mod beacons;
mod binding;
mod counters;
mod driver;
mod network;
mod outputs;
mod peers;
mod sockets;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, NodeKey, SignedTicket};
use pilot_paths::{Finding, Via};
use tokio::sync::{Notify, watch};

use crate::carrier::Proxies;
use crate::socket::{Datagrams, Place, Socket, SocketStats};
use crate::tls::Tls;
pub use beacon::{BeaconAt, BeaconReport};
pub use counters::{PathCounters, ProbeCounters};
pub use peers::PathInfo;
pub use state::Progress;
use state::State;

/// The paths of one endpoint; clones are the same.
#[derive(Debug, Clone)]
pub struct Reach(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    socket: Arc<Socket>,
    tls: Arc<Tls>,
    proxies: Proxies,
    /// Something was put in whose time may be now.
    poked: Notify,
    datagrams: Mutex<Option<Datagrams>>,
}

/// Somebody wants a path to a peer for as long as this lives.
#[derive(Debug)]
pub(crate) struct Want {
    reach: Reach,
    peer: NodeId,
}

impl Drop for Want {
    fn drop(&mut self) {
        self.reach.with(|state, now| state.want(&self.peer, false, now));
    }
}

/// The path to a peer, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathReport {
    /// How it goes; none if there is none now.
    pub way: Option<WayReport>,
    /// Why it is so: a word in `snake_case`.
    pub reason: &'static str,
    /// Since when.
    pub since: Option<Instant>,
    /// The smoothed round trip, where it was measured.
    pub rtt: Option<Duration>,
}

/// How a path goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayReport {
    /// Straight to this address.
    Direct(SocketAddr),
    /// Through a beacon's relay.
    Relayed(Place),
}

/// What a node knows of its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetReport {
    /// What kind of NAT it is behind.
    pub finding: Finding,
    /// Whether all that can be found out has been.
    pub is_done: bool,
    /// For how long that NAT remembers; measured over half a minute.
    pub lifetime: Option<Duration>,
    /// Pause between two signs of life.
    pub keepalive: Duration,
    /// Where the node may be reached.
    pub candidates: Vec<SocketAddr>,
    /// Where routers mapped a port on request.
    pub port_mapped: Vec<SocketAddr>,
    /// Its beacons.
    pub beacons: Vec<BeaconReport>,
    /// Whether the rendezvous has told of them and given a ticket.
    pub has_ticket: bool,
    /// Sockets open beside the main one.
    pub extra_sockets: usize,
}

impl Reach {
    pub(crate) fn new(
        key: Arc<NodeKey>,
        socket: Arc<Socket>,
        tls: Arc<Tls>,
        proxies: Proxies,
        datagrams: Datagrams,
    ) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State::new(key, Arc::clone(&socket))),
            socket,
            tls,
            proxies,
            poked: Notify::new(),
            datagrams: Mutex::new(Some(datagrams)),
        }))
    }

    /// Changes the state, and lets the driver look when it is due next.
    fn with<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let result = change(&mut self.lock(), Instant::now());
        self.0.poked.notify_one();
        result
    }

    /// The state; a panic elsewhere leaves no machine half-changed that
    /// matters: the worst is a path that is found anew.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.0.socket
    }

    pub(crate) fn take_datagrams(&self) -> Option<Datagrams> {
        self.0.datagrams.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// `peer` is trusted: answers its probes and finds paths to it on demand.
    /// At most 16,384 at once; further ones are not reached.
    pub fn admit(&self, peer: NodeId) {
        self.with(|state, now| state.admit(peer, now));
    }

    /// `peer` is no longer trusted: it is told nothing any more.
    pub fn dismiss(&self, peer: &NodeId) {
        self.with(|state, _| state.dismiss(peer));
    }

    /// Where others say that `peer` is.
    pub fn learn(&self, peer: &NodeId, endpoints: &[SocketAddr]) {
        self.with(|state, now| {
            state.with_peer(peer, now, |paths| {
                paths.handle_endpoints(endpoints, now);
                if !paths.chosen().is_some_and(|chosen| chosen.via.is_direct()) {
                    // It may have been looking for this node already.
                    paths.handle_admitted(now);
                }
            });
        });
    }

    /// Which beacons there are, at most four, and the ticket for them.
    pub fn set_beacons(&self, beacons: Vec<BeaconAt>, ticket: Option<SignedTicket>) {
        self.with(|state, now| {
            let me = state.key.id();
            state.beacons.set(beacons, me, &state.socket.routes, now);
            if ticket.is_some() && ticket != state.ticket {
                state.ticket = ticket;
                state.beacons.restart(false, now);
            }
            state.run_beacons(now);
        });
    }

    /// The endpoint that the operator gave: the only one that is told to others.
    pub fn set_fixed(&self, endpoint: SocketAddr) {
        self.with(|state, now| {
            state.fixed = Some(endpoint);
            state.refresh(now);
        });
    }

    /// Where routers mapped a port to this node's on request.
    pub fn set_port_mapped(&self, mapped: Vec<SocketAddr>) {
        self.with(|state, now| {
            state.port_mapped = mapped;
            state.refresh(now);
        });
    }

    /// Where this node may be reached, the most promising first; changes with
    /// its network.
    #[must_use]
    pub fn candidates(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.lock().candidates.subscribe()
    }

    /// The path to `peer`; none if it was not admitted.
    #[must_use]
    pub fn path(&self, peer: &NodeId) -> Option<PathReport> {
        let state = self.lock();
        let entry = state.peers.get(peer)?;
        let PathInfo { chosen, reason } = *entry.info.borrow();
        let way = chosen.and_then(|chosen| match chosen.via {
            Via::Direct { remote, .. } => Some(WayReport::Direct(remote)),
            Via::Relay(beacon) => state.place_of(beacon).map(WayReport::Relayed),
        });
        Some(PathReport {
            way,
            reason: reason.word(),
            since: chosen.map(|chosen| chosen.since),
            rtt: chosen.and_then(|chosen| chosen.rtt),
        })
    }

    /// What is known of this node's network.
    #[must_use]
    pub fn report(&self) -> NetReport {
        let state = self.lock();
        NetReport {
            finding: state.finding(),
            is_done: state.is_discovered(),
            lifetime: state.lifetime().measured(),
            keepalive: state.lifetime().keepalive(),
            candidates: state.candidates.borrow().clone(),
            port_mapped: state.port_mapped.clone(),
            beacons: state.beacon_reports(),
            has_ticket: state.ticket.is_some(),
            extra_sockets: state.extra_sockets(),
        }
    }

    /// How far this node is with finding out about its network; changes when
    /// [`Reach::report`] is worth another look.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.lock().progress.subscribe()
    }

    /// What happened to paths, and went through the socket, so far.
    #[must_use]
    pub fn counters(&self) -> (PathCounters, SocketStats) {
        (self.lock().counters.clone(), self.0.socket.stats())
    }

    /// A want for whom QUIC knows by `addr`, if that is a peer.
    pub(crate) fn want_at(&self, addr: SocketAddr) -> Option<Want> {
        let peer = self.0.socket.routes.peer_at(addr)?.peer;
        Some(self.want(peer))
    }

    pub(crate) fn want(&self, peer: NodeId) -> Want {
        self.with(|state, now| state.want(&peer, true, now));
        Want { reach: self.clone(), peer }
    }

    /// Waits until there is a path to `peer`; false if it is not admitted.
    ///
    /// Cancel safe.
    pub(crate) async fn ready(&self, peer: &NodeId) -> bool {
        let Some(mut info) = self.lock().peers.get(peer).map(|peer| peer.info.subscribe()) else {
            return false;
        };
        info.wait_for(|info| info.chosen.is_some()).await.is_ok()
    }
}
