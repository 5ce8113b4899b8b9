//! Which 32 bytes are a usable public key, remembered for those seen last.
//!
//! To tell takes a square root modulo 2²⁵⁵ − 19; a node reads the keys of the
//! same few peers again and again, in every message and every record.

use core::cell::Cell;

use ed25519_dalek::VerifyingKey;

/// Keys remembered on each thread, by their first byte: 12 KiB.
const REMEMBERED: usize = 64;

thread_local! {
    static SEEN: [Cell<Option<VerifyingKey>>; REMEMBERED] =
        const { [const { Cell::new(None) }; REMEMBERED] };
}

/// The point behind `bytes`; none if there is none, or a weak one.
pub(crate) fn usable(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    SEEN.with(|seen| {
        let place = seen.get(usize::from(bytes[0]) % REMEMBERED)?;
        if let Some(key) = place.get().filter(|key| key.as_bytes() == bytes) {
            return Some(key);
        }
        let key = VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak())?;
        place.set(Some(key));
        Some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_share_a_place_are_told_apart() {
        let keys: Vec<[u8; 32]> = (0..=255)
            .map(|seed| ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
            .map(|key| key.verifying_key().to_bytes())
            .collect();

        for _ in 0..2 {
            for bytes in &keys {
                assert_eq!(usable(bytes).map(|key| key.to_bytes()), Some(*bytes));
                let mut neighbour = *bytes;
                neighbour[31] ^= 0x80;
                assert_ne!(usable(&neighbour).map(|key| key.to_bytes()), Some(*bytes));
            }
        }
        assert_eq!(usable(&[0; 32]), None);
        assert_eq!(usable(&[0; 32]), None);
    }
}
