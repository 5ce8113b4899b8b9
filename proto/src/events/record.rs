//! Events as bytes: the same on the wire, in a journal and in memory.
//!
//! ```text
//!  0      4          12         20      21      22
//! +------+----------+----------+-------+-------+-------+- - - -+- - - -
//! | len  | seq      | at       | flags | topic | topic | origin | data
//! | u32  | u64      | u64, ms  | u8    | len   |       |        | JSON
//! +------+----------+----------+-------+-------+-------+- - - -+- - - -
//!
//! origin, if the flags say so:
//! +----------------+----------+----------+----------------+
//! | publisher, 32  | epoch    | seq      | signature, 64  |
//! +----------------+----------+----------+----------------+
//! ```
//!
//! `len` counts what follows it. Integers are big endian. A reader takes
//! nothing on trust: topic and data are checked, so that a line made of them
//! is one line of JSON.

use pilot_identity::{EventStatement, NodeId, Signature};

use crate::{Position, check_topic};

/// Bytes of an event's data. What is larger goes by the data service.
pub const MAX_EVENT_DATA: usize = 256 * 1024;

/// Bytes of the longest record.
pub const MAX_RECORD: usize = HEAD + 255 + ORIGIN + MAX_EVENT_DATA;

const LEN: usize = 4;
const HEAD: usize = 22;
const ORIGIN: usize = 32 + 8 + 8 + 64;

const RETAINED: u8 = 1;
const SIGNED: u8 = 2;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number in the stream that it was read from.
    pub seq: u64,
    /// When it was published, in milliseconds since 1970.
    pub at: u64,
    /// Its topic's last value, for those who come later.
    pub retained: bool,
    /// What it is about.
    pub topic: &'a str,
    /// What it says, as JSON in one line.
    pub data: &'a str,
    /// Who published it, if not the node that it came from.
    pub origin: Option<Origin>,
}

/// Who published an event that another node hands on, and the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its publisher.
    pub publisher: NodeId,
    /// Where it stands in the publisher's own stream.
    pub position: Position,
    /// The publisher's signature of an [`EventStatement`].
    pub signature: Signature,
}

/// Bytes that are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is longer than any event, or shorter.
    #[error("a length that no event has")]
    Length,
    /// No UTF-8, or no topic.
    #[error("no topic")]
    Topic,
    /// No UTF-8, or more than a line.
    #[error("no line of text")]
    Data,
    /// Flags of a newer version.
    #[error("unknown flags")]
    Flags,
    /// The named publisher is no key.
    #[error("no key")]
    Publisher,
}

impl Record<'_> {
    /// Appends its bytes. The lengths are the caller's to check: a topic is
    /// checked when it is made, data at [`MAX_EVENT_DATA`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let origin = if self.origin.is_some() { ORIGIN } else { 0 };
        let len = HEAD - LEN + self.topic.len() + origin + self.data.len();
        out.reserve(LEN + len);
        out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.at.to_be_bytes());
        let retained = if self.retained { RETAINED } else { 0 };
        out.push(retained | if self.origin.is_some() { SIGNED } else { 0 });
        out.push(u8::try_from(self.topic.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(self.topic.as_bytes());
        if let Some(Origin { publisher, position, signature }) = &self.origin {
            out.extend_from_slice(publisher.as_bytes());
            out.extend_from_slice(&position.epoch.to_be_bytes());
            out.extend_from_slice(&position.seq.to_be_bytes());
            out.extend_from_slice(signature.as_bytes());
        }
        out.extend_from_slice(self.data.as_bytes());
    }

    /// What its publisher signs, if it stands at `position` in its stream.
    #[must_use]
    pub const fn statement(&self, position: Position) -> EventStatement<'_> {
        let Position { epoch, seq } = position;
        EventStatement { epoch, seq, at: self.at, topic: self.topic, data: self.data }
    }
}

/// The events in some bytes, in order; ends at the first that is none.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    /// The last topic: most of those that follow each other are about the same.
    topic: &'a str,
}

impl<'a> Records<'a> {
    /// Those in `bytes`.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, topic: "" }
    }

    fn record(&mut self) -> Result<(Record<'a>, &'a [u8]), RecordError> {
        let all = self.rest;
        let (len, rest) = all.split_first_chunk::<LEN>().ok_or(RecordError::Length)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        let body = rest.get(..len).filter(|_| len <= MAX_RECORD).ok_or(RecordError::Length)?;
        let (bytes, rest) = all.split_at_checked(LEN + len).ok_or(RecordError::Length)?;
        self.rest = rest;

        let (seq, body) = number(body)?;
        let (at, body) = number(body)?;
        let ([flags, topic_len], body) = body.split_first_chunk().ok_or(RecordError::Length)?;
        if flags & !(RETAINED | SIGNED) != 0 {
            return Err(RecordError::Flags);
        }
        let split = body.split_at_checked(usize::from(*topic_len));
        let (topic, body) = split.ok_or(RecordError::Length)?;
        let topic = self.checked_topic(topic)?;
        let (origin, data) = if flags & SIGNED == 0 {
            (None, body)
        } else {
            let (origin, data) = body.split_first_chunk::<ORIGIN>().ok_or(RecordError::Length)?;
            (Some(origin_of(origin)?), data)
        };
        if data.is_empty() || data.len() > MAX_EVENT_DATA {
            return Err(RecordError::Length);
        }
        let data = core::str::from_utf8(data).map_err(|_| RecordError::Data)?;
        if data.bytes().any(|byte| byte < b' ') {
            return Err(RecordError::Data);
        }
        let retained = flags & RETAINED != 0;
        Ok((Record { seq, at, retained, topic, data, origin }, bytes))
    }

    fn checked_topic(&mut self, topic: &'a [u8]) -> Result<&'a str, RecordError> {
        if topic != self.topic.as_bytes() || topic.is_empty() {
            let topic = core::str::from_utf8(topic).map_err(|_| RecordError::Topic)?;
            check_topic(topic).map_err(|_| RecordError::Topic)?;
            self.topic = topic;
        }
        Ok(self.topic)
    }
}

/// An event and its own bytes.
impl<'a> Iterator for Records<'a> {
    type Item = Result<(Record<'a>, &'a [u8]), RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), RecordError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(RecordError::Length)?;
    Ok((u64::from_be_bytes(*number), rest))
}

fn origin_of(bytes: &[u8; ORIGIN]) -> Result<Origin, RecordError> {
    let (publisher, rest) = bytes.split_first_chunk::<32>().ok_or(RecordError::Length)?;
    let (epoch, rest) = number(rest)?;
    let (seq, rest) = number(rest)?;
    let signature = <[u8; 64]>::try_from(rest).map_err(|_| RecordError::Length)?;
    let publisher = NodeId::from_bytes(*publisher).map_err(|_| RecordError::Publisher)?;
    let signature = Signature::from_bytes(signature);
    Ok(Origin { publisher, position: Position { epoch, seq }, signature })
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    const PLAIN: Record<'_> = Record {
        seq: 7,
        at: 1_000,
        retained: false,
        topic: "build.done",
        data: r#"{"ok":true}"#,
        origin: None,
    };

    fn signed() -> Record<'static> {
        let key = NodeKey::from_seed(&Zeroizing::new([1; 32]));
        let position = Position { epoch: 9, seq: 3 };
        let signature = PLAIN.statement(position).sign(&key);
        Record { origin: Some(Origin { publisher: key.id(), position, signature }), ..PLAIN }
    }

    fn read(bytes: &[u8]) -> Result<Vec<Record<'_>>, RecordError> {
        Records::of(bytes).map(|record| record.map(|(record, _)| record)).collect()
    }

    #[test]
    fn the_bytes_stay_as_they_are() {
        let mut bytes = Vec::new();
        Record { retained: true, ..PLAIN }.encode(&mut bytes);

        let head = [0, 0, 0, 39, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 3, 0xe8, 1, 10];
        assert_eq!(bytes, [&head[..], b"build.done", br#"{"ok":true}"#].concat());
    }

    #[test]
    fn those_that_follow_each_other_are_read_back() {
        let other = Record { seq: 8, topic: "a", data: "1", ..PLAIN };
        let all = [PLAIN, signed(), other, Record { retained: true, ..PLAIN }];
        let mut bytes = Vec::new();
        all.iter().for_each(|record| record.encode(&mut bytes));

        assert_eq!(read(&bytes), Ok(all.to_vec()));
        let parts: Vec<&[u8]> = Records::of(&bytes).map(|record| record.unwrap().1).collect();
        assert_eq!(parts.concat(), bytes);
        let origin = signed().origin.unwrap();
        let statement = PLAIN.statement(origin.position);
        assert_eq!(statement.verify(&origin.publisher, &origin.signature), Ok(()));
    }

    #[test]
    fn what_would_break_a_line_or_a_topic_is_refused() {
        let encoded = |record: Record<'_>| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            bytes
        };
        let table = [
            (Record { data: "{}\n{}", ..PLAIN }, RecordError::Data),
            (Record { data: "\u{1b}[2J", ..PLAIN }, RecordError::Data),
            (Record { data: "", ..PLAIN }, RecordError::Length),
            (Record { topic: "a.*", ..PLAIN }, RecordError::Topic),
            (Record { topic: "", ..PLAIN }, RecordError::Topic),
        ];
        for (record, error) in table {
            assert_eq!(read(&encoded(record)), Err(error), "{record:?}");
        }
        let mut flags = encoded(PLAIN);
        flags[20] = 0x80;
        assert_eq!(read(&flags), Err(RecordError::Flags));
        let mut long = encoded(PLAIN);
        long[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(read(&long), Err(RecordError::Length));
    }

    proptest! {
        #[test]
        fn any_bytes_are_events_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
            let found = Records::of(&bytes).count();
            prop_assert!(found <= bytes.len());
        }

        #[test]
        fn damaged_events_are_read_as_far_as_they_hold(
            at in 0_usize..200, value: u8, cut in 0_usize..200,
        ) {
            let mut bytes = Vec::new();
            for record in [PLAIN, signed()] {
                record.encode(&mut bytes);
            }
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);
            for record in Records::of(&bytes).flatten() {
                prop_assert!(check_topic(record.0.topic).is_ok());
                prop_assert!(!record.0.data.contains('\n'));
            }
        }
    }
}
