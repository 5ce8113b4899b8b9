//! Which pieces of a transfer are there, and which are missing.

use core::ops::Range;

/// A set of piece numbers below a total, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Bits of pieces that are there; those beyond the total are never set.
    words: Vec<u64>,
    total: u64,
    count: u64,
}

const BITS: u64 = u64::BITS as u64;

impl Arrived {
    /// None of so many pieces. The caller bounds the total
    /// ([`MAX_PIECES`](crate::MAX_PIECES)).
    #[must_use]
    pub fn none_of(total: u64) -> Self {
        let words = usize::try_from(total.div_ceil(BITS)).unwrap_or(usize::MAX);
        Self { words: vec![0; words], total, count: 0 }
    }

    /// Adds a piece; false if it was there or is none of them.
    pub fn insert(&mut self, piece: u64) -> bool {
        if piece >= self.total || self.contains(piece) {
            return false;
        }
        let Some(word) = self.word_mut(piece) else { return false };
        *word |= 1 << (piece % BITS);
        self.count += 1;
        true
    }

    /// Takes one out that turned out to be damaged; false if it was not there.
    pub fn remove(&mut self, piece: u64) -> bool {
        if !self.contains(piece) {
            return false;
        }
        let Some(word) = self.word_mut(piece) else { return false };
        *word &= !(1 << (piece % BITS));
        self.count -= 1;
        true
    }

    /// Whether it is there.
    #[must_use]
    pub fn contains(&self, piece: u64) -> bool {
        let word = usize::try_from(piece / BITS).ok().and_then(|at| self.words.get(at));
        word.is_some_and(|word| word & (1 << (piece % BITS)) != 0)
    }

    /// How many are there.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How many there are to be.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Whether nothing is missing.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.count == self.total
    }

    /// What is missing, in order and without empty ranges: so many ranges at
    /// most, the last of which then also covers what follows, though some of
    /// that is there. None at all for no ranges.
    #[must_use]
    pub fn missing(&self, most: usize) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = self.gaps().take(most).collect();
        let whole = ranges.len() == most;
        if let (true, Some(last)) = (whole, ranges.last_mut()) {
            last.end = self.last_missing().map_or(last.end, |piece| piece + 1);
        }
        ranges
    }

    /// The gaps between pieces that are there.
    fn gaps(&self) -> impl Iterator<Item = Range<u64>> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let start = self.next(at, false)?;
            let end = self.next(start, true).unwrap_or(self.total);
            at = end;
            Some(start..end)
        })
    }

    /// The first piece from `from` on that is there, or that is missing.
    fn next(&self, from: u64, there: bool) -> Option<u64> {
        let first = usize::try_from(from / BITS).ok()?;
        let mut skipped = from % BITS;
        for (word, at) in self.words.get(first..)?.iter().zip(from / BITS..) {
            let wanted = if there { *word } else { !*word } & (u64::MAX << skipped);
            skipped = 0;
            if wanted != 0 {
                let piece = at * BITS + u64::from(wanted.trailing_zeros());
                return (piece < self.total).then_some(piece);
            }
        }
        None
    }

    fn last_missing(&self) -> Option<u64> {
        (0..self.total).rev().find(|piece| !self.contains(*piece))
    }

    fn word_mut(&mut self, piece: u64) -> Option<&mut u64> {
        self.words.get_mut(usize::try_from(piece / BITS).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn arrived(total: u64, pieces: &[u64]) -> Arrived {
        let mut arrived = Arrived::none_of(total);
        for piece in pieces {
            arrived.insert(*piece);
        }
        arrived
    }

    #[test]
    fn what_is_missing_is_told_in_ranges() {
        let most = 100;
        assert_eq!(arrived(130, &[129]).missing(most).first(), Some(&(0..129)));
        assert_eq!(arrived(130, &[0, 63, 64]).missing(most), [1..63, 65..130]);
        assert_eq!(arrived(64, &(0..64).collect::<Vec<_>>()).missing(most), []);
        assert_eq!(arrived(0, &[]).missing(most), []);
    }

    #[test]
    fn ranges_beyond_the_bound_become_one() {
        let arrived = arrived(100, &[1, 3, 5, 99]);

        assert_eq!(arrived.missing(4), [0..1, 2..3, 4..5, 6..99]);
        assert_eq!(arrived.missing(2), [0..1, 2..99]);
        assert_eq!(arrived.missing(0), []);
    }

    #[test]
    fn what_is_none_of_them_is_not_taken() {
        let mut arrived = arrived(10, &[10, u64::MAX]);
        assert_eq!(arrived.count(), 0);

        assert!(arrived.insert(9) && !arrived.insert(9));
        assert!(arrived.remove(9) && !arrived.remove(9) && !arrived.remove(10));
        assert!(arrived.count() == 0 && !arrived.is_complete());
    }

    proptest! {
        #[test]
        fn it_is_a_set(total in 0_u64..300, changes in prop::collection::vec((any::<bool>(), 0_u64..310), 0..200)) {
            let (mut arrived, mut model) = (Arrived::none_of(total), BTreeSet::new());
            for (insert, piece) in changes {
                let changed = if insert {
                    piece < total && model.insert(piece)
                } else {
                    model.remove(&piece)
                };
                let did = if insert { arrived.insert(piece) } else { arrived.remove(piece) };
                prop_assert_eq!(did, changed);
            }

            prop_assert_eq!(arrived.count(), model.len() as u64);
            prop_assert_eq!(arrived.is_complete(), model.len() as u64 == total);
            let missing: Vec<u64> = arrived.missing(usize::MAX).into_iter().flatten().collect();
            let expected: Vec<u64> = (0..total).filter(|piece| !model.contains(piece)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
