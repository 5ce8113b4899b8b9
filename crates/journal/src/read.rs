//! Reading what was published.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use pilot_proto::Position;

use crate::block::Stored;
use crate::scan::{MAX_CHUNK, Scan, Step};
use crate::segment::{self, HEADER_END, Segment};
use crate::shelf::{Place, Shelf};

/// Bytes that are read for a small page: what lies between two marks.
const MIN_CHUNK: usize = 64 << 10;

/// Why the journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("cannot read {path}")]
    Io {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A part of what was published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Blocks in order. They share memory: a block keeps its neighbours there.
    pub blocks: Vec<Stored>,
    /// The first event of the oldest segment; none while nothing is kept.
    pub oldest: Option<Position>,
}

/// Reads the blocks that end after `after` and begin no later than `until`.
pub(crate) fn page(
    folder: &Path,
    shelf: &Shelf,
    after: Position,
    until: Position,
    max_bytes: usize,
) -> Result<Page, ReadError> {
    let mut page = Page { blocks: Vec::new(), oldest: shelf.oldest() };
    let mut bytes = 0_usize;
    let mut next = shelf.after(after);
    while let Some(place) = next.filter(|place| place.segment.start() <= until) {
        let epoch = place.segment.epoch;
        let chunk = max_bytes.saturating_sub(bytes).clamp(MIN_CHUNK, MAX_CHUNK);
        let full = each(folder, shelf, place, chunk, |block| {
            let stored = Stored { epoch, block };
            if stored.first() > until {
                return Go::Stop;
            }
            if stored.last() <= after {
                return Go::On;
            }
            bytes = bytes.saturating_add(stored.block.size());
            if bytes > max_bytes && !page.blocks.is_empty() {
                return Go::Stop;
            }
            page.blocks.push(stored);
            if bytes >= max_bytes { Go::Stop } else { Go::On }
        })?;
        match full {
            Go::Stop => break,
            Go::On => next = shelf.following(&place),
        }
    }
    Ok(page)
}

/// Reads all blocks of a segment; none if it is gone.
pub(crate) fn segment(
    folder: &Path,
    shelf: &Shelf,
    segment: &Segment,
) -> Result<Vec<Stored>, ReadError> {
    let (mut blocks, epoch) = (Vec::new(), segment.epoch);
    if let Some(place) = shelf.whole(segment.start()) {
        each(folder, shelf, place, MAX_CHUNK, |block| {
            blocks.push(Stored { epoch, block });
            Go::On
        })?;
    }
    Ok(blocks)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

/// Gives the blocks of a segment to `take` until it has enough. A segment that
/// was removed has none; one that is damaged ends there, now and later.
fn each(
    folder: &Path,
    shelf: &Shelf,
    place: Place,
    chunk: usize,
    mut take: impl FnMut(crate::Block) -> Go,
) -> Result<Go, ReadError> {
    let start = place.segment.start();
    let path = folder.join(segment::name(start));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Go::On),
        Err(source) => return Err(ReadError::Io { path, source }),
    };
    // In the middle of a segment, what came before is not known here.
    let before = if place.at == HEADER_END { start.seq.saturating_sub(1) } else { 0 };
    let mut scan = Scan::new(file, place.at, place.end, before, chunk);
    loop {
        match scan.next() {
            Ok(Step::Block { at, block }) => {
                shelf.mark(start, block.first, at);
                if take(block) == Go::Stop {
                    return Ok(Go::Stop);
                }
            }
            Ok(Step::End) => return Ok(Go::On),
            Ok(Step::Damaged { at }) => {
                tracing::warn!(path = %path.display(), at, "the journal is damaged");
                shelf.cut(start, at);
                return Ok(Go::On);
            }
            Err(source) => return Err(ReadError::Io { path, source }),
        }
    }
}
