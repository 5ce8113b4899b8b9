use pilot_proto::registry::MAX_WAITING_GRANTS;

use super::*;

fn grants_in(pushes: &[Push]) -> Vec<u64> {
    let serial = |push: &Push| match push {
        Push::Grant { grant, .. } => Some(grant.verify().unwrap().serial),
        Push::Peer(_) | Push::Hidden(_) | Push::CaughtUp => None,
    };
    pushes.iter().filter_map(serial).collect()
}

#[test]
fn a_grant_waits_for_who_is_away_and_is_pushed_until_it_is_acknowledged() {
    let mut world = World::new();
    let (one, address) = world.join(1);
    let (two, _) = world.join(2);
    world.leave(&two);

    assert_eq!(world.grant(1, &one, 2, Scopes::ALL, 1), PutGrant::Stored);

    for _ in 0..2 {
        world = world.restarted();
        let (two, _) = world.join(2);
        let pushes = world.watch(&two);
        let [Push::Grant { grant, address: from, name: None }, Push::CaughtUp] = pushes.as_slice()
        else {
            panic!("{pushes:?}")
        };
        assert_eq!((grant.verify().unwrap().serial, *from), (1, address));
    }
    let (two, _) = world.join(2);
    world.acknowledge(&two, 1, 1);
    assert_eq!(world.watch(&two), [Push::CaughtUp]);
    let mut world = world.restarted();
    let (two, _) = world.join(2);
    assert_eq!(world.watch(&two), [Push::CaughtUp]);
}

#[test]
fn a_grant_for_who_watches_is_pushed_at_once() {
    let mut world = World::new();
    let (one, _) = world.join(1);
    let (two, _) = world.join(2);
    assert_eq!(world.watch(&two), [Push::CaughtUp]);
    world.woken.clear();

    world.grant(1, &one, 2, Scopes::ALL, 1);

    assert_eq!(world.woken, [two.connection]);
    assert_eq!(grants_in(&world.pushes(&two)), [1]);
}

#[test]
fn the_newest_serial_wins_and_old_ones_are_refused_for_ever() {
    let mut world = World::new();
    let (one, _) = world.join(1);
    let (two, _) = world.join(2);
    let replayed = grant(1, 2, Scopes::ALL, 5).sign(&key(1));

    assert_eq!(world.put(&one, vec![replayed.clone()]), [PutGrant::Stored]);
    assert_eq!(world.put(&one, vec![replayed.clone()]), [PutGrant::Stale { serial: 5 }]);
    assert_eq!(world.grant(1, &one, 2, Scopes::NONE, 6), PutGrant::Stored);
    assert_eq!(grants_in(&world.watch(&two)), [6], "one for each pair");
    world.acknowledge(&two, 1, 5);
    assert_eq!(grants_in(&world.watch(&two)), [6], "an old acknowledgement counts for nothing");
    world.acknowledge(&two, 1, 6);

    let mut world = world.restarted();
    let (one, _) = world.join(1);
    assert_eq!(world.put(&one, vec![replayed]), [PutGrant::Stale { serial: 6 }]);
}

#[test]
fn what_is_forged_foreign_or_for_nobody_is_not_kept() {
    let mut world = World::new();
    let (one, _) = world.join(1);
    world.join(2);
    world.stored.clear();

    let outcomes = world.put(
        &one,
        vec![
            grant(1, 2, Scopes::ALL, 1).sign(&key(3)),
            grant(2, 1, Scopes::NONE, 1).sign(&key(2)),
            Grant { network: 2, ..grant(1, 2, Scopes::ALL, 1) }.sign(&key(1)),
            grant(1, 1, Scopes::ALL, 1).sign(&key(1)),
            grant(1, 9, Scopes::ALL, 1).sign(&key(1)),
        ],
    );

    assert_eq!(
        outcomes,
        [
            PutGrant::Invalid,
            PutGrant::Invalid,
            PutGrant::Invalid,
            PutGrant::Invalid,
            PutGrant::NoSuchNode
        ]
    );
    assert!(world.stored.is_empty());
    assert_eq!(world.grant(1, &one, 2, Scopes::ALL, 1), PutGrant::Stored, "no serial was burnt");
}

#[test]
fn a_full_mailbox_refuses_strangers_but_not_whom_its_owner_trusts() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    world.leave(&two);
    let strangers = u8::try_from(MAX_WAITING_GRANTS).unwrap();
    for seed in 10..10 + strangers {
        let (stranger, _) = world.join(seed);
        assert_eq!(world.grant(seed, &stranger, 2, Scopes::ALL, 1), PutGrant::Stored);
    }
    let (late, _) = world.join(9);

    assert_eq!(world.grant(9, &late, 2, Scopes::ALL, 1), PutGrant::MailboxFull);
    assert_eq!(world.grant(1, &one, 2, Scopes::NONE, 2), PutGrant::Stored);
    let (first, _) = world.join(10);
    assert_eq!(
        world.grant(10, &first, 2, Scopes::NONE, 2),
        PutGrant::Stored,
        "it replaces its own"
    );

    let (two, _) = world.join(2);
    assert_eq!(grants_in(&world.watch(&two)).len(), MAX_WAITING_GRANTS + 1);
    world.acknowledge(&two, 11, 1);
    world.acknowledge(&two, 12, 1);
    assert_eq!(world.grant(9, &late, 2, Scopes::ALL, 1), PutGrant::Stored);
}

#[test]
fn a_full_disk_takes_revocations_and_acknowledgements_but_no_new_grant() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    world.at.room = false;

    let new = Grants::batches([grant(1, 2, Scopes::ALL, 2).sign(&key(1))]).remove(0);
    assert_eq!(refused(&world.ask(&one, Request::PutGrants(new))), RefusalCode::DiskFull);
    assert_eq!(world.grant(1, &one, 2, Scopes::NONE, 2), PutGrant::Stored);
    world.acknowledge(&two, 1, 2);
    assert_eq!(world.watch(&two), [Push::CaughtUp]);
}

#[test]
fn a_grant_of_a_released_node_is_passed_on_when_it_has_an_address_again() {
    let mut world = World::new();
    let (one, _) = world.join(1);
    let (two, _) = world.join(2);
    world.grant(1, &one, 2, Scopes::ALL, 1);
    world.ask(&one, Request::Release);
    assert_eq!(world.watch(&two), [Push::CaughtUp]);

    let (_, address) = world.join(1);

    let pushes = world.pushes(&two);
    assert!(matches!(pushes.as_slice(), [Push::Grant { address: from, .. }] if *from == address));
}
