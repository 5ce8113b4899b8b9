//! Pieces that are what their sender says.

use pilot_files::{Layout, Piece, PieceHash};

use crate::WriteError;

/// The content of a piece, which has the length and the hash it must have. Only
/// such content is written. To hash takes as long as to write: those who have
/// much to write verify in another thread.
#[derive(Debug)]
pub struct Verified<C> {
    pub(crate) number: u64,
    pub(crate) hash: PieceHash,
    pub(crate) content: C,
}

impl<C: AsRef<[u8]>> Verified<C> {
    /// Verifies what is to be this piece of a transfer.
    ///
    /// # Errors
    ///
    /// [`WriteError`], but not for the disk's sake.
    pub fn of(
        layout: &Layout,
        number: u64,
        content: C,
        hash: &PieceHash,
    ) -> Result<Self, WriteError> {
        let bytes = content.as_ref();
        let piece = fitting(layout, number, bytes)?;
        if PieceHash::of(bytes, piece.offset, piece.is_only) != *hash {
            return Err(WriteError::HashMismatch { piece: number });
        }
        Ok(Self { number, hash: *hash, content })
    }

    /// Which piece it is.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The content, to be used for something else.
    pub fn into_content(self) -> C {
        self.content
    }
}

/// The piece of this number, if the content has its length.
pub(crate) fn fitting(layout: &Layout, number: u64, content: &[u8]) -> Result<Piece, WriteError> {
    let piece = layout.piece(number).ok_or(WriteError::NoSuchPiece { piece: number })?;
    if content.len() == piece.len {
        return Ok(piece);
    }
    let (found, wanted) = (content.len(), piece.len);
    Err(WriteError::WrongLength { piece: number, found, wanted })
}
