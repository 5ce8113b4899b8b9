//! The id of an event, which says where in its publisher's stream it stands.

use core::fmt;
use core::str::FromStr;

use pilot_identity::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::Stream;
use crate::Position;

/// Bits of the number of an event in its stream: 10^12 events.
const SEQ_BITS: u32 = 40;
const SEQ_MASK: u128 = (1 << SEQ_BITS) - 1;

/// Bits of an epoch: milliseconds until the year 10889.
const EPOCH_BITS: u32 = 48;
const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;

/// Of an event: a UUID of version 8 (RFC 9562 §5.8), made of its
/// publisher's [`Position`] and 34 bits that stand for the publisher.
///
/// ```text
///  0                   48  52          64 66                  88        128
/// +---------------------+---+------------+--+------------------+----------+
/// | epoch               | 8 | tag, 12    |2 | tag, 22          | seq      |
/// +---------------------+---+------------+--+------------------+----------+
/// ```
///
/// Ids of one publisher sort as they were published.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// Text that is no [`EventId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event id is a UUID of version 8, as `events publish` prints it")]
pub struct EventIdError;

/// 34 bits that stand for one stream of one publisher.
fn tag_of(publisher: &NodeId, stream: Stream) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"pilot/1 event id");
    hasher.update(publisher.as_bytes());
    hasher.update(&[match stream {
        Stream::Own | Stream::Relayed => 0,
        Stream::Automatic => 1,
    }]);
    let [a, b, c, d, e, ..] = *hasher.finalize().as_bytes();
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) >> 6
}

/// Makes the ids of one stream of one publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventIds(u64);

impl EventIds {
    /// Those of `publisher`'s events in `stream`.
    #[must_use]
    pub fn of(publisher: &NodeId, stream: Stream) -> Self {
        Self(tag_of(publisher, stream))
    }

    /// The id of the event at `position`.
    #[must_use]
    pub const fn at(self, position: Position) -> EventId {
        let high = ((position.epoch & EPOCH_MASK) << 16) | (8 << 12) | (self.0 >> 22);
        let low = (0b10 << 62)
            | ((self.0 & ((1 << 22) - 1)) << SEQ_BITS)
            | (position.seq & ((1 << SEQ_BITS) - 1));
        EventId(Uuid::from_u64_pair(high, low))
    }

    /// Where the event stands, if it is one of these.
    #[must_use]
    pub fn position(self, id: EventId) -> Option<Position> {
        let bits = id.0.as_u128();
        let seq = u64::try_from(bits & SEQ_MASK).ok()?;
        let epoch = u64::try_from(bits >> (128 - EPOCH_BITS)).ok()?;
        let position = Position { epoch, seq };
        (self.at(position) == id).then_some(position)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

/// Only the hyphenated form that this type prints.
impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let id = Some(text).filter(|text| text.len() == 36);
        let id = id.and_then(|text| Uuid::try_parse(text).ok()).ok_or(EventIdError)?;
        if id.get_version_num() == 8 { Ok(Self(id)) } else { Err(EventIdError) }
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use zeroize::Zeroizing;

    use super::*;

    fn ids(seed: u8, stream: Stream) -> EventIds {
        EventIds::of(&NodeKey::from_seed(&Zeroizing::new([seed; 32])).id(), stream)
    }

    #[test]
    fn says_where_it_stands_to_who_knows_the_publisher() {
        let ids = ids(1, Stream::Own);
        let position = Position { epoch: 1_763_770_000_123, seq: 42 };

        let id = ids.at(position);

        assert_eq!(ids.position(id), Some(position));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.0.get_version_num(), 8);
        assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(self::ids(2, Stream::Own).position(id), None);
        assert_eq!(self::ids(1, Stream::Automatic).position(id), None);
    }

    #[test]
    fn those_of_one_publisher_sort_as_they_were_published() {
        let ids = ids(1, Stream::Own);
        let at = |epoch, seq| ids.at(Position { epoch, seq });

        assert!(at(1, 2) < at(1, 3) && at(1, u64::from(u32::MAX)) < at(2, 1));
    }

    #[test]
    fn other_uuids_are_none() {
        for text in ["", "01890a5d-ac96-774b-bcce-b302099a8057", "../../etc/passwd"] {
            assert_eq!(text.parse::<EventId>(), Err(EventIdError), "{text:?}");
        }
    }
}
