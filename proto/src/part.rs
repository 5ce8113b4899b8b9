//! Parts of a datagram of QUIC that is too long for a relay.
//!
//! QUIC does not hear that its direct path of jumbo frames is gone: what it
//! sends goes on through the relay in parts, each in a relayed packet.
//!
//! ```text
//! a9 'p' 'l' 'p'  NUMBER (2)  INDEX (1)  COUNT (1)  bytes
//! ```
//!
//! The number is the same in all parts of a datagram, and another in the next
//! one. Nothing says that a part was lost: QUIC sends the datagram again.

/// How a part begins.
pub const PART_MARK: [u8; 4] = [0xa9, b'p', b'l', b'p'];

/// Bytes before those of the datagram.
pub const PART_HEADER: usize = PART_MARK.len() + 4;

/// Parts of one datagram, at most.
pub const MAX_PARTS: usize = 4;

/// A part as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Of which datagram.
    pub number: u16,
    /// Which part of it; less than `count`.
    pub index: usize,
    /// How many there are: 2 to [`MAX_PARTS`].
    pub count: usize,
    /// What it brings; never empty.
    pub bytes: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads one; nothing if it is none.
    #[must_use]
    pub fn decode(packet: &'a [u8]) -> Option<Self> {
        let (header, bytes) = packet.strip_prefix(&PART_MARK)?.split_first_chunk()?;
        let [high, low, index, count] = *header;
        let (index, count) = (usize::from(index), usize::from(count));
        let is_part = (2..=MAX_PARTS).contains(&count) && index < count && !bytes.is_empty();
        is_part.then_some(Self { number: u16::from_be_bytes([high, low]), index, count, bytes })
    }
}

/// What comes before the bytes of a part, which is one of [`MAX_PARTS`] at most.
#[must_use]
pub fn part_header(number: u16, index: u8, count: u8) -> [u8; PART_HEADER] {
    let [a, b, c, d] = PART_MARK;
    let [high, low] = number.to_be_bytes();
    [a, b, c, d, high, low, index, count]
}
