//! What travels in a transfer of files, in which pieces, and what is missing.
//!
//! Pure: no file is opened here. A [`Manifest`] is a checked tree of folders,
//! files and links. A [`Layout`] numbers the **pieces** of all its files: 1 MiB
//! each, the last of a file possibly shorter. A piece is a whole subtree of
//! BLAKE3's tree over its file ([`PieceHash`]), so that each is verified when
//! it arrives and the hash of the file follows from those of its pieces
//! without reading anything twice. [`Arrived`] is the set of pieces that are
//! there, and says what is missing. A [`Transfer`] is what a node remembers of
//! one, at either end, [`Count`] says how much of it is done, and a [`Catalogue`]
//! which files it brought.

mod arrived;
mod catalogue;
mod layout;
mod manifest;
mod piece;
mod progress;
mod transfer;

pub use arrived::Arrived;
pub use catalogue::{Catalogue, CatalogueFile, MAX_CATALOGUE, MIN_HELD};
pub use layout::{Layout, LayoutError, MAX_PIECES, Piece};
pub use manifest::{MAX_BYTES, MAX_DEPTH, MAX_PATH, Manifest, ManifestError, Totals};
pub use piece::{FileHash, PIECE, PieceHash};
pub use progress::{Count, Progress};
pub use transfer::{Blame, Direction, Ending, MAX_NAMES, ManifestDigest, Phase, Transfer};
