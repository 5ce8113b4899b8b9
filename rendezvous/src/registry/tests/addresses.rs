use super::*;

#[test]
fn a_key_has_its_address_and_name_for_ever() {
    let mut world = World::new();
    let first = world.connect(&key(1));
    let second = world.connect(&key(2));

    let one = world.register(&first, named("one"));
    let two = world.register(&second, named("two"));
    assert_eq!((one.address.node(), two.address.node()), (1, 2));
    assert_eq!(one.address.network(), NETWORK);

    let mut world = world.restarted();
    let again = world.connect(&key(2));
    let third = world.connect(&key(3));
    assert_eq!(world.register(&again, private()).address, two.address);
    assert_eq!(world.register(&again, private()).name, Some(name("two")), "it kept its name");
    assert_eq!(world.register(&third, private()).address.node(), 3);
}

#[test]
fn a_taken_name_is_refused_and_the_registration_stands() {
    let mut world = World::new();
    let owner = world.connect(&key(1));
    let other = world.connect(&key(2));
    world.register(&owner, named("backend"));
    world.leave(&owner);

    let refused = world.register(&other, named("backend"));
    assert_eq!((refused.name, refused.name_taken), (None, true));
    assert_eq!(refused.address.node(), 2);

    let own = world.register(&other, named("frontend"));
    assert_eq!((own.name, own.name_taken), (Some(name("frontend")), false));
    let still = world.register(&other, named("backend"));
    assert_eq!((still.name, still.name_taken), (Some(name("frontend")), true));
}

#[test]
fn another_name_frees_the_first() {
    let mut world = World::new();
    let one = world.connect(&key(1));
    let two = world.connect(&key(2));
    world.register(&one, named("a"));
    world.register(&one, named("b"));

    assert!(!world.register(&two, named("a")).name_taken);
    assert!(world.restarted().registry.nodes() == 2);
}

#[test]
fn a_released_number_is_never_given_again() {
    let mut world = World::new();
    let one = world.connect(&key(1));
    let gone = world.register(&one, named("a"));

    assert_eq!(world.ask(&one, Request::Release), Answer::Released);

    assert_eq!(refused(&world.ask(&one, Request::KeyOf(gone.address))), RefusalCode::NotRegistered);
    let mut world = world.restarted();
    let two = world.connect(&key(2));
    let next = world.register(&two, named("a"));
    assert_eq!((next.address.node(), next.name_taken), (2, false));
    assert_eq!(
        refused(&world.ask(&two, Request::Resolve(PeerRef::Address(gone.address)))),
        RefusalCode::NotFound
    );
    let back = world.connect(&key(1));
    assert_eq!(world.register(&back, private()).address.node(), 3);
}

#[test]
fn a_full_network_and_a_full_disk_refuse_new_keys_alone() {
    let mut world = World::around(Registry::new(NETWORK, 1));
    let known = world.connect(&key(1));
    let new = world.connect(&key(2));
    world.register(&known, private());
    assert_eq!(refused(&world.ask(&new, Request::Register(private()))), RefusalCode::NetworkFull);

    let mut world = World::new();
    world.register(&known, private());
    world.at.room = false;
    assert_eq!(refused(&world.ask(&new, Request::Register(private()))), RefusalCode::DiskFull);
    world.stored.clear();
    let again = world.connect(&key(1));
    world.register(&again, private());
    assert!(world.stored.is_empty(), "nothing changed that is worth a write: {:?}", world.stored);
    world.leave(&again);
    assert!(world.stored.is_empty());
    assert_eq!(refused(&world.ask(&again, Request::Watch)), RefusalCode::NotRegistered);
}

#[test]
fn registration_comes_first_and_only_on_the_current_connection() {
    let mut world = World::new();
    let stranger = world.connect(&key(1));
    for request in [
        Request::KeyOf(Address::new(NETWORK, 1)),
        Request::Resolve(PeerRef::Key(key(1).id())),
        Request::Roster { after: None, tag: None },
        Request::Watch,
        Request::Release,
        Request::Beacons,
    ] {
        assert_eq!(refused(&world.ask(&stranger, request)), RefusalCode::NotRegistered);
    }
    world.register(&stranger, private());
    let second = world.connect(&key(1));
    world.register(&second, private());

    assert_eq!(world.replaced, [stranger.connection]);
    assert_eq!(refused(&world.ask(&stranger, Request::Release)), RefusalCode::NotRegistered);
    world.leave(&stranger);
    assert!(matches!(
        world.ask(&second, Request::Resolve(PeerRef::Key(key(1).id()))),
        Answer::Record(View::Known(record)) if record.is_online()
    ));
}

#[test]
fn what_is_stored_is_what_was_answered() {
    let mut world = World::new();
    let one = world.connect(&key(1));
    let given = SocketAddr::from(([192, 0, 2, 7], 9));
    let wanted = Register { endpoints: Endpoints::new([given]), ..named("one") };
    world.register(&one, wanted.clone());

    let [Record::Node { id, node }] = world.stored.as_slice() else { panic!("{:?}", world.stored) };
    assert_eq!(*id, key(1).id());
    assert_eq!(node.endpoints.as_slice(), [given, one.observed]);
    assert_eq!(node.name, Some(name("one")));

    world.register(&one, wanted.clone());
    assert_eq!(world.stored.len(), 1, "the same again is not worth a write");
    world.register(&one, Register { fixed: true, ..wanted });
    let Some(Record::Node { node, .. }) = world.stored.last() else { panic!() };
    assert_eq!(node.endpoints.as_slice(), [given]);
}
