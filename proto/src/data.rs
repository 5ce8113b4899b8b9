//! The data service: files and folders on their way from one node to another.
//!
//! A transfer is identified by its sender's key and its [`TransferId`]. For
//! each the sender keeps one *talk* stream, and opens *piece* streams beside it:
//!
//! ```text
//! talk:   DataRequest::Offer       ->
//!                                  <-  Told::SendManifest          (the first time)
//!         Said::Page, Said::Page … ->
//!                                  <-  Told::HashesOf              (if it may hold some of it)
//!         Said::Hashes …           ->
//!                                  <-  Told::Missing, or Complete
//!                                  <-  Told::Arrived, now and then
//!                                  <-  Told::Complete              (all is on disk there)
//! pieces: DataRequest::Pieces      ->
//!         PieceHeader, bytes, …    ->
//! ```
//!
//! Everything may be said again after any loss: an offer of a known transfer
//! is answered by what is missing, a piece that is there already is dropped,
//! and a complete transfer is told to be complete. Frames of talk have at most
//! [`MAX_TALK_FRAME`] bytes. [`DataRequest::Cancel`] is a stream of its own,
//! for it may be said when no talk is under way.

use core::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::Text;
use crate::{TaskId, TransferId, list};

/// Bytes of a label.
pub const MAX_LABEL: usize = 255;
/// Bytes of a reason.
pub const MAX_REASON: usize = 1024;
/// Bytes of one page of a manifest.
pub const MAX_PAGE: usize = 256 * 1024;
/// Bytes of a frame of talk: a page, or the longest list of ranges.
pub const MAX_TALK_FRAME: usize = MAX_PAGE + 1024;
/// Hashes in one [`Said::Hashes`].
pub const MAX_HASHES: usize = 4096;
/// Ranges in one [`Told::Missing`] or [`Told::HashesOf`]. Of a transfer with
/// more gaps some pieces are sent again.
pub const MAX_RANGES: usize = 8192;
/// Bytes of a piece's content: see `pilot-files`.
pub const MAX_PIECE: usize = 1024 * 1024;

/// The first frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataRequest {
    /// Talk about this transfer.
    Offer(TransferOffer),
    /// Its pieces follow, each a [`PieceHeader`] and its content, until the
    /// stream ends.
    Pieces(TransferId),
    /// Its sender does not want it any more. Answered by [`Told::Refused`], or
    /// by [`Told::Complete`] if that was too late.
    Cancel(TransferId),
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferOffer {
    /// Which transfer.
    pub id: TransferId,
    /// What its sender calls it, for people.
    pub label: Text<MAX_LABEL>,
    /// Bytes of its manifest.
    pub manifest_bytes: u32,
    /// The BLAKE3 hash of the manifest: an id stands for one manifest for ever.
    pub manifest_hash: [u8; 32],
    /// Bytes of all its files, so that a full disk refuses before the manifest.
    pub bytes: u64,
    /// Time left until its sender gives it up, in milliseconds, if it will.
    pub expires_ms: Option<u64>,
    /// The task between these two nodes that it belongs to, if any: its files
    /// are the task's attachments, or those of its result.
    pub task: Option<TaskId>,
}

/// What the sender says further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// The next part of the manifest; at most [`MAX_PAGE`] bytes.
    Page(Bytes),
    /// The BLAKE3 hashes of the next files that were asked for, in their order;
    /// at most [`MAX_HASHES`].
    Hashes(#[serde(deserialize_with = "list::at_most::<MAX_HASHES, _, _>")] Vec<[u8; 32]>),
    /// It cannot be sent any more: a file was changed or went away, say.
    Failed(Text<MAX_REASON>),
}

/// What the receiver says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// The manifest, please, all of it.
    SendManifest,
    /// The hashes of the files with these numbers in the manifest, please:
    /// perhaps they are held here already.
    HashesOf(Ranges),
    /// These pieces, in order; it is the whole list.
    Missing(Ranges),
    /// So many pieces are there now.
    Arrived(u64),
    /// All of it is on disk and shown to its user: the sender may forget it.
    Complete,
    /// It will not be taken, or not now.
    Refused(DataRefusal, Text<MAX_REASON>),
}

/// Why a transfer is not taken. The text beside it is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataRefusal {
    /// The sender may not send data here.
    NotAllowed,
    /// The manifest, or a piece, is not as it must be.
    Invalid,
    /// The id is that of another transfer.
    Conflict,
    /// More than this peer may have in the inbox; later, perhaps.
    Quota,
    /// It is more than this peer, or anybody, may ever have in the inbox.
    TooLarge,
    /// The disk is full; later.
    DiskFull,
    /// The receiver does not want it any more.
    Cancelled,
    /// No such transfer.
    Unknown,
    /// The receiver failed; later.
    Internal,
}

impl DataRefusal {
    /// Whether the sender is to try again by itself.
    #[must_use]
    pub const fn is_for_now(self) -> bool {
        match self {
            Self::DiskFull | Self::Quota | Self::Internal => true,
            Self::NotAllowed
            | Self::Invalid
            | Self::Conflict
            | Self::TooLarge
            | Self::Cancelled
            | Self::Unknown => false,
        }
    }
}

/// Ranges of numbers: in order, apart from each other, none empty, at most
/// [`MAX_RANGES`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// None if the ranges are not as they must be.
    #[must_use]
    pub fn new(ranges: Vec<Range<u64>>) -> Option<Self> {
        let none_empty = ranges.iter().all(|range| !range.is_empty());
        let apart = ranges.is_sorted_by(|before, after| before.end < after.start);
        (none_empty && apart && ranges.len() <= MAX_RANGES).then_some(Self(ranges))
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }
}

/// Pairs of what lies between: the gap before a range, and its length.
impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut at = 0;
        serializer.collect_seq(self.0.iter().map(|range| {
            let pair = (range.start - at, range.end - range.start);
            at = range.end;
            pair
        }))
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let wrong = || D::Error::custom("no ranges of pieces");
        let mut at = 0_u64;
        let mut ranges = Vec::new();
        for (gap, len) in list::at_most::<MAX_RANGES, (u64, u64), _>(deserializer)? {
            let start = at.checked_add(gap).ok_or_else(wrong)?;
            at = start.checked_add(len).ok_or_else(wrong)?;
            ranges.push(start..at);
        }
        Self::new(ranges).ok_or_else(wrong)
    }
}

/// What stands before a piece's content, 48 bytes in network byte order.
///
/// ```text
///  0        8         12       16                              48
/// +--------+---------+--------+-------------------------------+
/// | number | length  | stored | hash                          |
/// +--------+---------+--------+-------------------------------+
/// ```
///
/// If fewer bytes follow than the content has, they are the content as one
/// frame of Zstandard (RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceHeader {
    /// The piece's number in the transfer.
    pub number: u64,
    /// Bytes of its content: 1 to [`MAX_PIECE`].
    pub len: u32,
    /// Bytes that follow: 1 to `len`.
    pub stored: u32,
    /// What its content hashes to.
    pub hash: [u8; 32],
}

/// A header whose lengths are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a piece of {len} bytes in {stored}; it has 1 to {MAX_PIECE}, in no more than it has")]
pub struct PieceHeaderError {
    /// Bytes of the content, as it says.
    pub len: u32,
    /// Bytes that follow, as it says.
    pub stored: u32,
}

impl PieceHeader {
    /// Bytes of a header.
    pub const BYTES: usize = 48;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (number, rest) = bytes.split_at_mut(8);
        let (len, rest) = rest.split_at_mut(4);
        let (stored, hash) = rest.split_at_mut(4);
        number.copy_from_slice(&self.number.to_be_bytes());
        len.copy_from_slice(&self.len.to_be_bytes());
        stored.copy_from_slice(&self.stored.to_be_bytes());
        hash.copy_from_slice(&self.hash);
        bytes
    }

    /// What the bytes say.
    ///
    /// # Errors
    ///
    /// [`PieceHeaderError`].
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, PieceHeaderError> {
        let [n0, n1, n2, n3, n4, n5, n6, n7, l0, l1, l2, l3, s0, s1, s2, s3, hash @ ..] = *bytes;
        let number = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        let stored = u32::from_be_bytes([s0, s1, s2, s3]);
        let is_piece = matches!(usize::try_from(len), Ok(1..=MAX_PIECE));
        if is_piece && (1..=len).contains(&stored) {
            Ok(Self { number, len, stored, hash })
        } else {
            Err(PieceHeaderError { len, stored })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_lengths_are_bounded() {
        let number = 0x0102_0304_0506_0708;
        let header = PieceHeader { number, len: 9, stored: 8, hash: [7; 32] };
        let bytes = header.encode();

        assert_eq!(bytes[..16], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0, 0, 8]);
        assert_eq!(PieceHeader::decode(&bytes), Ok(header));
        let most = 1024 * 1024;
        for (len, stored) in [(0, 0), (0, 1), (most + 1, 5), (u32::MAX, 5), (9, 0), (9, 10)] {
            let bytes = PieceHeader { len, stored, ..header }.encode();
            assert_eq!(PieceHeader::decode(&bytes), Err(PieceHeaderError { len, stored }));
        }
    }

    #[test]
    fn ranges_are_in_order_and_apart() {
        let wrong = [vec![1..2, 3..3], vec![0..2, 2..3], vec![5..6, 1..2], vec![0..3, 2..9]];
        for ranges in wrong {
            assert_eq!(Ranges::new(ranges.clone()), None, "{ranges:?}");
        }
        let many = (0..=MAX_RANGES as u64).map(|at| 2 * at..2 * at + 1).collect();
        assert_eq!(Ranges::new(many), None);
        assert!(Ranges::new(vec![0..1, 2..u64::MAX]).is_some());
    }

    #[test]
    fn ranges_beyond_all_numbers_do_not_decode() {
        let pairs = |pairs: &[(u64, u64)]| postcard::to_allocvec(pairs).unwrap();
        for wrong in [&[(1, u64::MAX)][..], &[(0, 5), (0, 1)], &[(7, 0)]] {
            assert!(postcard::from_bytes::<Ranges>(&pairs(wrong)).is_err(), "{wrong:?}");
        }
        let missing = Ranges::new(vec![3..5, 9..10]).unwrap();
        assert_eq!(postcard::from_bytes(&pairs(&[(3, 2), (4, 1)])), Ok(missing.clone()));
        assert_eq!(postcard::to_allocvec(&missing).unwrap(), pairs(&[(3, 2), (4, 1)]));
    }
}
