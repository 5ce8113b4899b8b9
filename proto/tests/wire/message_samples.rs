//! Every message of the messages service once.

use pilot_proto::MessageId;
use pilot_proto::messages::{
    Deliver, Letter, MAX_BATCH, MAX_BATCH_TEXT, MAX_MESSAGE_ANSWER, MAX_MESSAGE_FRAME,
    MAX_MESSAGE_TEXT, MessageAnswer, MessageRefusal, MessageRequest, Receipt,
};
use pilot_proto::text::Text;

fn id() -> MessageId {
    MessageId::from_bytes([0x0d; 16])
}

fn letter(seq: u64, text: &str) -> Letter {
    Letter { seq, id: id(), age_ms: 300, text: Text::clipped(text) }
}

pub(crate) fn requests() -> Vec<(&'static str, MessageRequest)> {
    let deliver = |messages| MessageRequest::Deliver(Deliver { epoch: 0x1234, stamp: 7, messages });
    let receipt = |acked_ms_ago| Receipt { id: id(), read_ms_ago: 5, acked_ms_ago };
    vec![
        ("deliver", deliver(vec![letter(1, "hello"), letter(300, "é")])),
        ("ask", deliver(Vec::new())),
        ("receipts", MessageRequest::Receipts(vec![receipt(None), receipt(Some(2))])),
        ("room", MessageRequest::Room),
    ]
}

pub(crate) fn answers() -> Vec<(&'static str, MessageAnswer)> {
    let upto = |refusal| MessageAnswer::Delivered { upto: 300, refusal };
    vec![
        ("delivered", upto(None)),
        ("inbox full", upto(Some(MessageRefusal::InboxFull))),
        ("noted", MessageAnswer::Noted),
        ("not allowed", MessageAnswer::Refused(MessageRefusal::NotAllowed)),
        ("disk full", MessageAnswer::Refused(MessageRefusal::DiskFull)),
        ("invalid", MessageAnswer::Refused(MessageRefusal::Invalid)),
        ("stale", MessageAnswer::Refused(MessageRefusal::Stale)),
        ("internal", MessageAnswer::Refused(MessageRefusal::Internal)),
    ]
}

#[test]
fn numbers_that_do_not_ascend_and_empty_texts_are_invalid() {
    let table: [(Vec<Letter>, bool); 6] = [
        (vec![], true),
        (vec![letter(1, "a"), letter(9, "b")], true),
        (vec![letter(0, "a")], false),
        (vec![letter(2, "a"), letter(2, "b")], false),
        (vec![letter(2, "a"), letter(1, "b")], false),
        (vec![letter(1, "")], false),
    ];
    for (messages, valid) in table {
        let deliver = Deliver { epoch: 1, stamp: 1, messages };
        assert_eq!(deliver.is_valid(), valid, "{deliver:?}");
    }
}

#[test]
fn the_largest_batch_and_answer_fit_into_their_frames() {
    let text = "x".repeat(MAX_BATCH_TEXT / MAX_BATCH);
    let letter = Letter { age_ms: u64::MAX, ..letter(u64::MAX, &text) };
    let messages = vec![letter; MAX_BATCH];
    let many = MessageRequest::Deliver(Deliver { epoch: u64::MAX, stamp: u64::MAX, messages });
    let refusal = Some(MessageRefusal::Internal);
    let answer = MessageAnswer::Delivered { upto: u64::MAX, refusal };

    assert!(pilot_proto::frame::encode(&many, MAX_MESSAGE_FRAME).is_ok());
    assert!(pilot_proto::frame::encode(&answer, MAX_MESSAGE_ANSWER).is_ok());
    const { assert!(MAX_MESSAGE_TEXT <= MAX_BATCH_TEXT) };
}
