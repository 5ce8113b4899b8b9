//! Events as lines of JSON.

use std::io::Write as _;

use axum::body::Bytes;
use pilot_identity::{NodeId, Timestamp};
use pilot_proto::Position;
use pilot_proto::events::{EventIds, Record, Stream};

use crate::node::Node;
use crate::services::events::{Chunk, Delivery, Sieve, StreamOf};

/// Writes the lines of one subscriber.
pub(super) struct Lines {
    sieve: Sieve,
    /// Whether each line says what acknowledges it.
    with_cursor: bool,
    /// The time of the last event, and how it is written.
    at: (u64, String),
}

/// Who published an event, as its line says it.
struct Publisher {
    ids: EventIds,
    /// `"from":…,"from_name":…`
    from: String,
}

impl Lines {
    pub(super) const fn new(sieve: Sieve, with_cursor: bool) -> Self {
        Self { sieve, with_cursor, at: (0, String::new()) }
    }

    /// The lines of some events, how many events and how many lost ones they are.
    pub(super) fn of(&mut self, node: &Node, delivery: &Delivery) -> (Bytes, u64, u64) {
        let of = delivery.of;
        let mut out = Vec::new();
        match &delivery.chunk {
            Chunk::Gap { count, through } => {
                let from = Publisher::of(node, of.0, of.1).from;
                self.gap(&mut out, of, *count, *through, &from);
                (out.into(), 0, *count)
            }
            Chunk::Events { epoch, after, records } => {
                let sieve = self.sieve.clone();
                out.reserve(records.len() * 2);
                let mut publisher = Publisher::of(node, of.0, of.1);
                let mut known = of.0;
                let mut count = 0;
                for (record, _) in sieve.sift(*epoch, *after, records) {
                    let publisher_now = match (of.1, &record.origin) {
                        (Stream::Relayed, Some(origin)) => origin.publisher,
                        (_, _) => of.0,
                    };
                    if publisher_now != known {
                        publisher = Publisher::of(node, publisher_now, Stream::Own);
                        known = publisher_now;
                    }
                    let position = Position { epoch: *epoch, seq: record.seq };
                    self.event(&mut out, node, of, &publisher, position, &record);
                    count += 1;
                }
                (out.into(), count, 0)
            }
        }
    }

    fn gap(&self, out: &mut Vec<u8>, of: StreamOf, count: u64, through: Position, from: &str) {
        // Writing to memory cannot fail.
        drop(write!(out, "{{\"gap\":{count},{from}"));
        self.cursor(out, of, through);
        out.extend_from_slice(b"}\n");
    }

    fn event(
        &mut self,
        out: &mut Vec<u8>,
        node: &Node,
        of: StreamOf,
        publisher: &Publisher,
        position: Position,
        record: &Record<'_>,
    ) {
        let origin = record.origin.filter(|_| of.1 == Stream::Relayed);
        let own = origin.map_or(position, |origin| origin.position);
        out.extend_from_slice(b"{\"id\":\"");
        drop(write!(out, "{}", publisher.ids.at(own)));
        out.extend_from_slice(b"\",\"topic\":");
        text(out, record.topic);
        out.push(b',');
        out.extend_from_slice(publisher.from.as_bytes());
        if origin.is_some() {
            out.extend_from_slice(b",\"via\":");
            text(out, &node.peer_identity(of.0).label());
        }
        out.extend_from_slice(b",\"at\":\"");
        out.extend_from_slice(self.time(record.at).as_bytes());
        drop(write!(out, "\",\"seq\":{}", own.seq));
        if record.retained {
            out.extend_from_slice(b",\"retained\":true");
        }
        self.cursor(out, of, position);
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(record.data.as_bytes());
        out.extend_from_slice(b"}\n");
    }

    fn cursor(&self, out: &mut Vec<u8>, of: StreamOf, position: Position) {
        if self.with_cursor {
            drop(write!(out, ",\"cursor\":\"{}\"", Token { of, position }));
        }
    }

    fn time(&mut self, at: u64) -> &str {
        if self.at.0 != at || self.at.1.is_empty() {
            self.at = (at, Timestamp::from_millis(at).to_string());
        }
        &self.at.1
    }
}

impl Publisher {
    fn of(node: &Node, id: NodeId, stream: Stream) -> Self {
        let known = node.peer_identity(id);
        let mut from = b"\"from\":".to_vec();
        text(&mut from, &known.label());
        if let Some(name) = known.name {
            from.extend_from_slice(b",\"from_name\":");
            text(&mut from, &name.to_string());
        }
        let from = String::from_utf8_lossy(&from).into_owned();
        Self { ids: EventIds::of(&id, stream), from }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    // A text is always JSON.
    drop(serde_json::to_writer(out, text));
}

/// What acknowledges an event: `KEY.STREAM.EPOCH-SEQ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) of: StreamOf,
    pub(super) position: Position,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stream = match self.of.1 {
            Stream::Own => "o",
            Stream::Relayed => "r",
            Stream::Automatic => "a",
        };
        write!(f, "{}.{stream}.{}", self.of.0, self.position)
    }
}

impl std::str::FromStr for Token {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(());
        let node = part()?.parse().map_err(|_| ())?;
        let stream = match part()? {
            "o" => Stream::Own,
            "r" => Stream::Relayed,
            "a" => Stream::Automatic,
            _ => return Err(()),
        };
        let position = part()?.parse().map_err(|_| ())?;
        Ok(Self { of: (node, stream), position })
    }
}
