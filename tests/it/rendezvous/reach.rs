//! A peer that was killed is reachable again at once.

use std::time::{Duration, Instant};

use pilot_local_api::ErrorCode;
use pilot_tests::Team;
use pilot_tests::api::refusal;

/// After which a peer that is back must answer.
const SOON: Duration = Duration::from_secs(1);

/// After which a peer that is gone must be known to be.
const GONE: Duration = Duration::from_secs(10);

/// Who asks first after the return.
#[derive(Debug, Clone, Copy)]
enum First {
    Survivor,
    Returned,
}

#[test]
fn a_killed_peer_is_reached_within_a_second_of_its_return() {
    let cases = [true, false].map(|up| [First::Survivor, First::Returned].map(|first| (up, first)));
    std::thread::scope(|scope| {
        for (rendezvous_up, first) in cases.into_iter().flatten() {
            scope.spawn(move || back_before_it_is_missed_and_after(rendezvous_up, first));
        }
    });
}

fn back_before_it_is_missed_and_after(rendezvous_up: bool, first: First) {
    let mut team = Team::start(&["survivor", "victim"]).unwrap();
    meet(&team);
    if !rendezvous_up {
        team.rendezvous.kill().unwrap();
    }
    let case = format!("rendezvous up: {rendezvous_up}, {first:?} first");

    team.node_mut("victim").kill().unwrap();
    team.node_mut("victim").restart().unwrap();
    let took = until_reached(&team, first);
    assert!(took < SOON, "{case}, not missed: {took:?}");

    let killed = Instant::now();
    team.node_mut("victim").kill().unwrap();
    let survivor = team.api("survivor").unwrap();
    let gone = refusal(survivor.ping(&team.peer("victim"), GONE.mul_f32(0.99))).unwrap();
    assert_eq!(gone.code, ErrorCode::PeerUnreachable, "{case}");
    assert!(gone.retryable && gone.hint.is_some(), "{gone:?}");
    assert!(killed.elapsed() < GONE + SOON, "{case}: {:?}", killed.elapsed());
    assert_eq!(survivor.status().unwrap().peers.connected, 0, "{case}: not known to be gone");
    // From here on the survivor dials in vain.
    team.node_mut("victim").restart().unwrap();
    let took = until_reached(&team, first);
    assert!(took < SOON, "{case}, missed: {took:?}");
}

#[test]
fn a_peer_that_returns_in_the_midst_of_vain_tries_is_reached_within_a_second() {
    let mut team = Team::start(&["survivor", "victim"]).unwrap();
    meet(&team);
    team.rendezvous.kill().unwrap();
    // Shortly after each of the packets that a dial sends until it is answered.
    for tried_for in [100, 1100, 3100, 4500].map(Duration::from_millis) {
        team.node_mut("victim").kill().unwrap();
        team.node_mut("survivor").restart().unwrap();
        let survivor = team.api("survivor").unwrap();
        survivor.submit(&team.peer("victim"), "keeps the survivor dialling").unwrap();
        let gone = refusal(survivor.ping(&team.peer("victim"), tried_for)).unwrap();
        assert_eq!(gone.code, ErrorCode::PeerUnreachable);

        team.node_mut("victim").restart().unwrap();

        let took = until_reached(&team, First::Survivor);
        assert!(took < SOON, "after trying for {tried_for:?}: {took:?}");
    }
}

/// Each trusts the other, has met it, and has on disk where it is.
fn meet(team: &Team) {
    team.trust("survivor", "victim").unwrap();
    for (one, other) in [("survivor", "victim"), ("victim", "survivor")] {
        let (api, other) = (team.api(one).unwrap(), team.peer(other));
        api.ping(&other, GONE).unwrap();
        // What is acknowledged is on disk, and so is what came before it.
        api.submit(&other, "after the meeting").unwrap();
    }
}

/// How long one takes to reach the other, from now on.
fn until_reached(team: &Team, first: First) -> Duration {
    let (asking, asked) = match first {
        First::Survivor => ("survivor", "victim"),
        First::Returned => ("victim", "survivor"),
    };
    let began = Instant::now();
    team.api(asking).unwrap().ping(&team.peer(asked), GONE).unwrap();
    began.elapsed()
}
