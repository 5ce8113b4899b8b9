//! Trust with the rendezvous away and with one side away.

use std::time::Duration;

use pilot_local_api::ErrorCode;
use pilot_local_api::trust::TrustState;
use pilot_tests::api::refusal;
use pilot_tests::{Team, eventually};

/// Waits until `name` stands so with `peer`.
fn stands(team: &Team, name: &str, peer: &str, state: TrustState) {
    let (api, peer) = (team.api(name).unwrap(), team.peer(peer));
    let what = format!("{name} is {} with {peer}", state.word());
    eventually(&what, || Ok(api.stands(&peer, state)?)).unwrap();
}

#[test]
fn trust_becomes_mutual_with_one_side_away_at_each_step() {
    let mut team = Team::start(&["one", "other"]).unwrap();
    team.node_mut("other").kill().unwrap();

    let asked = team.api("one").unwrap().trust(&team.peer("other")).unwrap();
    assert_eq!(asked.state, TrustState::Requested);
    assert_eq!(asked.identity.address.unwrap().to_string(), team.address("other"));
    // Whether it had the request or not, it has it when it is back.
    team.rendezvous.kill().unwrap();
    team.rendezvous.restart().unwrap();
    team.node_mut("other").restart().unwrap();
    stands(&team, "other", "one", TrustState::Pending);
    team.node_mut("one").process().unwrap().stop(Duration::from_secs(5)).unwrap();
    let other = team.api("other").unwrap();
    assert_eq!(other.trust(&team.peer("one")).unwrap().state, TrustState::Trusted);
    // Only who trusts each other see each other, so the answer is there.
    let seen = || Ok(other.resolve(&team.peer("one"))?.visible);
    eventually("the answer is at the rendezvous", seen).unwrap();
    team.node_mut("other").kill().unwrap();
    team.rendezvous.kill().unwrap();
    team.rendezvous.restart().unwrap();

    team.node_mut("one").restart().unwrap();
    stands(&team, "one", "other", TrustState::Trusted);
    team.node_mut("other").restart().unwrap();
    stands(&team, "other", "one", TrustState::Trusted);
    team.api("one").unwrap().ping(&team.peer("other"), Duration::from_secs(5)).unwrap();
}

#[test]
fn an_answer_given_while_the_rendezvous_is_away_arrives_when_it_is_back() {
    let mut team = Team::start(&["one", "other"]).unwrap();
    team.api("one").unwrap().trust(&team.peer("other")).unwrap();
    stands(&team, "other", "one", TrustState::Pending);
    team.rendezvous.kill().unwrap();

    let answered = team.api("other").unwrap().trust(&team.peer("one")).unwrap();

    assert_eq!(answered.state, TrustState::Trusted);
    assert!(team.api("one").unwrap().stands(&team.peer("other"), TrustState::Requested).unwrap());
    // Not even a kill loses it.
    team.node_mut("other").kill().unwrap();
    team.node_mut("other").restart().unwrap();
    team.rendezvous.restart().unwrap();
    stands(&team, "one", "other", TrustState::Trusted);
    team.api("one").unwrap().ping(&team.peer("other"), Duration::from_secs(5)).unwrap();
}

#[test]
fn a_peer_never_heard_of_cannot_be_trusted_without_the_rendezvous() {
    let mut team = Team::start(&["one", "other"]).unwrap();
    team.rendezvous.kill().unwrap();
    team.node_mut("one").restart().unwrap();

    let refused = refusal(team.api("one").unwrap().trust(&team.peer("other"))).unwrap();

    assert_eq!(refused.code, ErrorCode::RendezvousUnreachable);
    assert!(refused.retryable && refused.hint.is_some(), "{refused:?}");
}

#[test]
fn a_peer_can_be_used_the_moment_it_is_trusted() {
    let team = Team::start(&["one", "other", "third"]).unwrap();
    for (a, b) in [("one", "other"), ("third", "one"), ("other", "third")] {
        team.trust(a, b).unwrap();
        team.api(a).unwrap().ping(&team.peer(b), Duration::from_secs(5)).unwrap();
        team.api(b).unwrap().ping(&team.peer(a), Duration::from_secs(5)).unwrap();
    }
}
