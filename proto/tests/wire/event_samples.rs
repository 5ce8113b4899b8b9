//! Every message of the events service once.

use bytes::Bytes;
use pilot_proto::events::{
    EventsRequest, Fetch, Interest, MAX_EVENTS_FRAME, MAX_FILTERS, MAX_INTEREST_FRAME, MAX_RECORD,
    MAX_RECORDS, Past, Record, Stream, Told,
};
use pilot_proto::{MAX_TOPIC, Position, TopicFilter, frame};

fn at(seq: u64) -> Position {
    Position { epoch: 0x1234, seq }
}

fn filters(texts: &[&str]) -> Vec<TopicFilter> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn interest() -> Interest {
    Interest {
        serial: 7,
        live: filters(&["specialist.*", "a.*.c"]),
        durable: filters(&["x"]),
        signed: filters(&[">"]),
        own: Some(at(300)),
        relayed: None,
    }
}

fn records() -> Bytes {
    let mut bytes = Vec::new();
    let (topic, data) = ("specialist.backend.ready", r#"{"ok":true}"#);
    Record { seq: 301, at: 5, retained: true, topic, data, origin: None }.encode(&mut bytes);
    bytes.into()
}

pub(crate) fn requests() -> Vec<(&'static str, EventsRequest)> {
    let fetch = |stream, past| {
        let (filters, until) = (filters(&["specialist.*"]), at(300));
        EventsRequest::Fetch(Fetch { stream, filters, past, until, signed: Vec::new() })
    };
    vec![
        ("follow", EventsRequest::Follow(interest())),
        ("fetch after", fetch(Stream::Own, Past::After(at(9)))),
        ("fetch within", fetch(Stream::Relayed, Past::Within(600_000))),
        ("fetch last", fetch(Stream::Own, Past::Last(10))),
        ("fetch values", fetch(Stream::Own, Past::Retained)),
    ]
}

pub(crate) fn interests() -> Vec<(&'static str, Interest)> {
    vec![("all of it", interest())]
}

pub(crate) fn told() -> Vec<(&'static str, Told)> {
    let events = |records| {
        let (stream, epoch, through) = (Stream::Own, 0x1234, 301);
        Told::Events { stream, epoch, through, records }
    };
    vec![
        ("from", Told::From { serial: 7, own: at(300), relayed: at(0) }),
        ("events", events(records())),
        ("no event", events(Bytes::new())),
        ("gap", Told::Gap { stream: Stream::Relayed, count: 5, through: at(9) }),
        ("more", Told::More { after: at(9) }),
        ("done", Told::Done),
    ]
}

#[test]
fn the_longest_interest_and_the_longest_event_fit_into_their_frames() {
    let long = |number: usize| format!("{number:0width$}", width = MAX_TOPIC).parse().unwrap();
    let live: Vec<TopicFilter> = (0..MAX_FILTERS).map(long).collect();
    let most = Position { epoch: u64::MAX, seq: u64::MAX };
    let (durable, signed) = (live.clone(), live.clone());
    let (own, relayed) = (Some(most), Some(most));
    let interest = Interest { serial: u64::MAX, live, durable, signed, own, relayed };
    assert!(frame::encode(&EventsRequest::Follow(interest), MAX_INTEREST_FRAME).is_ok());

    const { assert!(MAX_RECORD <= MAX_RECORDS) };
    let records = vec![0; MAX_RECORDS].into();
    let (stream, epoch, through) = (Stream::Own, u64::MAX, u64::MAX);
    let events = Told::Events { stream, epoch, through, records };
    assert!(frame::encode(&events, MAX_EVENTS_FRAME).is_ok());
}
