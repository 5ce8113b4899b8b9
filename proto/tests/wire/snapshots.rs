//! The bytes of every message.

use core::fmt::Debug;

use pilot_proto::frame::{self, FrameError, PREFIX};
use pilot_proto::probe::Probe;
use pilot_proto::tasks::{BodyError, ResultBody, TaskBody};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{data_samples, event_samples, message_samples, samples};

/// Larger than every sample.
const LIMIT: usize = 4096;

#[test]
fn every_message_has_its_bytes_and_goes_there_and_back() {
    let kinds = [
        lines("registry request", samples::requests()),
        lines("registry answer", samples::answers()),
        lines("registry push", samples::pushes()),
        lines("control request", samples::control_requests()),
        lines("control answer", samples::control_answers()),
        lines("trust offer", samples::trust_offers()),
        lines("trust answer", samples::trust_answers()),
        lines("task request", samples::task_requests()),
        lines("task answer", samples::task_answers()),
        lines("task body", samples::task_bodies()),
        lines("result body", samples::result_bodies()),
        lines("data request", data_samples::requests()),
        lines("data said", data_samples::said()),
        lines("data told", data_samples::told()),
        lines("message request", message_samples::requests()),
        lines("message answer", message_samples::answers()),
        lines("events request", event_samples::requests()),
        lines("events interest", event_samples::interests()),
        lines("events told", event_samples::told()),
        lines("manifest entry", data_samples::entries()),
        lines("beacon bind", samples::binds()),
        lines("beacon alive", samples::alives()),
        lines("beacon told", samples::tolds()),
    ];

    insta::assert_snapshot!(kinds.concat());
}

/// A line for each sample: its name, and its bytes without the length.
fn lines<T>(kind: &str, samples: Vec<(&'static str, T)>) -> String
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let line = |(name, message): (&str, T)| {
        let framed = frame::encode(&message, LIMIT).unwrap();
        let bytes = &framed[PREFIX..];
        assert_eq!(frame::decode::<T>(bytes).unwrap(), message, "{kind} {name}");
        for end in 0..bytes.len() {
            let cut = frame::decode::<T>(&bytes[..end]);
            assert_eq!(cut, Err(FrameError::Malformed), "{kind} {name} cut at {end}");
        }
        let longer = [bytes, &[0]].concat();
        assert_eq!(frame::decode::<T>(&longer), Err(FrameError::Malformed), "{kind} {name} and 0");
        format!("{kind} {name}: {}\n", data_encoding::HEXLOWER.encode(bytes))
    };
    samples.into_iter().map(line).collect()
}

#[test]
fn bodies_with_extras_have_their_bytes_and_go_there_and_back() {
    let tasks = samples::task_bodies_with_extras().into_iter().map(|(name, body)| {
        let (bytes, bare) = (body.encode(), TaskBody { extras: <_>::default(), ..body.clone() });
        assert_eq!(TaskBody::decode(&bytes).as_ref(), Ok(&body), "{name}");
        the_rest_follows(name, &bytes, &bare.encode(), |bytes| {
            TaskBody::decode(bytes).map(|found| (found == body, found == bare))
        });
        format!("task body {name}: {}\n", data_encoding::HEXLOWER.encode(&bytes))
    });
    let results = samples::result_bodies_with_extras().into_iter().map(|(name, body)| {
        let (bytes, bare) = (body.encode(), ResultBody { extras: <_>::default(), ..body.clone() });
        assert_eq!(ResultBody::decode(&bytes).as_ref(), Ok(&body), "{name}");
        the_rest_follows(name, &bytes, &bare.encode(), |bytes| {
            ResultBody::decode(bytes).map(|found| (found == body, found == bare))
        });
        format!("result body {name}: {}\n", data_encoding::HEXLOWER.encode(&bytes))
    });

    insta::assert_snapshot!(tasks.chain(results).collect::<String>());
}

/// The extras follow the first layout, are whole or nothing, and may have more
/// behind them. `decode` says whether the body is as with extras, or as without.
fn the_rest_follows(
    name: &str,
    bytes: &[u8],
    bare: &[u8],
    decode: impl Fn(&[u8]) -> Result<(bool, bool), BodyError>,
) {
    assert!(bytes.starts_with(bare), "{name}");
    assert_eq!(decode(bare), Ok((false, true)), "{name} in the first layout");
    for end in (0..bytes.len()).filter(|end| *end != bare.len()) {
        assert_eq!(decode(&bytes[..end]), Err(BodyError), "{name} cut at {end}");
    }
    let newer = [bytes, &[7, 7]].concat();
    assert_eq!(decode(&newer), Ok((true, false)), "{name} of a newer program");
}

#[test]
fn every_probe_has_its_bytes_and_goes_there_and_back() {
    for (name, probe) in samples::probes() {
        let bytes = probe.encode().unwrap();
        assert_eq!(Probe::decode(&bytes).as_ref(), Ok(&probe), "{name}");
    }

    insta::assert_snapshot!(lines("probe", samples::probes()));
}
