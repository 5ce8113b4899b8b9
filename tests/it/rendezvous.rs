//! What a rendezvous tells whom, and what works without one.

mod reach;
mod trust;

use std::time::{Duration, Instant};

use pilot_identity::NodeKey;
use pilot_local_api::ErrorCode;
use pilot_local_api::peers::ResolveView;
use pilot_local_api::trust::TrustState;
use pilot_proto::PeerRef;
use pilot_tests::api::refusal;
use pilot_tests::{Team, eventually};
use zeroize::Zeroizing;

/// Nodes must be registered again so soon after the rendezvous is back.
const BACK: Duration = Duration::from_secs(5);

#[test]
fn of_a_private_node_a_stranger_learns_only_that_its_address_is_taken() {
    let mut team = Team::start(&["secret", "friend", "stranger"]).unwrap();
    team.trust("secret", "friend").unwrap();
    let (friend, stranger) = (team.api("friend").unwrap(), team.api("stranger").unwrap());
    let address = team.peer("secret");
    let key = PeerRef::Key(team.api("secret").unwrap().whoami().unwrap().identity.public_key);
    let name: PeerRef = "secret".parse().unwrap();
    let nobody = NodeKey::from_seed(&Zeroizing::new([9; 32])).id().to_string();

    let seen = stranger.resolve(&address).unwrap();

    assert_eq!(seen, nothing_but(&address));
    for (wanted, nobody) in [(&name, "hidden"), (&key, nobody.as_str())] {
        let hidden = refusal(stranger.resolve(wanted)).unwrap();
        let missing = refusal(stranger.resolve(&nobody.parse().unwrap())).unwrap();
        assert_eq!((hidden.code, missing.code), (ErrorCode::UnknownPeer, ErrorCode::UnknownPeer));
        let neutral = |text: &str, name: &str| text.replace(name, "X");
        assert_eq!(
            neutral(&hidden.message, &wanted.to_string()),
            neutral(&missing.message, nobody),
            "the words tell who is there"
        );
        assert!(hidden.hint.is_some());
    }
    assert!(stranger.peers().unwrap().is_empty());
    let known = friend.resolve(&name).unwrap();
    assert_eq!((known.visible, known.online), (true, Some(true)));
    assert_eq!(known.public_key.map(PeerRef::Key), Some(key));

    team.node_mut("secret").process().unwrap().stop(BACK).unwrap();
    eventually("the friend sees it leave", || Ok(friend.resolve(&name)?.online == Some(false)))
        .unwrap();
    assert_eq!(stranger.resolve(&address).unwrap(), nothing_but(&address));
}

#[test]
fn a_public_node_is_seen_by_everybody_and_still_lets_nobody_in() {
    let mut team = Team::start(&["stranger"]).unwrap();
    team.add("open", &["-public", "--tag", "gpu=a100"]).unwrap();
    let stranger = team.api("stranger").unwrap();
    let open = team.api("open").unwrap().whoami().unwrap().identity;

    let seen = stranger.resolve(&"open".parse().unwrap()).unwrap();

    assert_eq!((seen.visible, seen.online, seen.path), (true, Some(true), None));
    assert_eq!((seen.address, seen.public_key), (open.address, Some(open.public_key)));
    assert!(seen.tags.contains(&"gpu=a100".parse().unwrap()));
    let listed = stranger.peers().unwrap();
    assert_eq!(listed.iter().map(|peer| peer.identity.clone()).collect::<Vec<_>>(), [open]);
    assert_eq!(listed[0].trust, TrustState::None);
    let refused = refusal(stranger.ping(&team.peer("open"), BACK)).unwrap();
    assert_eq!(refused.code, ErrorCode::NotTrusted);
    assert!(refused.hint.is_some_and(|hint| hint.starts_with("pilotctl trust ")));
}

#[test]
fn a_name_belongs_to_the_first_who_had_it_also_while_that_one_is_away() {
    let mut team = Team::start(&["backend", "observer"]).unwrap();
    team.trust("backend", "observer").unwrap();
    let first = team.api("backend").unwrap().whoami().unwrap().identity;
    team.node_mut("backend").kill().unwrap();

    team.add("second", &["--name", "backend"]).unwrap();

    let second = team.api("second").unwrap();
    assert_eq!(second.whoami().unwrap().identity.name, None);
    let warned = second.status().unwrap().warnings;
    assert!(warned.iter().any(|text| text.contains("taken") && text.contains("--name")));
    team.node_mut("backend").restart().unwrap();
    team.node_mut("backend").registered().unwrap();
    assert_eq!(team.api("backend").unwrap().whoami().unwrap().identity, first);
    let found = team.api("observer").unwrap().resolve(&"backend".parse().unwrap()).unwrap();
    assert_eq!(found.public_key, Some(first.public_key));
}

#[test]
fn nodes_register_again_within_five_seconds_of_its_return() {
    let mut team = Team::start(&["quiet", "restarted"]).unwrap();
    team.rendezvous.kill().unwrap();
    team.node_mut("restarted").restart().unwrap();
    let restarted = team.api("restarted").unwrap();
    // By then it has tried for as long as one try takes, and its pauses have grown.
    eventually("it has given up a try", || {
        let rendezvous = restarted.status()?.rendezvous;
        assert!(!rendezvous.connected);
        Ok(rendezvous.last_error.is_some())
    })
    .unwrap();
    let status = restarted.status().unwrap();
    assert!(status.warnings.iter().any(|text| text.contains("not registered")), "{status:?}");

    let quiet = team.api("quiet").unwrap();
    // It may not know yet that its connection is dead: only a later one counts.
    let before = quiet.status().unwrap().rendezvous.since;

    team.rendezvous.restart().unwrap();

    let back = Instant::now();
    for (name, api) in [("quiet", quiet), ("restarted", restarted)] {
        eventually(&format!("{name} is registered"), || {
            let rendezvous = api.status()?.rendezvous;
            Ok(rendezvous.connected && (name == "restarted" || rendezvous.since != before))
        })
        .unwrap();
        assert!(back.elapsed() < BACK, "{name}: {:?}", back.elapsed());
        let address = api.whoami().unwrap().identity.address.unwrap();
        assert_eq!(address.to_string(), team.address(name));
    }
}

/// All that a stranger may see.
fn nothing_but(address: &PeerRef) -> ResolveView {
    ResolveView {
        address: Some(address.to_string().parse().unwrap()),
        visible: false,
        name: None,
        public_key: None,
        fingerprint: None,
        tags: pilot_proto::Tags::default(),
        online: None,
        polo: None,
        path: None,
        trust: TrustState::None,
        last_seen: None,
    }
}
