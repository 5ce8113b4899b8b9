//! A block, and its bytes in a segment.
//!
//! ```text
//! records   u32   how many bytes of records follow
//! check     u32   CRC-32 (IEEE) of all that follows
//! request   16    zeros: none
//! first     u64   sequence number of its first event
//! last      u64   and of its last
//! at        u64   ms since 1970
//! records         1 byte to 8 MiB
//! ```
//!
//! All numbers are big endian. Zeros, as some file systems leave behind after
//! a power cut, are no block.

use bytes::{Buf as _, BufMut as _, Bytes};
use pilot_proto::Position;

/// Most bytes of records in a block; a larger one is refused, and a length
/// beyond it on the disk is damage.
pub const MAX_RECORDS: usize = 8 << 20;

/// Bytes of a block before its records.
pub(crate) const HEADER: usize = UNCHECKED + 16 + 3 * 8;

/// Bytes that the checksum does not cover: the length, which it proves all the
/// same, and itself.
const UNCHECKED: usize = 4 + 4;

/// Events that were published together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Sequence number of its first event, at least 1.
    pub first: u64,
    /// Sequence number of its last event, at least `first`.
    pub last: u64,
    /// When its last event was published, in ms since 1970.
    pub at: u64,
    /// The request that published it; zeros are none.
    pub request: Option<[u8; 16]>,
    /// The events as the caller writes them: 1 to [`MAX_RECORDS`] bytes.
    pub records: Bytes,
}

/// A block as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The epoch that it was published in.
    pub epoch: u64,
    /// What was published.
    pub block: Block,
}

impl Stored {
    /// The position of its first event.
    #[must_use]
    pub const fn first(&self) -> Position {
        Position { epoch: self.epoch, seq: self.block.first }
    }

    /// The position of its last event.
    #[must_use]
    pub const fn last(&self) -> Position {
        Position { epoch: self.epoch, seq: self.block.last }
    }
}

impl Block {
    /// Whether it can be written down.
    pub(crate) fn is_valid(&self) -> bool {
        is_range(self.first, self.last) && is_length(self.records.len())
    }

    /// Bytes that it takes in a segment.
    pub(crate) const fn size(&self) -> usize {
        HEADER + self.records.len()
    }

    /// What stands before its records.
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let (mut front, checked) = header.split_at_mut(UNCHECKED);
        let mut out = &mut *checked;
        out.put_slice(&self.request.unwrap_or_default());
        out.put_u64(self.first);
        out.put_u64(self.last);
        out.put_u64(self.at);
        let mut check = crc32fast::Hasher::new();
        check.update(checked);
        check.update(&self.records);
        front.put_u32(u32::try_from(self.records.len()).unwrap_or(u32::MAX));
        front.put_u32(check.finalize());
        header
    }
}

/// Bytes of the whole block that begins with this header; none if no block
/// begins so.
pub(crate) fn size_of(mut header: &[u8]) -> Option<usize> {
    let records = usize::try_from(header.try_get_u32().ok()?).ok()?;
    is_length(records).then_some(HEADER + records)
}

/// The block that these bytes are, whole; none if they are none. Its records
/// are a part of the same memory.
pub(crate) fn decode(mut bytes: Bytes) -> Option<Block> {
    if size_of(&bytes)? != bytes.len() {
        return None;
    }
    bytes.advance(4);
    let check = bytes.try_get_u32().ok()?;
    if crc32fast::hash(&bytes) != check {
        return None;
    }
    let mut request = [0; 16];
    bytes.try_copy_to_slice(&mut request).ok()?;
    let first = bytes.try_get_u64().ok()?;
    let last = bytes.try_get_u64().ok()?;
    let at = bytes.try_get_u64().ok()?;
    let request = (request != [0; 16]).then_some(request);
    is_range(first, last).then_some(Block { first, last, at, request, records: bytes })
}

const fn is_range(first: u64, last: u64) -> bool {
    first >= 1 && first <= last
}

const fn is_length(records: usize) -> bool {
    records >= 1 && records <= MAX_RECORDS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block() -> Block {
        let records = Bytes::from_static(b"event");
        Block { first: 7, last: 9, at: 0x0102_0304, request: Some([0xaa; 16]), records }
    }

    fn encode(block: &Block) -> Vec<u8> {
        [&block.header(), block.records.as_ref()].concat()
    }

    #[test]
    fn the_bytes_of_a_block() {
        let hex: String = encode(&block()).iter().map(|byte| format!("{byte:02x}")).collect();

        assert_eq!(
            hex,
            "000000051db47e2e\
             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
             000000000000000700000000000000090000000001020304\
             6576656e74"
        );
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let whole = encode(&block());
        assert_eq!(decode(whole.clone().into()), Some(block()));

        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);

            assert_eq!(decode(bytes.into()), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_and_lengths_beyond_the_limit_are_no_block() {
        assert_eq!(size_of(&[0; HEADER]), None);
        assert_eq!(size_of(&u32::try_from(MAX_RECORDS + 1).unwrap().to_be_bytes()), None);
        assert_eq!(size_of(&[0; 3]), None);
        let most = u32::try_from(MAX_RECORDS).unwrap().to_be_bytes();
        assert_eq!(size_of(&most), Some(HEADER + MAX_RECORDS));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            first in 1..u64::MAX,
            more in 0..1000_u64,
            at: u64,
            request: Option<[u8; 16]>,
            records in prop::collection::vec(any::<u8>(), 1..300),
        ) {
            let request = request.filter(|request| *request != [0; 16]);
            let last = first.saturating_add(more);
            let block = Block { first, last, at, request, records: records.into() };

            prop_assert_eq!(decode(encode(&block).into()), Some(block));
        }

        #[test]
        fn any_bytes_are_a_block_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(bytes.into()), None);
        }
    }
}
