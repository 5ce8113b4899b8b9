//! What two nodes seal for each other, without asking each other first.
//!
//! ```text
//! shared = X25519(own scalar, peer's point)          both from the Ed25519 keys
//! okm    = HKDF-SHA-256(ikm = shared, salt = none,
//!              info = context ‖ 0x00 ‖ sender's key ‖ receiver's key)
//! key    = okm[0..32]     AES-256-GCM, of this direction
//! tag    = okm[32..40]    names pair and direction to who can derive it
//! ```
//!
//! The two directions have two keys, so nothing can be sent back to its
//! sender. Nonces are random: after 2³² packets of one direction two of them
//! might be the same (NIST SP 800-38D §8.3), which is 136 years of one a second.

use core::fmt;

use aes_gcm::aead::{Aead as _, AeadInOut as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::key::{NodeId, NodeKey};
use crate::point;

/// Bytes of a nonce, drawn at random for each packet.
pub const NONCE_BYTES: usize = 12;

/// By how many bytes a sealed text is longer than what is in it.
pub const SEAL_OVERHEAD: usize = 16;

const KEY_BYTES: usize = 32;

/// Names a pair and a direction; worthless to others, who cannot tell whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairTag([u8; Self::BYTES]);

impl PairTag {
    /// How many bytes it has.
    pub const BYTES: usize = 8;

    /// The tag that came in a packet.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// The keys of two nodes for one purpose, as one of the two has them.
///
/// 80 bytes; the ciphers are made from it for each packet. Wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct PairKey {
    outgoing: [u8; KEY_BYTES],
    incoming: [u8; KEY_BYTES],
    tag_out: [u8; PairTag::BYTES],
    tag_in: [u8; PairTag::BYTES],
}

/// Why two keys make no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairKeyError {
    /// Both keys are the same; its two directions would be one.
    #[error("a node has no pair with itself")]
    Oneself,
    /// The peer's key adds nothing to the secret (RFC 7748 §6.1).
    #[error("the peer's key is of no use for an agreement")]
    NonContributory,
}

/// A sealed text was not made by this peer for this node, or was altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open")]
pub struct OpenError;

impl PairKey {
    /// The keys of `own` and `peer` for what `context` names. Each purpose is
    /// its own hard-coded string without a zero byte.
    ///
    /// Takes as long as fifty packets: keep it while the pair is in use.
    ///
    /// # Errors
    ///
    /// [`PairKeyError`]
    pub fn new(own: &NodeKey, peer: &NodeId, context: &str) -> Result<Self, PairKeyError> {
        let id = own.id();
        if id == *peer {
            return Err(PairKeyError::Oneself);
        }
        let point = point::usable(peer.as_bytes()).ok_or(PairKeyError::NonContributory)?;
        let secret = StaticSecret::from(*own.agreement_scalar());
        let shared = secret.diffie_hellman(&PublicKey::from(point.to_montgomery().to_bytes()));
        if !shared.was_contributory() {
            return Err(PairKeyError::NonContributory);
        }
        let derived = Hkdf::<Sha256>::new(None, shared.as_bytes());
        let (outgoing, tag_out) = direction(&derived, context, &id, peer);
        let (incoming, tag_in) = direction(&derived, context, peer, &id);
        Ok(Self { outgoing: *outgoing, incoming: *incoming, tag_out, tag_in })
    }

    /// Appends `plaintext`, sealed, to `packet`, all of which is authenticated
    /// with it: [`SEAL_OVERHEAD`] bytes more than the plaintext. `nonce` is
    /// drawn at random for every call, and usually in `packet`.
    pub fn seal_into(&self, packet: &mut Vec<u8>, plaintext: &[u8], nonce: [u8; NONCE_BYTES]) {
        let mut sealed = Zeroizing::new(plaintext.to_vec());
        let tag = cipher(&self.outgoing).encrypt_inout_detached(
            &Nonce::from(nonce),
            packet,
            sealed.as_mut_slice().into(),
        );
        // It fails above 64 GiB alone. A packet that ends here opens for nobody.
        let Ok(tag): Result<Tag, _> = tag else { return };
        packet.extend_from_slice(&sealed);
        packet.extend_from_slice(&tag);
    }

    /// What the peer sealed under `nonce` after the bytes `before`.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn open(
        &self,
        before: &[u8],
        nonce: [u8; NONCE_BYTES],
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        cipher(&self.incoming)
            .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: before })
            .map_err(|_| OpenError)
    }

    /// The tag of what this node sends.
    #[must_use]
    pub const fn tag_out(&self) -> PairTag {
        PairTag(self.tag_out)
    }

    /// The tag of what the peer sends.
    #[must_use]
    pub const fn tag_in(&self) -> PairTag {
        PairTag(self.tag_in)
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> Aes256Gcm {
    Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key))
}

fn direction(
    derived: &Hkdf<Sha256>,
    context: &str,
    sender: &NodeId,
    receiver: &NodeId,
) -> (Zeroizing<[u8; KEY_BYTES]>, [u8; PairTag::BYTES]) {
    let info = [context.as_bytes(), &[0], sender.as_bytes(), receiver.as_bytes()];
    let mut okm = Zeroizing::new([0; KEY_BYTES + PairTag::BYTES]);
    // It fails above 255 hashes of output alone; this is two.
    if derived.expand_multi_info(&info, okm.as_mut_slice()).is_err() {
        okm.zeroize();
    }
    let (mut key, mut tag) = (Zeroizing::new([0; KEY_BYTES]), [0; PairTag::BYTES]);
    let (for_key, for_tag) = okm.split_at(KEY_BYTES);
    key.copy_from_slice(for_key);
    tag.copy_from_slice(for_tag);
    (key, tag)
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn pair(own: u8, peer: u8, context: &str) -> PairKey {
        PairKey::new(&key(own), &key(peer).id(), context).unwrap()
    }

    fn sealed(by: &PairKey, before: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut packet = before.to_vec();
        by.seal_into(&mut packet, plaintext, NONCE);
        packet.split_off(before.len())
    }

    #[test]
    fn what_one_seals_the_other_opens() {
        let (one, two) = (pair(1, 2, "a"), pair(2, 1, "a"));

        let bytes = sealed(&one, b"before", b"hello");

        assert_eq!(bytes.len(), 5 + SEAL_OVERHEAD);
        assert_eq!(two.open(b"before", NONCE, &bytes), Ok(b"hello".to_vec()));
        assert_eq!((one.tag_out(), one.tag_in()), (two.tag_in(), two.tag_out()));
    }

    #[test]
    fn nobody_else_opens_it_not_even_its_sender_or_for_another_purpose() {
        let bytes = sealed(&pair(1, 2, "a"), b"", b"hello");

        for other in [pair(1, 2, "a"), pair(2, 1, "b"), pair(3, 1, "a"), pair(2, 3, "a")] {
            assert_eq!(other.open(b"", NONCE, &bytes), Err(OpenError));
            assert_ne!(other.tag_in(), pair(2, 1, "a").tag_in());
        }
    }

    #[test]
    fn a_node_has_no_pair_with_itself_and_weak_keys_are_refused() {
        let oneself = PairKey::new(&key(1), &key(1).id(), "a").err();

        assert_eq!(oneself, Some(PairKeyError::Oneself));
        // Points of small order never become a NodeId: x25519 would give zero.
        for low in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        ] {
            let bytes: [u8; 32] = HEXLOWER.decode(low.as_bytes()).unwrap().try_into().unwrap();
            assert!(NodeId::from_bytes(bytes).is_err(), "{low}");
        }
    }

    /// A change of this breaks nodes that are out there.
    #[test]
    fn the_derivation_stays_as_it_is() {
        let one = pair(1, 2, "pilot/1 test");
        let shown = [
            HEXLOWER.encode(one.tag_out().as_bytes()),
            HEXLOWER.encode(one.tag_in().as_bytes()),
            HEXLOWER.encode(&sealed(&one, b"before", b"hello")),
        ];

        assert_eq!(
            shown,
            ["58848d256ecb6c7c", "c49adaee0109847a", "378245dd56ea811d0b1a90f54673dc04944e100a27"]
        );
    }

    #[test]
    fn the_secret_is_not_in_the_debug_text() {
        assert_eq!(format!("{:?}", pair(1, 2, "a")), "PairKey { .. }");
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(
            before in vec(any::<u8>(), 0..60),
            plaintext in vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let (one, two) = (pair(1, 2, "a"), pair(2, 1, "a"));
            let mut packet = [before.clone(), sealed(&one, &before, &plaintext)].concat();
            prop_assert_eq!(two.open(&before, NONCE, &packet[before.len()..]), Ok(plaintext));

            let at = at.index(packet.len());
            packet[at] ^= flip;

            let (changed, rest) = packet.split_at(before.len());
            prop_assert_eq!(two.open(changed, NONCE, rest), Err(OpenError));
            prop_assert_eq!(two.open(&before, [8; NONCE_BYTES], rest), Err(OpenError));
        }

        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(pair(1, 2, "a").open(&[], NONCE, &bytes), Err(OpenError));
        }
    }
}
