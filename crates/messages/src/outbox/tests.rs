//! Rules of the outbox.

use pilot_identity::NodeKey;
use zeroize::Zeroizing;

use super::*;
use crate::state::Trouble;

const HOUR: Duration = Duration::from_secs(3600);

fn peer(seed: u8) -> NodeId {
    NodeKey::from_seed(&Zeroizing::new([seed; 32])).id()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn id(number: u8) -> MessageId {
    MessageId::from_bytes([number; 16])
}

fn outbox() -> Outbox {
    Outbox::new(9, 100, OutboxLimits { messages: 400, ..OutboxLimits::default() })
}

fn message(number: u8, to: NodeId) -> NewMessage {
    NewMessage { id: id(number), to, bytes: 10, expires: at(0).saturating_add(HOUR) }
}

fn submit(outbox: &mut Outbox, number: u8) {
    outbox.submit(&message(number, peer(1))).unwrap();
}

fn outputs(outbox: &mut Outbox) -> Vec<OutboxOutput> {
    std::iter::from_fn(|| outbox.poll_output()).collect()
}

/// The numbers that go to the first peer next, and the stamp.
fn next(outbox: &mut Outbox, now: Timestamp) -> Option<(Vec<u64>, u64)> {
    let batch = outbox.next_batch(&peer(1), now)?;
    assert_eq!(batch.epoch, 9);
    Some((batch.messages.iter().map(|(seq, _)| *seq).collect(), batch.stamp))
}

fn answer(upto: u64, refusal: Option<MessageRefusal>) -> MessageAnswer {
    MessageAnswer::Delivered { upto, refusal }
}

#[test]
fn messages_to_a_peer_are_numbered_and_one_batch_is_on_its_way() {
    let mut outbox = outbox();
    for number in 1..=3 {
        submit(&mut outbox, number);
    }
    assert_eq!(outbox.submit(&message(4, peer(2))), Ok(1), "each peer has numbers of its own");
    outputs(&mut outbox);

    assert_eq!(next(&mut outbox, at(1)), Some((vec![1, 2, 3], 101)));
    submit(&mut outbox, 5);
    assert_eq!(next(&mut outbox, at(1)), None, "the answer is waited for");
    outbox.handle_answer(peer(1), 101, answer(3, None), at(2));

    assert_eq!(
        outputs(&mut outbox),
        [
            OutboxOutput::Sent(vec![id(1), id(2), id(3)]),
            OutboxOutput::Owed(peer(1)),
            OutboxOutput::Delivered(vec![id(1), id(2), id(3)]),
            OutboxOutput::Owed(peer(1)),
        ]
    );
    assert_eq!(next(&mut outbox, at(2)), Some((vec![4], 102)));
    assert!(!outbox.knows(&id(1)) && outbox.knows(&id(5)));
}

#[test]
fn a_batch_has_its_limits_and_a_large_message_goes_alone() {
    let mut outbox = Outbox::new(9, 0, OutboxLimits::default());
    let of = |number: u16, bytes: u32| {
        let mut raw = [0; 16];
        raw[..2].copy_from_slice(&number.to_be_bytes());
        NewMessage { id: MessageId::from_bytes(raw), bytes, ..message(0, peer(1)) }
    };
    for number in 0..300 {
        outbox.submit(&of(number, 10)).unwrap();
    }
    outbox.submit(&of(300, 200_000)).unwrap();
    outbox.submit(&of(301, 200_000)).unwrap();
    let mut sizes = Vec::new();
    let mut upto = 0;

    while let Some((seqs, stamp)) = next(&mut outbox, at(1)) {
        sizes.push(seqs.len());
        upto = *seqs.last().unwrap();
        outbox.handle_answer(peer(1), stamp, answer(upto, None), at(1));
    }

    assert_eq!((sizes, upto), (vec![256, 45, 1], 302));
}

#[test]
fn after_a_lost_answer_the_peer_is_asked_before_anything_is_sent() {
    let mut outbox = outbox();
    for number in 1..=3 {
        submit(&mut outbox, number);
    }
    let (_, stamp) = next(&mut outbox, at(1)).unwrap();
    outbox.handle_link_failed(peer(1), stamp);
    submit(&mut outbox, 4);

    let (asked, stamp) = next(&mut outbox, at(2)).unwrap();
    outbox.handle_answer(peer(1), stamp, answer(2, None), at(2));

    assert_eq!(asked, vec![]);
    let said = outputs(&mut outbox);
    assert!(said.contains(&OutboxOutput::Delivered(vec![id(1), id(2)])), "{said:?}");
    assert!(said.contains(&OutboxOutput::Requeued(vec![id(3)])), "{said:?}");
    let (seqs, stamp) = next(&mut outbox, at(2)).unwrap();
    assert_eq!(seqs, [3], "less at once than what failed");
    outbox.handle_answer(peer(1), stamp, answer(3, None), at(2));
    assert_eq!(next(&mut outbox, at(2)).unwrap().0, [4]);
}

#[test]
fn an_answer_that_was_not_asked_for_changes_nothing() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let (_, stamp) = next(&mut outbox, at(1)).unwrap();
    outputs(&mut outbox);

    outbox.handle_answer(peer(1), stamp - 1, answer(9, None), at(1));
    outbox.handle_answer(peer(2), stamp, answer(9, None), at(1));

    assert_eq!(outputs(&mut outbox), []);
    // What was never sent is not delivered, whatever the peer says.
    submit(&mut outbox, 2);
    outbox.handle_answer(peer(1), stamp, answer(2, None), at(1));
    assert!(outbox.knows(&id(2)) && !outbox.knows(&id(1)));
}

#[test]
fn a_peer_that_knows_of_more_than_this_disk_is_counted_for_anew() {
    let stale = MessageAnswer::Refused(MessageRefusal::Stale);
    for said in [answer(50, None), answer(50, Some(MessageRefusal::InboxFull)), stale] {
        // As from a backup: the peer has got more from here since.
        let mut outbox = outbox();
        submit(&mut outbox, 1);
        let (_, stamp) = next(&mut outbox, at(1)).unwrap();
        outputs(&mut outbox);

        outbox.handle_answer(peer(1), stamp, said, at(1));

        let renewed = OutboxOutput::Renewed { peer: peer(1), renewals: 1 };
        assert_eq!(outputs(&mut outbox), [renewed], "nothing is taken for delivered");
        outbox.handle_timeout(at(2));
        let asked = outbox.next_batch(&peer(1), at(2)).unwrap();
        assert_eq!((asked.epoch, asked.messages.len()), (10, 0));
        outbox.handle_answer(peer(1), asked.stamp, answer(0, None), at(2));
        let sent = outbox.next_batch(&peer(1), at(2)).unwrap();
        assert_eq!((sent.epoch, sent.messages), (10, vec![(1, id(1))]));
        outbox.submit(&message(2, peer(2))).unwrap();
        assert_eq!(outbox.next_batch(&peer(2), at(2)).unwrap().epoch, 9, "only for that peer");
    }
}

#[test]
fn a_full_inbox_pauses_longer_each_time_and_room_ends_the_pause() {
    let mut outbox = outbox();
    for number in 1..=10 {
        submit(&mut outbox, number);
    }
    let full = Some(MessageRefusal::InboxFull);
    let mut now = at(10);
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        let (seqs, stamp) = next(&mut outbox, now).unwrap();
        outbox.handle_answer(peer(1), stamp, answer(0, full), now);
        assert!(seqs.len() == 10 || seqs.len() == 4, "only the first try is a large one");
        assert_eq!(outbox.trouble(&peer(1)), Some(Trouble::InboxFull));
        assert_eq!(next(&mut outbox, now), None);
        let until = now.saturating_add(Duration::from_secs(pause));
        assert_eq!(outbox.next_deadline(), Some(until));
        outbox.handle_timeout(until);
        now = until;
    }
    let (_, stamp) = next(&mut outbox, now).unwrap();
    outbox.handle_answer(peer(1), stamp, answer(0, full), now);

    outbox.handle_room(peer(1), now);
    assert_eq!(outbox.trouble(&peer(1)), None, "there is room, as far as is known");

    let (seqs, stamp) = next(&mut outbox, now).unwrap();
    assert_eq!(seqs, [1, 2, 3, 4]);
    outbox.handle_answer(peer(1), stamp, answer(4, None), now);
    assert_eq!(outbox.trouble(&peer(1)), None);
    assert_eq!(next(&mut outbox, now).unwrap().0.len(), 6, "it goes on with more");
}

#[test]
fn a_peer_that_keeps_saying_room_is_not_sent_to_in_a_loop() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let full = answer(0, Some(MessageRefusal::InboxFull));
    let refuse = |outbox: &mut Outbox, now| {
        let (_, stamp) = next(outbox, now).unwrap();
        outbox.handle_answer(peer(1), stamp, full, now);
    };
    let ms = Timestamp::from_millis;
    refuse(&mut outbox, ms(10_000));
    outbox.handle_room(peer(1), ms(10_050));
    refuse(&mut outbox, ms(10_050));

    outbox.handle_room(peer(1), ms(10_060));

    assert_eq!(next(&mut outbox, ms(10_060)), None);
    assert_eq!(outbox.next_deadline(), Some(ms(10_250)), "it is honoured all the same");
    outbox.handle_timeout(ms(10_250));
    refuse(&mut outbox, ms(10_250));
    outbox.handle_room(peer(1), ms(10_300));
    assert!(next(&mut outbox, ms(10_300)).is_some(), "200 ms after the last one");
}

#[test]
fn what_is_too_much_for_the_line_goes_in_smaller_batches() {
    let mut outbox = outbox();
    for number in 1..=100 {
        submit(&mut outbox, number);
    }
    let mut sizes = Vec::new();
    for _ in 0..9 {
        let (seqs, stamp) = next(&mut outbox, at(1)).unwrap();
        sizes.push(seqs.len());
        outbox.handle_link_failed(peer(1), stamp);
        // That it answers when it is asked makes the line no better.
        let (asked, stamp) = next(&mut outbox, at(1)).unwrap();
        assert_eq!(asked, []);
        outbox.handle_link_failed(peer(1), stamp);
        let (_, stamp) = next(&mut outbox, at(1)).unwrap();
        outbox.handle_answer(peer(1), stamp, answer(0, None), at(1));
    }
    assert_eq!(sizes, [100, 50, 25, 12, 6, 3, 1, 1, 1]);

    let mut upto = 0;
    let mut sizes = Vec::new();
    while let Some((seqs, stamp)) = next(&mut outbox, at(1)) {
        sizes.push(seqs.len());
        upto += u64::try_from(seqs.len()).unwrap();
        outbox.handle_answer(peer(1), stamp, answer(upto, None), at(1));
    }
    assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 37]);
}

#[test]
fn a_clock_that_is_set_back_makes_no_pause_longer() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let (_, stamp) = next(&mut outbox, at(1000)).unwrap();
    let full = answer(0, Some(MessageRefusal::DiskFull));
    outbox.handle_answer(peer(1), stamp, full, at(1000));

    outbox.handle_timeout(at(10));

    assert!(next(&mut outbox, at(10)).is_some());
}

#[test]
fn what_is_not_allowed_waits_for_a_change_of_trust() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let (_, stamp) = next(&mut outbox, at(1)).unwrap();
    let refused = MessageAnswer::Refused(MessageRefusal::NotAllowed);
    outbox.handle_answer(peer(1), stamp, refused, at(1));
    outbox.handle_timeout(at(100));
    assert_eq!(next(&mut outbox, at(100)), None);
    assert_eq!(outbox.trouble(&peer(1)), Some(Trouble::NotAllowed));

    outbox.handle_trust_changed(peer(1));

    assert_eq!(next(&mut outbox, at(100)).unwrap().0, [1]);
}

#[test]
fn trust_that_changes_while_a_batch_is_on_its_way_is_not_missed() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let refused = MessageAnswer::Refused(MessageRefusal::NotAllowed);
    let (_, stamp) = next(&mut outbox, at(1)).unwrap();

    outbox.handle_trust_changed(peer(1));
    outbox.handle_answer(peer(1), stamp, refused, at(1));

    let (seqs, stamp) = next(&mut outbox, at(1)).unwrap();
    assert_eq!(seqs, [1]);
    outbox.handle_answer(peer(1), stamp, refused, at(1));
    assert_eq!(next(&mut outbox, at(1)), None, "once for each change");
}

#[test]
fn a_peer_that_takes_nothing_and_says_no_reason_is_not_asked_in_a_loop() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let (_, stamp) = next(&mut outbox, at(1)).unwrap();

    outbox.handle_answer(peer(1), stamp, answer(0, None), at(1));

    assert_eq!(next(&mut outbox, at(1)), None);
    assert_eq!(outbox.trouble(&peer(1)), Some(Trouble::PeerFailed));
}

#[test]
fn what_was_never_sent_expires_in_time_and_is_not_sent_later() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let soon = NewMessage { expires: at(5), ..message(2, peer(1)) };
    outbox.submit(&soon).unwrap();
    submit(&mut outbox, 3);
    outputs(&mut outbox);
    assert_eq!(outbox.next_deadline(), Some(at(5)));

    let seqs = next(&mut outbox, at(5)).unwrap().0;

    assert_eq!(seqs, [1, 3]);
    let said = outputs(&mut outbox);
    assert_eq!(said[0], OutboxOutput::Expired(vec![id(2)]));
}

#[test]
fn one_that_may_be_there_is_expired_unheard_only_after_a_week() {
    let mut outbox = outbox();
    submit(&mut outbox, 1);
    let (_, stamp) = next(&mut outbox, at(1)).unwrap();
    outbox.handle_link_failed(peer(1), stamp);
    let expires = at(0).saturating_add(HOUR);
    outputs(&mut outbox);

    outbox.handle_timeout(expires);
    assert_eq!(outputs(&mut outbox), []);
    let last = expires.saturating_add(UNSURE);
    assert_eq!(outbox.next_deadline(), Some(last));
    outbox.handle_timeout(last);

    assert_eq!(outputs(&mut outbox), [OutboxOutput::Expired(vec![id(1)])]);
    assert!(outbox.is_empty() && outbox.next_deadline().is_none());
}

#[test]
fn too_many_and_the_same_twice_are_refused() {
    let limits = OutboxLimits { messages: 2, bytes: 25, ..OutboxLimits::default() };
    let mut outbox = Outbox::new(9, 0, limits);
    submit(&mut outbox, 1);
    let large = NewMessage { bytes: 16, ..message(2, peer(1)) };
    assert!(matches!(outbox.submit(&large), Err(SubmitError::Full { messages: 1, bytes: 10 })));
    let again = outbox.submit(&message(1, peer(2)));
    assert_eq!(again, Err(SubmitError::Known { id: id(1) }));
    submit(&mut outbox, 2);
    assert!(matches!(outbox.submit(&message(3, peer(1))), Err(SubmitError::Full { .. })));

    let (_, stamp) = next(&mut outbox, at(1)).unwrap();
    outbox.handle_answer(peer(1), stamp, answer(2, None), at(1));

    assert_eq!(outbox.submit(&message(3, peer(1))), Ok(3));
}

#[test]
fn one_peer_does_not_take_the_room_of_all() {
    let limits =
        OutboxLimits { messages_per_peer: 2, bytes_per_peer: 25, ..OutboxLimits::default() };
    let mut outbox = Outbox::new(9, 0, limits);
    submit(&mut outbox, 1);
    let full = |messages, bytes| Err(SubmitError::PeerFull { peer: peer(1), messages, bytes });
    let large = NewMessage { bytes: 16, ..message(2, peer(1)) };
    assert_eq!(outbox.submit(&large), full(1, 10));
    submit(&mut outbox, 2);
    assert_eq!(outbox.submit(&message(3, peer(1))), full(2, 20));

    assert_eq!(outbox.submit(&message(3, peer(2))), Ok(1));
    let (_, stamp) = next(&mut outbox, at(1)).unwrap();
    outbox.handle_answer(peer(1), stamp, answer(2, None), at(1));
    assert_eq!(outbox.submit(&message(4, peer(1))), Ok(3), "there is room again");
}
