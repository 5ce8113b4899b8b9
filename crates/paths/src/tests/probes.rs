//! Pings and pongs: what is answered, and what proves a path.

use pilot_proto::probe::{Probe, Transaction};

use super::bench::{Bench, CONE, OWN, OWN_MAPPED, PEER, RELAY, address, direct, local, millis};
use crate::{LocalId, Reason, Via};

#[test]
fn a_ping_is_answered_to_where_it_came_from_over_the_socket_it_came_to() {
    let mut bench = Bench::bare();
    let via = Via::Direct { local: LocalId(5), remote: address(PEER) };

    bench.ping(via, 9);

    let pong = Probe::Pong { tx: Transaction([9; 12]), observed: address(PEER) };
    assert_eq!(bench.sent().next(), Some((via, &pong)));
}

#[test]
fn a_relayed_ping_is_answered_by_the_relay_and_tells_no_address() {
    let mut bench = Bench::bare();

    bench.ping(Via::Relay(RELAY), 9);

    let pong = Probe::Pong { tx: Transaction([9; 12]), observed: address("0.0.0.0:0") };
    assert_eq!(bench.sent().collect::<Vec<_>>(), [(Via::Relay(RELAY), &pong)]);
}

#[test]
fn an_unproven_source_is_pinged_back_but_not_used() {
    let mut bench = Bench::bare();

    bench.ping(direct(PEER), 1);

    assert_eq!(bench.pings(direct(PEER)).len(), 1);
    assert_eq!(bench.chosen(), None);
    bench.answer_pings(direct(PEER));
    assert_eq!(bench.chosen(), Some((direct(PEER), Reason::DirectProven)));
}

#[test]
fn only_the_first_pong_to_an_own_ping_by_its_own_way_proves() {
    let mut bench = Bench::bare();
    bench.ping(direct(PEER), 1);
    let [tx] = bench.pings(direct(PEER))[..] else { panic!("not one ping") };
    let observed = address(OWN_MAPPED);
    let other_socket = Via::Direct { local: LocalId(5), remote: address(PEER) };

    for (via, tx) in [
        (direct("198.51.100.9:4000"), tx),
        (direct("198.51.100.3:4001"), tx),
        (other_socket, tx),
        (Via::Relay(RELAY), tx),
        (direct(PEER), Transaction([0; 12])),
    ] {
        bench.probe(via, Probe::Pong { tx, observed });
        assert_eq!(bench.chosen(), None, "{via:?}");
    }

    bench.probe(direct(PEER), Probe::Pong { tx, observed });
    assert!(bench.chosen().is_some());
}

#[test]
fn a_pong_that_is_too_late_proves_nothing() {
    let mut bench = Bench::bare();
    bench.ping(direct(PEER), 1);
    let tx = bench.pings(direct(PEER))[0];

    bench.pass(millis(6_000));
    bench.probe(direct(PEER), Probe::Pong { tx, observed: address(OWN) });

    assert_eq!(bench.chosen(), None);
}

#[test]
fn a_ping_from_no_host_is_left_alone() {
    for source in ["224.0.0.1:1", "0.0.0.0:1", "198.51.100.3:0", "255.255.255.255:9", "[ff02::1]:9"]
    {
        let mut bench = Bench::wanted(CONE);
        bench.clear();

        bench.ping(direct(source), 1);

        assert_eq!(bench.sent().count(), 0, "{source}");
    }
}

#[test]
fn a_source_written_as_ipv6_is_the_same_path() {
    let mut bench = Bench::bare();

    bench.ping(direct("[::ffff:198.51.100.3]:4000"), 1);
    bench.answer_pings(direct(PEER));

    assert_eq!(bench.chosen(), Some((direct(PEER), Reason::DirectProven)));
}

#[test]
fn while_nobody_wants_anything_there_are_answers_only() {
    let mut bench = Bench::bare();
    bench.local(local(CONE));
    bench.paths.handle_endpoints(&[address(PEER)], bench.now);
    bench.drain();
    bench.pass(millis(600_000));
    assert_eq!(bench.sent().count(), 0);

    bench.ping(direct(PEER), 1);
    let pongs = bench.sent().filter(|(_, probe)| matches!(probe, Probe::Pong { .. })).count();
    assert_eq!((pongs, bench.sent().count()), (1, 2));

    // Proven, settled, and then nothing more.
    bench.answer_pings(direct(PEER));
    bench.clear();
    bench.pass(millis(600_000));
    assert!(bench.sent().count() < 10, "{:?}", bench.outputs);
    assert_eq!(bench.chosen().map(|(via, _)| via), Some(Via::Relay(RELAY)));
}

#[test]
fn the_peer_from_a_new_source_makes_the_path_in_use_be_looked_at() {
    let mut bench = Bench::settled();

    bench.ping(direct("198.51.100.77:1"), 2);

    assert_eq!(bench.pings(direct(PEER)).len(), 1);
    assert_eq!(bench.pings(direct("198.51.100.77:1")).len(), 1);
}

#[test]
fn a_source_that_was_seen_once_is_tried_again_with_the_candidates() {
    let mut bench = Bench::wanted(CONE);
    bench.ping(direct("198.51.100.77:1"), 2);
    bench.clear();

    // The first rounds everywhere, as no answer comes to the call.
    bench.pass(millis(500));

    assert!(!bench.pings(direct("198.51.100.77:1")).is_empty());
}
