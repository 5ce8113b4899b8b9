//! A peer that plays the messages service by its own rules.

use pilot_local_api::messages::{
    AckRequest, InboxQuery, MessageQuery, MessageState, SendMessageRequest,
};
use pilot_local_api::trust::{Allowed, TrustRequest};
use pilot_local_api::{CallError, Client, ErrorCode};
use pilot_proto::messages::{
    Deliver, Letter, MAX_MESSAGE_ANSWER, MAX_MESSAGE_FRAME, MessageAnswer, MessageRefusal,
    MessageRequest, Receipt,
};
use pilot_proto::text::Text;
use pilot_proto::{MessageId, Service};
use pilot_tests::{Node, Team};
use pilot_transport::{Alpn, Connection};

use super::puppet::Puppet;

fn letter(seq: u64, text: &str) -> Letter {
    let id = MessageId::from_bytes([u8::try_from(seq % 250).unwrap(); 16]);
    Letter { seq, id, age_ms: u64::MAX, text: Text::clipped(text) }
}

fn deliver(stamp: u64, messages: Vec<Letter>) -> MessageRequest {
    MessageRequest::Deliver(Deliver { epoch: 3, stamp, messages })
}

fn exchange(puppet: &Puppet, session: &Connection, request: &MessageRequest) -> MessageAnswer {
    let mut stream = puppet.open(session, Service::Messages.number()).unwrap();
    let exchange = async {
        stream.send(request, MAX_MESSAGE_FRAME).await?;
        stream.finish()?;
        stream.expect(MAX_MESSAGE_ANSWER).await
    };
    puppet.play(exchange).unwrap().unwrap()
}

/// What a node's inbox has.
fn texts(node: &Node) -> Vec<String> {
    let query = InboxQuery { peek: true, ..InboxQuery::default() };
    let client = Client::new(node.home().join("pilot.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = match runtime.block_on(client.inbox(&query)) {
        Err(CallError::Refused(error)) if error.code == ErrorCode::NoMessage => Vec::new(),
        found => found.unwrap(),
    };
    found.into_iter().map(|message| message.text).collect()
}

fn delivered(upto: u64) -> MessageAnswer {
    MessageAnswer::Delivered { upto, refusal: None }
}

#[test]
fn replayed_reordered_and_empty_messages_change_nothing() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(40, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let target = team.node("target");
    let session = puppet.session(target, 1).unwrap();
    let refused = MessageAnswer::Refused;
    let first = deliver(5, vec![letter(1, "one"), letter(2, "two")]);
    let table = [
        (first.clone(), delivered(2)),
        (first, refused(MessageRefusal::Stale)),
        (deliver(4, vec![letter(3, "late")]), refused(MessageRefusal::Stale)),
        (deliver(6, vec![letter(2, "other"), letter(1, "x")]), refused(MessageRefusal::Invalid)),
        (deliver(7, vec![letter(3, "")]), refused(MessageRefusal::Invalid)),
        (deliver(8, vec![letter(1, "again"), letter(2, "again")]), delivered(2)),
        (deliver(9, vec![letter(u64::MAX, "last")]), delivered(u64::MAX)),
        (deliver(10, vec![letter(u64::MAX - 1, "before")]), delivered(u64::MAX)),
        (MessageRequest::Room, MessageAnswer::Noted),
    ];
    for (request, wanted) in table {
        assert_eq!(exchange(&puppet, &session, &request), wanted, "{request:?}");
    }
    assert_eq!(texts(target), ["one", "two", "last"]);
}

#[test]
fn who_may_only_do_tasks_gets_no_message_in() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(41, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let target = team.node("target");
    let narrow = TrustRequest {
        peer: puppet.peer(),
        fingerprint: None,
        allow: Some(vec![Allowed::Tasks]),
        expires_in_ms: None,
    };
    team.api("target").unwrap().trust_as(&narrow).unwrap();
    let session = puppet.session(target, 1).unwrap();

    let answer = exchange(&puppet, &session, &deliver(1, vec![letter(1, "in?")]));

    assert_eq!(answer, MessageAnswer::Refused(MessageRefusal::NotAllowed));
    assert_eq!(exchange(&puppet, &session, &deliver(2, vec![])), delivered(0));
    assert_eq!(texts(target), Vec::<String>::new());
}

#[test]
fn receipts_are_believed_only_of_ones_own_messages() {
    let team = Team::start(&["target", "worker"]).unwrap();
    team.trust("target", "worker").unwrap();
    let mut puppet = Puppet::start(42, &[Alpn::Peer]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let target = team.node("target");
    let client = Client::new(target.home().join("pilot.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let send = |to| SendMessageRequest { id: None, to, text: "x".to_owned(), expires_ms: None };
    let theirs = runtime.block_on(client.send_message(&send(team.peer("worker")))).unwrap();
    let until = MessageQuery { wait_ms: Some(10_000), until: Some(MessageState::Delivered) };
    runtime.block_on(client.message(theirs.id, until)).unwrap();
    let session = puppet.session(target, 1).unwrap();

    let receipt = Receipt { id: theirs.id, read_ms_ago: u64::MAX, acked_ms_ago: Some(0) };
    let answer = exchange(&puppet, &session, &MessageRequest::Receipts(vec![receipt]));

    assert_eq!(answer, MessageAnswer::Noted);
    let view = runtime.block_on(client.message(theirs.id, MessageQuery::default())).unwrap();
    assert_eq!(view.state, MessageState::Delivered, "it was not the puppet's");
    let none = AckRequest { ids: vec![theirs.id], ..AckRequest::default() };
    assert!(runtime.block_on(client.ack(&none)).is_err(), "a message of one's own is not received");
}
