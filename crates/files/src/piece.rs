//! Pieces of files, and their hashes.

use core::fmt;

use blake3::Hasher;
use blake3::hazmat::merge_subtrees_root;
use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root};

/// Bytes of a piece: a power of two, as a subtree of BLAKE3 must be. Large
/// enough for BLAKE3 and the disk to be fast, small enough that little is sent
/// again after a crash.
pub const PIECE: usize = 1024 * 1024;

/// What a piece hashes to: the chaining value of its subtree, or the hash of
/// the file if it is the only one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PieceHash([u8; 32]);

/// The BLAKE3 hash of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileHash([u8; 32]);

impl PieceHash {
    /// Of the piece that begins at `offset` in its file; `is_only` if that has
    /// no other.
    #[must_use]
    pub fn of(content: &[u8], offset: u64, is_only: bool) -> Self {
        if is_only {
            return Self(*blake3::hash(content).as_bytes());
        }
        let mut hasher = Hasher::new();
        hasher.set_input_offset(offset);
        hasher.update(content);
        Self(hasher.finalize_non_root())
    }

    /// As it was stored or sent.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FileHash {
    /// Of the file with these pieces, all of them in order. An empty file has none.
    #[must_use]
    pub fn of(pieces: &[PieceHash]) -> Self {
        match pieces {
            [] => Self(*blake3::hash(&[]).as_bytes()),
            [only] => Self(only.0),
            pieces => {
                let (left, right) = pieces.split_at(left_len(pieces.len()));
                Self(*merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes())
            }
        }
    }

    /// As it was stored or sent, or as BLAKE3 gave it of the whole file.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The chaining value of some pieces; the depth of the recursion is the
/// logarithm of how many there are.
fn merged(pieces: &[PieceHash]) -> ChainingValue {
    match pieces {
        [only] => only.0,
        pieces => {
            let (left, right) = pieces.split_at(left_len(pieces.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// How many of `count` pieces are under the left child: the largest power of
/// two that leaves something for the right one (BLAKE3 §2.1).
const fn left_len(count: usize) -> usize {
    count.div_ceil(2).next_power_of_two()
}

impl fmt::Debug for PieceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PieceHash({})", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHash({})", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that repeat nowhere in step with the pieces.
    fn content(len: usize) -> Vec<u8> {
        (0..251).cycle().take(len).collect()
    }

    fn pieces(content: &[u8]) -> Vec<PieceHash> {
        let is_only = content.len() <= PIECE;
        let hash = |(at, piece)| PieceHash::of(piece, (at * PIECE) as u64, is_only);
        content.chunks(PIECE).enumerate().map(hash).collect()
    }

    #[test]
    fn the_hashes_of_the_pieces_give_that_of_the_file() {
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 77, 8 * PIECE] {
            let content = content(len);

            let hash = FileHash::of(&pieces(&content));

            assert_eq!(hash.as_bytes(), blake3::hash(&content).as_bytes(), "{len} bytes");
        }
    }

    #[test]
    fn the_same_bytes_elsewhere_are_another_piece() {
        let zeros = vec![0; PIECE];

        let [first, second] = [0, PIECE as u64].map(|at| PieceHash::of(&zeros, at, false));

        assert_ne!(first, second);
        assert_ne!(first, PieceHash::of(&zeros, 0, true));
        assert_eq!(PieceHash::from_bytes(*first.as_bytes()), first);
    }

    #[test]
    fn the_left_side_is_the_largest_power_of_two() {
        let left: Vec<usize> = (2..=9).map(left_len).collect();

        assert_eq!(left, [1, 2, 2, 4, 4, 4, 4, 8]);
    }
}
