//! A sender, a receiver, their disks, a network that loses and delays, and crashes
//! at every step: what arrives, arrives once and in order, and what each side
//! says of it is true.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]

mod nodes;
mod world;

use proptest::prelude::*;

use world::{Fail, Op, World};

fn op() -> impl Strategy<Value = Op> {
    let fail = prop_oneof![
        6 => Just(Fail::Nowhere),
        1 => Just(Fail::SenderBeforeSent),
        1 => Just(Fail::SenderAfterSent),
        2 => Just(Fail::RequestLost),
        1 => Just(Fail::ReceiverBeforeCommit),
        1 => Just(Fail::ReceiverAfterCommit),
        2 => Just(Fail::AnswerLost),
        1 => Just(Fail::SenderBeforeSettled),
        1 => Just(Fail::SenderAfterSettled),
    ];
    prop_oneof![
        4 => (1_u8..4, any::<bool>()).prop_map(|(count, short)| Op::Submit { count, short }),
        6 => fail.prop_map(Op::Exchange),
        2 => (1_u64..4_000).prop_map(Op::Wait),
        2 => any::<prop::sample::Index>().prop_map(Op::Late),
        2 => Just(Op::Read),
        2 => (1_usize..4).prop_map(Op::Ack),
        2 => any::<bool>().prop_map(Op::Tell),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_each_message_arrives_once_in_order_or_expires(
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
            world.check();
        }
        world.settle();
        world.check_settled();
    }
}

#[test]
fn one_that_expires_unconfirmed_is_asked_for_and_told_as_it_is() {
    for (fail, arrived) in [(Fail::RequestLost, false), (Fail::AnswerLost, true)] {
        let mut world = World::new();
        world.run(Op::Submit { count: 1, short: true });
        world.run(Op::Exchange(fail));
        world.run(Op::Wait(60_000));
        assert!(world.is_unsure(0), "neither delivered nor expired is known: {fail:?}");

        world.run(Op::Exchange(Fail::Nowhere));

        assert_eq!(world.is_delivered(0), arrived, "{fail:?}");
        assert_eq!(world.is_expired(0), !arrived, "{fail:?}");
        world.settle();
        world.check_settled();
    }
}

#[test]
fn what_was_taken_for_expired_is_not_delivered_by_a_late_packet() {
    let mut world = World::new();
    world.run(Op::Submit { count: 1, short: true });
    world.run(Op::Exchange(Fail::RequestLost));
    world.run(Op::Wait(60_000));
    world.run(Op::Exchange(Fail::Nowhere));
    assert!(world.is_expired(0));

    world.deliver_all_late();

    world.check();
    assert_eq!(world.received(), 0);
}
