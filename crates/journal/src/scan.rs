//! Reads the blocks of one segment, one after the other.
//!
//! Total: any bytes give blocks that prove themselves, and then an end or a
//! damage. What is read at once is no more than the larger of a chunk and
//! the largest block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

use crate::block::{self, Block};

/// Bytes read at once, unless a block is larger.
pub(crate) const MAX_CHUNK: usize = 1 << 20;

/// Blocks from a place in a segment to another.
#[derive(Debug)]
pub(crate) struct Scan {
    file: File,
    /// Where the next block begins.
    at: u64,
    end: u64,
    chunk: usize,
    /// What was read of the file from `at` on.
    buffer: Bytes,
    /// The number of the last event before `at`, as far as it was seen.
    last: u64,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// This block, which begins at `at` in the file.
    Block { at: u64, block: Block },
    /// Nothing more.
    End,
    /// Bytes that are no block begin at `at`: nothing behind can be trusted.
    Damaged { at: u64 },
}

impl Scan {
    /// What is between `at` and `end`, all of it after the event `after`; read
    /// by chunks of about so many bytes.
    pub(crate) fn new(file: File, at: u64, end: u64, after: u64, chunk: usize) -> Self {
        Self { file, at, end, chunk: chunk.min(MAX_CHUNK), buffer: Bytes::new(), last: after }
    }

    /// The next block. After an end or a damage the same is said again.
    pub(crate) fn next(&mut self) -> io::Result<Step> {
        let at = self.at;
        if at >= self.end {
            return Ok(Step::End);
        }
        let Some(whole) = self.whole()? else { return Ok(Step::Damaged { at }) };
        let size = whole.len() as u64;
        match block::decode(whole) {
            Some(block) if block.first > self.last => {
                self.last = block.last;
                self.at += size;
                Ok(Step::Block { at, block })
            }
            Some(_) | None => {
                self.buffer = Bytes::new();
                Ok(Step::Damaged { at })
            }
        }
    }

    /// The bytes of the next block; none if its length says that it cannot be.
    fn whole(&mut self) -> io::Result<Option<Bytes>> {
        if !self.has(block::HEADER)? {
            return Ok(None);
        }
        match block::size_of(&self.buffer) {
            Some(size) if self.has(size)? => Ok(Some(self.buffer.split_to(size))),
            Some(_) | None => Ok(None),
        }
    }

    /// Reads on until so many bytes are there; false if they are not in the file.
    fn has(&mut self, bytes: usize) -> io::Result<bool> {
        if self.buffer.len() >= bytes {
            return Ok(true);
        }
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if left < bytes {
            return Ok(false);
        }
        let mut read = vec![0; self.chunk.max(bytes).min(left)];
        match self.file.read_exact_at(&mut read, self.at) {
            Ok(()) => {}
            // Shorter than it was said to be: whoever wrote it took some back.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        self.buffer = read.into();
        Ok(true)
    }
}
