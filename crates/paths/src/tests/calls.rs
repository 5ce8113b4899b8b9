//! Calls: when they are made, how they are answered, and what follows.

use pilot_proto::probe::{Candidates, Method, Nat, Probe};

use super::bench::{
    Bench, CONE, OWN, OWN_MAPPED, PEER, PEER_LAN, RELAY, STRICT, SYMMETRIC, address, call, direct,
    local, millis,
};
use crate::{Local, LocalId, Opened, Output, Purpose, Reason, Via};

const FRESH_MAPPED: &str = "198.51.100.2:50123";

/// The times at which this address was pinged, in milliseconds.
fn pinged_at(bench: &Bench, remote: &str) -> Vec<u128> {
    let to = |output: &Output| match output {
        Output::Send { via: Via::Direct { remote: to, .. }, probe: Probe::Ping { .. } } => {
            *to == address(remote)
        }
        Output::Send { .. }
        | Output::Use(_)
        | Output::OpenSockets { .. }
        | Output::CloseSockets(_) => false,
    };
    let outputs = bench.outputs.iter().filter(|(_, output)| to(output));
    outputs.map(|(at, _)| at.as_millis()).collect()
}

/// The shell opened the socket that was asked for last.
fn give_fresh(bench: &mut Bench, number: u32, mapped: Option<&str>) {
    let (request, count, purpose) = *bench.opened().last().unwrap();
    assert_eq!((count, purpose), (1, Purpose::Fresh));
    let sockets = vec![(LocalId(number), mapped.map(address))];
    bench.paths.handle_sockets(Opened { request, sockets }, bench.now);
    bench.drain();
}

#[test]
fn a_wanted_peer_is_called_at_once_with_all_there_is_to_know() {
    let bench = Bench::wanted(STRICT);

    let [call] = &bench.calls()[..] else { panic!("{:?}", bench.outputs) };

    assert!(!call.answer);
    assert_eq!((call.method, call.nat), (Method::Together, STRICT));
    assert_eq!(call.mapped, Some(address(OWN_MAPPED)));
    assert_eq!(call.candidates, Candidates::new([OWN, OWN_MAPPED].map(address)));
    assert_eq!(call.beacons.as_slice().len(), 1);
    assert_eq!(call.start_in_ms, 0, "the round trip is not known yet");
}

#[test]
fn a_call_without_an_answer_is_sent_three_times_and_then_rests() {
    let mut bench = Bench::wanted(CONE);

    bench.pass(millis(4_000));

    let calls = bench.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call.seq == calls[0].seq));
    bench.pass(millis(120_000));
    let mut seqs: Vec<u64> = bench.calls().iter().map(|call| call.seq).collect();
    seqs.dedup();
    // After 5, 10, 20, 40 s, with the tries between.
    assert_eq!(seqs.len(), 5, "{seqs:?}");
}

#[test]
fn the_answer_starts_five_rounds_to_all_candidates() {
    let mut bench = Bench::wanted(CONE);
    bench.pass(millis(40));
    bench.clear();

    bench.answer_call(CONE);
    bench.pass(millis(2_000));

    for remote in [PEER, PEER_LAN] {
        let main: Vec<u128> = pinged_at(&bench, remote).into_iter().take(5).collect();
        assert_eq!(main, [40, 240, 440, 640, 840], "{remote}");
    }
}

#[test]
fn the_start_is_when_the_peer_starts() {
    let mut bench = Bench::wanted(CONE);
    bench.pass(millis(60));
    let asked = bench.asked();
    bench.clear();

    // It starts 80 ms after its answer left, which was 30 ms ago.
    let answer = pilot_proto::probe::Call {
        start_in_ms: 80,
        ..call(asked.seq, true, Method::Together, CONE)
    };
    bench.probe(Via::Relay(RELAY), Probe::Call(answer));
    bench.pass(millis(300));

    assert_eq!(pinged_at(&bench, PEER), [110, 310]);
    // The next call tells what was measured.
    bench.pass(millis(10_000));
    give_fresh(&mut bench, 5, Some(FRESH_MAPPED));
}

#[test]
fn those_behind_nats_are_not_pinged_before_they_answer_and_neighbours_are() {
    let mut bench = Bench::bare();
    bench.local(local(CONE));
    bench.paths.handle_endpoints(&[PEER, PEER_LAN].map(address), bench.now);
    bench.paths.handle_wanted(true, bench.now);
    bench.drain();

    bench.pass(millis(250));
    assert_eq!(pinged_at(&bench, PEER), Vec::<u128>::new());
    assert_eq!(pinged_at(&bench, PEER_LAN), [0, 200]);
    // No answer: now nothing is lost by it.
    bench.pass(millis(200));
    assert_eq!(pinged_at(&bench, PEER), [400]);
}

#[test]
fn an_absent_peer_is_not_waited_for() {
    let mut bench = Bench::bare();
    bench.local(local(CONE));
    bench.paths.handle_endpoints(&[address(PEER)], bench.now);
    bench.paths.handle_wanted(true, bench.now);
    bench.pass(millis(20));
    bench.paths.handle_absent(RELAY, bench.now);
    bench.drain();

    assert_eq!(pinged_at(&bench, PEER), [20]);
}

#[test]
fn an_answer_to_another_call_or_too_late_or_direct_is_nothing() {
    let mut bench = Bench::wanted(CONE);
    let asked = bench.asked();
    bench.clear();
    let answer = |seq| Probe::Call(call(seq, true, Method::Together, CONE));

    bench.probe(Via::Relay(RELAY), answer(asked.seq + 1));
    bench.probe(direct(PEER), answer(asked.seq));
    // The rounds for want of an answer, and a second campaign with its own.
    bench.pass(millis(6_400));
    bench.probe(Via::Relay(RELAY), answer(asked.seq));
    bench.pass(millis(2_000));

    assert!(bench.calls().len() > 3);
    assert_eq!(bench.pinged(), []);
}

#[test]
fn the_peers_call_is_answered_and_rounds_start_when_the_answer_is_there() {
    let mut bench = Bench::bare();
    bench.local(local(STRICT));
    let asked =
        pilot_proto::probe::Call { start_in_ms: 60, ..call(9, false, Method::Together, CONE) };

    bench.probe(Via::Relay(RELAY), Probe::Call(asked));
    bench.pass(millis(500));

    let [answer] = &bench.calls()[..] else { panic!("{:?}", bench.outputs) };
    assert_eq!((answer.seq, answer.answer, answer.start_in_ms), (9, true, 30));
    assert_eq!(answer.nat, STRICT);
    assert_eq!(pinged_at(&bench, PEER), [30, 230, 430]);
}

#[test]
fn what_a_peer_names_is_pinged_only_if_it_can_be_a_host_there() {
    let mut bench = Bench::bare();
    bench.local(local(CONE));
    let hostile = [
        "224.0.0.1:5353",
        "255.255.255.255:9",
        "0.0.0.0:80",
        "127.0.0.1:22",
        "[ff02::1]:9",
        "[::1]:22",
        "198.51.100.3:0",
        OWN,
        OWN_MAPPED,
    ];
    let asked = pilot_proto::probe::Call {
        candidates: Candidates::new(hostile.map(address)),
        ..call(9, false, Method::Together, CONE)
    };

    bench.probe(Via::Relay(RELAY), Probe::Call(asked));
    bench.pass(millis(2_000));

    assert_eq!(bench.pinged(), []);
}

#[test]
fn a_fresh_mapping_follows_when_the_main_socket_does_not_get_through() {
    let mut bench = Bench::wanted(STRICT);
    bench.pass(millis(40));
    bench.answer_call(STRICT);
    bench.pass(millis(600));
    give_fresh(&mut bench, 5, Some(FRESH_MAPPED));

    let asked = bench.asked();
    assert_eq!(asked.method, Method::CallerFirst);
    assert_eq!(asked.candidates.as_slice()[0], address(FRESH_MAPPED));
    assert_eq!(asked.start_in_ms, 40, "as measured");
    bench.clear();
    bench.answer_call_later(30, STRICT);
    let fresh = Via::Direct { local: LocalId(5), remote: address(PEER) };
    assert_eq!(bench.pings(fresh).len(), 1, "the caller begins");

    bench.answer_pings(fresh);
    assert_eq!(bench.chosen(), Some((fresh, Reason::DirectProven)));
    bench.pass(millis(10_000));
    assert_eq!(bench.closed(), [], "it is in use");
}

#[test]
fn a_fresh_socket_that_the_peer_pings_stays_though_another_path_is_proven_first() {
    let mut bench = Bench::wanted(STRICT);
    bench.pass(millis(40));
    bench.answer_call(STRICT);
    bench.pass(millis(600));
    give_fresh(&mut bench, 5, Some(FRESH_MAPPED));

    bench.ping(Via::Direct { local: LocalId(5), remote: address(PEER) }, 1);
    bench.prove(PEER);
    assert_eq!(bench.chosen().map(|(via, _)| via), Some(direct(PEER)));
    bench.pass(millis(29_000));
    assert_eq!(bench.closed(), [], "the peer may have chosen it");

    bench.pass(millis(2_000));
    assert_eq!(bench.closed(), [LocalId(5)]);
}

#[test]
fn then_the_other_one_begins_and_what_does_not_help_is_closed() {
    let mut bench = Bench::wanted(STRICT);
    bench.pass(millis(40));
    bench.answer_call(STRICT);
    bench.pass(millis(600));
    give_fresh(&mut bench, 5, Some(FRESH_MAPPED));
    bench.answer_call_later(40, STRICT);
    bench.pass(millis(600));
    give_fresh(&mut bench, 6, Some("198.51.100.2:50124"));

    assert_eq!(bench.asked().method, Method::AnswererFirst);
    bench.clear();
    bench.answer_call_later(40, STRICT);
    let fresh = Via::Direct { local: LocalId(6), remote: address(PEER) };
    assert_eq!(bench.pings(fresh).len(), 0, "the other one begins");
    bench.pass(millis(100));
    assert_eq!(bench.pings(fresh).len(), 1);

    bench.pass(millis(5_000));
    assert_eq!(bench.closed(), [LocalId(5), LocalId(6)]);
}

#[test]
fn a_fresh_socket_that_nobody_can_see_is_given_back() {
    let mut bench = Bench::wanted(STRICT);
    bench.answer_call(STRICT);
    bench.pass(millis(600));

    give_fresh(&mut bench, 5, None);

    assert_eq!(bench.closed(), [LocalId(5)]);
    // On with the next attempt.
    assert_eq!(bench.opened().len(), 2);
}

#[test]
fn sockets_that_come_too_late_are_given_back() {
    let mut bench = Bench::wanted(STRICT);
    bench.answer_call(STRICT);
    bench.pass(millis(600));
    bench.prove(PEER);

    give_fresh(&mut bench, 5, Some(FRESH_MAPPED));

    assert_eq!(bench.closed(), [LocalId(5)]);
}

#[test]
fn where_nothing_can_help_nothing_is_tried_but_the_candidates() {
    for (own, peer) in [(SYMMETRIC, SYMMETRIC), (Nat::BLOCKED, CONE), (CONE, Nat::BLOCKED)] {
        let mut bench = Bench::wanted(own);
        bench.answer_call(peer);

        bench.pass(millis(4_000));

        assert_eq!(bench.opened(), []);
        assert!(!bench.pinged().is_empty());
    }
}

#[test]
fn news_while_an_attempt_is_under_way_begins_anew_after_it() {
    let mut bench = Bench::wanted(Nat::UNKNOWN);
    bench.answer_call(SYMMETRIC);
    bench.local(local(SYMMETRIC));
    bench.clear();

    bench.pass(millis(1_500));

    assert_eq!(bench.calls().len(), 2, "{:?}", bench.calls());
    assert_eq!(bench.asked().nat, SYMMETRIC);
}

#[test]
fn much_news_is_no_flood_of_calls() {
    let mut bench = Bench::wanted(CONE);
    bench.pass(millis(4_000));
    bench.clear();

    for port in 0..100 {
        let mapped = address(&format!("198.51.100.2:{}", 10_000 + port));
        bench.local(Local { mapped: Some(mapped), ..local(CONE) });
        bench.pass(millis(100));
    }

    assert!(bench.calls().len() <= 31, "{}", bench.calls().len());
}

impl Bench {
    /// The answer comes after so many milliseconds, and the peer starts at once.
    fn answer_call_later(&mut self, after: u64, nat: Nat) {
        self.pass(millis(after));
        self.answer_call(nat);
        self.pass(millis(0));
    }
}
