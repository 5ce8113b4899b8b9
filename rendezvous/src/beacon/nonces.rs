//! Nonces for what the beacon seals.

use pilot_identity::NONCE_BYTES;

/// A sequence that cannot be told from random numbers, out of one random seed.
pub(super) struct Nonces {
    seed: [u8; 32],
    made: u64,
}

impl Nonces {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, made: 0 }
    }

    pub(super) fn next(&mut self) -> [u8; NONCE_BYTES] {
        self.made = self.made.wrapping_add(1);
        let hash = blake3::keyed_hash(&self.seed, &self.made.to_be_bytes());
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}
