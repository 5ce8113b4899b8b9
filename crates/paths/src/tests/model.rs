//! Any inputs in any order: no panic, no growth, no flood, and no direct path
//! without an own ping that was answered on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use pilot_proto::probe::{
    BeaconTime, BeaconTimes, Behaviour, Call, Candidates, Method, Nat, Probe, Transaction,
};
use proptest::prelude::*;

use super::bench::Bench;
use crate::pairs::MAX_PAIRS;
use crate::pings::MAX_OUTSTANDING;
use crate::sources::MAX_SOURCES;
use crate::{
    Beacon, BeaconId, Local, LocalId, MAX_BIRTHDAY_SOCKETS, OpenRequest, Opened, Output, Traffic,
    Via,
};

/// What happens to a machine.
#[derive(Debug, Clone)]
enum Input {
    Wanted(bool),
    Local {
        nat: Nat,
        bound: [bool; 2],
        network: u8,
        mapped: u8,
    },
    Card(Vec<SocketAddr>),
    Ping(Via, u8),
    /// To one of the own pings, perhaps by another way.
    Pong {
        which: prop::sample::Index,
        by: Option<Via>,
    },
    Call {
        call: Box<Call>,
        answer: Option<prop::sample::Index>,
        relay: u8,
    },
    Traffic(bool, bool),
    Absent(u8),
    /// Answers to wishes for sockets, fewer than wished or none.
    Sockets {
        which: prop::sample::Index,
        count: u16,
        mapped: bool,
    },
    Lost(u8),
    Pass(u16),
    PassLong(u16),
}

fn remote() -> impl Strategy<Value = SocketAddr> {
    let odd = ["224.0.0.1:1", "127.0.0.1:7", "0.0.0.0:0", "[::1]:1", "[2001:db8::7]:7"];
    prop_oneof![
        4 => (0..6_u8, 0..3_u16).prop_map(|(host, port)| {
            SocketAddr::from(([198, 51, 100, host], 4_000 + port))
        }),
        1 => any::<[u8; 4]>().prop_map(|ip| SocketAddr::from((ip, 9))),
        1 => prop::sample::select(odd.to_vec()).prop_map(|text| text.parse().unwrap()),
        1 => (0..3_u8).prop_map(|host| SocketAddr::from(([192, 168, 1, host], 4_000))),
    ]
}

fn way() -> impl Strategy<Value = Via> {
    prop_oneof![
        4 => (0..3_u32, remote())
            .prop_map(|(local, remote)| Via::Direct { local: LocalId(local), remote }),
        1 => (0..3_u8).prop_map(|beacon| Via::Relay(BeaconId(beacon))),
    ]
}

fn nat() -> impl Strategy<Value = Nat> {
    use Behaviour::*;
    let one = prop::sample::select(vec![
        Unknown,
        None,
        EndpointIndependent,
        AddressDependent,
        AddressAndPortDependent,
        AddressAndPortDependent,
        Blocked,
    ]);
    (one.clone(), one).prop_map(|(mapping, filtering)| Nat { mapping, filtering })
}

fn call() -> impl Strategy<Value = Call> {
    let methods = vec![
        Method::Together,
        Method::CallerFirst,
        Method::AnswererFirst,
        Method::Birthday,
        Method::Birthday,
    ];
    let beacon =
        (0..3_u8, any::<u16>()).prop_map(|(id, rtt_ms)| BeaconTime { key_prefix: [id; 8], rtt_ms });
    (
        (0..20_u64, prop::sample::select(methods), any::<u16>(), nat()),
        prop::option::of(remote()),
        prop::collection::vec(remote(), 0..16),
        prop::collection::vec(beacon, 0..4),
    )
        .prop_map(|((seq, method, start_in_ms, nat), mapped, candidates, beacons)| Call {
            seq,
            answer: false,
            method,
            start_in_ms,
            nat,
            mapped,
            candidates: Candidates::new(candidates),
            beacons: BeaconTimes::new(beacons),
        })
}

fn input() -> impl Strategy<Value = Input> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        2 => prop::bool::weighted(0.8).prop_map(Input::Wanted),
        2 => (nat(), any::<[bool; 2]>(), 0..4_u8, 0..3_u8)
            .prop_map(|(nat, bound, network, mapped)| Input::Local { nat, bound, network, mapped }),
        1 => prop::collection::vec(remote(), 0..10).prop_map(Input::Card),
        6 => (way(), any::<u8>()).prop_map(|(via, tx)| Input::Ping(via, tx)),
        8 => (index(), prop::option::weighted(0.3, way()))
            .prop_map(|(which, by)| Input::Pong { which, by }),
        4 => (call(), prop::option::weighted(0.7, index()), 0..3_u8).prop_map(
            |(call, answer, relay)| Input::Call { call: Box::new(call), answer, relay }
        ),
        3 => any::<(bool, bool)>().prop_map(|(sent, heard)| Input::Traffic(sent, heard)),
        1 => (0..3_u8).prop_map(Input::Absent),
        3 => (index(), 0..300_u16, any::<bool>())
            .prop_map(|(which, count, mapped)| Input::Sockets { which, count, mapped }),
        1 => (0..3_u8).prop_map(Input::Lost),
        10 => (0..500_u16).prop_map(Input::Pass),
        1 => (0..60_000_u16).prop_map(Input::PassLong),
    ]
}

/// What the shell knows, and what must hold.
struct World {
    bench: Bench,
    looked: usize,
    /// Own pings by their transaction.
    pings: BTreeMap<Transaction, Via>,
    order: Vec<Transaction>,
    /// Paths with an own ping that was answered by its own way, on this network.
    proven: BTreeSet<Via>,
    asked: Vec<u64>,
    wishes: Vec<(OpenRequest, u16)>,
    held: BTreeSet<LocalId>,
    last_local: u32,
    network: u64,
    told: bool,
    /// When packets were sent lately.
    sent: VecDeque<Duration>,
}

/// The most packets in any second: the table in `paths`, all at the same time.
const MOST_IN_A_SECOND: usize = 64 + 50 + 101 + 4 * MAX_PAIRS + 200 + 100 + 60;

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::bare(),
            looked: 0,
            pings: BTreeMap::new(),
            order: Vec::new(),
            proven: BTreeSet::new(),
            asked: Vec::new(),
            wishes: Vec::new(),
            held: BTreeSet::new(),
            last_local: 100,
            network: 0,
            told: false,
            sent: VecDeque::new(),
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.bench.now;
        match input {
            Input::Wanted(wanted) => self.bench.paths.handle_wanted(wanted, now),
            Input::Local { nat, bound, network, mapped } => {
                // The first one is no change.
                if self.told && u64::from(network) > self.network {
                    self.proven.clear();
                }
                self.told = true;
                self.network = self.network.max(network.into());
                let local = local(nat, bound, self.network, mapped);
                self.bench.paths.handle_local(local, now);
            }
            Input::Card(card) => self.bench.paths.handle_endpoints(&card, now),
            Input::Ping(via, tx) => self.bench.ping(via, tx),
            Input::Pong { which, by } => {
                if self.order.is_empty() {
                    return;
                }
                let tx = *which.get(&self.order);
                let own = self.pings[&tx];
                if by.is_none_or(|by| by == own) {
                    self.proven.insert(own);
                }
                let observed = "198.51.100.2:1".parse().unwrap();
                self.bench.probe(by.unwrap_or(own), Probe::Pong { tx, observed });
            }
            Input::Call { mut call, answer, relay } => {
                if let (Some(which), false) = (answer, self.asked.is_empty()) {
                    call.answer = true;
                    call.seq = *which.get(&self.asked);
                }
                self.bench.probe(Via::Relay(BeaconId(relay)), Probe::Call(*call));
            }
            Input::Traffic(sent, heard) => {
                self.bench.paths.handle_traffic(Traffic { sent, heard }, now);
            }
            Input::Absent(beacon) => self.bench.paths.handle_absent(BeaconId(beacon), now),
            Input::Sockets { which, count, mapped } => self.give(which, count, mapped),
            Input::Lost(number) => {
                let lost = LocalId(101 + u32::from(number));
                self.held.remove(&lost);
                self.bench.paths.handle_socket_lost(lost, now);
            }
            Input::Pass(millis) => self.bench.pass(Duration::from_millis(millis.into())),
            Input::PassLong(millis) => {
                // The machine slept: nobody kept its deadlines.
                self.bench.now += Duration::from_millis(millis.into());
                self.bench.paths.handle_timeout(self.bench.now);
            }
        }
        self.bench.drain();
        self.look();
    }

    fn give(&mut self, which: prop::sample::Index, count: u16, mapped: bool) {
        if self.wishes.is_empty() {
            return;
        }
        let (request, wished) = self.wishes.swap_remove(which.index(self.wishes.len()));
        let sockets: Vec<_> = (0..count.min(wished))
            .map(|number| {
                let local = LocalId(self.last_local + 1 + u32::from(number));
                (local, mapped.then(|| SocketAddr::from(([198, 51, 100, 2], 50_000 + number))))
            })
            .collect();
        self.last_local += u32::from(count);
        self.held.extend(sockets.iter().map(|(local, _)| *local));
        self.bench.paths.handle_sockets(Opened { request, sockets }, self.bench.now);
    }

    /// What came out, and whether it may.
    fn look(&mut self) {
        for (at, output) in self.bench.outputs.split_off(self.looked) {
            match output {
                Output::Send { via, probe } => {
                    self.note_sent(at);
                    match probe {
                        Probe::Ping { tx } => {
                            assert!(via.is_direct());
                            assert_eq!(self.pings.insert(tx, via), None, "used twice");
                            self.order.push(tx);
                        }
                        Probe::Pong { .. } => {}
                        Probe::Call(call) => {
                            assert!(!via.is_direct());
                            if !call.answer {
                                self.asked.push(call.seq);
                            }
                        }
                    }
                }
                Output::Use(chosen) => {
                    let used = chosen.map(|chosen| chosen.via);
                    if let Some(via @ Via::Direct { .. }) = used {
                        assert!(self.proven.contains(&via), "{via:?} was never proven");
                    }
                }
                Output::OpenSockets { request, count, .. } => {
                    assert!(count <= MAX_BIRTHDAY_SOCKETS);
                    self.wishes.push((request, count));
                }
                Output::CloseSockets(locals) => {
                    for local in locals {
                        assert!(self.held.remove(&local), "{local:?} is not open");
                    }
                }
            }
        }
        self.looked = self.bench.outputs.len();
        let paths = &self.bench.paths;
        assert!(paths.pairs.len() <= MAX_PAIRS);
        assert!(paths.pings.len() <= MAX_OUTSTANDING);
        assert!(paths.sources.len() <= MAX_SOURCES);
        assert_eq!(paths.held.locals(), self.held);
        if let Some(Via::Direct { local, remote }) = paths.choice.via() {
            assert!(paths.pairs.find((local, remote)).is_some());
        }
        // Past deadlines would make the shell turn in circles.
        let mut again = self.bench.paths.next_deadline();
        if again.is_some_and(|at| at <= self.bench.now) {
            self.bench.paths.handle_timeout(self.bench.now);
            again = self.bench.paths.next_deadline();
        }
        assert!(again.is_none_or(|at| at > self.bench.now), "time stands still");
        self.bench.drain();
    }

    fn note_sent(&mut self, at: Duration) {
        self.sent.push_back(at);
        while self.sent.front().is_some_and(|first| *first + Duration::from_secs(1) <= at) {
            self.sent.pop_front();
        }
        assert!(self.sent.len() <= MOST_IN_A_SECOND, "{} in a second", self.sent.len());
    }
}

fn local(nat: Nat, bound: [bool; 2], network: u64, mapped: u8) -> Local {
    let beacon = |number: u8, bound| Beacon {
        id: BeaconId(number),
        key_prefix: [number; 8],
        rtt: Some(Duration::from_millis(10 * u64::from(number + 1))),
        bound,
    };
    Local {
        candidates: vec!["192.168.1.1:4000".parse().unwrap()],
        mapped: (mapped > 0).then(|| SocketAddr::from(([198, 51, 100, 200 + mapped], 4_000))),
        nat,
        keepalive: Duration::from_secs(20),
        beacons: vec![beacon(0, bound[0]), beacon(1, bound[1])],
        network,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_promises_hold(inputs in prop::collection::vec(input(), 1..150)) {
        let mut world = World::new();
        for input in inputs {
            world.feed(input);
        }
    }
}
