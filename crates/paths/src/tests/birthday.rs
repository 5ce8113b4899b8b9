//! Birthday probing: who does what, and when it ends.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use pilot_proto::probe::{Method, Probe};

use super::bench::{
    Bench, CONE, PEER, PEER_LAN, RELAY, STRICT, SYMMETRIC, address, call, direct, local, millis,
};
use crate::{LocalId, MAX_BIRTHDAY_SOCKETS, Opened, Purpose, Reason, Via};

/// Called, answered, the plain rounds in vain, and called for birthday probing.
fn called(own: pilot_proto::probe::Nat, peer: pilot_proto::probe::Nat) -> Bench {
    let mut bench = Bench::wanted(own);
    bench.answer_call(peer);
    bench.pass(millis(1_200));
    assert_eq!(bench.asked().method, Method::Birthday);
    bench.clear();
    bench.answer_call(peer);
    bench.pass(millis(0));
    bench
}

fn open_all(bench: &mut Bench) {
    let (request, count, purpose) = *bench.opened().last().unwrap();
    assert_eq!((count, purpose), (MAX_BIRTHDAY_SOCKETS, Purpose::Birthday));
    let sockets = (1..=u32::from(count)).map(|number| (LocalId(number), None)).collect();
    bench.paths.handle_sockets(Opened { request, sockets }, bench.now);
    bench.drain();
}

#[test]
fn the_symmetric_one_pings_from_many_sockets_to_where_the_peer_is_seen() {
    let mut bench = called(SYMMETRIC, STRICT);
    open_all(&mut bench);

    bench.pass(Duration::from_secs(3));

    let from: BTreeSet<LocalId> = bench
        .sent()
        .filter_map(|(via, _)| match via {
            Via::Direct { local, remote } => (remote == address(PEER)).then_some(local),
            Via::Relay(_) => None,
        })
        .collect();
    assert!(from.len() >= 256, "{}", from.len());
    bench.pass(Duration::from_secs(15));
    assert_eq!(bench.closed().len(), 256, "all are given back");
}

#[test]
fn the_socket_that_met_stays_and_the_others_are_closed() {
    let mut bench = called(SYMMETRIC, STRICT);
    open_all(&mut bench);
    bench.pass(millis(500));
    let met = Via::Direct { local: LocalId(3), remote: address(PEER) };

    bench.answer_pings(met);

    assert_eq!(bench.chosen(), Some((met, Reason::Birthday)));
    // The peer may have met another one.
    assert_eq!(bench.closed(), []);
    bench.pass(Duration::from_secs(2));
    let closed = bench.closed();
    assert_eq!(closed.len(), 255);
    assert!(!closed.contains(&LocalId(3)));
    bench.clear();
    bench.pass(millis(500));
    assert!(bench.pinged().len() < 10, "it goes on: {:?}", bench.pinged());
}

#[test]
fn the_strict_one_pings_many_ports_of_the_symmetric_one() {
    let mut bench = called(STRICT, SYMMETRIC);

    bench.pass(Duration::from_secs(12));

    assert_eq!(bench.opened(), []);
    let ip = address(PEER).ip();
    let ports: BTreeSet<u16> =
        bench.pinged().iter().filter(|to| to.ip() == ip).map(SocketAddr::port).collect();
    assert!(ports.len() >= 1_000, "{}", ports.len());
    assert!(ports.iter().all(|port| *port >= 1_024));
}

#[test]
fn a_port_that_answers_ends_the_search() {
    let mut bench = called(STRICT, SYMMETRIC);
    bench.pass(millis(1_000));
    let last = *bench.pinged().last().unwrap();
    let met = Via::Direct { local: LocalId::MAIN, remote: last };

    bench.answer_pings(met);
    assert_eq!(bench.chosen(), Some((met, Reason::Birthday)));
    bench.clear();
    bench.pass(millis(300));

    assert!(bench.pinged().len() <= 2, "{:?}", bench.pinged());
}

#[test]
fn the_peers_wish_is_followed_where_it_makes_sense() {
    let asked = |nat| Probe::Call(call(9, false, Method::Birthday, nat));
    let mut bench = Bench::bare();
    bench.local(local(SYMMETRIC));
    bench.probe(Via::Relay(RELAY), asked(STRICT));
    assert_eq!(bench.calls()[0].method, Method::Birthday);
    assert_eq!(bench.opened().len(), 1);

    for (own, peer) in [(CONE, SYMMETRIC), (SYMMETRIC, SYMMETRIC), (STRICT, STRICT)] {
        let mut bench = Bench::bare();
        bench.local(local(own));

        bench.probe(Via::Relay(RELAY), asked(peer));
        bench.pass(millis(3_000));

        assert_eq!(bench.calls()[0].method, Method::Together, "{own:?} {peer:?}");
        assert_eq!(bench.opened(), []);
        assert!(bench.pinged().iter().all(|to| [PEER, PEER_LAN].map(address).contains(to)));
    }
}

#[test]
fn whoever_is_direct_already_does_not_take_part() {
    let mut bench = Bench::bare();
    bench.local(local(SYMMETRIC));
    bench.prove(PEER);
    assert_eq!(bench.chosen(), Some((direct(PEER), Reason::DirectProven)));

    bench.probe(Via::Relay(RELAY), Probe::Call(call(9, false, Method::Birthday, STRICT)));

    assert_eq!(bench.opened(), []);
    assert_eq!(bench.calls()[0].method, Method::Together);
}

#[test]
fn a_peer_cannot_have_it_as_often_as_it_likes() {
    let mut bench = Bench::bare();
    bench.local(local(STRICT));
    for seq in 0..60 {
        let asked = call(seq, false, Method::Birthday, SYMMETRIC);
        bench.probe(Via::Relay(RELAY), Probe::Call(asked));
        bench.pass(Duration::from_secs(10));
    }

    let pings = bench.pinged().len();

    // Ten minutes: two at once, and one every half minute; each takes 10 s.
    assert!(pings < 24 * 1_100, "{pings}");
}

#[test]
fn own_birthday_probing_becomes_rare_when_it_does_not_help() {
    let mut bench = Bench::wanted(STRICT);
    let mut answered = 0;
    for _ in 0..7_200 {
        // The peer answers every call.
        let asked = bench.asked();
        if asked.seq != answered {
            answered = asked.seq;
            bench.answer_call(SYMMETRIC);
        }
        bench.pass(millis(500));
    }

    let called = bench.calls();
    let birthdays: BTreeSet<u64> =
        called.iter().filter(|call| call.method == Method::Birthday).map(|call| call.seq).collect();
    assert!((4..=11).contains(&birthdays.len()), "{} in an hour", birthdays.len());
}
