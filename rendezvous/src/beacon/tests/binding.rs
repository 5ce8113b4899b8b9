//! Who is bound, and where.

use pilot_proto::beacon::{BindRefusal, relay_header};

use super::*;

fn refused(seq: u64, code: BindRefusal) -> Option<Heard> {
    Some(Heard::Told(Told::Refused { seq, code }))
}

#[test]
fn a_node_that_shows_cookie_key_and_ticket_is_bound_and_told_everything() {
    let mut world = World::new(settings());
    let packet = world.bind_packet(1, at(1));

    let heard = world.ask(1, at(1), &packet);

    let bound = Told::Bound {
        seq: 1,
        observed: addr("192.0.2.1:1"),
        stun: vec![addr("0.0.0.0:9002")],
        services: Services::ALL,
    };
    assert_eq!(heard, Some(Heard::Told(bound)));
    assert_eq!(world.relay.counters().clients, 1);
}

#[test]
fn a_hello_costs_no_memory_and_its_answer_is_smaller() {
    let mut world = World::new(settings());

    let hello = beacon::hello(&key(1).id());
    let (_, answer) = world.send(at(1), &hello).unwrap();

    assert!(answer.len() < hello.len());
    assert_eq!(world.relay.counters().clients, 0);
}

#[test]
fn a_cookie_is_good_for_one_key_at_one_place_for_a_while() {
    let mut world = World::new(settings());
    let cookie = world.cookie(1, at(1));
    let bind = Bind { seq: 1, ticket: Some(world.ticket(RENDEZVOUS, 1)) };
    let packet = bind_packet(1, &cookie, &bind);

    assert_eq!(world.ask(1, at(2), &packet), None, "another place");
    assert_eq!(world.ask(1, carrier(1), &packet), None, "not even over a carrier");
    let of_another = Bind { seq: 1, ticket: Some(world.ticket(RENDEZVOUS, 2)) };
    assert_eq!(world.ask(2, at(1), &bind_packet(2, &cookie, &of_another)), None, "another key");
    world.pass(Duration::from_secs(61));
    assert_eq!(world.ask(1, at(1), &packet), None, "too late");
    assert_eq!(world.relay.counters().forged, 4);
    assert_eq!(world.relay.counters().clients, 0);
}

#[test]
fn who_does_not_hold_the_key_is_not_bound_under_it() {
    let mut world = World::new(settings());
    let cookie = world.cookie(1, at(1));
    let bind = Bind { seq: 1, ticket: Some(world.ticket(RENDEZVOUS, 1)) };

    // Node 2 claims to be node 1, sealed with its own pair.
    let forged = beacon::bind(&key(1).id(), &cookie, &pair(2), [1; 12], &bind);

    assert_eq!(world.ask(1, at(1), &forged), None);
    let mut broken = bind_packet(1, &cookie, &bind);
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(world.ask(1, at(1), &broken), None);
    assert_eq!(world.relay.counters().forged, 2);
    assert_eq!(world.relay.counters().clients, 0);
}

#[test]
fn a_key_that_is_none_is_survived() {
    let mut world = World::new(settings());
    let mut hello = beacon::hello(&key(1).id());
    hello[5..37].fill(0);
    let (_, answer) = world.send(at(1), &hello).unwrap();
    let Heard::Challenge(cookie) = heard(1, &answer) else { panic!() };

    let mut bind = bind_packet(1, &cookie, &Bind { seq: 1, ticket: None });
    bind[5..37].fill(0);

    assert_eq!(world.send(at(1), &bind), None);
    assert_eq!(world.relay.counters().forged, 1);
}

#[test]
fn tickets_are_of_a_known_rendezvous_for_this_node_and_live() {
    let mut world = World::new(settings());
    let expired = Ticket { node: key(1).id(), expires: world.wall }.sign(&key(RENDEZVOUS));
    let table = [
        (None, BindRefusal::NoTicket),
        (Some(world.ticket(1, 1)), BindRefusal::BadTicket),
        (Some(world.ticket(RENDEZVOUS, 2)), BindRefusal::BadTicket),
        (Some(expired), BindRefusal::Expired),
    ];
    for (ticket, code) in table {
        let (cookie, seq) = (world.cookie(1, at(1)), world.next_seq());
        let packet = bind_packet(1, &cookie, &Bind { seq, ticket });
        assert_eq!(world.ask(1, at(1), &packet), refused(seq, code));
    }
    assert_eq!(world.relay.counters().clients, 0);

    let (cookie, seq) = (world.cookie(1, at(1)), world.next_seq());
    let of_the_beacon = Bind { seq, ticket: Some(world.ticket(BEACON, 1)) };
    let heard = world.ask(1, at(1), &bind_packet(1, &cookie, &of_the_beacon));
    assert!(matches!(heard, Some(Heard::Told(Told::Bound { .. }))), "{heard:?}");
}

#[test]
fn an_open_beacon_asks_for_no_ticket() {
    let mut world = World::new(RelaySettings { admission: Admission::Open, ..settings() });
    let cookie = world.cookie(1, at(1));

    let heard = world.ask(1, at(1), &bind_packet(1, &cookie, &Bind { seq: 1, ticket: None }));

    assert!(matches!(heard, Some(Heard::Told(Told::Bound { .. }))), "{heard:?}");
}

#[test]
fn a_full_beacon_refuses_new_nodes_and_keeps_the_old_ones() {
    let max_clients = NonZeroU32::new(2).unwrap();
    let mut world = World::new(RelaySettings { max_clients, ..settings() });
    world.bind(1, at(1));
    world.bind(2, at(2));

    let packet = world.bind_packet(3, at(3));
    assert_eq!(world.ask(3, at(3), &packet), refused(world.seq, BindRefusal::Full));

    world.bind(1, at(4));
    world.pass(Duration::from_secs(100));
    world.bind(3, at(3));
}

#[test]
fn a_recorded_bind_moves_nothing() {
    let mut world = World::new(settings());
    let first = world.bind_packet(1, at(1));
    assert!(world.ask(1, at(1), &first).is_some());
    world.bind(1, at(2));
    world.bind(2, at(9));

    // From where it was recorded, as if the node were still there.
    assert_eq!(world.ask(1, at(1), &first), refused(1, BindRefusal::Stale));
    assert_eq!(world.ask(1, at(3), &first), None);

    let sent = world.relay(at(9), &[relay_header(id(1)).as_slice(), b"x"].concat(), 100);
    assert_eq!(sent[0].1, at(2));
}

#[test]
fn a_bind_that_the_network_doubles_is_answered_twice() {
    let mut world = World::new(settings());
    let packet = world.bind_packet(1, at(1));

    let first = world.ask(1, at(1), &packet);
    let second = world.ask(1, at(1), &packet);

    assert!(matches!(first, Some(Heard::Told(Told::Bound { .. }))), "{first:?}");
    assert_eq!(first, second);
}

#[test]
fn a_sign_of_life_is_answered_once_and_only_where_the_node_is_bound() {
    let mut world = World::new(settings());
    world.bind(1, at(1));

    let alive = world.alive_packet(1);
    let told = Told::Alive { seq: world.seq, observed: addr("192.0.2.1:1") };
    assert_eq!(world.ask(1, at(1), &alive), Some(Heard::Told(told)));
    assert_eq!(world.ask(1, at(1), &alive), None, "a recorded one");

    let roamed = world.alive_packet(1);
    assert!(matches!(world.ask(1, at(2), &roamed), Some(Heard::Challenge(_))));
    assert_eq!(world.ask(1, at(3), &roamed), None, "a recorded one from elsewhere");
    world.bind(2, at(9));
    let sent = world.relay(at(9), &[relay_header(id(1)).as_slice(), b"x"].concat(), 100);
    assert_eq!(sent[0].1, at(1), "it is not bound elsewhere before it says so");

    let forged = beacon::alive(id(1), &pair(2), [1; 12], &Alive { seq: 1_000 });
    assert_eq!(world.ask(1, at(1), &forged), None);
    let nobodys = beacon::alive(id(3), &pair(3), [1; 12], &Alive { seq: 1 });
    assert_eq!(world.ask(1, at(1), &nobodys), Some(Heard::Unknown));
}

#[test]
fn who_is_silent_is_forgotten_and_who_speaks_is_not() {
    let mut world = World::new(settings());
    for seed in 1..=3 {
        world.bind(seed, at(seed.into()));
    }
    for _ in 0..8 {
        world.pass(Duration::from_secs(15));
        let alive = world.alive_packet(1);
        assert!(world.ask(1, at(1), &alive).is_some());
        world.relay(at(2), &[relay_header(id(1)).as_slice(), b"x"].concat(), 100);
    }

    assert_eq!(world.relay.counters().clients, 2);
    let alive = world.alive_packet(3);
    assert_eq!(world.ask(3, at(3), &alive), Some(Heard::Unknown));
}

#[test]
fn a_place_belongs_to_the_last_who_proved_to_be_there() {
    let mut world = World::new(settings());
    world.bind(1, at(1));
    world.bind(2, at(1));

    assert_eq!(world.relay.counters().clients, 1);
    let alive = world.alive_packet(1);
    assert_eq!(world.ask(1, at(1), &alive), Some(Heard::Unknown));
}

#[test]
fn who_has_moved_is_a_stranger_where_it_was() {
    let mut world = World::new(settings());
    world.bind(1, at(1));
    world.bind(2, at(2));
    world.bind(1, at(3));

    let packet = [relay_header(id(2)).as_slice(), b"x"].concat();
    assert_eq!(world.relay(at(1), &packet, 17), []);
    assert_eq!(world.relay(at(3), &packet, 17).len(), 1);
    assert_eq!(world.relay.counters().clients, 2);
}

#[test]
fn a_carrier_takes_its_client_with_it() {
    let mut world = World::new(settings());
    world.bind(1, carrier(1));
    world.bind(2, carrier(2));

    world.relay.handle_ended(CarrierId(1));

    assert_eq!(world.relay.counters().clients, 1);
    let alive = world.alive_packet(2);
    assert!(world.ask(2, carrier(2), &alive).is_some());
}

#[test]
fn each_source_is_limited_by_itself_and_this_machine_is_not() {
    let binds_per_second = NonZeroU32::new(5).unwrap();
    let limited = RelaySettings { binds_per_second, limit_loopback: false, ..settings() };
    let mut world = World::new(limited);
    let hello = beacon::hello(&key(1).id());
    let local = Place::udp(addr("127.0.0.1:1"), None);
    let other = Place::udp(addr("198.51.100.1:1"), None);

    let mut answered =
        |from: Place| (0..100).filter(|_| world.send(from, &hello).is_some()).count();

    assert_eq!((answered(at(1)), answered(at(2))), (20, 0), "ports are one source");
    assert_eq!((answered(other), answered(local)), (20, 100));
}

#[test]
fn nothing_is_sent_where_nothing_can_arrive() {
    let mut world = World::new(settings());

    for nowhere in ["192.0.2.1:0", "0.0.0.0:1", "224.0.0.1:1", "[::]:1"] {
        let from = Place::udp(addr(nowhere), None);
        assert_eq!(world.send(from, &beacon::hello(&key(1).id())), None, "{nowhere}");
    }
}
