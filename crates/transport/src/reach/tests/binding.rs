//! A binding against a beacon made of the wire format alone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_identity::{NodeKey, PairKey};
use pilot_proto::beacon::{
    self, BindRefusal, CONTEXT, FromNode, RelayId, Services, Told, UNKNOWN, challenge,
};
use zeroize::Zeroizing;

use super::*;

const COOKIE: [u8; beacon::COOKIE_BYTES] = [5; beacon::COOKIE_BYTES];
const KEEPALIVE: Duration = Duration::from_secs(20);

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([seed; 32]))
}

/// What a binding said.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Hello,
    Bind(u64),
    Alive(u64),
}

struct Desk {
    node: NodeKey,
    beacon: NodeKey,
    binding: Binding,
    now: Instant,
}

impl Desk {
    fn new(expected: Option<NodeId>) -> Self {
        let (node, now) = (key(1), Instant::now());
        let binding = Binding::new(node.id(), expected, now);
        Self { node, beacon: key(2), binding, now }
    }

    fn pair(&self) -> PairKey {
        PairKey::new(&self.beacon, &self.node.id(), CONTEXT).unwrap()
    }

    fn means(node: &NodeKey) -> Means<'_> {
        Means { key: node, ticket: None, keepalive: KEEPALIVE, nonce: [3; 12], micros: 1000 }
    }

    fn pass(&mut self, time: Duration) -> Vec<Said> {
        self.now += time;
        self.binding.handle_timeout(&Self::means(&self.node), self.now);
        self.said()
    }

    fn hears(&mut self, packet: &[u8]) -> Vec<Said> {
        let means = Self::means(&self.node);
        self.binding.handle_packet(packet, &means, self.now);
        self.said()
    }

    fn told(&mut self, told: &Told) -> Vec<Said> {
        let packet = beacon::told(&self.pair(), [9; 12], told);
        self.hears(&packet)
    }

    fn challenged(&mut self) -> Vec<Said> {
        let packet = challenge(&self.beacon.id(), &COOKIE);
        self.hears(&packet)
    }

    fn said(&mut self) -> Vec<Said> {
        let pair = self.pair();
        std::iter::from_fn(|| self.binding.poll_output())
            .map(|packet| match FromNode::decode(&packet).unwrap() {
                FromNode::Hello { client } => {
                    assert_eq!(client, *key(1).id().as_bytes());
                    Said::Hello
                }
                FromNode::Bind { cookie, sealed, .. } => {
                    assert_eq!(cookie, COOKIE);
                    Said::Bind(sealed.open::<Bind>(&pair).unwrap().seq)
                }
                FromNode::Alive { id, sealed } => {
                    assert_eq!(id, RelayId::of(&key(1).id()));
                    Said::Alive(sealed.open::<Alive>(&pair).unwrap().seq)
                }
            })
            .collect()
    }

    fn bound(&mut self) -> u64 {
        assert_eq!(self.pass(Duration::ZERO), [Said::Hello]);
        let said = self.challenged();
        let [Said::Bind(seq)] = said[..] else { panic!("{said:?}") };
        self.told(&bound_at(seq, 1));
        assert!(self.binding.bound().is_some());
        seq
    }
}

fn observed(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn bound_at(seq: u64, port: u16) -> Told {
    let services = Services::ALL;
    Told::Bound { seq, observed: observed(port), stun: Vec::new(), services }
}

#[test]
fn it_is_bound_after_two_round_trips_and_then_says_little() {
    let mut desk = Desk::new(None);

    let seq = desk.bound();

    assert_eq!(desk.binding.bound().unwrap().observed, observed(1));
    assert_eq!(desk.binding.beacon(), Some(key(2).id()));
    assert_eq!(desk.pass(KEEPALIVE - Duration::from_millis(1)), []);
    assert_eq!(desk.pass(Duration::from_millis(1)), [Said::Alive(seq + 1)]);
    desk.told(&Told::Alive { seq: seq + 1, observed: observed(2) });
    assert_eq!(desk.binding.bound().unwrap().observed, observed(2));
    assert_eq!(desk.pass(KEEPALIVE), [Said::Alive(seq + 2)]);
}

#[test]
fn a_silent_beacon_is_asked_ever_less_often() {
    let mut desk = Desk::new(None);

    let hellos = (0..600).map(|_| desk.pass(Duration::from_millis(100)).len()).sum::<usize>();

    assert!((14..=20).contains(&hellos), "{hellos} in a minute");
    assert!(desk.binding.unanswered() > 10 && desk.binding.bound().is_none());
}

#[test]
fn a_beacon_that_answers_no_more_is_left_within_two_seconds_of_the_doubt() {
    let mut desk = Desk::new(None);
    let seq = desk.bound();

    desk.binding.doubt(desk.now);
    assert_eq!(desk.pass(Duration::ZERO), [Said::Alive(seq + 1)]);
    desk.binding.doubt(desk.now);
    assert_eq!(desk.pass(Duration::ZERO), [], "one doubt is enough");
    assert_eq!(desk.pass(ALIVE_PATIENCE), [Said::Alive(seq + 2)]);
    assert_eq!(desk.pass(ALIVE_PATIENCE), [Said::Alive(seq + 3)]);
    assert!(desk.binding.bound().is_some());
    assert_eq!(desk.pass(ALIVE_PATIENCE), [Said::Hello]);
    assert!(desk.binding.bound().is_none());
}

#[test]
fn a_beacon_that_challenges_and_then_falls_silent_is_left() {
    let mut desk = Desk::new(None);
    desk.bound();
    desk.pass(MIN_LIFE);

    assert_eq!(desk.hears(&UNKNOWN), [Said::Hello]);
    for _ in 0..2 {
        assert_eq!(desk.pass(RETRY.1), [Said::Hello]);
        assert!(desk.binding.bound().is_some());
    }
    desk.pass(RETRY.1);
    assert!(desk.binding.bound().is_none());
}

#[test]
fn a_restarted_beacon_is_bound_anew_at_once() {
    let mut desk = Desk::new(None);
    let seq = desk.bound();
    desk.pass(Duration::from_secs(2));

    assert_eq!(desk.hears(&UNKNOWN), [Said::Hello]);
    assert!(desk.binding.bound().is_some(), "in use until it is known to be lost");
    assert_eq!(desk.challenged(), [Said::Bind(seq + 1)]);
    desk.told(&bound_at(seq + 1, 7));
    assert_eq!(desk.binding.bound().unwrap().observed, observed(7));
}

#[test]
fn unsealed_packets_bring_about_no_more_than_a_hello_a_second() {
    let mut desk = Desk::new(None);
    desk.bound();

    let mut said = Vec::new();
    for _ in 0..100 {
        said.extend(desk.hears(&UNKNOWN));
        said.extend(desk.challenged());
    }

    assert_eq!(said, []);
    desk.now += MIN_LIFE;
    assert_eq!(desk.hears(&UNKNOWN), [Said::Hello]);
    assert_eq!(desk.hears(&UNKNOWN), []);
}

#[test]
fn a_beacon_with_another_key_is_not_spoken_with() {
    let mut desk = Desk::new(Some(key(3).id()));
    desk.pass(Duration::ZERO);

    assert_eq!(desk.challenged(), []);
    assert_eq!(desk.binding.beacon(), Some(key(3).id()));
}

#[test]
fn old_and_forged_answers_bind_nothing() {
    let mut desk = Desk::new(None);
    desk.pass(Duration::ZERO);
    let said = desk.challenged();
    let [Said::Bind(seq)] = said[..] else { panic!("{said:?}") };

    desk.told(&bound_at(seq - 1, 1));
    desk.told(&Told::Alive { seq, observed: observed(1) });
    let other = PairKey::new(&key(3), &key(1).id(), CONTEXT).unwrap();
    desk.hears(&beacon::told(&other, [9; 12], &bound_at(seq, 1)));
    let packet = beacon::told(&desk.pair(), [9; 12], &bound_at(seq, 1));
    for len in 0..packet.len() {
        desk.hears(&packet[..len]);
    }

    assert!(desk.binding.bound().is_none());
    desk.told(&bound_at(seq, 1));
    assert!(desk.binding.bound().is_some());
}

#[test]
fn a_refusal_waits_for_a_new_ticket() {
    let mut desk = Desk::new(None);
    desk.pass(Duration::ZERO);
    let said = desk.challenged();
    let [Said::Bind(seq)] = said[..] else { panic!("{said:?}") };

    desk.told(&Told::Refused { seq, code: BindRefusal::NoTicket });

    assert_eq!(desk.binding.refusal(), Some(BindRefusal::NoTicket));
    assert_eq!(desk.pass(Duration::from_secs(20)), []);
    desk.binding.restart(desk.now);
    assert_eq!(desk.pass(Duration::ZERO), [Said::Hello]);
}

#[test]
fn who_is_absent_is_told_by_a_beacon_that_is_bound_only() {
    let mut desk = Desk::new(None);
    let absent = RelayId::of(&key(7).id());
    let packet = beacon::told(&desk.pair(), [9; 12], &Told::Absent { id: absent });
    let hear = |desk: &mut Desk| {
        let means = Desk::means(&desk.node);
        desk.binding.handle_packet(&packet, &means, desk.now)
    };

    assert_eq!(hear(&mut desk), None);
    desk.bound();
    assert_eq!(hear(&mut desk), Some(absent));
}
