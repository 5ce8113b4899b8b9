//! Chance, drawn from a seed that the shell gave.

use core::fmt;

use pilot_proto::probe::Transaction;

/// A stream of unguessable numbers; the same seed gives the same stream.
pub(crate) struct Chance {
    seed: [u8; 32],
    drawn: u64,
}

impl Chance {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Seen by the peer, so it must tell nothing of the next one: a keyed hash
    /// of a counter does not.
    pub(crate) fn transaction(&mut self) -> Transaction {
        Transaction(self.draw())
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.draw())
    }

    fn draw<const N: usize>(&mut self) -> [u8; N] {
        self.drawn = self.drawn.wrapping_add(1);
        let mut bytes = [0; N];
        blake3::Hasher::new_keyed(&self.seed)
            .update(&self.drawn.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chance").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_shows_nothing_of_itself() {
        let mut one = Chance::new([7; 32]);
        let mut same = Chance::new([7; 32]);
        let mut other = Chance::new([8; 32]);

        let first = one.transaction();

        assert_eq!(first, same.transaction());
        assert_ne!(first, one.transaction());
        assert_ne!(first, other.transaction());
        assert!(!format!("{one:?}").contains("7, 7"));
    }
}
