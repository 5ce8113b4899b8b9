//! What is used when.

use std::collections::BTreeSet;
use std::time::Duration;

use pilot_proto::probe::Probe;

use super::bench::{
    Bench, CONE, OWN_MAPPED, PEER, PEER_LAN, RELAY, SYMMETRIC, address, direct, local, millis,
};
use crate::{Beacon, BeaconId, Local, LocalId, Reason, Traffic, Via};

const BUSY: Traffic = Traffic { sent: true, heard: true };

#[test]
fn a_relay_is_used_the_moment_this_node_is_bound() {
    let mut bench = Bench::bare();

    bench.local(local(CONE));

    assert_eq!(bench.uses(), [Some((Via::Relay(RELAY), Reason::RelayFirst))]);
    assert_eq!(bench.sent().count(), 0);
}

#[test]
fn direct_takes_over_with_its_round_trip() {
    let mut bench = Bench::wanted(CONE);
    bench.ping(direct(PEER), 1);
    bench.now += millis(30);
    bench.answer_pings(direct(PEER));

    assert_eq!(bench.uses().last(), Some(&Some((direct(PEER), Reason::DirectProven))));
    let chosen = bench.paths.chosen().unwrap();
    assert_eq!((chosen.rtt, chosen.since), (Some(millis(30)), bench.now));
}

#[test]
fn a_dead_direct_path_falls_back_within_three_seconds_of_traffic() {
    let mut bench = Bench::direct();
    let cut = bench.now;
    bench.clear();

    while bench.chosen().is_some_and(|(via, _)| via.is_direct()) {
        bench.paths.handle_traffic(BUSY, bench.now);
        bench.pass(millis(100));
    }

    assert_eq!(bench.chosen(), Some((Via::Relay(RELAY), Reason::DirectDied)));
    assert!(bench.now - cut < Duration::from_secs(3));
    // And the peer is called anew at once.
    assert_eq!(bench.calls().len(), 1);
}

#[test]
fn while_the_path_in_use_does_not_answer_the_others_are_asked() {
    let mut bench = Bench::direct();
    bench.prove(PEER_LAN);
    for _ in 0..4 {
        bench.clear();
        bench.pass(millis(250));
        bench.answer_pings(direct(PEER));
        bench.answer_pings(direct(PEER_LAN));
    }
    let (first, _) = bench.chosen().unwrap();
    let other = if first == direct(PEER) { direct(PEER_LAN) } else { direct(PEER) };
    bench.clear();

    while bench.pings(other).is_empty() && bench.chosen().unwrap().0 == first {
        bench.paths.handle_traffic(BUSY, bench.now);
        bench.pass(millis(50));
    }

    // No answer for half a second: the other one is asked, and has the traffic
    // with its first answer.
    assert_eq!(bench.chosen().unwrap().0, first);
    bench.answer_pings(other);
    assert_eq!(bench.chosen(), Some((other, Reason::DirectDied)));
}

#[test]
fn another_network_forgets_the_proof_and_calls_at_once() {
    let mut bench = Bench::direct();
    bench.clear();
    bench.pass(millis(250));
    let under_way = bench.pings(direct(PEER));
    bench.clear();

    bench.local(Local { network: 1, ..local(CONE) });

    assert_eq!(bench.uses(), [Some((Via::Relay(RELAY), Reason::NetworkChanged))]);
    assert_eq!(bench.calls().len(), 1);
    // A pong that was under way then proves nothing now.
    let [tx] = under_way[..] else { panic!("{under_way:?}") };
    bench.probe(direct(PEER), Probe::Pong { tx, observed: address(OWN_MAPPED) });
    assert_eq!(bench.chosen().unwrap().0, Via::Relay(RELAY));
}

#[test]
fn the_same_again_is_no_news() {
    let mut bench = Bench::wanted(CONE);
    bench.clear();

    bench.local(local(CONE));

    assert!(bench.outputs.is_empty());
}

#[test]
fn an_absent_peer_is_told_and_comes_back_when_it_is_heard() {
    let mut bench = Bench::wanted(CONE);
    bench.clear();

    bench.paths.handle_absent(RELAY, bench.now);
    bench.drain();
    assert_eq!((bench.uses(), bench.paths.reason()), (vec![None], Reason::PeerAbsent));

    bench.ping(Via::Relay(RELAY), 1);
    assert_eq!(bench.chosen(), Some((Via::Relay(RELAY), Reason::RelayFirst)));
}

#[test]
fn what_brings_news_makes_an_absent_peer_worth_a_try() {
    let absent = || {
        let mut bench = Bench::wanted(CONE);
        bench.paths.handle_absent(RELAY, bench.now);
        bench.drain();
        assert_eq!(bench.chosen(), None);
        bench
    };

    let mut bench = absent();
    bench.paths.handle_endpoints(&[address(PEER)], bench.now);
    assert!(bench.chosen().is_some());

    let mut bench = absent();
    bench.paths.handle_wanted(false, bench.now);
    bench.paths.handle_wanted(true, bench.now);
    assert!(bench.chosen().is_some());
}

#[test]
fn an_absent_peer_is_called_again_every_half_minute() {
    let mut bench = Bench::wanted(CONE);
    bench.paths.handle_absent(RELAY, bench.now);
    bench.pass(Duration::from_secs(600));
    bench.clear();

    bench.pass(Duration::from_secs(600));

    let campaigns: BTreeSet<u64> = bench.calls().iter().map(|call| call.seq).collect();
    assert!((17..=20).contains(&campaigns.len()), "{}", campaigns.len());
}

#[test]
fn without_a_beacon_there_is_no_path_until_one_is_proven() {
    let mut bench = Bench::bare();
    bench.local(Local { beacons: Vec::new(), ..local(CONE) });
    bench.paths.handle_endpoints(&[address(PEER)], bench.now);
    bench.paths.handle_wanted(true, bench.now);
    bench.drain();
    assert_eq!((bench.chosen(), bench.paths.reason()), (None, Reason::NoPath));
    assert_eq!(bench.pinged(), [address(PEER)]);

    bench.answer_pings(direct(PEER));

    assert_eq!(bench.chosen(), Some((direct(PEER), Reason::DirectProven)));
}

#[test]
fn the_relay_that_is_lost_gives_way_to_another() {
    let mut bench = Bench::bare();
    let other = Beacon { id: BeaconId(2), key_prefix: [2; 8], ..local(CONE).beacons[0] };
    let both = Local { beacons: vec![local(CONE).beacons[0], other], ..local(CONE) };
    bench.local(both);
    assert_eq!(bench.chosen(), Some((Via::Relay(RELAY), Reason::RelayFirst)));

    bench.local(Local { beacons: vec![other], ..local(CONE) });

    assert_eq!(bench.chosen(), Some((Via::Relay(BeaconId(2)), Reason::RelayBetter)));
}

#[test]
fn the_local_network_takes_over_from_the_way_around() {
    let mut bench = Bench::direct();
    bench.prove(PEER_LAN);

    for _ in 0..12 {
        bench.paths.handle_traffic(BUSY, bench.now);
        bench.clear();
        bench.pass(millis(250));
        bench.answer_pings(direct(PEER));
        bench.answer_pings(direct(PEER_LAN));
    }

    assert_eq!(bench.chosen(), Some((direct(PEER_LAN), Reason::DirectNearer)));
}

#[test]
fn a_socket_that_is_gone_takes_its_path_along() {
    let mut bench = Bench::wanted(SYMMETRIC);
    let via = Via::Direct { local: LocalId(5), remote: address(PEER) };
    bench.ping(via, 1);
    bench.answer_pings(via);
    assert_eq!(bench.chosen(), Some((via, Reason::DirectProven)));

    bench.paths.handle_socket_lost(LocalId(5), bench.now);
    bench.drain();

    assert_eq!(bench.chosen(), Some((Via::Relay(RELAY), Reason::DirectDied)));
}

#[test]
fn every_reason_has_its_own_word() {
    let reasons = [
        Reason::RelayFirst,
        Reason::RelayBetter,
        Reason::DirectProven,
        Reason::DirectFaster,
        Reason::DirectNearer,
        Reason::Birthday,
        Reason::DirectDied,
        Reason::NetworkChanged,
        Reason::PeerAbsent,
        Reason::NoPath,
    ];
    let words: BTreeSet<String> = reasons.iter().map(ToString::to_string).collect();

    assert_eq!(words.len(), reasons.len());
    let snake = |word: &String| word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    assert!(words.iter().all(snake), "{words:?}");
}
