//! Bytes that nobody honest sends: a value or an error, and no more memory
//! than the limits allow.

use pilot_proto::beacon::{Alive, Bind, MAX_STUN, Told};
use pilot_proto::control::{ControlAnswer, ControlRequest};
use pilot_proto::data::{self, DataRequest, Said};
use pilot_proto::events::{self, EventsRequest, Interest, MAX_FILTERS};
use pilot_proto::frame;
use pilot_proto::manifest::Entry;
use pilot_proto::messages::{MAX_BATCH, MAX_RECEIPTS, MessageAnswer, MessageRequest};
use pilot_proto::probe::{MAX_CALL_BEACONS, MAX_CANDIDATES, Probe};
use pilot_proto::registry::{Answer, MAX_BEACONS, MAX_GRANTS, Push, Request};
use pilot_proto::tasks::{
    BodyError, ContentError, MAX_EXCLUSIVE, MAX_FILES, MAX_INLINE, MAX_INPUTS, MAX_PARAMS,
    MAX_PASS, MAX_TASK_FRAME, ResultBody, TaskAnswer, TaskBody, TaskExtras, TaskRequest,
};
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{Endpoints, MAX_ENDPOINTS, MAX_TAGS, Tags};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{data_samples, event_samples, message_samples, samples};

/// Bytes that decode give a value whose own bytes give it again.
fn total<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(bytes: &[u8]) {
    if let Ok(message) = frame::decode::<T>(bytes) {
        let again = postcard::to_allocvec(&message).unwrap();
        assert_eq!(frame::decode::<T>(&again).as_ref(), Ok(&message));
    }
}

fn total_for_all(bytes: &[u8]) {
    total::<Request>(bytes);
    total::<Answer>(bytes);
    total::<Push>(bytes);
    total::<ControlRequest>(bytes);
    total::<ControlAnswer>(bytes);
    total::<TrustOffer>(bytes);
    total::<TrustAnswer>(bytes);
    total::<TaskRequest>(bytes);
    total::<TaskAnswer>(bytes);
    total::<TaskBody>(bytes);
    total::<ResultBody>(bytes);
    total::<DataRequest>(bytes);
    total::<Said>(bytes);
    total::<data::Told>(bytes);
    total::<MessageRequest>(bytes);
    total::<MessageAnswer>(bytes);
    total::<EventsRequest>(bytes);
    total::<Interest>(bytes);
    total::<events::Told>(bytes);
    total::<Entry>(bytes);
    total::<Bind>(bytes);
    total::<Alive>(bytes);
    total::<Told>(bytes);
    total::<Probe>(bytes);
    bodies_are_total(bytes);
}

/// As [`total`], for what is followed by extras.
fn bodies_are_total(bytes: &[u8]) {
    if let Ok(body) = TaskBody::decode(bytes) {
        assert_eq!(TaskBody::decode(&body.encode()), Ok(body));
    }
    if let Ok(body) = ResultBody::decode(bytes) {
        assert_eq!(ResultBody::decode(&body.encode()), Ok(body));
    }
}

fn some_valid_bytes() -> Vec<Vec<u8>> {
    fn bytes<T: Serialize>(samples: Vec<(&'static str, T)>) -> Vec<Vec<u8>> {
        samples.iter().map(|(_, message)| postcard::to_allocvec(message).unwrap()).collect()
    }
    [
        bytes(samples::requests()),
        bytes(samples::answers()),
        bytes(samples::pushes()),
        bytes(samples::control_requests()),
        bytes(samples::control_answers()),
        bytes(samples::trust_offers()),
        bytes(samples::trust_answers()),
        bytes(samples::task_requests()),
        bytes(samples::task_answers()),
        bytes(samples::task_bodies()),
        bytes(samples::result_bodies()),
        samples::task_bodies_with_extras().iter().map(|(_, body)| body.encode()).collect(),
        samples::result_bodies_with_extras().iter().map(|(_, body)| body.encode()).collect(),
        bytes(data_samples::requests()),
        bytes(data_samples::said()),
        bytes(data_samples::told()),
        bytes(message_samples::requests()),
        bytes(message_samples::answers()),
        bytes(event_samples::requests()),
        bytes(event_samples::interests()),
        bytes(event_samples::told()),
        bytes(data_samples::entries()),
        bytes(samples::binds()),
        bytes(samples::alives()),
        bytes(samples::tolds()),
        bytes(samples::probes()),
    ]
    .concat()
}

proptest! {
    #[test]
    fn any_bytes_give_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        total_for_all(&bytes);
    }

    #[test]
    fn broken_messages_give_a_message_or_an_error(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = which.get(&some_valid_bytes()).clone();
        let at = at.index(bytes.len());
        bytes[at] = with;
        total_for_all(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        total_for_all(&bytes);
    }
}

/// A list of so many elements, each of these bytes.
fn list(count: usize, element: &[u8]) -> Vec<u8> {
    let mut bytes = postcard::to_allocvec(&count).unwrap();
    bytes.extend(element.repeat(count));
    bytes
}

#[test]
fn every_list_ends_at_its_limit() {
    let grant = {
        let samples = samples::trust_offers();
        postcard::to_allocvec(&samples[0].1.grant).unwrap()
    };
    let endpoint: Vec<Vec<u8>> = (0..=8_u8).map(|ip| vec![0, 127, 0, 0, ip, 1]).collect();
    let endpoints = |count: usize| {
        let len = postcard::to_allocvec(&count).unwrap();
        [len, endpoint[..count].concat()].concat()
    };
    let tags = |count: usize| {
        let tags: Vec<String> = (0..count).map(|key| format!("{key}=v")).collect();
        postcard::to_allocvec(&tags).unwrap()
    };
    let put_grants = |count| [vec![4], list(count, &grant)].concat();
    let params = |count| [vec![0], list(count, &[0, 0]), vec![0, 0]].concat();
    let files = |count| [vec![0, 0], list(count, &[1, b'a', 0]), vec![0]].concat();
    let letters = |count| {
        let letter = [vec![1], vec![7; 16], vec![0, 1, b'x']].concat();
        [vec![0, 1, 1], list(count, &letter)].concat()
    };
    let wants = |count| [vec![1], list(count, &[1, b'a']), vec![0, 0, 0, 0]].concat();
    let receipts = |count| {
        let receipt = [vec![7; 16], vec![0, 0]].concat();
        [vec![1], list(count, &receipt)].concat()
    };
    let bound = |count| [vec![0, 7], endpoint[0].clone(), endpoints(count), vec![7]].concat();
    let beacons = |count| {
        let samples = samples::answers();
        let (_, Answer::Beacons { beacons, ticket }) = &samples[samples.len() - 1] else {
            panic!()
        };
        let beacon = postcard::to_allocvec(&beacons[0]).unwrap();
        [vec![8], list(count, &beacon), postcard::to_allocvec(ticket).unwrap()].concat()
    };

    assert!(frame::decode::<Endpoints>(&endpoints(MAX_ENDPOINTS)).is_ok());
    assert!(frame::decode::<Endpoints>(&endpoints(MAX_ENDPOINTS + 1)).is_err());
    assert!(frame::decode::<Tags>(&tags(MAX_TAGS)).is_ok());
    assert!(frame::decode::<Tags>(&tags(MAX_TAGS + 1)).is_err());
    assert!(frame::decode::<Request>(&put_grants(MAX_GRANTS)).is_ok());
    assert!(frame::decode::<Request>(&put_grants(MAX_GRANTS + 1)).is_err());
    assert!(frame::decode::<TaskBody>(&params(MAX_PARAMS)).is_ok());
    assert!(frame::decode::<TaskBody>(&params(MAX_PARAMS + 1)).is_err());
    assert!(frame::decode::<TaskBody>(&files(MAX_FILES)).is_ok());
    assert!(frame::decode::<TaskBody>(&files(MAX_FILES + 1)).is_err());
    assert!(frame::decode::<MessageRequest>(&letters(MAX_BATCH)).is_ok());
    assert!(frame::decode::<MessageRequest>(&letters(MAX_BATCH + 1)).is_err());
    assert!(frame::decode::<MessageRequest>(&receipts(MAX_RECEIPTS)).is_ok());
    assert!(frame::decode::<MessageRequest>(&receipts(MAX_RECEIPTS + 1)).is_err());
    assert!(frame::decode::<Interest>(&wants(MAX_FILTERS)).is_ok());
    assert!(frame::decode::<Interest>(&wants(MAX_FILTERS + 1)).is_err());
    assert!(frame::decode::<Told>(&bound(MAX_STUN)).is_ok());
    assert!(frame::decode::<Told>(&bound(MAX_STUN + 1)).is_err());
    assert!(frame::decode::<Answer>(&beacons(MAX_BEACONS)).is_ok());
    assert!(frame::decode::<Answer>(&beacons(MAX_BEACONS + 1)).is_err());
}

#[test]
fn the_lists_of_a_call_end_at_their_limits() {
    let call = |candidates: usize, beacons: usize| {
        // seq, answer, method, start, both parts of the NAT, no mapped address.
        let head = vec![2, 1, 0, 0, 0, 0, 0, 0];
        let candidates = list(candidates, &[0, 127, 0, 0, 1, 1]);
        let beacons = list(beacons, &[7, 7, 7, 7, 7, 7, 7, 7, 9]);
        Probe::decode(&[head, candidates, beacons].concat())
    };

    assert!(call(MAX_CANDIDATES, MAX_CALL_BEACONS).is_ok());
    assert!(call(MAX_CANDIDATES + 1, MAX_CALL_BEACONS).is_err());
    assert!(call(MAX_CANDIDATES, MAX_CALL_BEACONS + 1).is_err());
}

#[test]
fn more_inputs_than_a_task_may_have_do_not_decode() {
    let with = |count: usize| {
        let mut body = samples::task_bodies_with_extras().remove(0).1;
        let input = body.extras.inputs[0].clone();
        body.extras.inputs = vec![input; count];
        TaskBody::decode(&body.encode())
    };

    assert!(with(MAX_INPUTS).is_ok());
    assert_eq!(with(MAX_INPUTS + 1), Err(BodyError));
}

#[test]
fn extras_that_break_a_rule_are_refused() {
    let extras = |edit: fn(&mut TaskExtras)| {
        let mut body = samples::task_bodies_with_extras().remove(0).1;
        edit(&mut body.extras);
        body.check()
    };

    assert_eq!(extras(|_| {}), Ok(()));
    assert_eq!(extras(|extras| extras.exclusive = Some("k".repeat(MAX_EXCLUSIVE))), Ok(()));
    let long = extras(|extras| extras.exclusive = Some("k".repeat(MAX_EXCLUSIVE + 1)));
    assert_eq!(long, Err(ContentError::Exclusive(MAX_EXCLUSIVE + 1)));
    let empty = extras(|extras| extras.exclusive = Some(String::new()));
    assert_eq!(empty, Err(ContentError::Exclusive(0)));
    let twice = extras(|extras| extras.inputs.push(extras.inputs[0].clone()));
    assert_eq!(twice, Err(ContentError::Inputs(3)));
    let pass = extras(|extras| extras.inputs[0].pass = Some(vec![0; MAX_PASS + 1].into()));
    assert_eq!(pass, Err(ContentError::Pass(MAX_PASS + 1)));
    let large = extras(|extras| extras.inputs[0].content = Some(vec![0; MAX_INLINE].into()));
    assert!(matches!(large, Err(ContentError::Inline(_))));
}

#[test]
fn a_frame_full_of_nothing_is_not_built_in_memory() {
    // Two bytes an element on the wire, fifty in memory: 400 MB if it were built.
    let elements = MAX_TASK_FRAME / 2 - 8;
    let bytes = [vec![0], list(elements, &[0, 0]), vec![0, 0]].concat();

    assert!(frame::decode::<TaskBody>(&bytes).is_err());
}

#[test]
fn a_content_that_breaks_a_rule_is_refused() {
    let body = |edit: fn(&mut TaskBody)| {
        let mut body = samples::task_bodies().remove(0).1;
        edit(&mut body);
        body.check().map_err(|error| error.to_string())
    };

    assert_eq!(body(|_| {}), Ok(()));
    assert!(body(|body| body.description = "x".repeat((1 << 20) + 1)).is_err());
    assert!(body(|body| body.params.push(("k".to_owned(), String::new()))).is_err());
    assert!(body(|body| body.files.push(body.files[0].clone())).is_err());
    assert!(body(|body| body.files[0].content = vec![0; 16 << 20].into()).is_err());
}
