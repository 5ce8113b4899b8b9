//! A peer that plays the events service by its own rules.

use pilot_identity::{NodeKey, Signature};
use pilot_local_api::Client;
use pilot_local_api::events::{EventLine, SubscribeRequest};
use pilot_local_api::trust::{Allowed, TrustRequest};
use pilot_proto::events::{
    EventsRequest, Fetch, Interest, MAX_EVENTS_FRAME, MAX_INTEREST_FRAME, Origin, Past, Record,
    Stream, Told,
};
use pilot_proto::{Position, Service, close};
use pilot_tests::Team;
use pilot_transport::{Connection, Framed, FramedError};
use zeroize::Zeroizing;

use super::puppet::Puppet;

const EPOCH: u64 = 5;

const fn at(seq: u64) -> Position {
    Position { epoch: EPOCH, seq }
}

fn event(seq: u64, topic: &'static str, data: &'static str) -> Record<'static> {
    Record { seq, at: 1, retained: false, topic, data, origin: None }
}

fn events(stream: Stream, through: u64, records: &[Record<'_>]) -> Told {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| record.encode(&mut bytes));
    Told::Events { stream, epoch: EPOCH, through, records: bytes.into() }
}

/// An event with a proof that is none.
fn unproved(seq: u64) -> Record<'static> {
    let publisher = NodeKey::from_seed(&Zeroizing::new([77; 32])).id();
    let signature = Signature::from_bytes([7; 64]);
    let origin = Some(Origin { publisher, position: at(seq), signature });
    Record { origin, ..event(seq, "a", "1") }
}

/// Waits until the target follows, and tells it from where its interest holds.
/// What it fetches meanwhile, it has.
fn followed(puppet: &Puppet, session: &Connection) -> Framed {
    let accepted = async {
        loop {
            let (send, recv) = session.accept_bi().await?;
            let mut framed = Framed { send, recv };
            let mut number = [0; 2];
            framed.recv.read_exact(&mut number).await?;
            anyhow::ensure!(number == Service::Events.number().to_be_bytes(), "{number:?}");
            let request = framed.expect::<EventsRequest>(MAX_INTEREST_FRAME).await?;
            let (told, is_followed) = match request {
                EventsRequest::Fetch(_) => (Told::Done, false),
                EventsRequest::Follow(Interest { serial, own, .. }) => {
                    let own = own.unwrap_or(at(0));
                    (Told::From { serial, own, relayed: at(0) }, true)
                }
            };
            framed.send(&told, MAX_EVENTS_FRAME).await?;
            if is_followed {
                return anyhow::Ok(framed);
            }
        }
    };
    puppet.play(accepted).unwrap().unwrap()
}

fn subscribe(
    team: &Team,
    runtime: &tokio::runtime::Runtime,
) -> pilot_local_api::client::Lines<EventLine> {
    let client = Client::new(team.node("target").home().join("pilot.sock"));
    let topics = ["a", "b.*", "task.*"].map(|topic| topic.parse().unwrap()).to_vec();
    let request = SubscribeRequest { topics, ..SubscribeRequest::default() };
    runtime.block_on(client.subscribe(&request)).unwrap()
}

#[test]
fn what_is_no_event_of_the_peer_ends_its_stream_and_reaches_nobody() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(43, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut lines = subscribe(&team, &runtime);
    let garbage = Told::Events {
        stream: Stream::Own,
        epoch: EPOCH,
        through: 9,
        records: vec![0xff; 100].into(),
    };
    let bad = [
        events(Stream::Own, 9, &[event(1, "task.done", "1")]),
        events(Stream::Own, 9, &[event(1, "a", "{\"a\":")]),
        events(Stream::Own, 9, &[event(1, "a", "1 2")]),
        events(Stream::Own, 9, &[event(1, "a", "1\n{}")]),
        events(Stream::Own, 9, &[event(2, "a", "1"), event(2, "a", "1")]),
        events(Stream::Own, 1, &[event(2, "a", "1")]),
        events(Stream::Own, 9, &[unproved(1)]),
        events(Stream::Relayed, 9, &[unproved(1)]),
        events(Stream::Relayed, 9, &[event(1, "a", "1")]),
        events(Stream::Automatic, 9, &[event(1, "a", "1")]),
        Told::Done,
        Told::Gap { stream: Stream::Own, count: u64::MAX, through: at(9) },
        events(Stream::Own, u64::MAX, &[event(u64::MAX, "a", "1")]),
        garbage,
    ];
    for told in bad {
        let mut framed = followed(&puppet, &session);
        let ended = puppet.play(async {
            framed.send(&told, MAX_EVENTS_FRAME).await?;
            framed.expect::<Interest>(MAX_INTEREST_FRAME).await
        });
        let ended = ended.unwrap().unwrap_err();
        assert!(
            matches!(ended, FramedError::Ended | FramedError::Stopped { .. }),
            "{told:?}: {ended}"
        );
    }
    let mut framed = followed(&puppet, &session);
    let good = events(Stream::Own, 9, &[event(3, "a", "true"), event(4, "other", "1")]);
    puppet.play(framed.send(&good, MAX_EVENTS_FRAME)).unwrap().unwrap();

    let line = runtime.block_on(lines.next()).unwrap().unwrap();
    assert_eq!((line.topic.as_deref(), line.seq), (Some("a"), Some(3)), "{line:?}");
}

#[test]
fn nobody_is_told_what_it_may_not_hear() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(44, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let target = team.node("target");
    let session = puppet.session(target, 1).unwrap();
    let fetch = |stream| {
        let filters = vec![">".parse().unwrap()];
        let (past, until) = (Past::After(at(0)), Position { epoch: u64::MAX, seq: u64::MAX });
        EventsRequest::Fetch(Fetch { stream, filters, past, until, signed: Vec::new() })
    };
    let ask = |request: &EventsRequest| {
        let mut framed = puppet.open(&session, Service::Events.number()).unwrap();
        puppet.play(async {
            framed.send(request, MAX_INTEREST_FRAME).await?;
            framed.expect::<Told>(MAX_EVENTS_FRAME).await
        })
    };
    let refused = FramedError::Stopped { code: close::NOT_ALLOWED };

    // What its daemon says of tasks and peers is for its own user.
    assert_eq!(ask(&fetch(Stream::Automatic)).unwrap(), Err(refused.clone()));
    assert_eq!(ask(&fetch(Stream::Own)).unwrap(), Ok(Told::Done));

    let narrow = TrustRequest {
        peer: puppet.peer(),
        fingerprint: None,
        allow: Some(vec![Allowed::Tasks]),
        expires_in_ms: None,
    };
    team.api("target").unwrap().trust_as(&narrow).unwrap();
    assert_eq!(ask(&fetch(Stream::Own)).unwrap(), Err(refused.clone()));
    let interest = Interest {
        serial: 1,
        live: vec![">".parse().unwrap()],
        durable: Vec::new(),
        signed: Vec::new(),
        own: None,
        relayed: None,
    };
    assert_eq!(ask(&EventsRequest::Follow(interest)).unwrap(), Err(refused));
}
