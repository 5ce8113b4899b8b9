//! Where an event stands among those of its publisher.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Orders the events of one publisher, also over restarts that lost some: what
/// is published after a restart is of a later epoch. Written `EPOCH-SEQ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Milliseconds since 1970 at which the publisher opened its journal; a
    /// publisher makes it larger than all of its before, whatever its clock says.
    pub epoch: u64,
    /// Number of the event, from 1. It counts on from one epoch to the next,
    /// after the last event that was not lost.
    pub seq: u64,
}

/// Text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is EPOCH-SEQ, two decimal numbers, as `events` prints it")]
pub struct PositionError;

impl Position {
    /// Before every event.
    pub const START: Self = Self { epoch: 0, seq: 0 };

    /// After every event.
    pub const END: Self = Self { epoch: u64::MAX, seq: u64::MAX };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// Only the form that this type prints: a position has one way to be written.
impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, seq) = text.split_once('-').ok_or(PositionError)?;
        Ok(Self { epoch: number(epoch)?, seq: number(seq)? })
    }
}

/// `u64` itself also reads signs and leading zeros.
fn number(text: &str) -> Result<u64, PositionError> {
    match text.as_bytes() {
        [b'0'] | [b'1'..=b'9', ..] => text.parse().map_err(|_| PositionError),
        _ => Err(PositionError),
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.epoch, self.seq).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            let (epoch, seq) = Deserialize::deserialize(deserializer)?;
            Ok(Self { epoch, seq })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_in_order_of_epoch_then_number() {
        let at = |epoch, seq| Position { epoch, seq };

        assert!(at(1, 100) < at(2, 51));
        assert!(at(2, 51) < at(2, 52));
        assert!(Position::START < at(0, 1) && at(2, 52) < Position::END);
    }

    #[test]
    fn a_position_has_one_written_form() {
        let position = Position { epoch: 1_763_772_000_000, seq: 42 };

        assert_eq!(position.to_string(), "1763772000000-42");
        for position in [position, Position::START, Position::END] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        let wrong =
            ["", "-", "1", "1-", "-1", "1-2-3", "+1-2", "1-+2", "01-2", "1-02", "1 -2", "a-b"];
        for text in wrong.into_iter().chain(["18446744073709551616-1", "1-18446744073709551616"]) {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text:?}");
        }
    }

    #[test]
    fn on_the_wire_a_position_is_two_numbers() {
        let position = Position { epoch: 300, seq: 5 };

        let bytes = postcard::to_allocvec(&position).unwrap();

        assert_eq!(bytes, [0xac, 0x02, 0x05]);
        assert_eq!(postcard::from_bytes(&bytes), Ok(position));
        assert!(postcard::from_bytes::<Position>(&bytes[..2]).is_err());
    }
}
