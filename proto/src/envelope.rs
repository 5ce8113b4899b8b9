//! How a [`Probe`] travels: sealed for one peer, named by a tag.
//!
//! ```text
//! a9 'p' 'l' 't' 01 | tag 8 | nonce 12 | sealed probe
//! ```
//!
//! The tag is that of the pair of nodes and the direction, so a receiver finds
//! the pair without any cryptography, and drops what it does not find.

use pilot_identity::{NONCE_BYTES, PairKey, PairTag, SEAL_OVERHEAD};

use crate::beacon::{MARK, TYPE_PROBE};
use crate::probe::Probe;

/// The purpose of the [`PairKey`] that seals probes.
pub const PROBE_CONTEXT: &str = "pilot/1 probe";

const TAG_AT: usize = MARK.len() + 1;
const NONCE_AT: usize = TAG_AT + PairTag::BYTES;
const SEALED_AT: usize = NONCE_AT + NONCE_BYTES;

/// A sealed probe as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    tag: PairTag,
    nonce: [u8; NONCE_BYTES],
    before: &'a [u8],
    sealed: &'a [u8],
}

/// Why an envelope holds no probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The peer did not seal it, or not for this node.
    #[error("the probe does not open")]
    Forged,
    /// It did, and it is no probe.
    #[error("the probe opens and does not decode")]
    Malformed,
}

impl<'a> Envelope<'a> {
    /// Reads the outside of a datagram; none if it is no sealed probe.
    #[must_use]
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let body = datagram.strip_prefix(&MARK)?.strip_prefix(&[TYPE_PROBE])?;
        let (tag, rest) = body.split_first_chunk()?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        let before = datagram.get(..SEALED_AT)?;
        (sealed.len() > SEAL_OVERHEAD).then_some(Self {
            tag: PairTag::from_bytes(*tag),
            nonce: *nonce,
            before,
            sealed,
        })
    }

    /// Names the pair of nodes and the direction.
    #[must_use]
    pub const fn tag(&self) -> PairTag {
        self.tag
    }

    /// What is in it, if the other half of `key` sealed it.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`]
    pub fn open(&self, key: &PairKey) -> Result<Probe, EnvelopeError> {
        let plaintext =
            key.open(self.before, self.nonce, self.sealed).map_err(|_| EnvelopeError::Forged)?;
        Probe::decode(&plaintext).map_err(|_| EnvelopeError::Malformed)
    }
}

/// The datagram that brings `probe` to the peer of `key`. `nonce` is drawn at random.
#[must_use]
pub fn seal_probe(key: &PairKey, nonce: [u8; NONCE_BYTES], probe: &Probe) -> Vec<u8> {
    let mut datagram = [&MARK[..], &[TYPE_PROBE], key.tag_out().as_bytes(), &nonce].concat();
    // With the bounded lists of today a probe always encodes.
    let plaintext = probe.encode().unwrap_or_default();
    key.seal_into(&mut datagram, &plaintext, nonce);
    datagram
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use zeroize::Zeroizing;

    use super::*;
    use crate::probe::Transaction;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn pair(own: u8, peer: u8) -> PairKey {
        PairKey::new(&key(own), &key(peer).id(), PROBE_CONTEXT).unwrap()
    }

    #[test]
    fn only_the_peer_opens_what_was_sealed_for_it() {
        let probe = Probe::Ping { tx: Transaction([7; 12]) };

        let datagram = seal_probe(&pair(1, 2), [9; 12], &probe);

        let envelope = Envelope::read(&datagram).unwrap();
        assert_eq!(envelope.tag(), pair(2, 1).tag_in());
        assert_eq!(envelope.open(&pair(2, 1)), Ok(probe));
        for other in [pair(2, 3), pair(3, 1), pair(1, 2)] {
            assert_eq!(envelope.open(&other), Err(EnvelopeError::Forged));
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let datagram = seal_probe(&pair(1, 2), [9; 12], &Probe::Ping { tx: Transaction([7; 12]) });

        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            let opened = Envelope::read(&changed).map(|envelope| envelope.open(&pair(2, 1)));
            assert!(!matches!(opened, Some(Ok(_))), "byte {at}");
        }
        for len in 0..datagram.len() {
            let opened = Envelope::read(&datagram[..len]).map(|cut| cut.open(&pair(2, 1)));
            assert!(!matches!(opened, Some(Ok(_))), "{len} bytes");
        }
    }
}
