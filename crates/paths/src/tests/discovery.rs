//! Each kind of NAT, by what it lets through.

use pilot_proto::probe::Behaviour::{self, *};

use super::*;
use crate::clock;

const AUX: LocalId = LocalId(7);

/// A server with two addresses and two ports, behind a NAT with these rules.
struct Lab {
    mapping: Behaviour,
    filtering: Behaviour,
    hairpin: bool,
    /// Whether servers have an other address; with the same host if so said.
    other: Option<&'static str>,
    asked: Vec<StunAsk>,
    open: BTreeSet<LocalId>,
    now: Instant,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server() -> StunServer {
    let others = ["203.0.113.12:9001", "203.0.113.12:9002"].map(address).to_vec();
    StunServer { address: address("203.0.113.10:9001"), others }
}

impl Lab {
    fn new(mapping: Behaviour, filtering: Behaviour) -> Self {
        let other = Some("203.0.113.12:9002");
        let (asked, open, now) = (Vec::new(), BTreeSet::new(), clock::start());
        Self { mapping, filtering, hairpin: false, other, asked, open, now }
    }

    fn mapped(&self, ask: &StunAsk) -> SocketAddr {
        let base = if ask.local == LocalId::MAIN { 1_000 } else { 2_000 };
        let [.., host] = match ask.server.ip() {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        let more = match self.mapping {
            AddressDependent => u16::from(host),
            AddressAndPortDependent => u16::from(host) + ask.server.port() - 9_000,
            Unknown | None | EndpointIndependent | Blocked => 0,
        };
        let ip = if self.mapping == None { "192.0.2.1" } else { "198.51.100.2" };
        SocketAddr::new(ip.parse().unwrap(), base + more)
    }

    fn answer(&self, ask: &StunAsk) -> Option<StunHeard> {
        if self.mapping == Blocked {
            return Option::None;
        }
        let heard = |local, what| Some(StunHeard { id: ask.id, local, what });
        if ask.server.port() < 9_000 {
            return self.hairpin.then(|| heard(AUX, Heard::OwnRequest)).flatten();
        }
        let through = match ask.change {
            Change::Same => true,
            Change::Port => {
                matches!(self.filtering, None | EndpointIndependent | AddressDependent)
            }
            Change::AddressAndPort => matches!(self.filtering, None | EndpointIndependent),
        };
        let other = self.other.map(address);
        through.then(|| heard(ask.local, Heard::Answer { mapped: self.mapped(ask), other }))?
    }

    fn run(&mut self, discovery: &mut Discovery) -> Finding {
        for _ in 0..1_000 {
            while let Some(output) = discovery.poll_output() {
                match output {
                    StunOutput::Ask(ask) => {
                        self.asked.push(ask);
                        if let Some(heard) = self.answer(&ask) {
                            discovery.handle_stun(heard, self.now + Duration::from_millis(1));
                        }
                    }
                    StunOutput::OpenSockets { request, count } => {
                        assert_eq!(count, 1);
                        self.open.insert(AUX);
                        let sockets = vec![(AUX, Option::None)];
                        discovery.handle_sockets(Opened { request, sockets }, self.now);
                    }
                    StunOutput::CloseSockets(locals) => {
                        locals.iter().for_each(|local| assert!(self.open.remove(local)));
                    }
                }
            }
            if discovery.is_done() {
                assert_eq!(self.open, BTreeSet::new());
                return discovery.finding().clone();
            }
            self.now = discovery.next_deadline().unwrap().max(self.now);
            discovery.handle_timeout(self.now);
        }
        panic!("never done: {discovery:?}");
    }

    fn find(&mut self) -> Finding {
        let mut discovery = Discovery::new();
        discovery.handle_local(&[server()], &["192.0.2.1".parse().unwrap()], 0, self.now);
        self.run(&mut discovery)
    }
}

#[test]
fn every_kind_is_recognised() {
    let mappings = [None, EndpointIndependent, AddressDependent, AddressAndPortDependent];
    let filters = [EndpointIndependent, AddressDependent, AddressAndPortDependent];
    for mapping in mappings {
        for filtering in filters {
            let found = Lab::new(mapping, filtering).find();

            let open = mapping == None && filtering == EndpointIndependent;
            let filtering = if open { None } else { filtering };
            assert_eq!(found.nat, Nat { mapping, filtering });
        }
    }
}

#[test]
fn no_answer_at_all_is_blocked_and_asked_about_again_later() {
    let mut lab = Lab::new(Blocked, Blocked);
    let mut discovery = Discovery::new();
    discovery.handle_local(&[server()], &[], 0, lab.now);
    assert_eq!(lab.run(&mut discovery).nat, Nat::BLOCKED);
    assert_eq!(lab.asked.len(), 9, "three addresses, three times");

    lab.mapping = EndpointIndependent;
    lab.filtering = AddressDependent;
    let again = discovery.next_deadline().unwrap();
    assert_eq!(again, lab.now + ASK_AGAIN);
    lab.now = again;
    discovery.handle_timeout(again);

    let nat = Nat { mapping: EndpointIndependent, filtering: AddressDependent };
    assert_eq!(lab.run(&mut discovery).nat, nat);
}

#[test]
fn the_mapped_address_and_the_hairpin_are_told() {
    for hairpin in [false, true] {
        let mut lab = Lab { hairpin, ..Lab::new(EndpointIndependent, AddressDependent) };

        let found = lab.find();

        assert_eq!(found.mapped, [address("198.51.100.2:1000")]);
        assert_eq!(found.hairpin, Some(hairpin));
    }
    assert_eq!(Lab::new(None, EndpointIndependent).find().hairpin, Option::None);
}

#[test]
fn the_filter_is_tried_from_a_socket_that_the_other_address_never_heard() {
    let mut lab = Lab::new(EndpointIndependent, AddressDependent);
    lab.find();

    for ask in lab.asked.iter().filter(|ask| ask.local == AUX && ask.server.port() > 9_000) {
        assert_eq!(ask.server, server().address);
    }
    assert!(lab.asked.iter().all(|ask| ask.change == Change::Same || ask.local == AUX));
}

#[test]
fn a_server_without_another_address_tells_nothing_of_the_filter() {
    let mut lab = Lab { other: Option::None, ..Lab::new(EndpointIndependent, AddressDependent) };

    assert_eq!(lab.find().nat, Nat { mapping: EndpointIndependent, filtering: Unknown });
}

#[test]
fn one_address_of_one_server_tells_nothing_of_the_mapping() {
    let mut lab = Lab::new(AddressDependent, AddressDependent);
    let mut discovery = Discovery::new();
    let server = StunServer { others: Vec::new(), ..server() };
    discovery.handle_local(&[server], &[], 0, lab.now);

    assert_eq!(lab.run(&mut discovery).nat.mapping, Unknown);
}

#[test]
fn the_same_again_asks_nothing_and_another_network_asks_all() {
    let mut lab = Lab::new(EndpointIndependent, AddressDependent);
    let mut discovery = Discovery::new();
    discovery.handle_local(&[server()], &[], 0, lab.now);
    lab.run(&mut discovery);

    discovery.handle_local(&[server()], &[], 0, lab.now);
    assert!(discovery.is_done() && discovery.poll_output().is_none());

    lab.mapping = AddressAndPortDependent;
    discovery.handle_local(&[server()], &[], 1, lab.now);
    assert_eq!(discovery.finding().nat, Nat::UNKNOWN);
    assert_eq!(lab.run(&mut discovery).nat.mapping, AddressAndPortDependent);
}

#[test]
fn without_servers_nothing_is_known_and_nothing_asked() {
    let mut discovery = Discovery::new();

    discovery.handle_local(&[], &[], 0, clock::start());

    assert!(discovery.is_done() && discovery.poll_output().is_none());
    assert_eq!(*discovery.finding(), Finding::default());
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let now = clock::start();
    let mut discovery = Discovery::new();
    discovery.handle_local(&[server()], &[], 0, now);
    let mapped = address("203.0.113.66:1");

    for id in 1_000..1_100 {
        let what = Heard::Answer { mapped, other: Option::None };
        let heard = StunHeard { id: crate::stun::AskId(id), local: LocalId::MAIN, what };
        discovery.handle_stun(heard, now);
    }

    assert_eq!(*discovery.finding(), Finding::default());
}
