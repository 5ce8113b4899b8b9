//! Takes into a transfer what is held already.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use pilot_files::{FileHash, PIECE, Piece, PieceHash};
use pilot_proto::manifest::EntryKind;

use crate::catalogue::MAX_HELD_PIECES;
use crate::{Held, Incoming, PieceBuffer, WriteError, Written};

impl Incoming {
    /// Fills the file of this entry, which hashes to `hash`, from one that is
    /// held. That is read and hashed before anything is written, for its user
    /// may have changed it, so it takes as long as reading it twice.
    ///
    /// True if all of the file is there now, or was before. False if no such
    /// file is held, or not any more, or it is an empty one, which needs no
    /// piece: then what is missing of it has to be sent.
    ///
    /// # Errors
    ///
    /// [`WriteError::Disk`], of what is written. What is held is never at
    /// fault.
    pub fn fill(&mut self, entry: u32, hash: &FileHash, held: &Held) -> Result<bool, WriteError> {
        let pieces = self.layout().of_entry(entry);
        let kind = self.manifest().entries().get(entry as usize).map(|entry| &entry.kind);
        let Some(EntryKind::File { size }) = kind else { return Ok(false) };
        if pieces.is_empty() || pieces.end - pieces.start > MAX_HELD_PIECES {
            return Ok(false);
        }
        if pieces.clone().all(|number| self.arrived().contains(number)) {
            return Ok(true);
        }
        let mut files = held.files(*size, hash).peekable();
        if files.peek().is_none() {
            return Ok(false);
        }
        // Most files are small, and many: they take no more than they need.
        let (mut small, mut large);
        let content = match usize::try_from(*size) {
            Ok(len @ ..PIECE) => {
                small = vec![0; len];
                small.as_mut_slice()
            }
            Ok(_) | Err(_) => {
                large = PieceBuffer::new();
                large.get_mut(PIECE)
            }
        };
        for file in files {
            if self.fill_from(&file, pieces.clone(), hash, content)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// False if the file is not what it was.
    fn fill_from(
        &mut self,
        file: &File,
        pieces: Range<u64>,
        hash: &FileHash,
        content: &mut [u8],
    ) -> Result<bool, WriteError> {
        let mut hashes = Vec::new();
        for piece in pieces.clone().map_while(|number| self.layout().piece(number)) {
            let Some(content) = read(file, &piece, content) else { return Ok(false) };
            hashes.push(PieceHash::of(content, piece.offset, piece.is_only));
        }
        if FileHash::of(&hashes) != *hash {
            return Ok(false);
        }
        for (number, hash) in pieces.zip(&hashes) {
            if self.arrived().contains(number) {
                continue;
            }
            let Some(piece) = self.layout().piece(number) else { return Ok(false) };
            let Some(content) = read(file, &piece, content) else { return Ok(false) };
            match self.write_piece(number, content, hash) {
                Ok(Written::New | Written::Already) => {}
                // It changed after it was hashed.
                Err(WriteError::HashMismatch { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A piece; none if it cannot be read.
fn read<'a>(file: &File, piece: &Piece, content: &'a mut [u8]) -> Option<&'a [u8]> {
    let content = content.get_mut(..piece.len)?;
    file.read_exact_at(content, piece.offset).ok()?;
    Some(content)
}
