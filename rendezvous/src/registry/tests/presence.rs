use super::*;

fn peer_of(push: &Push) -> &NodeRecord {
    let Push::Peer(record) = push else { panic!("{push:?}") };
    record
}

#[test]
fn a_trusted_peer_is_seen_coming_changing_and_going() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    assert_eq!(world.watch(&one).len(), 2, "the peer, and that this was all");

    world.leave(&two);
    let pushes = world.pushes(&one);
    assert_eq!(pushes.len(), 1);
    assert!(!peer_of(&pushes[0]).is_online());

    let two = world.connect(&key(2));
    world.register(&two, Register { boot: BootId(77), ..private() });
    let pushes = world.pushes(&one);
    assert_eq!(pushes.len(), 1);
    assert_eq!(peer_of(&pushes[0]).boot, Some(BootId(77)));

    let moved = Endpoints::new([SocketAddr::from(([192, 0, 2, 1], 1))]);
    world.register(&two, Register { boot: BootId(77), endpoints: moved, ..private() });
    let pushes = world.pushes(&one);
    assert_eq!(peer_of(&pushes[0]).endpoints.as_slice().len(), 2);

    let (three, _) = world.join(3);
    world.leave(&three);
    assert!(world.pushes(&one).is_empty(), "strangers are none of its business");
}

#[test]
fn a_restarted_peer_shows_its_new_run_even_if_its_old_end_was_not_seen() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    world.watch(&one);

    let again = world.connect(&key(2));
    world.register(&again, Register { boot: BootId(2), ..private() });
    world.leave(&two);

    assert_eq!(world.replaced, [two.connection]);
    let pushes = world.pushes(&one);
    assert_eq!(pushes.len(), 1);
    assert_eq!(peer_of(&pushes[0]).boot, Some(BootId(2)));
}

#[test]
fn a_slow_reader_gets_the_newest_once() {
    let mut world = World::new();
    let (one, mut two) = world.trusted_pair();
    world.watch(&one);
    world.woken.clear();

    for boot in 0..100 {
        world.leave(&two);
        two = world.connect(&key(2));
        world.register(&two, Register { boot: BootId(boot), ..private() });
    }

    assert_eq!(world.woken, [one.connection]);
    let pushes = world.pushes(&one);
    assert_eq!(pushes.len(), 1);
    assert_eq!(peer_of(&pushes[0]).boot, Some(BootId(99)));
}

#[test]
fn a_revocation_hides_both_at_once() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    world.watch(&one);
    world.watch(&two);

    world.grant(1, &one, 2, Scopes::NONE, 2);

    assert_eq!(world.pushes(&one), [Push::Hidden(key(2).id())]);
    let pushes = world.pushes(&two);
    let [Push::Grant { .. }, Push::Hidden(hidden)] = pushes.as_slice() else {
        panic!("{pushes:?}")
    };
    assert_eq!(*hidden, key(1).id());
    world.leave(&two);
    assert!(world.pushes(&one).is_empty());
}

#[test]
fn a_released_peer_is_hidden() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    world.watch(&one);

    world.ask(&two, Request::Release);

    assert_eq!(world.pushes(&one), [Push::Hidden(key(2).id())]);
}

#[test]
fn a_new_watch_starts_from_the_full_picture() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    world.leave(&two);

    for _ in 0..2 {
        let pushes = world.watch(&one);
        assert_eq!(pushes.len(), 2);
        assert!(!peer_of(&pushes[0]).is_online());
        assert_eq!(pushes[1], Push::CaughtUp);
    }
}

#[test]
fn who_takes_over_from_a_lost_state_keeps_its_watchers_and_tells_them_all() {
    let mut world = World::new();
    let (one, _) = world.trusted_pair();
    world.watch(&one);
    let mut from_disk = world.restarted();
    let (lost, _) = world.join(9);
    world.woken.clear();

    let before = std::mem::replace(&mut world.registry, Registry::new(NETWORK, 0));
    from_disk.registry.take_over(before, START);
    from_disk.drain();

    assert_eq!(from_disk.woken, [one.connection]);
    let pushes = from_disk.pushes(&one);
    assert!(peer_of(&pushes[0]).is_online());
    assert_eq!(pushes[1], Push::CaughtUp);
    assert_eq!(
        refused(&from_disk.ask(&lost, Request::Release)),
        RefusalCode::NotRegistered,
        "a registration that was never stored"
    );
}
