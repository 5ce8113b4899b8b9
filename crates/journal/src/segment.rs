//! A segment: its name, and the bytes that it begins with.
//!
//! ```text
//! EPOCH-FIRST.log      both 16 hexadecimal digits
//!
//! magic    7    "pilotjn"
//! version  u8   1
//! check    u32  CRC-32 (IEEE) of all that follows
//! epoch    u64
//! first    u64  sequence number of the first event in it
//! started  u64  ms since 1970 of its first block
//! ```
//!
//! All numbers are big endian; [blocks](crate::block) follow.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::{Buf as _, BufMut as _};
use pilot_proto::Position;

/// Bytes of a segment before its first block.
pub(crate) const HEADER: usize = MAGIC.len() + 1 + 4 + 3 * 8;

/// The same as a place in a file.
pub(crate) const HEADER_END: u64 = HEADER as u64;

const MAGIC: [u8; 7] = *b"pilotjn";
const VERSION: u8 = 1;

/// The first epoch that is none, in ms since 1970: the year 10889. A name with
/// a larger one is not of a journal, and leaves no room for epochs after it.
const EPOCHS: u64 = 1 << 48;

/// One file of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The epoch of all that is in it.
    pub epoch: u64,
    /// Sequence number of the first event in it.
    pub first: u64,
    /// The time of its first block ([`Block::at`](crate::Block::at)), in ms since 1970.
    pub started_at: u64,
    /// Its size on the disk.
    pub bytes: u64,
}

/// What the beginning of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// A segment, started at this time (ms since 1970).
    Of { started_at: u64 },
    /// A segment that a later version wrote.
    Later,
    /// None, or not the one of that name.
    Damaged,
}

impl Segment {
    /// The position of the first event in it: what tells segments apart.
    #[must_use]
    pub const fn start(&self) -> Position {
        Position { epoch: self.epoch, seq: self.first }
    }

    /// What it begins with.
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let (mut front, checked) = header.split_at_mut(HEADER - 3 * 8);
        let mut out = &mut *checked;
        out.put_u64(self.epoch);
        out.put_u64(self.first);
        out.put_u64(self.started_at);
        front.put_slice(&MAGIC);
        front.put_u8(VERSION);
        front.put_u32(crc32fast::hash(checked));
        header
    }
}

/// The name of the segment that starts there.
pub(crate) fn name(start: Position) -> String {
    format!("{:016x}-{:016x}.log", start.epoch, start.seq)
}

/// Where the segment of this name starts; none if it is no segment's.
pub(crate) fn start(name: &str) -> Option<Position> {
    let (epoch, first) = name.strip_suffix(".log")?.split_once('-')?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let position = Position { epoch: number(epoch)?, seq: number(first)? };
    let ours = position.epoch < EPOCHS && position.seq >= 1 && self::name(position) == name;
    ours.then_some(position)
}

/// Reads the beginning of a file whose name says that it starts there.
pub(crate) fn beginning(file: &File, start: Position) -> io::Result<Beginning> {
    let mut header = [0; HEADER];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(decode(&header, start).unwrap_or(Beginning::Damaged)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Beginning::Damaged),
        Err(error) => Err(error),
    }
}

fn decode(header: &[u8; HEADER], start: Position) -> Option<Beginning> {
    let mut rest = header.strip_prefix(&MAGIC)?;
    match rest.try_get_u8().ok()? {
        VERSION => {}
        0 => return None,
        _ => return Some(Beginning::Later),
    }
    let check = rest.try_get_u32().ok()?;
    if crc32fast::hash(rest) != check {
        return None;
    }
    let found = Position { epoch: rest.try_get_u64().ok()?, seq: rest.try_get_u64().ok()? };
    let started_at = rest.try_get_u64().ok()?;
    (found == start).then_some(Beginning::Of { started_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Segment = Segment { epoch: 0x0199, first: 5, started_at: 0x0102, bytes: 0 };

    #[test]
    fn the_bytes_and_the_name_of_a_segment() {
        let hex: String = SEGMENT.header().iter().map(|byte| format!("{byte:02x}")).collect();

        assert_eq!(
            hex,
            "70696c6f746a6e013d7abfab\
             000000000000019900000000000000050000000000000102"
        );
        assert_eq!(name(SEGMENT.start()), "0000000000000199-0000000000000005.log");
        assert_eq!(start(&name(SEGMENT.start())), Some(SEGMENT.start()));
    }

    #[test]
    fn only_names_that_a_journal_gives_are_segments() {
        for name in [
            "",
            "-.log",
            "199-5.log",
            "0000000000000199-0000000000000000.log",
            "0000000000000199-000000000000000A.log",
            "+000000000000199-0000000000000005.log",
            "0000000000000199-0000000000000005.log.log",
            "0001000000000000-0000000000000005.log",
        ] {
            assert_eq!(start(name), None, "{name}");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_and_a_later_version_told_apart() {
        let header = SEGMENT.header();
        let read = |header: &[u8; HEADER]| decode(header, SEGMENT.start());
        assert_eq!(read(&header), Some(Beginning::Of { started_at: 0x0102 }));
        assert_eq!(decode(&header, Position { epoch: 0x0199, seq: 6 }), None);

        for bit in 0..HEADER * 8 {
            let mut bytes = header;
            bytes[bit / 8] ^= 1 << (bit % 8);

            let found = read(&bytes);

            let version = bit / 8 == MAGIC.len() && bytes[bit / 8] != 0;
            assert_eq!(found, version.then_some(Beginning::Later), "bit {bit}");
        }
    }
}
