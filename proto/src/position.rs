//! Where an event stands in its publisher's stream.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in a stream of events. Those of one stream are in order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position {
    /// When this part of the stream was begun, in milliseconds since 1970: a
    /// daemon begins one at each start, later than all before.
    pub epoch: u64,
    /// The number of the event. Counts on through the epochs, from 1, as long
    /// as the publisher keeps what it published.
    pub seq: u64,
}

/// Text that is no [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is two numbers with a dash between")]
pub struct PositionError;

/// `EPOCH-SEQ`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, seq) = text.split_once('-').ok_or(PositionError)?;
        let number = |text: &str| match text.as_bytes() {
            [b'0'..=b'9', ..] => text.parse().map_err(|_| PositionError),
            _ => Err(PositionError),
        };
        Ok(Self { epoch: number(epoch)?, seq: number(seq)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_and_nothing_looser() {
        let position = Position { epoch: 17, seq: 4 };

        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "17", "17-", "-4", "+17-4", "17-4-2", "a-b"] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text:?}");
        }
    }

    #[test]
    fn a_later_epoch_is_later_whatever_the_number() {
        assert!(Position { epoch: 2, seq: 1 } > Position { epoch: 1, seq: 9 });
    }
}
