//! What somebody sends who wants in, or wants others out.

use pilot_proto::Address;

use super::*;
use crate::{
    Card, CardSource, MAX_CLAIMED_SERIAL, MAX_REISSUES, MAX_STRANGERS, Received, TrustState, Via,
};

#[test]
fn an_unsolicited_grant_makes_nobody_trusted() {
    let mut trust = node(1);

    assert_eq!(trust.handle_grant(&signed(2, 1, 1), None, NOW), Received::Stored);

    assert_eq!(trust.state(id(2), NOW), TrustState::Pending);
    assert!(!trust.is_mutual(id(2), NOW));
    assert_eq!(trust.peers_mutual(NOW).count(), 0);
    assert!(delivered(drain(&mut trust)).is_empty(), "nothing is granted in return");
}

#[test]
fn a_forged_grant_or_revocation_changes_nothing() {
    let mut trust = trusting(1, 2);
    let before = trust.record(id(2)).cloned();
    let revoked = Grant { scopes: Scopes::NONE, ..grant(2, 1, 9) };
    let forged = [
        revoked.clone().sign(&key(3)),
        revoked.clone().sign(&key(1)),
        grant(4, 1, 1).sign(&key(3)),
        Grant { network: NETWORK + 1, ..grant(2, 1, 9) }.sign(&key(2)),
        grant(2, 3, 9).sign(&key(2)),
        grant(1, 2, 9).sign(&key(1)),
        grant(1, 1, 9).sign(&key(1)),
    ];

    for grant in forged {
        assert_eq!(trust.handle_grant(&grant, None, NOW), Received::Invalid, "{grant:?}");
    }

    assert_eq!(trust.record(id(2)).cloned(), before);
    assert_eq!(trust.poll_output(), None);
    assert_eq!(trust.peers(NOW).count(), 1);
}

#[test]
fn trust_does_not_pass_through_a_third() {
    let a = trusting(1, 2);
    let c = trusting(3, 2);

    assert_eq!(a.state(id(3), NOW), TrustState::None);
    assert_eq!(c.state(id(1), NOW), TrustState::None);
}

#[test]
fn replays_are_refused_for_ever() {
    let mut trust = node(1);
    trust.grant(id(2), TERMS, NOW).unwrap();
    let (first, second) = (signed(2, 1, 1), signed(2, 1, 3));
    let revoked = Grant { scopes: Scopes::NONE, ..grant(2, 1, 5) }.sign(&key(2));
    for newer in [&first, &second, &revoked] {
        assert_eq!(trust.handle_grant(newer, None, NOW), Received::Stored);
    }
    let mut disk = BTreeMap::new();
    write(&mut disk, &drain(&mut trust));
    let mut trust = Trust::restore(Arc::new(key(1)), Some(NETWORK), read(&disk), NOW).unwrap();

    for old in [&first, &second, &signed(2, 1, 5)] {
        assert_eq!(trust.handle_grant(old, None, NOW), Received::Stale { serial: 5 });
    }
    assert_eq!(trust.handle_grant(&revoked, None, NOW), Received::Duplicate);
    assert_eq!(trust.state(id(2), NOW), TrustState::Requested);
    assert_eq!(trust.poll_output(), None);
}

#[test]
fn the_highest_serial_locks_its_issuer_and_nobody_else() {
    let mut trust = trusting(1, 2);

    assert_eq!(trust.handle_grant(&signed(2, 1, u64::MAX), None, NOW), Received::Stored);
    let revoked = Grant { scopes: Scopes::NONE, ..grant(2, 1, u64::MAX) }.sign(&key(2));
    assert_eq!(trust.handle_grant(&revoked, None, NOW), Received::Stale { serial: u64::MAX });

    assert!(trust.is_mutual(id(2), NOW));
    trust.revoke(id(2), NOW).unwrap();
    assert!(!trust.is_mutual(id(2), NOW));
}

#[test]
fn an_own_serial_at_its_end_still_revokes_here() {
    let mut record = trusting(1, 2).record(id(2)).unwrap().clone();
    record.ours = Some(signed(1, 2, u64::MAX));
    let mut trust = Trust::restore(Arc::new(key(1)), Some(NETWORK), [record], NOW).unwrap();
    assert!(trust.is_mutual(id(2), NOW));

    trust.handle_peer_serial(id(2), u64::MAX, Via::Peer, NOW);
    trust.revoke(id(2), NOW).unwrap();

    assert!(!trust.is_mutual(id(2), NOW));
}

#[test]
fn a_lie_about_serials_neither_uses_them_up_nor_keeps_the_node_busy() {
    let mut trust = trusting(1, 2);
    let first = serial_to(&trust, 2);

    for lie in [u64::MAX, MAX_CLAIMED_SERIAL + 1, 0] {
        trust.handle_peer_serial(id(2), lie, Via::Peer, NOW);
        trust.handle_peer_serial(id(2), lie, Via::Registry, NOW);
    }
    trust.handle_peer_serial(id(3), 5, Via::Peer, NOW);
    assert_eq!(trust.poll_output(), None);

    for _ in 0..1_000 {
        trust.handle_peer_serial(id(2), serial_to(&trust, 2), Via::Peer, NOW);
    }
    assert_eq!(delivered(drain(&mut trust)).len(), usize::from(MAX_REISSUES));
    assert_eq!(serial_to(&trust, 2), first + u64::from(MAX_REISSUES));
    assert!(trust.is_mutual(id(2), NOW));
    trust.handle_peer_serial(id(2), MAX_CLAIMED_SERIAL, Via::Peer, NOW);
    trust.revoke(id(2), NOW).unwrap();
    assert!(!trust.is_mutual(id(2), NOW));
}

#[test]
fn strangers_fill_their_own_room_only() {
    let mut trust = node(1);
    trust.grant(id(2), TERMS, NOW).unwrap();
    let stranger = |n: usize| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(n as u64 + 1_000).to_be_bytes());
        NodeKey::from_seed(&Zeroizing::new(seed))
    };
    let offer = |n: usize, serial: u64| {
        Grant { from: stranger(n).id(), ..grant(3, 1, serial) }.sign(&stranger(n))
    };
    for n in 0..MAX_STRANGERS {
        assert_eq!(trust.handle_grant(&offer(n, 1), None, NOW), Received::Stored);
    }
    drain(&mut trust);

    assert_eq!(trust.handle_grant(&offer(MAX_STRANGERS, 1), None, NOW), Received::Full);
    assert_eq!(trust.poll_output(), None);
    assert_eq!(trust.handle_grant(&offer(0, 2), None, NOW), Received::Stored, "has its row");
    assert_eq!(trust.handle_grant(&signed(2, 1, 1), None, NOW), Received::Stored, "was asked");
    assert!(trust.is_mutual(id(2), NOW));

    trust.revoke(stranger(1).id(), NOW).unwrap();
    assert_eq!(trust.handle_grant(&offer(MAX_STRANGERS, 1), None, NOW), Received::Stored);
}

#[test]
fn a_card_cannot_claim_a_pinned_or_foreign_address() {
    let mut trust = node(1);
    let pinned = Address::new(NETWORK, 2);
    trust.grant(id(2), GrantTerms { address: Some(pinned), ..TERMS }, NOW).unwrap();
    let card =
        |address| Some(Card { address: Some(address), name: None, source: CardSource::Registry });

    trust.handle_grant(&signed(3, 1, 1), card(pinned), NOW);
    trust.handle_grant(&signed(4, 1, 1), card(Address::new(NETWORK + 1, 4)), NOW);
    trust.handle_grant(&signed(5, 1, 1), card(Address::new(NETWORK, 5)), NOW);

    let address = |seed| trust.record(id(seed)).unwrap().card.clone().unwrap().address;
    assert_eq!(address(3), None);
    assert_eq!(address(4), None);
    assert_eq!(address(5), Some(Address::new(NETWORK, 5)));
    assert_eq!(trust.resolve_pin(pinned), Some(id(2)));
}
