//! Which address answers what.

use pilot_stun::{AnswerFrom, Mapped, Outcome, Request, Response, TransactionId};

use super::*;

const CLIENT: &str = "198.51.100.7:5000";

fn server(layout: Layout) -> StunServer {
    StunServer::new(layout, NonZeroU32::new(100).unwrap(), true)
}

fn request() -> Request {
    Request::new(TransactionId([5; 12]))
}

fn ask(server: &mut StunServer, socket: usize, request: Request) -> (StunAnswer, Outcome) {
    let arrival = Arrival {
        from: addr(CLIENT),
        socket: SocketIndex::ALL[socket],
        local_ip: Some("192.0.2.9".parse().unwrap()),
    };
    let answer = server.handle(arrival, &request.encode(), Instant::now()).unwrap();
    let response = Response::decode(&answer.message).unwrap();
    assert_eq!(response.transaction, request.transaction);
    (answer, response.outcome)
}

fn mapped(origin: &str, other: Option<&str>) -> Outcome {
    let (origin, other) = (Some(addr(origin)), other.map(addr));
    let plain = other.map(|_| addr(CLIENT));
    Outcome::Mapped(Mapped { plain, origin, other, ..Mapped::new(addr(CLIENT)) })
}

#[test]
fn one_address_answers_and_knows_no_other() {
    let mut server = server(Layout::One(addr("0.0.0.0:9001")));

    let (answer, outcome) = ask(&mut server, 0, request());
    assert_eq!((answer.to, answer.socket), (addr(CLIENT), SocketIndex::MAIN));
    assert_eq!(outcome, mapped("192.0.2.9:9001", None));

    for answer_from in [AnswerFrom::OtherPort, AnswerFrom::OtherAddress, AnswerFrom::Other] {
        let (_, outcome) = ask(&mut server, 0, Request { answer_from, ..request() });
        let unknown = pilot_stun::UnknownAttributes::new([0x0003]);
        assert_eq!(outcome, Outcome::UnknownAttributes(unknown));
    }
}

#[test]
fn two_ports_answer_for_each_other_and_name_no_other_address() {
    let layout = Layout::Ports(addr("192.0.2.9:9001"), 9002);
    let mut server = server(layout);
    let other_port = Request { answer_from: AnswerFrom::OtherPort, ..request() };

    let (answer, outcome) = ask(&mut server, 0, other_port);
    assert_eq!(answer.socket, SocketIndex::ALL[1]);
    assert_eq!(outcome, mapped("192.0.2.9:9002", None));
    let (answer, outcome) = ask(&mut server, 1, other_port);
    assert_eq!(answer.socket, SocketIndex::MAIN);
    assert_eq!(outcome, mapped("192.0.2.9:9001", None));
    let (_, outcome) = ask(&mut server, 1, Request { answer_from: AnswerFrom::Other, ..request() });
    assert!(matches!(outcome, Outcome::UnknownAttributes(_)), "{outcome:?}");
    assert_eq!(layout.told(), [addr("0.0.0.0:9002")]);
}

#[test]
fn four_addresses_answer_as_rfc_5780_wants() {
    let layout = Layout::Full(addr("192.0.2.9:9001"), addr("192.0.2.10:9002"));
    let mut server = server(layout);
    let all = ["192.0.2.9:9001", "192.0.2.9:9002", "192.0.2.10:9001", "192.0.2.10:9002"];
    let changes =
        [AnswerFrom::Same, AnswerFrom::OtherPort, AnswerFrom::OtherAddress, AnswerFrom::Other];
    for asked in 0..4 {
        for (bits, answer_from) in changes.into_iter().enumerate() {
            let (answer, outcome) = ask(&mut server, asked, Request { answer_from, ..request() });

            assert_eq!(answer.socket, SocketIndex::ALL[asked ^ bits]);
            assert_eq!(outcome, mapped(all[asked ^ bits], Some(all[asked ^ 3])));
            assert_eq!(answer.local_ip.is_some(), bits & 2 == 0);
        }
    }
    assert_eq!(layout.told(), [addr("0.0.0.0:9002"), addr(all[2]), addr(all[3])]);
}

#[test]
fn an_answer_goes_to_another_port_if_asked_and_not_often() {
    let mut server = server(Layout::One(addr("192.0.2.9:9001")));
    let elsewhere = Request { response_port: Some(6000), ..request() };
    let (answer, _) = ask(&mut server, 0, elsewhere);
    assert_eq!(answer.to, addr("198.51.100.7:6000"));

    let arrival = Arrival { from: addr(CLIENT), socket: SocketIndex::MAIN, local_ip: None };
    let now = Instant::now();
    let message = elsewhere.encode();
    let answered = (0..100).filter(|_| server.handle(arrival, &message, now).is_some()).count();
    assert!((15..=20).contains(&answered), "{answered}");
    assert!(server.handle(arrival, &request().encode(), now).is_some());
}

#[test]
fn padding_makes_no_answer_much_longer_than_its_request() {
    let mut server = server(Layout::Full(addr("192.0.2.9:9001"), addr("192.0.2.10:9002")));
    let padded = Request { padding: Some(1000), ..request() };

    let (answer, outcome) = ask(&mut server, 0, padded);

    let Outcome::Mapped(Mapped { padding: 1000, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(answer.message.len() <= padded.encode().len() + 60);
}

#[test]
fn each_source_has_its_rate_and_garbage_no_answer() {
    let mut server = server(Layout::One(addr("192.0.2.9:9001")));
    let from = |from| Arrival { from, socket: SocketIndex::MAIN, local_ip: None };
    let now = Instant::now();
    let message = request().encode();

    let mut answered = |client: &str, message: &[u8]| {
        let arrival = from(addr(client));
        (0..1000).filter(|_| server.handle(arrival, message, now).is_some()).count()
    };

    assert_eq!(answered("198.51.100.7:1", &message), 400);
    assert_eq!(answered("198.51.100.7:2", &message), 0);
    assert_eq!(answered("198.51.100.8:1", &message[..19]), 0);
    assert_eq!(answered("198.51.100.9:1", &message), 400);
    assert_eq!(server.counts(), (800, 1000 + 600 + 600 + 600));
}
