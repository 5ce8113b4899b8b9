//! What a user of the machine may rely on.

use pilot_identity::Scope;
use pilot_proto::{Address, PeerRef};

use super::*;
use crate::{
    Card, CardSource, GrantError, IdentityChanged, RestoreError, RevokeError, Standing, TrustState,
    Via,
};

#[test]
fn a_grant_is_on_disk_before_it_is_delivered_and_asks_only() {
    let mut trust = node(1);

    let state = trust.grant(id(2), TERMS, NOW).unwrap();

    assert_eq!(state, TrustState::Requested);
    let outputs = drain(&mut trust);
    assert_eq!(kinds(&outputs), ["persist", "deliver", "changed"]);
    assert!(!trust.is_mutual(id(2), NOW));
    assert!(!trust.allows(id(2), Scope::Tasks, NOW));
    let sent = delivered(outputs);
    assert_eq!(sent[0].verify(), Ok(&grant(1, 2, NOW.as_millis())));
}

#[test]
fn trust_is_mutual_once_both_granted_whoever_was_first() {
    for a_first in [true, false] {
        let (mut a, mut b) = (node(1), node(2));
        let (first, second) = if a_first { (&mut a, &mut b) } else { (&mut b, &mut a) };
        first.grant(second.me(), TERMS, NOW).unwrap();
        for sent in delivered(drain(first)) {
            second.handle_grant(&sent, None, NOW);
        }
        assert_eq!(second.state(first.me(), NOW), TrustState::Pending);

        assert_eq!(second.grant(first.me(), TERMS, NOW), Ok(TrustState::Mutual));
        for sent in delivered(drain(second)) {
            first.handle_grant(&sent, None, NOW);
        }

        assert!(a.is_mutual(id(2), NOW) && b.is_mutual(id(1), NOW));
        assert_eq!(a.peers_mutual(NOW).collect::<Vec<_>>(), [id(2)]);
    }
}

#[test]
fn granting_the_same_again_takes_no_new_serial() {
    let mut trust = trusting(1, 2);
    let before = serial_to(&trust, 2);

    assert_eq!(trust.grant(id(2), TERMS, at(2_000)), Ok(TrustState::Mutual));
    assert_eq!(kinds(&drain(&mut trust)), ["deliver"], "it is not known to have arrived");
    trust.handle_delivered(id(2), before, Via::Peer);
    assert_eq!(kinds(&drain(&mut trust)), ["persist"]);
    trust.grant(id(2), TERMS, at(2_000)).unwrap();
    assert_eq!(kinds(&drain(&mut trust)), [""; 0]);
    assert_eq!(serial_to(&trust, 2), before);

    let narrower = GrantTerms { scopes: "tasks".parse().unwrap(), ..TERMS };
    trust.grant(id(2), narrower, NOW).unwrap();
    assert_eq!(serial_to(&trust, 2), before + 1, "even within the same millisecond");
    assert_eq!(kinds(&drain(&mut trust)), ["persist", "deliver", "changed"]);
}

#[test]
fn a_scope_counts_at_its_receiver() {
    let mut trust = node(1);
    let terms = GrantTerms { scopes: "tasks,data".parse().unwrap(), ..TERMS };
    trust.grant(id(2), terms, NOW).unwrap();
    let events = Grant { scopes: "events".parse().unwrap(), ..grant(2, 1, 1) }.sign(&key(2));
    trust.handle_grant(&events, None, NOW);

    assert!(trust.allows(id(2), Scope::Tasks, NOW) && trust.allows(id(2), Scope::Data, NOW));
    assert!(!trust.allows(id(2), Scope::Events, NOW));
    assert!(trust.may_use(id(2), Scope::Events, NOW));
    assert!(!trust.may_use(id(2), Scope::Tasks, NOW));
    assert!(!trust.allows(id(3), Scope::Tasks, NOW));
}

#[test]
fn a_revocation_holds_at_once_and_is_said_once() {
    let mut trust = trusting(1, 2);

    assert_eq!(trust.revoke(id(2), NOW), Ok(TrustState::None));

    assert!(!trust.is_mutual(id(2), NOW));
    let outputs = drain(&mut trust);
    assert_eq!(kinds(&outputs), ["persist", "deliver", "changed"]);
    assert!(matches!(outputs[2], Output::Changed { standing, .. } if !standing.is_mutual()));
    let sent = delivered(outputs);
    assert!(sent[0].verify().unwrap().scopes.is_empty());

    trust.handle_delivered(id(2), serial_to(&trust, 2), Via::Peer);
    drain(&mut trust);
    assert_eq!(trust.revoke(id(2), NOW), Ok(TrustState::None));
    assert_eq!(kinds(&drain(&mut trust)), [""; 0]);
    assert_eq!(trust.revoke(id(3), NOW), Err(RevokeError::Unknown));
}

#[test]
fn the_peers_revocation_closes_too() {
    let mut trust = trusting(1, 2);
    let revoked = Grant { scopes: Scopes::NONE, ..grant(2, 1, 2) }.sign(&key(2));

    assert_eq!(trust.handle_grant(&revoked, None, NOW), crate::Received::Stored);

    assert_eq!(trust.state(id(2), NOW), TrustState::Requested);
    assert_eq!(kinds(&drain(&mut trust)), ["persist", "changed"]);
}

#[test]
fn a_declined_request_is_not_pending_until_a_new_one_comes() {
    let mut trust = node(1);
    trust.handle_grant(&signed(2, 1, 1), None, NOW);
    assert_eq!(trust.pending(NOW).count(), 1);

    trust.revoke(id(2), NOW).unwrap();
    assert_eq!(trust.state(id(2), NOW), TrustState::None);
    assert_eq!(trust.pending(NOW).count(), 0);

    trust.handle_grant(&signed(2, 1, 2), None, NOW);
    assert_eq!(trust.state(id(2), NOW), TrustState::Pending);
    trust.revoke(id(2), NOW).unwrap();
    assert_eq!(trust.grant(id(2), TERMS, NOW), Ok(TrustState::Mutual));
}

#[test]
fn either_grant_ends_trust_when_it_expires() {
    for ours_expires in [true, false] {
        let mut trust = node(1);
        let end = |mine: bool| (mine == ours_expires).then_some(at(5_000));
        trust.grant(id(2), GrantTerms { expires_at: end(true), ..TERMS }, NOW).unwrap();
        let theirs = Grant { expires_at: end(false), ..grant(2, 1, 1) }.sign(&key(2));
        trust.handle_grant(&theirs, None, NOW);
        drain(&mut trust);
        assert_eq!(trust.next_deadline(), Some(at(5_000)));

        trust.handle_timeout(at(4_999));
        assert_eq!(kinds(&drain(&mut trust)), [""; 0]);
        assert!(trust.is_mutual(id(2), at(4_999)));
        assert!(!trust.is_mutual(id(2), at(5_000)), "even before the timeout is handled");
        trust.handle_timeout(at(5_000));

        assert_eq!(kinds(&drain(&mut trust)), ["changed"]);
        assert_eq!(trust.next_deadline(), None);
        let left = if ours_expires { TrustState::Pending } else { TrustState::Requested };
        assert_eq!(trust.state(id(2), at(5_000)), left);
    }
}

#[test]
fn terms_that_cannot_hold_are_refused_and_change_nothing() {
    let mut trust = node(1);
    let wrong = id(3).fingerprint();
    let elsewhere = Address::new(2, 7);
    let refused = [
        (id(1), TERMS, GrantError::Itself),
        (
            id(2),
            GrantTerms { fingerprint: Some(wrong), ..TERMS },
            GrantError::FingerprintMismatch { wanted: wrong, found: id(2).fingerprint() },
        ),
        (
            id(2),
            GrantTerms { address: Some(elsewhere), ..TERMS },
            GrantError::OtherNetwork { address: elsewhere, network: NETWORK },
        ),
        (id(2), GrantTerms { scopes: Scopes::NONE, ..TERMS }, GrantError::NoScopes),
        (id(2), GrantTerms { expires_at: Some(NOW), ..TERMS }, GrantError::Expired),
    ];

    for (peer, terms, error) in refused {
        assert_eq!(trust.grant(peer, terms, NOW), Err(error));
    }
    assert_eq!(trust.poll_output(), None);
    assert_eq!(trust.peers(NOW).count(), 0);
    let right = GrantTerms { fingerprint: Some(id(2).fingerprint()), ..TERMS };
    assert_eq!(trust.grant(id(2), right, NOW), Ok(TrustState::Requested));
}

#[test]
fn a_pinned_address_stands_for_its_key_until_the_user_lets_go() {
    let mut trust = node(1);
    let address = Address::new(NETWORK, 2);
    let terms = GrantTerms { address: Some(address), ..TERMS };
    trust.grant(id(2), terms, NOW).unwrap();
    let changed = IdentityChanged { address, pinned: id(2), offered: id(3) };

    assert_eq!(trust.grant(id(3), terms, NOW), Err(GrantError::IdentityChanged(changed)));
    assert_eq!(trust.check_pin(address, id(3)), Err(changed));
    assert_eq!(trust.check_pin(address, id(2)), Ok(()));
    assert_eq!(trust.resolve_pin(address), Some(id(2)));

    trust.revoke(id(2), NOW).unwrap();
    assert_eq!(trust.resolve_pin(address), None);
    assert_eq!(trust.grant(id(3), terms, NOW), Ok(TrustState::Requested));
    assert_eq!(trust.resolve_pin(address), Some(id(3)));
}

#[test]
fn without_a_network_nothing_is_granted_or_trusted() {
    let mut trust = Trust::restore(Arc::new(key(1)), None, [], NOW).unwrap();
    assert_eq!(trust.grant(id(2), TERMS, NOW), Err(GrantError::NoNetwork));
    assert_eq!(trust.handle_grant(&signed(2, 1, 1), None, NOW), crate::Received::Full);
    assert_eq!(trust.poll_output(), None);

    let records: Vec<PeerRecord> =
        trusting(1, 2).peers(NOW).map(|(record, _)| record.clone()).collect();
    let mut trust = Trust::restore(Arc::new(key(1)), None, records, NOW).unwrap();
    assert!(!trust.is_mutual(id(2), NOW));
    trust.handle_network(NETWORK, NOW);
    assert_eq!(kinds(&drain(&mut trust)), ["changed"]);
    assert!(trust.is_mutual(id(2), NOW));
    trust.handle_network(NETWORK + 1, NOW);
    assert_eq!(kinds(&drain(&mut trust)), ["changed"]);
    assert_eq!(trust.state(id(2), NOW), TrustState::None);

    trust.revoke(id(2), NOW).unwrap();
    let sent = delivered(drain(&mut trust));
    assert_eq!(sent[0].verify().unwrap().network, NETWORK, "as the grant it takes back");
}

#[test]
fn rows_survive_a_restart_and_belong_to_one_key() {
    let address = Address::new(NETWORK, 2);
    let mut trust = node(1);
    let mut disk = BTreeMap::new();
    let terms = GrantTerms { address: Some(address), expires_at: Some(at(5_000)), ..TERMS };
    trust.grant(id(2), terms, NOW).unwrap();
    let card = Card { address: Some(address), name: None, source: CardSource::Registry };
    trust.handle_grant(&signed(2, 1, 7), Some(card), NOW);
    trust.handle_delivered(id(2), serial_to(&trust, 2), Via::Registry);
    write(&mut disk, &drain(&mut trust));

    let again = Trust::restore(Arc::new(key(1)), Some(NETWORK), read(&disk), NOW).unwrap();

    assert_eq!(again.record(id(2)), trust.record(id(2)));
    assert!(again.is_mutual(id(2), NOW));
    assert_eq!(again.resolve_pin(address), Some(id(2)));
    assert_eq!(again.next_deadline(), Some(at(5_000)));
    let other = Trust::restore(Arc::new(key(3)), Some(NETWORK), read(&disk), NOW);
    assert_eq!(other.unwrap_err(), RestoreError::OtherNode { peer: id(2) });
}

#[test]
fn a_row_names_its_version_first() {
    let bytes = postcard::to_allocvec(trusting(1, 2).record(id(2)).unwrap()).unwrap();

    assert_eq!(bytes[0], 0, "V1");
    assert_eq!(bytes[1..33], *id(2).as_bytes());
    let future = [&[1], &bytes[1..]].concat();
    assert!(postcard::from_bytes::<PeerRecord>(&future).is_err());
}

#[test]
fn delivery_counts_for_the_newest_grant_alone() {
    let mut trust = trusting(1, 2);
    let first = serial_to(&trust, 2);
    trust.handle_delivered(id(2), first, Via::Registry);
    assert_eq!(trust.undelivered(NOW).count(), 1, "the rendezvous is not the peer");
    trust.handle_delivered(id(2), first, Via::Peer);
    assert_eq!(trust.undelivered(NOW).count(), 0);

    trust.revoke(id(2), NOW).unwrap();
    trust.handle_delivered(id(2), first, Via::Peer);

    assert_eq!(trust.undelivered(NOW).count(), 1);
    assert_eq!(trust.grants_to_deliver(NOW).count(), 1);
    trust.handle_delivered(id(2), serial_to(&trust, 2), Via::Peer);
    assert_eq!(trust.undelivered(NOW).count(), 0);
    assert_eq!(trust.grants_to_deliver(NOW).count(), 1, "another rendezvous learns it too");
}

#[test]
fn a_grant_that_expired_is_not_delivered_any_more() {
    let mut trust = node(1);
    trust.grant(id(2), GrantTerms { expires_at: Some(at(5_000)), ..TERMS }, NOW).unwrap();

    assert_eq!(trust.grants_to_deliver(at(4_999)).count(), 1);
    assert_eq!(trust.grants_to_deliver(at(5_000)).count(), 0);
}

#[test]
fn a_node_that_lost_its_state_and_its_time_exceeds_the_serial_it_is_told() {
    let mut old = trusting(2, 1);
    old.handle_grant(&signed(1, 2, 7_000), None, NOW);
    let mut reborn = node(1);
    reborn.grant(id(2), TERMS, NOW).unwrap();
    let sent = delivered(drain(&mut reborn));
    let received = old.handle_grant(&sent[0], None, NOW);
    assert_eq!(received, crate::Received::Stale { serial: 7_000 });

    reborn.handle_peer_serial(id(2), 7_000, Via::Peer, NOW);

    let outputs = drain(&mut reborn);
    assert_eq!(kinds(&outputs), ["persist", "deliver"]);
    let sent = delivered(outputs);
    assert_eq!(sent[0].verify().unwrap().serial, 7_001);
    assert_eq!(old.handle_grant(&sent[0], None, NOW), crate::Received::Stored);
    reborn.handle_peer_serial(id(2), 7_000, Via::Peer, NOW);
    assert_eq!(reborn.poll_output(), None, "what is exceeded already is no news");
}

#[test]
fn what_a_node_signed_before_it_lost_its_state_stays_behind_it() {
    let mut before = node(1);
    before.grant(id(2), TERMS, NOW).unwrap();
    before.grant(id(2), GrantTerms { expires_at: Some(at(9_000)), ..TERMS }, NOW).unwrap();
    let unseen = delivered(drain(&mut before));
    let mut reborn = node(1);
    reborn.grant(id(2), TERMS, at(2_000)).unwrap();
    reborn.revoke(id(2), at(2_000)).unwrap();
    let mut peer = node(2);

    for grant in delivered(drain(&mut reborn)) {
        assert_eq!(peer.handle_grant(&grant, None, NOW), crate::Received::Stored);
    }

    for grant in unseen {
        let received = peer.handle_grant(&grant, None, NOW);
        assert!(matches!(received, crate::Received::Stale { .. }), "{received:?}");
    }
}

#[test]
fn the_rendezvous_holding_the_same_serial_is_a_delivery() {
    let mut trust = trusting(1, 2);
    let serial = serial_to(&trust, 2);

    trust.handle_peer_serial(id(2), serial, Via::Registry, NOW);

    assert_eq!(kinds(&drain(&mut trust)), ["persist"]);
    assert!(trust.record(id(2)).unwrap().reached.registry);
    trust.handle_peer_serial(id(2), serial, Via::Peer, NOW);
    assert_eq!(kinds(&drain(&mut trust)), ["persist", "deliver"], "the peer holds another one");
}

#[test]
fn a_card_is_the_rendezvous_to_fill() {
    let mut trust = trusting(1, 2);
    let card = |node: u32, name: &str, source| Card {
        address: Some(Address::new(NETWORK, node)),
        name: Some(name.parse().unwrap()),
        source,
    };
    let by_name = |name: &str| PeerRef::Name(name.parse().unwrap());
    trust.handle_card(id(2), card(2, "claimed", CardSource::Claimed));
    assert_eq!(trust.find(&by_name("claimed")), None);

    trust.handle_card(id(2), card(2, "backend", CardSource::Registry));
    trust.handle_card(id(2), card(3, "claimed", CardSource::Claimed));
    assert_eq!(kinds(&drain(&mut trust)), ["persist", "persist"]);
    assert_eq!(trust.find(&by_name("backend")), Some(id(2)));
    assert_eq!(trust.find(&PeerRef::Address(Address::new(NETWORK, 2))), Some(id(2)));
    assert_eq!(trust.find(&PeerRef::Key(id(2))), Some(id(2)));
    assert_eq!(trust.find(&PeerRef::Key(id(3))), None);

    trust.grant(id(3), TERMS, NOW).unwrap();
    trust.handle_card(id(3), card(4, "backend", CardSource::Registry));
    assert_eq!(trust.find(&by_name("backend")), None, "two are meant by it");
    trust.handle_card(id(4), card(4, "x", CardSource::Registry));
    assert_eq!(trust.record(id(4)), None);
}

#[test]
fn an_answer_carries_the_own_grant_for_the_asker_alone() {
    use pilot_proto::trust::TrustAnswer;
    let trust = trusting(1, 2);
    let ours = trust.record(id(2)).unwrap().ours.clone();

    assert_eq!(
        trust.answer(id(2), crate::Received::Stored),
        TrustAnswer::Stored { yours: ours.clone() }
    );
    assert_eq!(
        trust.answer(id(2), crate::Received::Stale { serial: 3 }),
        TrustAnswer::Stale { serial: 3, yours: ours }
    );
    assert_eq!(
        trust.answer(id(3), crate::Received::Duplicate),
        TrustAnswer::Stored { yours: None }
    );
    assert_eq!(trust.standing(id(3), NOW), Standing::UNKNOWN);
}
