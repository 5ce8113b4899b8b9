use std::collections::BTreeSet;

use super::*;

fn resolve(world: &mut World, asking: &Caller, peer: PeerRef) -> Answer {
    world.ask(asking, Request::Resolve(peer))
}

fn bytes(answer: &Answer) -> Vec<u8> {
    postcard::to_allocvec(answer).unwrap()
}

fn roster(world: &mut World, asking: &Caller, after: Option<Address>) -> (Vec<u32>, bool) {
    let answer = world.ask(asking, Request::Roster { after, tag: None });
    let Answer::Roster { records, more } = answer else { panic!("{answer:?}") };
    (records.iter().map(|record| record.address.node()).collect(), more)
}

#[test]
fn of_a_private_node_a_stranger_learns_that_the_address_is_taken() {
    let mut world = World::new();
    let private_node = world.connect(&key(1));
    let address = world.register(&private_node, named("secret")).address;
    let (stranger, _) = world.join(2);

    let taken = resolve(&mut world, &stranger, PeerRef::Address(address));
    let free = resolve(&mut world, &stranger, PeerRef::Address(Address::new(NETWORK, 99)));
    assert_eq!(taken, Answer::Record(View::Private { address }));
    assert_eq!(refused(&free), RefusalCode::NotFound);

    let unknown = bytes(&free);
    for (there, not_there) in [
        (PeerRef::Name(name("secret")), PeerRef::Name(name("nobody"))),
        (PeerRef::Key(key(1).id()), PeerRef::Key(key(9).id())),
    ] {
        assert_eq!(bytes(&resolve(&mut world, &stranger, there)), unknown);
        assert_eq!(bytes(&resolve(&mut world, &stranger, not_there)), unknown);
    }
    assert_eq!(roster(&mut world, &stranger, None), (vec![2], false), "itself alone");
}

#[test]
fn what_a_private_node_does_changes_nothing_for_a_stranger() {
    let story = |public_half: bool| {
        let mut world = World::new();
        let (stranger, _) = world.join(2);
        world.watch(&stranger);
        let hidden = world.connect(&key(1));
        world.register(&hidden, private());
        let address = Address::new(NETWORK, 2);
        if public_half {
            world.leave(&hidden);
        } else {
            let tags = Tags::new(["gpu=a100".parse().unwrap()]).unwrap();
            let endpoints = Endpoints::new([SocketAddr::from(([192, 0, 2, 7], 9))]);
            world.register(&hidden, Register { tags, endpoints, boot: BootId(7), ..named("n") });
        }
        let mut seen = bytes(&resolve(&mut world, &stranger, PeerRef::Address(address)));
        seen.extend(bytes(&world.ask(&stranger, Request::KeyOf(address))));
        seen.extend(bytes(&resolve(&mut world, &stranger, PeerRef::Key(key(1).id()))));
        assert!(world.pushes(&stranger).is_empty());
        seen
    };

    assert_eq!(story(true), story(false));
}

#[test]
fn one_half_of_the_trust_shows_nothing_and_both_show_all() {
    let mut world = World::new();
    let (one, one_address) = world.join(1);
    let (two, two_address) = world.join(2);
    let known = |answer: &Answer| matches!(answer, Answer::Record(View::Known(_)));

    world.grant(1, &one, 2, Scopes::ALL, 1);
    assert!(!known(&resolve(&mut world, &one, PeerRef::Address(two_address))));
    assert!(!known(&resolve(&mut world, &two, PeerRef::Address(one_address))));

    world.grant(2, &two, 1, Scopes::ALL, 1);
    assert!(known(&resolve(&mut world, &one, PeerRef::Address(two_address))));
    assert!(known(&resolve(&mut world, &two, PeerRef::Key(key(1).id()))));
    assert_eq!(roster(&mut world, &one, None).0, [1, 2]);

    world.grant(2, &two, 1, Scopes::NONE, 2);
    assert!(!known(&resolve(&mut world, &one, PeerRef::Address(two_address))));
    assert!(!known(&resolve(&mut world, &two, PeerRef::Address(one_address))));
}

#[test]
fn trust_is_not_transitive_and_ends_when_it_expires() {
    let mut world = World::new();
    let (one, two) = world.trusted_pair();
    let (three, _) = world.join(3);
    let until = Timestamp::from_millis(START.as_millis() + 10);
    let short = Grant { expires_at: Some(until), ..grant(3, 2, Scopes::ALL, 1) };
    world.put(&three, vec![short.sign(&key(3))]);
    world.grant(2, &two, 3, Scopes::ALL, 1);

    assert_eq!(roster(&mut world, &two, None).0, [1, 2, 3]);
    assert_eq!(roster(&mut world, &one, None).0, [1, 2]);
    assert_eq!(roster(&mut world, &three, None).0, [2, 3]);
    world.at.now = until;
    assert_eq!(roster(&mut world, &three, None).0, [3]);
    assert_eq!(roster(&mut world, &two, None).0, [1, 2]);
}

#[test]
fn a_public_node_is_seen_by_all_that_registered() {
    let mut world = World::new();
    let public = world.connect(&key(1));
    let address = world.register(&public, Register { public: true, ..named("open") }).address;
    let (stranger, _) = world.join(2);

    for peer in [PeerRef::Address(address), PeerRef::Name(name("open")), PeerRef::Key(key(1).id())]
    {
        let Answer::Record(View::Known(record)) = resolve(&mut world, &stranger, peer) else {
            panic!("not seen")
        };
        assert_eq!((record.id, record.name), (key(1).id(), Some(name("open"))));
        assert_eq!(record.endpoints.as_slice(), [public.observed]);
    }
    world.register(&public, named("open"));
    assert_eq!(roster(&mut world, &stranger, None).0, [2]);
}

#[test]
fn the_key_behind_an_address_is_told_to_whom_registered() {
    let mut world = World::new();
    let (_, address) = world.join(1);
    let (two, _) = world.join(2);

    assert_eq!(world.ask(&two, Request::KeyOf(address)), Answer::Key(key(1).id()));
    let elsewhere = Address::new(NETWORK + 1, address.node());
    assert_eq!(refused(&world.ask(&two, Request::KeyOf(elsewhere))), RefusalCode::NotFound);
}

#[test]
fn a_roster_of_the_largest_records_fits_into_frames_and_is_complete() {
    let mut world = World::new();
    let (asking, _) = world.join(200);
    let tag = |n: usize| format!("{n:063}={}", "v".repeat(63)).parse().unwrap();
    for seed in 1..=100 {
        let caller = world.connect(&key(seed));
        let tags = Tags::new((0..32).map(tag)).unwrap();
        world.register(&caller, Register { public: true, tags, ..private() });
    }

    let mut seen = BTreeSet::new();
    let (mut after, mut pages) = (None, 0);
    loop {
        let answer = world.ask(&asking, Request::Roster { after, tag: None });
        pilot_proto::frame::encode(&answer, pilot_proto::frame::MAX_SMALL_FRAME).unwrap();
        let Answer::Roster { records, more } = answer else { panic!() };
        pages += 1;
        assert!(records.iter().all(|record| seen.insert(record.address)));
        after = records.last().map(|record| record.address);
        if !more {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (101, 2));
}

#[test]
fn a_roster_is_cut_at_its_page_and_filtered_by_tag() {
    let mut world = World::new();
    let (asking, _) = world.join(1);
    for seed in 1..=300_u32 {
        let mut secret = [9; 32];
        secret[..4].copy_from_slice(&seed.to_be_bytes());
        let caller = world.connect(&NodeKey::from_seed(&Zeroizing::new(secret)));
        let tags = Tags::new([format!("odd={}", seed % 2).parse().unwrap()]).unwrap();
        world.register(&caller, Register { public: true, tags, ..private() });
    }

    let (first, more) = roster(&mut world, &asking, None);
    assert_eq!((first.len(), more), (pilot_proto::registry::MAX_ROSTER_PAGE, true));
    let last = Address::new(NETWORK, *first.last().unwrap());
    let (second, more) = roster(&mut world, &asking, Some(last));
    assert_eq!((second.len(), more), (301 - first.len(), false));
    let tag = Some("odd=1".parse().unwrap());
    let Answer::Roster { records, .. } = world.ask(&asking, Request::Roster { after: None, tag })
    else {
        panic!()
    };
    assert_eq!(records.len(), 150);
    assert_eq!(roster(&mut world, &asking, Some(Address::new(NETWORK, u32::MAX))).0, []);
}
