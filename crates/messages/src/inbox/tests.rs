//! Rules of the inbox.

use pilot_identity::NodeKey;
use pilot_proto::text::Text;
use zeroize::Zeroizing;

use super::*;

const ALL: Filter = Filter { unread: false, from: None };

fn peer(seed: u8) -> NodeId {
    NodeKey::from_seed(&Zeroizing::new([seed; 32])).id()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn id(number: u8) -> MessageId {
    MessageId::from_bytes([number; 16])
}

fn inbox() -> Inbox {
    let limits =
        InboxLimits { messages: 5, messages_per_peer: 3, bytes: 1 << 20, bytes_per_peer: 1 << 19 };
    Inbox::new(limits, 0)
}

fn deliver(stamp: u64, seqs: &[u64]) -> Deliver {
    let letter = |seq: &u64| Letter {
        seq: *seq,
        id: id(u8::try_from(*seq).unwrap()),
        age_ms: 0,
        text: Text::clipped("0123456789"),
    };
    Deliver { epoch: 7, stamp, messages: seqs.iter().map(letter).collect() }
}

/// Gives messages of a peer, and has them written.
fn give(inbox: &mut Inbox, from: NodeId, stamp: u64, seqs: &[u64]) -> Verdict {
    let verdict = inbox.handle_deliver(from, &deliver(stamp, seqs), true);
    let orders: Vec<u64> = verdict.taken.iter().map(|taken| taken.order).collect();
    inbox.handle_persisted(&orders);
    verdict
}

fn delivered(upto: u64) -> MessageAnswer {
    MessageAnswer::Delivered { upto, refusal: None }
}

fn outputs(inbox: &mut Inbox) -> Vec<InboxOutput> {
    std::iter::from_fn(|| inbox.poll_output()).collect()
}

fn orders(inbox: &Inbox, filter: Filter) -> Vec<u64> {
    inbox.look(filter).map(|kept| kept.order).collect()
}

#[test]
fn what_is_sent_again_is_answered_and_not_taken_twice() {
    let mut inbox = inbox();
    let first = give(&mut inbox, peer(1), 1, &[1, 2]);
    assert_eq!((first.answer, first.taken.len()), (delivered(2), 2));

    let again = give(&mut inbox, peer(1), 2, &[1, 2, 5]);
    let asked = give(&mut inbox, peer(1), 3, &[]);

    assert_eq!(again.taken, [Taken { index: 2, order: 3 }]);
    assert_eq!((again.answer, asked.answer), (delivered(5), delivered(5)));
    let accepted = |upto| InboxOutput::Accepted { peer: peer(1), epoch: 7, upto };
    assert_eq!(outputs(&mut inbox), [accepted(2), accepted(5)]);
}

#[test]
fn what_is_not_on_disk_is_shown_to_nobody() {
    let mut inbox = inbox();
    let verdict = inbox.handle_deliver(peer(1), &deliver(1, &[1]), true);
    assert_eq!((orders(&inbox, ALL), inbox.find(id(1)), inbox.unread()), (vec![], vec![], 0));

    inbox.handle_persisted(&[verdict.taken[0].order]);

    assert_eq!((orders(&inbox, ALL), inbox.find(id(1)), inbox.unread()), (vec![1], vec![1], 1));
}

#[test]
fn a_request_that_was_overtaken_is_refused() {
    let mut inbox = inbox();
    give(&mut inbox, peer(1), 5, &[]);
    let stale = MessageAnswer::Refused(MessageRefusal::Stale);

    for stamp in [0, 4, 5] {
        assert_eq!(give(&mut inbox, peer(1), stamp, &[1]).answer, stale);
    }
    let mut anew = self::inbox();
    anew.restore_peer(peer(1), 7, 0);
    anew.follow(&inbox);

    assert_eq!(give(&mut anew, peer(1), 5, &[1]).answer, stale);
    assert_eq!(give(&mut anew, peer(1), 6, &[1]).answer, delivered(1));
    assert_eq!(give(&mut anew, peer(2), 1, &[1]).answer, delivered(1), "each has its own");
}

#[test]
fn a_sender_that_lost_its_disk_counts_anew() {
    let mut inbox = inbox();
    give(&mut inbox, peer(1), 9, &[1, 2]);
    let mut anew = deliver(1, &[1]);
    (anew.epoch, anew.messages[0].id) = (8, id(77));

    let verdict = inbox.handle_deliver(peer(1), &anew, true);

    assert_eq!((verdict.answer, verdict.taken.len()), (delivered(1), 1));
    // One that it still knew is not taken twice.
    let mut known = deliver(2, &[2]);
    known.epoch = 8;
    let verdict = inbox.handle_deliver(peer(1), &known, true);
    assert_eq!((verdict.answer, verdict.taken.len()), (delivered(2), 0));
}

#[test]
fn a_stamp_is_not_forgotten_with_the_commit_that_failed() {
    let mut before = inbox();
    // The epoch comes with messages of which none gets to the disk.
    give(&mut before, peer(1), 5, &[1]);
    let mut after = inbox();
    after.restore_peer(peer(1), 3, 40);

    after.follow(&before);

    let stale = MessageAnswer::Refused(MessageRefusal::Stale);
    assert_eq!(give(&mut after, peer(1), 5, &[1]).answer, stale, "it comes too late");
    let asked = give(&mut after, peer(1), 6, &[]);
    assert_eq!(asked.answer, delivered(0), "that of another epoch is not meant");
    assert_eq!(give(&mut after, peer(1), 7, &[1]).answer, delivered(1));
}

#[test]
fn without_trust_nobody_is_told_anything() {
    let mut inbox = inbox();
    give(&mut inbox, peer(1), 1, &[1]);
    give(&mut inbox, peer(2), 1, &[1]);
    inbox.read(&orders(&inbox, ALL), at(1));
    outputs(&mut inbox);

    inbox.handle_trust_ended(peer(1));
    inbox.handle_trust_ended(peer(3));

    assert_eq!(outputs(&mut inbox), [InboxOutput::ReceiptsDropped(peer(1))]);
    assert!(!inbox.has_owed(&peer(1)) && inbox.has_owed(&peer(2)));
    assert_eq!(inbox.len(), 2, "the messages stay");
}

#[test]
fn who_may_not_send_is_refused_and_may_still_ask() {
    let mut inbox = inbox();
    let refused = inbox.handle_deliver(peer(1), &deliver(1, &[1]), false);
    let asked = inbox.handle_deliver(peer(1), &deliver(2, &[]), false);

    assert_eq!(refused.answer, MessageAnswer::Refused(MessageRefusal::NotAllowed));
    assert_eq!((asked.answer, inbox.len()), (delivered(0), 0));
    let invalid = inbox.handle_deliver(peer(1), &deliver(3, &[2, 1]), true);
    assert_eq!(invalid.answer, MessageAnswer::Refused(MessageRefusal::Invalid));
}

#[test]
fn an_inbox_takes_so_many_of_each_and_of_all() {
    let mut inbox = inbox();
    let full = |upto| MessageAnswer::Delivered { upto, refusal: Some(MessageRefusal::InboxFull) };

    assert_eq!(give(&mut inbox, peer(1), 1, &[1, 2, 3, 4]).answer, full(3));
    assert_eq!(give(&mut inbox, peer(2), 1, &[1, 2, 3]).answer, full(2));
    assert!(!inbox.has_owed(&peer(1)) && !inbox.has_owed(&peer(2)));

    inbox.ack(&inbox.find(id(3)), at(1));
    assert!(inbox.owes_room(&peer(1)) && inbox.owes_room(&peer(2)));
    inbox.handle_room_told(&peer(1));
    assert!(!inbox.owes_room(&peer(1)), "it knows");
    assert_eq!(give(&mut inbox, peer(1), 2, &[4]).answer, delivered(4));
    assert!(!inbox.owes_room(&peer(2)), "the place is taken");
}

#[test]
fn bytes_count_as_well() {
    let limits = InboxLimits { bytes: 100, bytes_per_peer: 35, ..InboxLimits::default() };
    let mut inbox = Inbox::new(limits, 0);
    let refusal = Some(MessageRefusal::InboxFull);

    let verdict = give(&mut inbox, peer(1), 1, &[1, 2, 3, 4]);

    assert_eq!(verdict.answer, MessageAnswer::Delivered { upto: 3, refusal });
    assert_eq!(give(&mut inbox, peer(2), 1, &[1]).answer, delivered(1));
}

#[test]
fn reading_and_acknowledging_are_told_once_each() {
    let mut inbox = inbox();
    give(&mut inbox, peer(1), 1, &[1, 2]);
    outputs(&mut inbox);

    inbox.read(&[1, 1, 99], at(5));
    inbox.read(&[1], at(6));
    let read = Note { read: at(5), acked: None };
    assert_eq!(inbox.next_receipts(&peer(1)), [(id(1), read)]);
    inbox.ack(&[1, 2], at(9));
    // The answer to the first comes when there is more to be said.
    inbox.handle_noted(peer(1), &[(id(1), read)]);

    let owed = inbox.next_receipts(&peer(1));
    let acked = |read| Note { read, acked: Some(at(9)) };
    assert_eq!(owed, [(id(1), acked(at(5))), (id(2), acked(at(9)))]);
    inbox.handle_noted(peer(1), &owed);
    assert!(!inbox.has_owed(&peer(1)) && inbox.is_empty());
    let told = outputs(&mut inbox);
    let told = told.iter().filter(|output| matches!(output, InboxOutput::ReceiptTold { .. }));
    assert_eq!(told.count(), 2);
}

#[test]
fn what_is_looked_for_is_found_oldest_first() {
    let mut inbox = inbox();
    give(&mut inbox, peer(1), 1, &[1]);
    give(&mut inbox, peer(2), 1, &[1, 2]);
    inbox.read(&[2], at(1));

    assert_eq!(orders(&inbox, ALL), [1, 2, 3]);
    assert_eq!(orders(&inbox, Filter { unread: true, ..ALL }), [1, 3]);
    assert_eq!(orders(&inbox, Filter { from: Some(peer(2)), ..ALL }), [2, 3]);
    assert_eq!(inbox.find(id(1)), [1, 2], "two senders, one id");
}
