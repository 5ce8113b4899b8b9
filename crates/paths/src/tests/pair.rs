//! One path: when it is pinged, doubted, dead and forgotten.

use super::*;

const RTT: Duration = Duration::from_millis(20);
const BUSY: Duty = Duty { chosen: true, active: true, keepalive: Some(Duration::from_secs(20)) };
const IDLE: Duty = Duty { active: false, ..BUSY };
const STANDBY: Duty = Duty { chosen: false, ..BUSY };

/// Polls at every deadline; a ping is answered after [`RTT`] if `answers`
/// says so for the time it was sent.
fn run(
    pair: &mut Pair,
    duty: Duty,
    from: Instant,
    millis: u64,
    answers: impl Fn(Duration) -> bool,
) -> Vec<(u128, Due)> {
    let mut seen = Vec::new();
    let mut pongs: Vec<Instant> = Vec::new();
    let end = from + Duration::from_millis(millis);
    loop {
        let deadline = pair.deadline(duty);
        let next = pongs.first().copied().into_iter().chain(deadline).min();
        let Some(now) = next.filter(|at| *at <= end) else { return seen };
        if pongs.first() == Some(&now) {
            pongs.remove(0);
            pair.handle_pong(RTT, now);
        }
        match pair.poll(duty, now) {
            Due::Nothing => {}
            due @ (Due::Ping | Due::Died | Due::Forget) => {
                seen.push(((now - from).as_millis(), due));
                if due == Due::Ping && answers(now - from) {
                    pongs.push(now + RTT);
                }
                if due == Due::Forget {
                    return seen;
                }
            }
        }
    }
}

fn pair(now: Instant) -> Pair {
    let mut pair = Pair::proven("198.51.100.2:9".parse().unwrap(), Origin::Plain, RTT, now);
    pair.handle_pong(RTT, now);
    pair.handle_pong(RTT, now);
    pair
}

fn times(seen: &[(u128, Due)], of: Due) -> Vec<u128> {
    seen.iter().filter(|(_, due)| *due == of).map(|(at, _)| *at).collect()
}

#[test]
fn the_path_in_use_is_pinged_every_second_under_traffic() {
    let now = crate::clock::start();

    let seen = run(&mut pair(now), BUSY, now, 3_500, |_| true);

    assert_eq!(times(&seen, Due::Ping), [1_000, 2_000, 3_000]);
}

#[test]
fn the_path_in_use_is_pinged_once_a_keepalive_without_traffic() {
    let now = crate::clock::start();

    let seen = run(&mut pair(now), IDLE, now, 60_500, |_| true);

    assert_eq!(times(&seen, Due::Ping), [20_000, 40_000, 60_000]);
}

#[test]
fn a_path_that_nobody_here_wants_is_left_to_the_peer() {
    let now = crate::clock::start();

    let seen = run(&mut pair(now), Duty { keepalive: None, ..IDLE }, now, 100_000, |_| true);

    assert_eq!(seen, []);
}

#[test]
fn a_new_path_is_pinged_until_its_round_trip_is_known() {
    let now = crate::clock::start();
    let remote = "198.51.100.2:9".parse().unwrap();
    let mut new = Pair::proven(remote, Origin::Plain, RTT, now);

    let seen = run(&mut new, STANDBY, now, 21_000, |_| true);

    assert_eq!(times(&seen, Due::Ping), [250, 500, 10_500, 20_500]);
}

#[test]
fn a_path_that_stops_answering_dies_within_two_and_a_half_seconds() {
    let now = crate::clock::start();
    let mut pair = pair(now);

    let seen = run(&mut pair, BUSY, now, 3_000, |_| false);

    let pings = [1_000, 1_250, 1_500, 1_750, 2_000, 2_250, 2_500];
    assert_eq!(times(&seen, Due::Ping)[..7], pings);
    assert_eq!(times(&seen, Due::Died), [2_520]);
    assert!(!pair.is_usable());
}

#[test]
fn a_few_lost_pings_kill_nothing() {
    let now = crate::clock::start();
    let mut pair = pair(now);

    // Four of five are lost.
    let seen = run(&mut pair, BUSY, now, 60_000, |at| (at.as_millis() / 250).is_multiple_of(5));

    assert_eq!(times(&seen, Due::Died), []);
    assert!(pair.is_usable());
}

#[test]
fn a_machine_that_slept_asks_before_it_believes_in_death() {
    let now = crate::clock::start();
    let mut pair = pair(now);
    assert_eq!(pair.poll(BUSY, now + Duration::from_secs(1)), Due::Ping);

    let late = now + Duration::from_secs(3600);

    assert_eq!(pair.poll(BUSY, late), Due::Ping);
    assert_eq!(pair.poll(BUSY, late), Due::Nothing);
    pair.handle_pong(RTT, late + RTT);
    assert!(pair.is_usable());
}

#[test]
fn a_dead_path_is_probed_on_and_taken_back_after_two_pongs() {
    let now = crate::clock::start();
    let mut pair = pair(now);
    run(&mut pair, BUSY, now, 2_600, |_| false);
    let unused = Duty { chosen: false, ..BUSY };
    let from = now + Duration::from_millis(2_600);

    let seen = run(&mut pair, unused, from, 1_100, |_| true);

    // A second after the last ping, and soon again as it answers.
    assert_eq!(times(&seen, Due::Ping), [900]);
    assert!(!pair.is_usable());
    run(&mut pair, unused, from + Duration::from_millis(1_100), 200, |_| true);
    assert!(pair.is_usable());
}

#[test]
fn a_path_that_dies_often_must_prove_itself_longer() {
    let now = crate::clock::start();
    let mut pair = pair(now);

    let mut needed = Vec::new();
    for _ in 0..5 {
        pair.die(now);
        let mut pongs = 0;
        while !pair.is_usable() {
            pair.handle_pong(RTT, now);
            pongs += 1;
        }
        needed.push(pongs);
    }

    assert_eq!(needed, [2, 4, 8, 16, 16]);
}

#[test]
fn a_dead_path_is_forgotten_in_the_end() {
    let now = crate::clock::start();
    let unused = Duty { chosen: false, ..BUSY };
    let dead = |duty| {
        let mut pair = pair(now);
        pair.die(now);
        run(&mut pair, duty, now, 400_000, |_| false)
    };

    let busy = dead(unused);
    let idle = dead(Duty { active: false, ..unused });
    let unwanted = dead(Duty { keepalive: None, ..unused });

    assert_eq!(times(&busy, Due::Forget), [300_000]);
    assert_eq!(times(&idle, Due::Forget), [60_000]);
    assert_eq!(unwanted, [(0, Due::Forget)]);
    assert!(times(&busy, Due::Ping).len() < 90, "{busy:?}");
}

#[test]
fn an_alternative_that_stops_answering_is_forgotten() {
    let now = crate::clock::start();

    let seen = run(&mut pair(now), STANDBY, now, 30_000, |_| false);

    assert_eq!(times(&seen, Due::Forget), [11_520]);
    assert_eq!(times(&seen, Due::Died), []);
}

#[test]
fn an_alternative_is_left_alone_without_traffic_and_then_forgotten() {
    let now = crate::clock::start();
    let idle = Duty { active: false, ..STANDBY };

    let seen = run(&mut pair(now), idle, now, 100_000, |_| true);

    assert_eq!(seen, [(30_000, Due::Forget)]);
}

#[test]
fn what_the_peer_uses_is_kept_as_long_as_it_does() {
    let now = crate::clock::start();
    let idle = Duty { active: false, ..STANDBY };
    let mut pair = pair(now);

    for round in 1..10 {
        let at = now + Duration::from_secs(25) * round;
        assert_eq!(pair.poll(idle, at), Due::Nothing);
        pair.note_heard(at);
    }

    let last = now + Duration::from_secs(225);
    assert_eq!(pair.poll(idle, last + FRESH_PROOF), Due::Forget);
}

#[test]
fn a_doubted_path_is_asked_at_once_and_back_with_the_first_pong() {
    let now = crate::clock::start();
    let mut pair = pair(now);
    pair.doubt(now);
    assert!(!pair.is_usable());

    assert_eq!(pair.poll(STANDBY, now), Due::Ping);
    pair.handle_pong(RTT, now + RTT);

    assert!(pair.is_usable());
}
