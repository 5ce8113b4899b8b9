//! What is passed on, to whom, and what is not.

use pilot_proto::beacon::{MARK, RELAY_HEADER, relay_header};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn to(receiver: u8, inner: &[u8]) -> Vec<u8> {
    [relay_header(id(receiver)).as_slice(), inner].concat()
}

/// Nodes 1 to 4, bound at the ports of their numbers.
fn four(settings: RelaySettings) -> World {
    let mut world = World::new(settings);
    for seed in 1..=4 {
        world.bind(seed, at(seed.into()));
    }
    world
}

#[test]
fn a_packet_goes_to_the_place_of_its_receiver_with_the_senders_id() {
    let mut world = four(settings());

    let sent = world.relay(at(1), &to(2, b"inner"), 21);

    assert_eq!(sent, [(id(1), at(2), to(1, b"inner"))]);
    let counters = world.relay.counters();
    assert_eq!((counters.forwarded, counters.forwarded_bytes), (1, 21));
}

#[test]
fn a_batch_stays_whole_and_is_cut_where_the_receiver_changes() {
    let mut world = four(settings());
    let inner = [0x40; 84];
    let whole = [to(2, &inner), to(2, &inner), to(2, &inner[..7])].concat();
    let mixed = [
        to(2, &inner),
        to(2, &inner),
        to(3, &inner),
        // Nobody of that id, then garbage in between.
        to(9, &inner),
        vec![0; 100],
        to(2, &inner),
        to(4, &inner[..1]),
    ]
    .concat();

    let back = |count: usize, last: &[u8]| [to(1, &inner).repeat(count), to(1, last)].concat();
    assert_eq!(world.relay(at(1), &whole, 100), [(id(1), at(2), back(2, &inner[..7]))]);
    assert_eq!(
        world.relay(at(1), &mixed, 100),
        [
            (id(1), at(2), back(1, &inner)),
            (id(1), at(3), back(0, &inner)),
            (id(1), at(2), back(0, &inner)),
            (id(1), at(4), back(0, &inner[..1])),
        ]
    );
    let counters = world.relay.counters();
    assert_eq!((counters.forwarded, counters.absent, counters.garbage), (8, 1, 1));
    let told = world.answers();
    assert_eq!(told.len(), 1);
    assert_eq!(heard(1, &told[0].packet), Heard::Told(Told::Absent { id: id(9) }));
}

#[test]
fn control_packets_and_stun_in_the_middle_of_a_batch_are_not_lost() {
    let mut world = four(settings());
    let mut stun = pilot_stun::Request::new(pilot_stun::TransactionId([1; 12])).encode();
    stun.resize(128, 0);
    let inner = [0x40; 128 - RELAY_HEADER];
    let hello = beacon::hello(&key(1).id()).to_vec();
    let mut batch = [to(2, &inner), hello, stun, to(2, &inner)].concat();
    let mut sorted = Sorted::default();

    let at_now = world.moment();
    world.relay.handle_batch(at(1), &mut batch, 128, at_now, &mut sorted);

    let runs: Vec<_> = sorted.runs.iter().map(|run| run.range.clone()).collect();
    assert_eq!(runs, [0..128, 384..512]);
    assert_eq!((sorted.stun.len(), &sorted.stun[0]), (1, &(256..384)));
    assert_eq!(world.answers().len(), 1);
}

#[test]
fn a_client_that_lies_about_who_it_is_gets_nowhere() {
    let mut world = four(settings());

    // Whatever it writes, what it sends is from whom the place belongs to.
    assert_eq!(world.relay(at(3), &to(2, b"x"), 17)[0].2, to(3, b"x"));
    // From a place that belongs to nobody, nothing goes on.
    for stranger in [at(77), Place::udp(addr("198.51.100.1:1"), None), carrier(1)] {
        assert_eq!(world.relay(stranger, &to(2, b"x"), 17), []);
        let answers = world.answers();
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].to, heard(1, &answers[0].packet)), (stranger, Heard::Unknown));
        assert!(answers[0].packet.len() <= to(2, b"x").len());
    }
    assert_eq!(world.relay.counters().from_strangers, 3);
}

#[test]
fn a_flood_of_strangers_is_answered_ten_times_a_second() {
    let mut world = four(settings());
    let batch = to(2, &[0; 84]).repeat(100);

    let mut answered = 0;
    for _ in 0..10 {
        for _ in 0..50 {
            assert_eq!(world.relay(at(77), &batch, 100), []);
        }
        answered += world.answers().len();
        world.pass(Duration::from_secs(1));
    }

    assert!((100..=140).contains(&answered), "{answered}");
    assert_eq!(world.relay.counters().from_strangers, 50_000);
}

#[test]
fn a_sender_is_told_of_absent_ones_now_and_then() {
    let mut world = four(settings());

    let mut told = 0;
    for _ in 0..100 {
        for _ in 0..10 {
            assert_eq!(world.relay(at(1), &to(9, b"x"), 17), []);
        }
        told += world.answers().len();
        world.pass(Duration::from_millis(100));
    }

    assert!((100..=110).contains(&told), "{told}");
    assert_eq!(world.relay.counters().absent, 1_000);
}

#[test]
fn a_client_and_a_pair_have_their_rates() {
    let (client_rate, pair_rate) = (ByteRate(300_000), ByteRate(100_000));
    let mut world = four(RelaySettings { client_rate, pair_rate, ..settings() });
    let (mut by_one, mut to_one, mut by_another) = (0, 0, 0);
    for _ in 0..10_000 {
        for receiver in 2..=4 {
            by_one += world.relay(at(1), &to(receiver, &[0; 984]), 1000).len();
        }
        to_one += world.relay(at(1), &to(2, &[0; 984]), 1000).len();
        by_another += world.relay(at(2), &to(1, &[0; 20]), 36).len();
        world.pass(Duration::from_millis(1));
    }

    // Ten seconds and what may be ahead: 100 packets a second for each pair.
    assert!((3_000..=3_200).contains(&(by_one + to_one)), "{by_one} {to_one}");
    assert_eq!(by_another, 10_000, "another's rate is its own");
    assert!(world.relay.counters().over_rate > 30_000);
}

#[test]
fn nodes_on_this_machine_have_no_rate_unless_it_is_set() {
    let sent = |limit_loopback| {
        let client_rate = ByteRate(1_000);
        let mut world = World::new(RelaySettings { client_rate, limit_loopback, ..settings() });
        let local = Place::udp(addr("127.0.0.1:1"), None);
        world.bind(1, local);
        world.bind(2, at(2));
        (0..100).filter(|_| !world.relay(local, &to(2, &[0; 984]), 1000).is_empty()).count()
    };

    assert_eq!((sent(false), sent(true)), (100, 1));
}

#[test]
fn without_the_relay_only_probes_are_passed_on_and_not_many() {
    let mut world = four(RelaySettings { services: Services::PUNCH, ..settings() });
    let probe = |len: usize| {
        let mut inner = [MARK.as_slice(), &[1]].concat();
        inner.resize(len, 0);
        to(2, &inner)
    };
    let passes = |world: &mut World, packet: &[u8], stride: usize| {
        world.pass(Duration::from_secs(1));
        !world.relay(at(1), packet, stride).is_empty()
    };

    assert!(passes(&mut world, &probe(100), 116));
    assert!(passes(&mut world, &probe(1200), 1216));
    assert!(!passes(&mut world, &probe(1201), 1217));
    assert!(!passes(&mut world, &to(2, &[0x40; 100]), 116));
    let hidden = [probe(100), to(2, &[0x40; 100])].concat();
    assert!(!passes(&mut world, &hidden, 116), "QUIC behind a probe");

    let mut passed = 0;
    for _ in 0..1_000 {
        passed += world.relay(at(1), &probe(100), 116).len();
        world.pass(Duration::from_millis(10));
    }
    assert!((500..=520).contains(&passed), "{passed}");
}

#[test]
fn without_either_nothing_is_passed_on() {
    let mut world = four(RelaySettings { services: Services::STUN, ..settings() });
    let probe = [MARK.as_slice(), &[1; 40]].concat();

    assert_eq!(world.relay(at(1), &to(2, &probe), 100), []);
    assert_eq!(world.relay.counters().not_served, 1);
}

#[test]
fn what_is_too_long_or_empty_is_garbage() {
    let mut world = four(settings());

    assert_eq!(world.relay(at(1), &to(2, &[0; 1457]), 2000), []);
    assert_eq!(world.relay(at(1), &to(2, &[]), 16), []);
    assert_eq!(world.relay(at(1), &to(2, &[0; 1456]), 2000).len(), 1);
    assert_eq!(world.relay.counters().garbage, 2);
}

#[test]
fn udp_and_carriers_meet() {
    let mut world = World::new(settings());
    world.bind(1, at(1));
    world.bind(2, carrier(2));

    assert_eq!(world.relay(at(1), &to(2, b"x"), 17), [(id(1), carrier(2), to(1, b"x"))]);
    assert_eq!(world.relay(carrier(2), &to(1, b"y"), 17), [(id(2), at(1), to(2, b"y"))]);
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (1_u8..7).prop_map(|receiver| to(receiver, &[0x40; 84])),
        1 => vec(any::<u8>(), 100),
        1 => Just([MARK.as_slice(), &[2; 96]].concat()),
        1 => Just([&[0, 1, 0, 0x50, 0x21, 0x12, 0xa4, 0x42][..], &[0; 92]].concat()),
    ]
}

proptest! {
    #[test]
    fn a_batch_comes_to_the_same_as_its_datagrams_one_by_one(
        datagrams in vec(datagram(), 1..30),
        last in 1_usize..100,
        from in 1_u16..6,
    ) {
        let mut datagrams = datagrams;
        datagrams.last_mut().unwrap().truncate(last);
        let (mut whole, mut single) = (four(settings()), four(settings()));

        let batched: Vec<_> = whole
            .relay(at(from), &datagrams.concat(), 100)
            .into_iter()
            .flat_map(|(sender, place, bytes)| {
                let split: Vec<_> =
                    bytes.chunks(100).map(|one| (sender, place, one.to_vec())).collect();
                split
            })
            .collect();
        let one_by_one: Vec<_> = datagrams
            .iter()
            .flat_map(|datagram| single.relay(at(from), datagram, datagram.len()))
            .collect();

        prop_assert_eq!(batched, one_by_one);
        let (whole, single) = (whole.relay.counters(), single.relay.counters());
        prop_assert_eq!(Counters { challenged: 0, ..whole }, Counters { challenged: 0, ..single });
    }

    #[test]
    fn any_batch_and_stride_are_survived(
        bytes in vec(any::<u8>(), 0..4000),
        marked in any::<bool>(),
        stride in prop_oneof![0_usize..2000, Just(usize::MAX)],
    ) {
        let mut world = four(settings());
        let batch = if marked { [to(2, &[]), bytes].concat() } else { bytes };

        let sent: usize =
            world.relay(at(1), &batch, stride).iter().map(|(_, _, bytes)| bytes.len()).sum();

        prop_assert!(sent <= batch.len());
        prop_assert_eq!(world.relay.counters().clients, 4);
    }
}
