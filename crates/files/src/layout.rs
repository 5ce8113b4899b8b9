//! The numbers of the pieces of all files of a manifest.

use pilot_proto::manifest::EntryKind;

use crate::manifest::Manifest;
use crate::piece::PIECE;

/// Pieces of a transfer; what would have more is refused. A bit for each is
/// 2 MiB.
pub const MAX_PIECES: u64 = 1 << 24;

/// Where the pieces are: file after file in the order of the manifest, and in
/// each from its beginning. An empty file has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The files that have pieces, by their first piece.
    files: Vec<FilePieces>,
    pieces: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FilePieces {
    first: u64,
    entry: u32,
    size: u64,
}

/// One piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The number of its file's entry, from 0.
    pub entry: u32,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How long it is; [`PIECE`] unless it is the last of its file.
    pub len: usize,
    /// Whether its file has no other.
    pub is_only: bool,
}

/// More than [`MAX_PIECES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its files have {pieces} pieces of 1 MiB, more than {MAX_PIECES}")]
pub struct LayoutError {
    /// How many.
    pub pieces: u64,
}

impl Layout {
    /// Numbers the pieces.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if there are too many.
    pub fn of(manifest: &Manifest) -> Result<Self, LayoutError> {
        let mut files = Vec::new();
        let mut pieces = 0;
        for (entry, number) in manifest.entries().iter().zip(0..) {
            if let EntryKind::File { size: size @ 1.. } = entry.kind {
                files.push(FilePieces { first: pieces, entry: number, size });
                // Bounded by the number of entries and the bytes of a manifest.
                pieces += pieces_of(size);
            }
        }
        if pieces > MAX_PIECES {
            return Err(LayoutError { pieces });
        }
        Ok(Self { files, pieces })
    }

    /// How many there are.
    #[must_use]
    pub const fn pieces(&self) -> u64 {
        self.pieces
    }

    /// The piece with this number; none beyond the last.
    #[must_use]
    pub fn piece(&self, number: u64) -> Option<Piece> {
        if number >= self.pieces {
            return None;
        }
        let after = self.files.partition_point(|file| file.first <= number);
        let file = self.files.get(after.checked_sub(1)?)?;
        let offset = (number - file.first) * PIECE as u64;
        let len = usize::try_from(file.size - offset).unwrap_or(PIECE).min(PIECE);
        let is_only = file.size <= PIECE as u64;
        Some(Piece { entry: file.entry, offset, len, is_only })
    }

    /// The numbers of the pieces of this entry: none if it is no file, or an
    /// empty one.
    #[must_use]
    pub fn of_entry(&self, entry: u32) -> core::ops::Range<u64> {
        match self.files.binary_search_by_key(&entry, |file| file.entry) {
            Ok(at) => self
                .files
                .get(at)
                .map_or(0..0, |file| file.first..file.first + pieces_of(file.size)),
            Err(_) => 0..0,
        }
    }
}

const fn pieces_of(size: u64) -> u64 {
    size.div_ceil(PIECE as u64)
}

#[cfg(test)]
mod tests {
    use pilot_proto::Component;
    use pilot_proto::manifest::{Entry, Mode, Modified};

    use super::*;

    const MIB: u64 = PIECE as u64;

    fn manifest(sizes: &[Option<u64>]) -> Manifest {
        let kind = |size: &Option<u64>| match size {
            Some(size) => EntryKind::File { size: *size },
            None => EntryKind::Folder,
        };
        let entry = |(number, size): (usize, &Option<u64>)| Entry {
            parent: 0,
            name: Component::new(number.to_string().as_bytes()).unwrap(),
            kind: kind(size),
            mode: Mode::of(0o600),
            modified: Modified::new(0, 0).unwrap(),
        };
        Manifest::new(sizes.iter().enumerate().map(entry).collect()).unwrap()
    }

    #[test]
    fn pieces_are_numbered_through_all_files() {
        let sizes = [Some(0), Some(5), None, Some(2 * MIB + 1), Some(MIB), Some(0)];
        let layout = Layout::of(&manifest(&sizes)).unwrap();

        let piece = |entry, offset, len, is_only| Piece { entry, offset, len, is_only };
        let all: Vec<Piece> = (0..10).map_while(|number| layout.piece(number)).collect();
        assert_eq!(
            all,
            [
                piece(1, 0, 5, true),
                piece(3, 0, PIECE, false),
                piece(3, MIB, PIECE, false),
                piece(3, 2 * MIB, 1, false),
                piece(4, 0, PIECE, true),
            ]
        );
        assert_eq!(layout.pieces(), 5);
        let ranges: Vec<_> = (0..7).map(|entry| layout.of_entry(entry)).collect();
        assert_eq!(ranges, [0..0, 0..1, 0..0, 1..4, 4..5, 0..0, 0..0]);
    }

    #[test]
    fn every_byte_is_in_exactly_one_piece() {
        for size in [1, MIB - 1, MIB, MIB + 1, 7 * MIB + 3] {
            let layout = Layout::of(&manifest(&[Some(size)])).unwrap();

            let mut at = 0;
            for piece in (0..layout.pieces()).map(|number| layout.piece(number).unwrap()) {
                assert_eq!(piece.offset, at);
                at += piece.len as u64;
            }
            assert_eq!(at, size);
        }
    }

    #[test]
    fn too_many_pieces_are_refused() {
        let most = MAX_PIECES * MIB;

        assert_eq!(Layout::of(&manifest(&[Some(most)])).unwrap().pieces(), MAX_PIECES);
        let refused = Layout::of(&manifest(&[Some(most - 1), Some(1)]));
        assert_eq!(refused, Err(LayoutError { pieces: MAX_PIECES + 1 }));
    }

    #[test]
    fn without_files_there_are_no_pieces() {
        let layout = Layout::of(&manifest(&[None, Some(0)])).unwrap();

        assert_eq!((layout.pieces(), layout.piece(0)), (0, None));
    }
}
