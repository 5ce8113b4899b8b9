//! The key pair of a node and its public half.

use core::fmt;
use core::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{BASE32_NOPAD, Encoding, Specification};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;
use crate::point;

/// A node's secret key. It has no `Debug` and no `Serialize`; it is wiped when dropped.
pub struct NodeKey(SigningKey);

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("id", &self.id()).finish()
    }
}

impl NodeKey {
    /// The key pair of a 32-byte secret seed (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret seed, for the key file and nothing else.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// An independent 32-byte secret for `purpose`, derived from the seed with
    /// BLAKE3's key derivation. Each purpose is its own hard-coded string.
    #[must_use]
    pub fn derive_secret(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, self.seed().as_slice()))
    }

    /// The secret X25519 scalar of this key pair, already clamped (RFC 8032
    /// §5.1.5, RFC 7748 §5).
    pub(crate) fn agreement_scalar(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_scalar_bytes())
    }

    /// Signs raw bytes. For TLS, whose own context string is in `message`
    /// (RFC 8446 §4.4.3); statements of ours go through their own types.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// A node's public key: its identity everywhere.
///
/// Printed in lower-case base32 without padding, 52 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

/// Why some text or bytes are not a node's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// Not 52 characters of base32.
    #[error("a public key is 52 characters of base32")]
    Text,
    /// Not a point of the curve, or one of the few weak points that any
    /// signature satisfies.
    #[error("these 32 bytes are no usable Ed25519 public key")]
    Point,
}

impl NodeId {
    /// Takes the 32 bytes of a public key.
    ///
    /// # Errors
    ///
    /// [`NodeIdError::Point`] if they are no point of the curve or a weak one.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, NodeIdError> {
        point::usable(&bytes).map(|_| Self(bytes)).ok_or(NodeIdError::Point)
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash that people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// The first eight characters, for logs.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }

    /// Whether `signature` is this key's over `message`, checked strictly
    /// (RFC 8032 §5.1.7 with canonical encodings and no small-order points).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        point::usable(&self.0).is_some_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

/// Lower-case base32 (RFC 4648 §6) without padding.
pub(crate) fn base32() -> &'static Encoding {
    /// Its tables are made once: every line of a log and every answer shows keys.
    static LOWER_CASE: LazyLock<Encoding> = LazyLock::new(|| {
        let mut specification: Specification = BASE32_NOPAD.specification();
        specification.symbols = specification.symbols.to_ascii_lowercase();
        specification.encoding().unwrap_or(BASE32_NOPAD)
    });
    &LOWER_CASE
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let decoded = base32().decode(text.as_bytes()).map_err(|_| NodeIdError::Text)?;
        let bytes = <[u8; 32]>::try_from(decoded).map_err(|_| NodeIdError::Text)?;
        Self::from_bytes(bytes)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            Self::from_bytes(<[u8; 32]>::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    #[test]
    fn an_id_survives_text_and_bytes() {
        let id = key(1).id();

        assert_eq!(id.to_string().len(), 52);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(NodeId::from_bytes(*id.as_bytes()), Ok(id));
        let bytes = postcard::to_allocvec(&id).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(id));
    }

    #[test]
    fn weak_and_impossible_keys_are_refused() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;

        assert_eq!(NodeId::from_bytes(identity_point), Err(NodeIdError::Point));
        assert_eq!(NodeId::from_bytes([0; 32]), Err(NodeIdError::Point));
        assert!((0..=255).any(|byte| NodeId::from_bytes([byte; 32]).is_err()));
        assert_eq!("".parse::<NodeId>(), Err(NodeIdError::Text));
        assert_eq!("a".repeat(51).parse::<NodeId>(), Err(NodeIdError::Text));
        assert_eq!("!".repeat(52).parse::<NodeId>(), Err(NodeIdError::Text));
    }

    #[test]
    fn a_signature_is_of_one_key_over_one_message() {
        let signature = key(1).sign(b"yes");

        assert!(key(1).id().verifies(b"yes", &signature));
        assert!(!key(1).id().verifies(b"no", &signature));
        assert!(!key(2).id().verifies(b"yes", &signature));
    }

    #[test]
    fn derived_secrets_differ_by_purpose_and_key() {
        let secrets =
            [key(1).derive_secret("a"), key(1).derive_secret("b"), key(2).derive_secret("a")];

        assert_ne!(secrets[0], secrets[1]);
        assert_ne!(secrets[0], secrets[2]);
        assert_eq!(*key(1).derive_secret("a"), *secrets[0]);
    }

    #[test]
    fn the_secret_is_not_in_the_debug_text() {
        let shown = format!("{:?}", key(7));

        assert!(shown.contains("NodeKey"));
        assert!(!shown.contains("7, 7"));
    }
}
