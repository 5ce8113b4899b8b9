//! Doing what the path machines of the peers want done.

use std::time::Instant;

use pilot_identity::{NONCE_BYTES, NodeId};
use pilot_paths::{OpenRequest, Opened, Output, Purpose, Via};
use pilot_proto::envelope::seal_probe;
use pilot_proto::probe::Probe;

use super::sockets::Owner;
use super::state::State;
use crate::socket::{Place, Way};

impl State {
    /// Does what the machine of `peer` wants done, in order.
    pub(super) fn run_peer(&mut self, peer: &NodeId, now: Instant) {
        while let Some(output) = self.peers.get_mut(peer).and_then(|p| p.paths.poll_output()) {
            match output {
                Output::Send { via, probe } => self.send_probe(peer, via, &probe),
                Output::Use(chosen) => {
                    let way = chosen.and_then(|chosen| self.way(chosen.via));
                    if let Some(entry) = self.peers.get(peer) {
                        self.counters.changed(entry.paths.reason());
                        self.socket.set_way(&entry.route, way);
                        tracing::info!(peer = %peer.short(), path = %words(way),
                            reason = entry.paths.reason().word(), "path");
                    }
                }
                Output::OpenSockets { request, count, purpose } => {
                    self.open_for(peer, request, count, purpose, now);
                }
                Output::CloseSockets(ids) => self.sockets.close(&self.socket, &ids),
            }
        }
        self.peers.schedule(peer);
        if let Some(entry) = self.peers.get(peer) {
            entry.tell();
        }
    }

    fn open_for(
        &mut self,
        peer: &NodeId,
        request: OpenRequest,
        count: u16,
        purpose: Purpose,
        now: Instant,
    ) {
        let owner = Owner::Peer(*peer);
        let ids = self.sockets.open(&self.socket, owner, count);
        let server = self.beacons.stun_servers().first().map(|server| server.address);
        match (purpose, server) {
            (Purpose::Fresh, Some(server)) if !ids.is_empty() => {
                for id in &ids {
                    self.asks.send_fresh(&self.socket, *id, server, now);
                }
                self.sockets.await_mapping(owner, request, ids, now);
            }
            (Purpose::Fresh | Purpose::Birthday, _) => {
                let sockets = ids.into_iter().map(|id| (id, None)).collect();
                if let Some(entry) = self.peers.get_mut(peer) {
                    entry.paths.handle_sockets(Opened { request, sockets }, now);
                }
            }
        }
    }

    pub(super) fn way(&self, via: Via) -> Option<Way> {
        match via {
            Via::Direct { local, remote } => Some(Way::Direct { local, remote }),
            Via::Relay(beacon) => self.beacons.place(beacon).map(|place| Way::Relayed { place }),
        }
    }

    fn send_probe(&mut self, peer: &NodeId, via: Via, probe: &Probe) {
        let Some(entry) = self.peers.get(peer) else { return };
        let mut nonce = [0; NONCE_BYTES];
        if getrandom::fill(&mut nonce).is_err() {
            return;
        }
        let datagram = seal_probe(&entry.pair, nonce, probe);
        let sent = match via {
            Via::Direct { local, remote } => self.socket.send_datagram(local, remote, &datagram),
            Via::Relay(beacon) => match self.beacons.place(beacon) {
                Some(place) => self.socket.send_relayed(place, &entry.route.relay_id, &datagram),
                None => return,
            },
        };
        match sent {
            Ok(()) => self.counters.sent.count(probe),
            Err(error) => tracing::trace!(%error, "a probe was not sent"),
        }
    }
}

/// A way in words, for the log.
fn words(way: Option<Way>) -> String {
    match way {
        None => "none".to_owned(),
        Some(Way::Direct { remote, .. }) => format!("direct {remote}"),
        Some(Way::Relayed { place: Place::Udp(at) }) => format!("relayed by {at}"),
        Some(Way::Relayed { place: Place::Carrier(_) }) => "relayed over TCP".to_owned(),
    }
}
