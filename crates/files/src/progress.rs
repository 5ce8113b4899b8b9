//! How much of a transfer is done, counted piece by piece.

use std::collections::BTreeMap;

use crate::layout::{Layout, Piece};
use crate::manifest::Totals;

/// So much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of its files.
    pub bytes: u64,
    /// Files of which all bytes are.
    pub files: u32,
}

/// Counts the pieces of a transfer as they get done, each once.
#[derive(Debug, Clone)]
pub struct Count {
    progress: Progress,
    /// Pieces left of the files that have several left.
    left: BTreeMap<u32, u32>,
}

impl Count {
    /// Begins when these pieces are missing, in their order.
    #[must_use]
    pub fn without(layout: &Layout, totals: &Totals, missing: impl Iterator<Item = u64>) -> Self {
        let (mut bytes, mut files) = (0, 0);
        let mut left = BTreeMap::new();
        let mut last = None;
        for piece in missing.map_while(|number| layout.piece(number)) {
            bytes += piece.len as u64;
            match last {
                Some((entry, pieces)) if entry == piece.entry => {
                    last = Some((entry, pieces + 1));
                    left.insert(entry, pieces + 1);
                }
                Some(_) | None => {
                    files += 1;
                    last = Some((piece.entry, 1_u32));
                }
            }
        }
        let progress = Progress {
            bytes: totals.bytes.saturating_sub(bytes),
            files: totals.files.saturating_sub(files),
        };
        Self { progress, left }
    }

    /// One of the missing pieces is done.
    pub fn done(&mut self, piece: &Piece) {
        self.progress.bytes += piece.len as u64;
        match self.left.get_mut(&piece.entry) {
            Some(left @ 2..) => *left -= 1,
            Some(_) | None => {
                self.left.remove(&piece.entry);
                self.progress.files += 1;
            }
        }
    }

    /// How much is done.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }
}

#[cfg(test)]
mod tests {
    use pilot_proto::Component;
    use pilot_proto::manifest::{Entry, EntryKind, Mode, Modified};

    use super::*;
    use crate::{Manifest, PIECE};

    const PIECE_BYTES: u64 = PIECE as u64;

    /// Files of these sizes: three pieces, one, none, and two.
    fn four() -> (Layout, Totals) {
        let sizes = [2 * PIECE_BYTES + 1, 5, 0, PIECE_BYTES + 7];
        let file = |(size, name): (u64, u8)| Entry {
            parent: 0,
            name: Component::new(&[name]).unwrap(),
            kind: EntryKind::File { size },
            mode: Mode::of(0o644),
            modified: Modified::new(0, 0).unwrap(),
        };
        let manifest = Manifest::new(sizes.into_iter().zip(b'a'..).map(file).collect()).unwrap();
        (Layout::of(&manifest).unwrap(), manifest.totals())
    }

    #[test]
    fn a_file_is_done_with_its_last_piece_in_whichever_order_they_come() {
        let (layout, totals) = four();
        let mut count = Count::without(&layout, &totals, 0..6);
        assert_eq!(count.progress(), Progress { bytes: 0, files: 1 }, "the empty one");

        let mut files = Vec::new();
        for number in [2, 5, 0, 3, 1, 4] {
            count.done(&layout.piece(number).unwrap());
            files.push(count.progress().files);
        }

        assert_eq!(files, [1, 1, 1, 2, 3, 4]);
        assert_eq!(count.progress().bytes, totals.bytes);
    }

    #[test]
    fn what_is_not_missing_at_first_counts_at_once() {
        let (layout, totals) = four();

        let mut count = Count::without(&layout, &totals, [1, 4].into_iter());

        let missing = 2 * PIECE_BYTES;
        assert_eq!(count.progress(), Progress { bytes: totals.bytes - missing, files: 2 });
        count.done(&layout.piece(1).unwrap());
        count.done(&layout.piece(4).unwrap());
        assert_eq!(count.progress(), Progress { bytes: totals.bytes, files: 4 });
        assert_eq!(Count::without(&layout, &totals, 0..0).progress(), count.progress());
    }
}
