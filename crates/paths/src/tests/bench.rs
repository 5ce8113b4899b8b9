//! One machine on the bench: everything it does is written down.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_proto::probe::{
    BeaconTimes, Behaviour, Call, Candidates, Method, Nat, Probe, Transaction,
};

use crate::{
    Beacon, BeaconId, Chosen, Local, LocalId, OpenRequest, Output, Paths, Purpose, Reason, Via,
};

pub(super) const RELAY: BeaconId = BeaconId(1);
pub(super) const OWN: &str = "192.168.1.11:4000";
pub(super) const OWN_MAPPED: &str = "198.51.100.2:4000";
/// Where the peer is.
pub(super) const PEER: &str = "198.51.100.3:4000";
pub(super) const PEER_LAN: &str = "192.168.1.12:4000";

pub(super) const CONE: Nat =
    Nat { mapping: Behaviour::EndpointIndependent, filtering: Behaviour::EndpointIndependent };
pub(super) const STRICT: Nat =
    Nat { mapping: Behaviour::EndpointIndependent, filtering: Behaviour::AddressAndPortDependent };
pub(super) const SYMMETRIC: Nat = Nat {
    mapping: Behaviour::AddressAndPortDependent,
    filtering: Behaviour::AddressAndPortDependent,
};

pub(super) struct Bench {
    pub(super) paths: Paths,
    pub(super) now: Instant,
    pub(super) start: Instant,
    /// What came out since the last look, and when.
    pub(super) outputs: Vec<(Duration, Output)>,
    asked: Option<Call>,
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn direct(remote: &str) -> Via {
    Via::Direct { local: LocalId::MAIN, remote: address(remote) }
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn local(nat: Nat) -> Local {
    Local {
        candidates: [OWN, OWN_MAPPED].map(address).to_vec(),
        mapped: Some(address(OWN_MAPPED)),
        nat,
        keepalive: Duration::from_secs(20),
        beacons: vec![Beacon { id: RELAY, key_prefix: [1; 8], rtt: Some(millis(20)), bound: true }],
        network: 0,
    }
}

/// A call of the peer.
pub(super) fn call(seq: u64, answer: bool, method: Method, nat: Nat) -> Call {
    Call {
        seq,
        answer,
        method,
        start_in_ms: 0,
        nat,
        mapped: Some(address(PEER)),
        candidates: Candidates::new([address(PEER), address(PEER_LAN)]),
        beacons: BeaconTimes::default(),
    }
}

impl Bench {
    /// Nothing told yet.
    pub(super) fn bare() -> Self {
        let start = crate::clock::start();
        let paths = Paths::new([7; 32], start);
        Self { paths, now: start, start, outputs: Vec::new(), asked: None }
    }

    /// Bound at a beacon, and the session is wanted.
    pub(super) fn wanted(nat: Nat) -> Self {
        let mut bench = Self::bare();
        bench.local(local(nat));
        bench.paths.handle_wanted(true, bench.now);
        bench.drain();
        bench
    }

    /// The same, with a direct path to [`PEER`].
    pub(super) fn direct() -> Self {
        let mut bench = Self::wanted(CONE);
        bench.prove(PEER);
        bench
    }

    /// The same, after a while without traffic.
    pub(super) fn settled() -> Self {
        let mut bench = Self::direct();
        for _ in 0..10 {
            bench.clear();
            bench.pass(millis(500));
            bench.answer_pings(direct(PEER));
        }
        bench.clear();
        bench
    }

    pub(super) fn local(&mut self, local: Local) {
        self.paths.handle_local(local, self.now);
        self.drain();
    }

    pub(super) fn probe(&mut self, via: Via, probe: Probe) {
        self.paths.handle_probe(via, probe, self.now);
        self.drain();
    }

    pub(super) fn ping(&mut self, via: Via, number: u8) {
        self.probe(via, Probe::Ping { tx: Transaction([number; 12]) });
    }

    /// A ping of the peer from there, and the pong to the ping back.
    pub(super) fn prove(&mut self, remote: &str) {
        self.ping(direct(remote), 1);
        self.answer_pings(direct(remote));
    }

    /// The peer answers all that was pinged by this way.
    pub(super) fn answer_pings(&mut self, via: Via) {
        for tx in self.pings(via) {
            self.probe(via, Probe::Pong { tx, observed: address(OWN_MAPPED) });
        }
    }

    /// Time passes; deadlines are kept.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.paths.next_deadline().filter(|next| *next <= end) {
            assert!(next >= self.now || self.outputs.len() < 10_000, "time stands still");
            self.now = self.now.max(next);
            self.paths.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.paths.poll_output() {
            if let Output::Send { probe: Probe::Call(call), .. } = &output
                && !call.answer
            {
                self.asked = Some(call.clone());
            }
            self.outputs.push((self.now - self.start, output));
        }
    }

    /// Forgets what came out until now.
    pub(super) fn clear(&mut self) {
        self.outputs.clear();
    }

    pub(super) fn sent(&self) -> impl Iterator<Item = (Via, &Probe)> {
        self.outputs.iter().filter_map(|(_, output)| match output {
            Output::Send { via, probe } => Some((*via, probe)),
            Output::Use(_) | Output::OpenSockets { .. } | Output::CloseSockets(_) => None,
        })
    }

    /// The transactions of own pings by this way.
    pub(super) fn pings(&self, by: Via) -> Vec<Transaction> {
        let pings = self.sent().filter(|(via, _)| *via == by);
        pings
            .filter_map(|(_, probe)| match probe {
                Probe::Ping { tx } => Some(*tx),
                Probe::Pong { .. } | Probe::Call(_) => None,
            })
            .collect()
    }

    /// Where own pings went.
    pub(super) fn pinged(&self) -> Vec<SocketAddr> {
        let pings = self.sent().filter(|(_, probe)| matches!(probe, Probe::Ping { .. }));
        pings
            .filter_map(|(via, _)| match via {
                Via::Direct { remote, .. } => Some(remote),
                Via::Relay(_) => None,
            })
            .collect()
    }

    /// Own calls and answers.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.sent()
            .filter_map(|(_, probe)| match probe {
                Probe::Call(call) => Some(call.clone()),
                Probe::Ping { .. } | Probe::Pong { .. } => None,
            })
            .collect()
    }

    /// The newest own call that is not an answer, cleared or not.
    pub(super) fn asked(&self) -> Call {
        self.asked.clone().expect("nothing was asked")
    }

    /// The peer answers the newest call.
    pub(super) fn answer_call(&mut self, nat: Nat) {
        let asked = self.asked();
        let answer = call(asked.seq, true, asked.method, nat);
        self.probe(Via::Relay(RELAY), Probe::Call(answer));
    }

    pub(super) fn opened(&self) -> Vec<(OpenRequest, u16, Purpose)> {
        self.outputs
            .iter()
            .filter_map(|(_, output)| match output {
                Output::OpenSockets { request, count, purpose } => {
                    Some((*request, *count, *purpose))
                }
                Output::Send { .. } | Output::Use(_) | Output::CloseSockets(_) => None,
            })
            .collect()
    }

    pub(super) fn closed(&self) -> Vec<LocalId> {
        self.outputs
            .iter()
            .filter_map(|(_, output)| match output {
                Output::CloseSockets(locals) => Some(locals.clone()),
                Output::Send { .. } | Output::Use(_) | Output::OpenSockets { .. } => None,
            })
            .flatten()
            .collect()
    }

    pub(super) fn uses(&self) -> Vec<Option<(Via, Reason)>> {
        let used = |chosen: &Chosen| (chosen.via, chosen.reason);
        self.outputs
            .iter()
            .filter_map(|(_, output)| match output {
                Output::Use(chosen) => Some(chosen.as_ref().map(used)),
                Output::Send { .. } | Output::OpenSockets { .. } | Output::CloseSockets(_) => None,
            })
            .collect()
    }

    pub(super) fn chosen(&self) -> Option<(Via, Reason)> {
        self.paths.chosen().map(|chosen| (chosen.via, chosen.reason))
    }
}
