//! Messages as others make them, as we make them, and as nobody should.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use core::net::SocketAddr;

use data_encoding::HEXLOWER_PERMISSIVE;
use pilot_stun::{
    AnswerFrom, HEADER, MAX_MESSAGE, MAX_READ, MalformedError, Mapped, Outcome, Request,
    RequestError, Response, ResponseError, TransactionId, UnknownAttributes, looks_like_stun,
};
use proptest::collection::vec;
use proptest::prelude::*;

const ID: TransactionId = TransactionId([7; 12]);

/// That of the vectors of RFC 5769.
const VECTOR: TransactionId =
    TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

/// RFC 5769 §2.1: it holds PRIORITY (0x0024), which is ICE's.
const REQUEST: &str = "
    00010058 2112a442 b7e7a701 bc34d686 fa87dfae
    80220010 5354554e 20746573 7420636c 69656e74
    00240004 6e0001ff
    80290008 932ff9b1 51263b36
    00060009 6576746a 3a683676 59202020
    00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
    80280004 e57a3bcf";

/// RFC 5769 §2.2.
const IPV4_RESPONSE: &str = "
    0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200008 0001a147 e112a643
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
    80280004 c07d4c96";

/// RFC 5769 §2.3.
const IPV6_RESPONSE: &str = "
    01010048 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41
    80280004 c8fb0b4c";

/// RFC 5769 §2.4: credentials, and no fingerprint.
const REQUEST_WITH_CREDENTIALS: &str = "
    00010060 2112a442 78ad3433 c6ad72c0 29da412e
    00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
    0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700
    00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap()
}

/// A request with these attributes, given whole.
fn request(attributes: &str) -> Vec<u8> {
    let attributes = bytes(attributes);
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    [&[0, 1], length.as_slice(), &bytes("2112a442"), &ID.0, &attributes].concat()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_responses_of_rfc_5769_are_read() {
    for (vector, address) in [
        (IPV4_RESPONSE, "192.0.2.1:32853"),
        (IPV6_RESPONSE, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let response = Response::decode(&bytes(vector)).unwrap();

        assert_eq!(response.transaction, VECTOR);
        assert_eq!(response.outcome, Outcome::Mapped(Mapped::new(addr(address))));
        assert!(response.has_fingerprint);
    }
}

#[test]
fn the_requests_of_rfc_5769_are_read() {
    let of_ice = Request::decode(&bytes(REQUEST)).unwrap_err();
    let attributes = UnknownAttributes::new([0x0024]);
    assert_eq!(of_ice, RequestError::Unknown { transaction: VECTOR, attributes });

    let with_credentials = Request::decode(&bytes(REQUEST_WITH_CREDENTIALS)).unwrap();
    assert_eq!(with_credentials, Request::new(with_credentials.transaction));
}

#[test]
fn every_changed_byte_of_a_message_with_a_fingerprint_is_noticed() {
    for vector in [REQUEST, IPV4_RESPONSE, IPV6_RESPONSE] {
        let whole = bytes(vector);
        // With another type the last attribute is no fingerprint any more.
        let kind = whole.len() - 8..whole.len() - 6;
        for at in (0..whole.len()).filter(|at| !kind.contains(at)) {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            let request = Request::decode(&changed);
            assert!(matches!(request, Err(RequestError::Malformed(_))), "{at}: {request:?}");
            let response = Response::decode(&changed);
            assert!(matches!(response, Err(ResponseError::Malformed(_))), "{at}: {response:?}");
            assert!(
                Request::decode(&whole[..at]).is_err() && Response::decode(&whole[..at]).is_err()
            );
        }
    }
}

#[test]
fn the_plain_question_is_a_bare_header() {
    let plain = Request::new(ID).encode();

    assert_eq!(plain, request(""));
    assert_eq!(plain.len(), HEADER);
    assert!(looks_like_stun(&plain));
    assert!(!looks_like_stun(&plain[..HEADER - 1]));
}

#[test]
fn the_attributes_of_rfc_5780_have_their_bytes() {
    let table = [
        ("0003 0004 00000002", Request { answer_from: AnswerFrom::OtherPort, ..Request::new(ID) }),
        (
            "0003 0004 00000004",
            Request { answer_from: AnswerFrom::OtherAddress, ..Request::new(ID) },
        ),
        ("0003 0004 00000006", Request { answer_from: AnswerFrom::Other, ..Request::new(ID) }),
        ("0027 0004 0fa00000", Request { response_port: Some(4000), ..Request::new(ID) }),
        ("0026 0005 0000000000 000000", Request { padding: Some(5), ..Request::new(ID) }),
    ];
    for (attributes, wanted) in table {
        assert_eq!(wanted.encode(), request(attributes), "{attributes}");
        assert_eq!(Request::decode(&request(attributes)), Ok(wanted), "{attributes}");
    }
    let short = Request::decode(&request("0027 0002 0fa0 0000")).unwrap();
    assert_eq!(short.response_port, Some(4000));

    let mapped = Mapped {
        origin: Some(addr("192.0.2.2:3478")),
        other: Some(addr("192.0.2.3:3479")),
        ..Mapped::new(addr("192.0.2.1:32853"))
    };
    let response =
        Response { transaction: ID, outcome: Outcome::Mapped(mapped), has_fingerprint: false };
    let expected = "
        01010030 2112a442 07070707 07070707 07070707
        00200008 0001a147 e112a643
        802b0008 00010d96 c0000202
        802c0008 00010d97 c0000203
        80220005 70696c6f 74000000";
    assert_eq!(response.encode(), bytes(expected));
}

#[test]
fn what_cannot_be_understood_is_named_in_the_answer() {
    let odd = request("0024 0004 00000000  8055 0000  7fff 0000  0024 0000");

    let error = Request::decode(&odd).unwrap_err();

    let response = error.response().unwrap();
    let attributes = UnknownAttributes::new([0x0024, 0x7fff]);
    assert_eq!(response.outcome, Outcome::UnknownAttributes(attributes));
    assert_eq!(Response::decode(&response.encode()), Ok(response));
    assert_eq!(
        response.encode()[..HEADER + 24 + 4 + 4],
        bytes(
            "01110030 2112a442 07070707 07070707 07070707
             00090015 00000414 556e6b6e 6f776e20 41747472 69627574 65000000
             000a0004 00247fff"
        )[..HEADER + 24 + 4 + 4]
    );
}

#[test]
fn more_unknown_attributes_than_are_listed_are_survived() {
    let all: String = (0x0100..0x0130).map(|kind| format!("{kind:04x} 0000 ")).collect();

    let error = Request::decode(&request(&all)).unwrap_err();

    let RequestError::Unknown { attributes, .. } = error else { panic!("{error:?}") };
    assert_eq!(attributes.as_slice().len(), UnknownAttributes::MAX);
}

#[test]
fn contradictions_are_bad_requests() {
    for attributes in [
        "0026 0004 00000000 0027 0004 0fa00000",
        "0027 0004 00000000",
        "0027 0003 0fa00000",
        "0003 0002 00060000",
        "0003 0000",
    ] {
        let error = Request::decode(&request(attributes)).unwrap_err();
        assert_eq!(error, RequestError::Bad { transaction: ID }, "{attributes}");
        let response = error.response().unwrap();
        assert_eq!(Response::decode(&response.encode()), Ok(response));
    }
}

#[test]
fn frames_that_do_not_hold_are_no_messages() {
    let malformed = |bytes: &[u8]| match Request::decode(bytes) {
        Err(error @ RequestError::Malformed(why)) if error.response().is_none() => Some(why),
        _ => None,
    };
    let mut without_cookie = request("");
    without_cookie[4] = 0;
    let mut long = request("");
    long.resize(MAX_READ + 4, 0);

    assert_eq!(malformed(&without_cookie), Some(MalformedError::NotStun));
    assert_eq!(malformed(&[request(""), vec![0; 4]].concat()), Some(MalformedError::NotStun));
    assert_eq!(malformed(&request("80220001 00")), Some(MalformedError::NotStun));
    assert_eq!(malformed(&long), Some(MalformedError::TooLong(MAX_READ + 4)));
    assert_eq!(malformed(&request("80220005 00000000")), Some(MalformedError::Attributes));
    let after_fingerprint = request("80280004 00000000 80220000");
    assert_eq!(malformed(&after_fingerprint), Some(MalformedError::Attributes));
    assert_eq!(malformed(&request("80280004 00000000")), Some(MalformedError::Fingerprint));
    assert_eq!(malformed(&request("80280000")), Some(MalformedError::Attributes));
}

#[test]
fn no_message_is_taken_for_one_of_the_other_direction() {
    let response = bytes(IPV4_RESPONSE);
    let mut indication = request("");
    indication[1] = 0x11;
    let mut allocate = request("");
    allocate[1] = 0x03;

    assert_eq!(Response::decode(&request("")), Err(ResponseError::OtherMessage));
    for other in [response, indication, allocate] {
        assert_eq!(Request::decode(&other), Err(RequestError::OtherMessage));
    }
}

#[test]
fn old_servers_and_errors_are_understood_and_nonsense_is_not() {
    let reply = |kind: &[u8; 2], attributes: &str| {
        let mut message = request(attributes);
        message[..2].copy_from_slice(kind);
        Response::decode(&message).map(|response| response.outcome)
    };
    let mapped = |text, plain| {
        Ok(Outcome::Mapped(Mapped { plain: Some(addr(plain)), ..Mapped::new(addr(text)) }))
    };

    let address = "192.0.2.1:32853";
    assert_eq!(reply(&[1, 1], "0001 0008 00018055 c0000201"), mapped(address, address));
    // The exclusive one counts, wherever it is.
    let both = "0001 0008 00010001 0a000001 0020 0008 0001a147 e112a643";
    assert_eq!(reply(&[1, 1], both), mapped(address, "10.0.0.1:1"));
    for nonsense in ["", "0020 0008 0003a147 e112a643", "0020 0004 0001a147", "0024 0000"] {
        assert_eq!(reply(&[1, 1], nonsense), Err(ResponseError::Bad), "{nonsense}");
    }
    assert_eq!(reply(&[1, 0x11], "0009 0004 00000401"), Ok(Outcome::Error(401)));
    assert_eq!(reply(&[1, 0x11], "0009 0004 00000400"), Ok(Outcome::BadRequest));
    for nonsense in ["", "0009 0004 00000464", "0009 0004 00000201", "0009 0003 00000400"] {
        assert_eq!(reply(&[1, 0x11], nonsense), Err(ResponseError::Bad), "{nonsense}");
    }
}

#[test]
fn nothing_is_longer_than_what_passes_everywhere() {
    let padded = Request { padding: Some(u16::MAX), ..Request::new(ID) }.encode();
    assert_eq!(padded, Request::new(ID).encode());
    let most = Request { padding: Some(1240), has_fingerprint: true, ..Request::new(ID) };
    assert_eq!(Request::decode(&most.encode()), Ok(most));
    assert!(most.encode().len() <= MAX_MESSAGE);
}

prop_compose! {
    fn any_addr()(v4: [u8; 4], v6: [u8; 16], is_v4: bool, port: u16) -> SocketAddr {
        if is_v4 { (v4, port).into() } else { (v6, port).into() }
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let from = prop_oneof![
        Just(AnswerFrom::Same),
        Just(AnswerFrom::OtherPort),
        Just(AnswerFrom::OtherAddress),
        Just(AnswerFrom::Other),
    ];
    let extra = prop_oneof![
        Just((None, None)),
        (1_u16..).prop_map(|port| (Some(port), None)),
        (0_u16..1000).prop_map(|padding| (None, Some(padding))),
    ];
    (any::<[u8; 12]>(), from, extra, any::<bool>()).prop_map(
        |(id, answer_from, (response_port, padding), has_fingerprint)| Request {
            transaction: TransactionId(id),
            answer_from,
            response_port,
            padding,
            has_fingerprint,
        },
    )
}

fn any_response() -> impl Strategy<Value = Response> {
    let mapped = (
        any_addr(),
        proptest::option::of(any_addr()),
        proptest::option::of(any_addr()),
        proptest::option::of(any_addr()),
        0_u16..1000,
    )
        .prop_map(|(address, plain, origin, other, padding)| {
            Outcome::Mapped(Mapped { address, plain, origin, other, padding })
        });
    let outcome = prop_oneof![
        mapped,
        Just(Outcome::BadRequest),
        vec(any::<u16>(), 0..12)
            .prop_map(|kinds| Outcome::UnknownAttributes(UnknownAttributes::new(kinds))),
        (421_u16..700).prop_map(Outcome::Error),
    ];
    (any::<[u8; 12]>(), outcome, any::<bool>()).prop_map(|(id, outcome, has_fingerprint)| {
        Response { transaction: TransactionId(id), outcome, has_fingerprint }
    })
}

proptest! {
    #[test]
    fn a_request_goes_there_and_back(request in any_request()) {
        prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
        prop_assert!(request.encode().len() <= MAX_MESSAGE);
    }

    #[test]
    fn a_response_goes_there_and_back(response in any_response()) {
        prop_assert_eq!(Response::decode(&response.encode()), Ok(response));
        prop_assert!(response.encode().len() <= MAX_MESSAGE);
    }

    #[test]
    fn any_bytes_are_survived(garbage in vec(any::<u8>(), 0..200)) {
        let _ = (Request::decode(&garbage), Response::decode(&garbage));
        let message = [&request("")[..], &garbage].concat();
        let _ = (Request::decode(&message), Response::decode(&message));
    }

    #[test]
    fn broken_messages_are_survived(
        whole in prop_oneof![
            any_request().prop_map(|request| request.encode()),
            any_response().prop_map(|response| response.encode()),
        ],
        at in any::<prop::sample::Index>(),
        with: u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut broken = whole;
        let at = at.index(broken.len());
        broken[at] = with;
        let decoded = Request::decode(&broken);
        if let Ok(request) = decoded {
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        let _ = Response::decode(&broken);
        broken.truncate(cut.index(broken.len()));
        prop_assert!(Request::decode(&broken).is_err() || broken.len() == HEADER);
    }
}
