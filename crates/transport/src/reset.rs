//! How a restarted node tells its old peers at once that it forgot them.
//!
//! A peer that keeps sending to a connection of the node's former run gets a
//! stateless reset (RFC 9000 §10.3). For that, the reset token of a
//! connection id and the ids themselves must be the same function of the node
//! key in every run; a run remembers nothing of another.

use core::fmt;
use std::time::Duration;

use pilot_identity::NodeKey;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid, RandomConnectionIdGenerator};
use zeroize::Zeroizing;

/// Makes reset tokens from connection ids.
pub(crate) struct ResetKey(Zeroizing<[u8; 32]>);

impl ResetKey {
    pub(crate) fn of(key: &NodeKey) -> Self {
        Self(key.derive_secret("pilot/1 quic stateless reset"))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        blake3::Hasher::new_keyed(&self.0).update(data).finalize_xof().fill(signature_out);
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let given: [u8; blake3::OUT_LEN] = signature.try_into().map_err(|_| CryptoError)?;
        // `blake3::Hash` compares in constant time.
        if blake3::keyed_hash(&self.0, data) == given { Ok(()) } else { Err(CryptoError) }
    }
}

/// Connection ids of this node: five random bytes and three that only this
/// node can compute.
///
/// The three let a node ignore packets to ids that were never its own, so
/// that garbage cannot spend the few resets it sends per second. They say
/// nothing to others: ids of one node look as random as any.
#[derive(Clone)]
pub(crate) struct ConnectionIds {
    key: Zeroizing<[u8; 32]>,
    nonces: RandomConnectionIdGenerator,
}

const NONCE_BYTES: usize = 5;

const TAG_BYTES: usize = 3;

impl ConnectionIds {
    pub(crate) fn of(key: &NodeKey) -> Self {
        Self {
            key: key.derive_secret("pilot/1 quic connection ids"),
            nonces: RandomConnectionIdGenerator::new(NONCE_BYTES),
        }
    }

    fn tag(&self, nonce: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        blake3::Hasher::new_keyed(&self.key).update(nonce).finalize_xof().fill(&mut tag);
        tag
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce = self.nonces.generate_cid();
        let mut id = nonce.to_vec();
        id.extend_from_slice(&self.tag(&nonce));
        ConnectionId::new(&id)
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        match cid.split_at_checked(NONCE_BYTES) {
            Some((nonce, tag)) if tag == self.tag(nonce) => Ok(()),
            Some(_) | None => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        NONCE_BYTES + TAG_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

impl fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionIds").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    #[test]
    fn another_run_of_the_node_knows_its_ids_and_another_node_does_not() {
        let mut before = ConnectionIds::of(&key(1));

        let ids: Vec<_> = (0..100).map(|_| before.generate_cid()).collect();

        let after = ConnectionIds::of(&key(1));
        assert!(ids.iter().all(|id| id.len() == after.cid_len() && after.validate(id).is_ok()));
        let other = ConnectionIds::of(&key(2));
        assert!(ids.iter().all(|id| other.validate(id).is_err()));
        assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)));
        assert!(after.validate(&ConnectionId::new(&[1, 2, 3])).is_err());
    }

    #[test]
    fn reset_tokens_depend_on_key_and_id_only() {
        let token = |seed: u8, id: &[u8]| {
            let mut out = [0; 32];
            ResetKey::of(&key(seed)).sign(id, &mut out);
            out
        };

        assert_eq!(token(1, b"id"), token(1, b"id"));
        assert_ne!(token(1, b"id"), token(2, b"id"));
        assert_ne!(token(1, b"id"), token(1, b"di"));
        assert!(ResetKey::of(&key(1)).verify(b"id", &token(1, b"id")).is_ok());
        assert!(ResetKey::of(&key(1)).verify(b"id", &token(2, b"id")).is_err());
        assert!(ResetKey::of(&key(1)).verify(b"id", &token(1, b"id")[..31]).is_err());
    }
}
