//! Those who are not trusted, or not any more, or only claim to be.

use std::fs;
use std::time::Duration;

use pilot_identity::Scopes;
use pilot_local_api::ErrorCode;
use pilot_local_api::trust::TrustState;
use pilot_proto::close;
use pilot_proto::registry::PutGrant;
use pilot_proto::trust::TrustAnswer;
use pilot_tests::api::{Answer, refusal};
use pilot_tests::{Team, eventually};
use pilot_transport::Alpn;

use super::puppet::{Puppet, grant, id};

const PATIENCE: Duration = Duration::from_secs(5);

/// The code of a refusal, which must come with something that helps.
fn refused<T: std::fmt::Debug>(answer: Answer<T>) -> ErrorCode {
    let error = refusal(answer).unwrap();
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("pilot")), "{error:?}");
    error.code
}

#[test]
fn who_is_not_trusted_or_only_one_way_can_neither_submit_nor_ping() {
    let team = Team::start(&["target", "stranger", "admirer"]).unwrap();
    let target = team.peer("target");
    let admirer = team.api("admirer").unwrap();
    admirer.trust(&target).unwrap();
    for name in ["stranger", "admirer"] {
        let api = team.api(name).unwrap();
        assert_eq!(refused(api.submit(&target, "unwanted")), ErrorCode::NotTrusted, "{name}");
        assert_eq!(refused(api.ping(&target, PATIENCE)), ErrorCode::NotTrusted, "{name}");
    }
    // The daemon of a liar would not ask itself for leave; the target's does.
    let mut liar = Puppet::start(1, &[]).unwrap();
    liar.register(&team, "liar").unwrap();
    for granted in [false, true] {
        if granted {
            team.api("target").unwrap().trust(&liar.peer()).unwrap();
        }
        let connection = liar.dial(team.node("target"), Alpn::Peer).unwrap();
        assert_eq!(liar.closed(&connection).unwrap(), close::NOT_TRUSTED);
    }
    assert!(
        team.api("target")
            .unwrap()
            .tasks(pilot_local_api::tasks::Role::Received)
            .unwrap()
            .is_empty()
    );
    assert_eq!(team.api("target").unwrap().status().unwrap().peers.trusted, 0);
}

#[test]
fn who_lost_trust_unheard_is_told_so_by_the_peer() {
    let mut team = Team::start(&["one", "other"]).unwrap();
    team.trust("one", "other").unwrap();
    team.api("one").unwrap().ping(&team.peer("other"), PATIENCE).unwrap();
    team.api("one").unwrap().submit(&team.peer("other"), "puts the card on disk").unwrap();
    team.rendezvous.kill().unwrap();
    team.node_mut("one").kill().unwrap();
    team.api("other").unwrap().untrust(&team.peer("one")).unwrap();
    team.node_mut("one").restart().unwrap();
    let one = team.api("one").unwrap();
    assert!(one.stands(&team.peer("other"), TrustState::Trusted).unwrap());

    let code = refused(one.ping(&team.peer("other"), PATIENCE));

    assert_eq!(code, ErrorCode::PeerOneWayTrust);
    // And it learns the truth from the refusal, without the rendezvous.
    let other = team.peer("other");
    eventually("one knows", || Ok(!one.stands(&other, TrustState::Trusted)?)).unwrap();
    assert_eq!(refused(one.ping(&other, PATIENCE)), ErrorCode::NotTrusted);
}

#[test]
fn an_unsolicited_accept_makes_nobody_trusted() {
    let mut team = Team::start(&["target", "friend"]).unwrap();
    team.trust("target", "friend").unwrap();
    let mut stranger = Puppet::start(2, &[]).unwrap();
    let target_id = id(team.node("target")).unwrap();
    let claimed = team.address("friend").parse().unwrap();

    // By hand and through the mailbox, in the name of a friend's address.
    let grant = stranger.grant(target_id, Scopes::ALL, 1);
    let answer = stranger.offer(team.node("target"), grant, Some(claimed)).unwrap();
    assert_eq!(answer, TrustAnswer::Stored { yours: None });
    stranger.register(&team, "stranger").unwrap();
    assert_eq!(stranger.put(stranger.grant(target_id, Scopes::ALL, 2)).unwrap(), PutGrant::Stored);

    for _ in 0..2 {
        let target = team.api("target").unwrap();
        let check = target.trust_check(&stranger.peer());
        assert_eq!(refused(check), ErrorCode::NotTrusted);
        assert!(target.stands(&stranger.peer(), TrustState::Pending).unwrap());
        assert_eq!(target.status().unwrap().peers.trusted, 1);
        let connection = stranger.dial(team.node("target"), Alpn::Peer).unwrap();
        assert_eq!(stranger.closed(&connection).unwrap(), close::NOT_TRUSTED);
        // The address still stands for the friend.
        let friend = target.trust_show(&team.peer("friend")).unwrap();
        assert_eq!(friend.identity.public_key, id(team.node("friend")).unwrap());
        team.node_mut("target").kill().unwrap();
        team.node_mut("target").restart().unwrap();
    }
}

#[test]
fn nobody_revokes_the_trust_of_others() {
    let team = Team::start(&["one", "other"]).unwrap();
    team.trust("one", "other").unwrap();
    team.api("one").unwrap().ping(&team.peer("other"), PATIENCE).unwrap();
    let mut forger = Puppet::start(3, &[]).unwrap();
    forger.befriend(&team, "one").unwrap();
    let (one_id, other_id) = (id(team.node("one")).unwrap(), id(team.node("other")).unwrap());
    let forged = grant(other_id, one_id, Scopes::NONE, u64::MAX).sign(&forger.key);

    let by_hand = forger.offer(team.node("one"), forged.clone(), None).unwrap();
    let at_rendezvous = forger.put(forged.clone()).unwrap();
    let session = forger.session(team.node("one"), 1).unwrap();
    let mut control = forger.open(&session, 1).unwrap();
    let over_tunnel = forger
        .play(async {
            use pilot_proto::control::{ControlAnswer, ControlRequest};
            use pilot_proto::frame::MAX_SMALL_FRAME;
            control.send(&ControlRequest::Grant(forged), MAX_SMALL_FRAME).await?;
            control.expect::<ControlAnswer>(MAX_SMALL_FRAME).await
        })
        .unwrap()
        .unwrap();

    assert_eq!(by_hand, TrustAnswer::Invalid);
    assert_eq!(at_rendezvous, PutGrant::Invalid);
    assert_eq!(over_tunnel, pilot_proto::control::ControlAnswer::GrantRefused);
    for (name, peer) in [("one", "other"), ("other", "one")] {
        let api = team.api(name).unwrap();
        assert!(api.stands(&team.peer(peer), TrustState::Trusted).unwrap());
        api.ping(&team.peer(peer), PATIENCE).unwrap();
    }
}

#[test]
fn a_replayed_grant_is_refused_by_its_serial_and_brings_nothing_back() {
    let mut team = Team::start(&["target"]).unwrap();
    let mut fallen = Puppet::start(4, &[]).unwrap();
    fallen.befriend(&team, "target").unwrap();
    let target_id = id(team.node("target")).unwrap();
    let (old, revocation) =
        (fallen.grant(target_id, Scopes::ALL, 1), fallen.grant(target_id, Scopes::NONE, 2));
    let node = team.node("target");
    let said = fallen.offer(node, revocation.clone(), None).unwrap();
    assert!(matches!(said, TrustAnswer::Stored { yours: Some(_) }), "{said:?}");

    for restarted in [false, true] {
        if restarted {
            team.node_mut("target").kill().unwrap();
            team.node_mut("target").restart().unwrap();
        }
        let node = team.node("target");
        let said = fallen.offer(node, old.clone(), None).unwrap();
        assert!(matches!(said, TrustAnswer::Stale { serial: 2, .. }), "{said:?}");
        let connection = fallen.dial(node, Alpn::Peer).unwrap();
        assert_eq!(fallen.closed(&connection).unwrap(), close::NOT_TRUSTED);
    }
    let (said, put) = (fallen.put(revocation).unwrap(), fallen.put(old.clone()).unwrap());
    assert_eq!((said, put), (PutGrant::Stored, PutGrant::Stale { serial: 2 }));
    // What was said to one is nothing to another.
    team.add("bystander", &[]).unwrap();
    let said = fallen.offer(team.node("bystander"), old, None).unwrap();
    assert_eq!(said, TrustAnswer::Invalid);
}

#[test]
fn a_node_that_lost_its_key_is_another_node_whatever_it_claims() {
    let mut team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    let (manager, worker) = (team.api("manager").unwrap(), team.peer("worker"));
    manager.ping(&worker, PATIENCE).unwrap();
    let (pinned, place) =
        (id(team.node("worker")).unwrap(), team.node("worker").socket_addr().unwrap());
    team.node_mut("worker").kill().unwrap();
    fs::remove_dir_all(team.node("worker").home()).unwrap();

    // The same name, folder and socket, and a new key.
    team.add("impostor", &["--name", "worker", "--listen", &place.to_string()]).unwrap();

    let impostor = team.api("impostor").unwrap().whoami().unwrap().identity;
    assert_ne!(impostor.public_key, pinned);
    assert_eq!(impostor.name, None, "the name is the old key's");
    assert_ne!(impostor.address.unwrap().to_string(), team.address("worker"));
    let pinged = manager.ping(&worker, Duration::from_secs(1));
    assert_eq!(refused(pinged), ErrorCode::PeerUnreachable);
    let task = manager.submit(&worker, "for the old key only").unwrap();
    let at_impostor = team.api("impostor").unwrap();
    assert_eq!(refused(at_impostor.submit(&team.peer("manager"), "x")), ErrorCode::NotTrusted);
    assert_eq!(at_impostor.accept_within(Duration::from_millis(500)).unwrap(), None);
    assert_eq!(manager.task(task.id).unwrap().peer.unwrap().public_key, pinned);
    assert_eq!(manager.resolve(&"worker".parse().unwrap()).unwrap().public_key, Some(pinned));
}

#[test]
fn a_rendezvous_that_names_another_key_for_an_address_is_not_believed() {
    let mut team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    team.api("manager").unwrap().ping(&team.peer("worker"), PATIENCE).unwrap();
    let pinned = id(team.node("worker")).unwrap();
    team.node_mut("worker").process().unwrap().freeze().unwrap();
    team.rendezvous.kill().unwrap();
    // It keeps its own key and forgets whose the addresses are.
    for file in fs::read_dir(team.path("rendezvous")).unwrap() {
        let path = file.unwrap().path();
        if path.to_string_lossy().contains(".db") {
            fs::remove_file(path).unwrap();
        }
    }
    team.rendezvous.restart().unwrap();
    let manager = team.api("manager").unwrap();
    let back = || Ok(manager.resolve(&team.peer("manager")).is_ok());
    eventually("the manager is registered", back).unwrap();
    let mut thief = Puppet::start(5, &[]).unwrap();
    let stolen = thief.register(&team, "thief").unwrap().address;
    assert_eq!(stolen.to_string(), team.address("worker"));

    let error = refusal(manager.trust(&team.peer("worker"))).unwrap();

    assert_eq!(error.code, ErrorCode::IdentityChanged);
    assert!(error.hint.is_some_and(|hint| hint.contains("pilotctl untrust")));
    let details = &error.details["pinned_fingerprint"];
    assert_eq!(details.as_str(), Some(pinned.fingerprint().to_string().as_str()));
    let task = manager.submit(&team.peer("worker"), "for the pinned key").unwrap();
    assert_eq!(task.peer.unwrap().public_key, pinned);
    team.node_mut("worker").process().unwrap().thaw().unwrap();
    assert_eq!(team.api("worker").unwrap().accept().unwrap().id, task.id);
}

#[test]
fn a_rendezvous_with_another_key_is_refused_and_peers_are_still_reached() {
    let mut team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    let manager = team.api("manager").unwrap();
    manager.ping(&team.peer("worker"), PATIENCE).unwrap();
    manager.submit(&team.peer("worker"), "puts the card on disk").unwrap();
    team.rendezvous.kill().unwrap();
    fs::remove_dir_all(team.path("rendezvous")).unwrap();

    team.rendezvous.restart().unwrap();
    // So that it need not wait for the old line to go silent.
    team.node_mut("manager").restart().unwrap();

    eventually("it is known for another one", || {
        let status = manager.status()?.rendezvous;
        Ok(!status.connected && status.last_error.is_some_and(|error| error.contains("key")))
    })
    .unwrap();
    manager.ping(&team.peer("worker"), PATIENCE).unwrap();
    let address = manager.whoami().unwrap().identity.address.unwrap();
    assert_eq!(address.to_string(), team.address("manager"));
}
