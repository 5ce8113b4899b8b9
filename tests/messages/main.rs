//! Messages between nodes, as whole programs.
//!
//! Apart from `it`, whose tests of time should not share the machine with these.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod commands;
mod crash;
mod full;
mod post;
mod refused;

use pilot_local_api::messages::{InboxQuery, MessageState, SendMessageRequest};
use pilot_local_api::{CallError, ErrorCode};
use pilot_proto::MessageId;
use pilot_tests::Team;
use pilot_tests::api::refusal;

use post::{Post, message_for};

/// Two nodes that trust each other and have met.
fn team() -> Team {
    let team = Team::start(&["manager", "worker"]).unwrap();
    befriend(&team);
    team
}

fn befriend(team: &Team) {
    team.trust("manager", "worker").unwrap();
    let patience = std::time::Duration::from_secs(5);
    team.api("manager").unwrap().ping(&team.peer("worker"), patience).unwrap();
}

fn code<T: std::fmt::Debug>(answer: Result<T, CallError>) -> ErrorCode {
    refusal(answer).unwrap().code
}

#[test]
fn every_state_of_a_life_is_told_with_its_time() {
    let team = team();
    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));

    let sent = manager.send(&team.peer("worker"), "are you there?");
    let delivered = manager.until(sent.id, MessageState::Delivered);
    let peeked = worker.peek();
    assert_eq!(manager.status(sent.id).state, MessageState::Delivered, "a peek is no reading");
    let read = worker.read();
    let seen = manager.until(sent.id, MessageState::Read);
    worker.ack(&[sent.id]);
    let acked = manager.until(sent.id, MessageState::Acked);

    assert!(delivered.read_at.is_none() && seen.acked_at.is_none());
    assert_eq!((peeked[0].id, peeked[0].read_at.is_none()), (sent.id, true));
    assert_eq!(
        (read[0].text.as_str(), read[0].from_name.as_deref()),
        ("are you there?", Some("manager"))
    );
    assert_eq!(read[0].from, team.address("manager"));
    let times = [
        acked.sent_at.clone(),
        acked.delivered_at.clone(),
        acked.read_at.clone(),
        acked.acked_at.clone(),
    ];
    let times: Vec<_> = times.into_iter().map(Option::unwrap).collect();
    assert!(acked.queued_at <= times[0] && times.is_sorted(), "{acked:?}");
    assert_eq!((acked.trouble.as_deref(), acked.expired_at.is_none()), (None, true));
    assert_eq!(
        (acked.preview.as_str(), acked.to_name.as_deref()),
        ("are you there?", Some("worker"))
    );
    assert_eq!(worker.peek(), vec![], "what is acknowledged leaves the inbox");
    assert_eq!(worker.try_ack(&[sent.id]).unwrap(), 0, "twice is once");
    let again = manager.send(&team.peer("worker"), "and now?");
    manager.until(again.id, MessageState::Delivered);
    assert_eq!(worker.try_ack(&[again.id, again.id]).unwrap(), 1, "also at once");
    assert_eq!(code(worker.try_ack(&[MessageId::from_bytes([7; 16])])), ErrorCode::UnknownMessage);
}

#[test]
fn a_thousand_messages_to_a_peer_that_is_away_arrive_in_order_when_it_returns() {
    let mut team = team();
    let to = team.peer("worker");
    team.node_mut("worker").kill().unwrap();
    let manager = Post::of(team.node("manager"));
    let wanted: Vec<String> = (0..1000).map(|number| format!("message {number}")).collect();
    let ids: Vec<MessageId> = wanted.iter().map(|text| manager.send(&to, text).id).collect();
    let last = manager.until_trouble(ids[999], "unreachable");
    assert_eq!(last.state, MessageState::Queued);
    drop(manager);
    team.node_mut("manager").kill().unwrap();

    team.node_mut("manager").restart().unwrap();
    team.node_mut("worker").restart().unwrap();
    let manager = Post::of(team.node("manager"));
    manager.until(ids[999], MessageState::Delivered);

    let worker = Post::of(team.node("worker"));
    let there = worker.peek();
    let texts: Vec<&str> = there.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, wanted);
    assert_eq!(there.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
    assert!(manager.list().iter().all(|view| view.state == MessageState::Delivered));
    worker.ack(&ids);
    manager.until(ids[0], MessageState::Acked);
    manager.until(ids[999], MessageState::Acked);
}

#[test]
fn what_expires_while_the_peer_is_away_never_comes_and_says_so() {
    let mut team = team();
    let to = team.peer("worker");
    team.node_mut("worker").kill().unwrap();
    let manager = Post::of(team.node("manager"));
    // The first may still be handed to the old session.
    let long = manager.send(&to, "whenever");
    manager.until_trouble(long.id, "unreachable");
    let short = SendMessageRequest { expires_ms: Some(1000), ..message_for(&to, "in time?") };
    let short = manager.send_as(&short).unwrap();

    let expired = manager.until(short.id, MessageState::Expired);
    team.node_mut("worker").restart().unwrap();
    manager.until(long.id, MessageState::Delivered);

    assert!(expired.expired_at.unwrap() >= expired.expires_at);
    let there = Post::of(team.node("worker")).peek();
    assert_eq!(there.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["whenever"]);
    assert_eq!(manager.status(short.id).state, MessageState::Expired);
}

#[test]
fn sending_the_same_again_is_harmless_and_sending_otherwise_is_refused() {
    let team = team();
    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));
    let to = team.peer("worker");
    let first = manager.send(&to, "once");
    let again = SendMessageRequest { id: Some(first.id), ..message_for(&to, "once") };
    assert_eq!(manager.send_as(&again).unwrap().id, first.id);
    manager.until(first.id, MessageState::Delivered);

    assert_eq!(manager.send_as(&again).unwrap().state, MessageState::Delivered);
    let other = SendMessageRequest { id: Some(first.id), ..message_for(&to, "twice") };
    assert_eq!(code(manager.send_as(&other)), ErrorCode::Conflict);
    let second = manager.send(&to, "the end");
    manager.until(second.id, MessageState::Delivered);
    let there = worker.peek();
    assert_eq!(there.iter().map(|m| m.id).collect::<Vec<_>>(), [first.id, second.id]);
}

#[test]
fn limits_of_a_message_are_kept_and_the_largest_arrives() {
    let team = team();
    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));
    let to = team.peer("worker");
    assert_eq!(code(manager.try_send(&to, "")), ErrorCode::InvalidArgument);
    assert_eq!(code(manager.try_send(&to, &"x".repeat(65_537))), ErrorCode::TooLarge);
    for expires_ms in [0, 999, 30 * 86_400_000 + 1] {
        let request = SendMessageRequest { expires_ms: Some(expires_ms), ..message_for(&to, "x") };
        assert_eq!(code(manager.send_as(&request)), ErrorCode::InvalidArgument);
    }
    // More than fits into one batch.
    let large: Vec<String> = (0..9).map(|n| n.to_string().repeat(65_536)).collect();
    let ids: Vec<MessageId> = large.iter().map(|text| manager.send(&to, text).id).collect();
    manager.until(ids[8], MessageState::Delivered);

    let there = worker.peek();

    assert!(there.iter().map(|message| &message.text).eq(&large));
    assert_eq!(manager.status(ids[0]).preview, "0".repeat(200));
    let one = InboxQuery { limit: Some(1), peek: true, ..InboxQuery::default() };
    assert_eq!(worker.look(&one)[0].id, ids[0], "the oldest first");
}
