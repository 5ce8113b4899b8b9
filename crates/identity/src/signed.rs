//! Signatures with a context: what was signed can never stand for something else.

use core::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::key::{NodeId, NodeKey};

/// An Ed25519 signature (RFC 8032), checked strictly.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

/// Why a signed statement is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is not the named key's over this statement in this context.
    #[error("the signature does not match the statement and its signer")]
    Mismatch,
}

impl Signature {
    /// Signs `statement` under `context`.
    pub(crate) fn over<T: Serialize>(key: &NodeKey, context: &str, statement: &T) -> Self {
        Self(key.sign(&message(context, statement)))
    }

    /// Checks that `signer` signed `statement` under `context`.
    pub(crate) fn verify<T: Serialize>(
        &self,
        signer: &NodeId,
        context: &str,
        statement: &T,
    ) -> Result<(), SignatureError> {
        if signer.verifies(&message(context, statement), &self.0) {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    /// The signature with these 64 bytes, which may or may not hold.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes, `R ‖ S`.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

/// `context ‖ 0x00 ‖ postcard(statement)`; a context never holds a zero byte.
fn message<T: Serialize>(context: &str, statement: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(context.len() + 256);
    bytes.extend_from_slice(context.as_bytes());
    bytes.push(0);
    // Statements are plain structs of integers, byte arrays and short
    // strings: postcard has no failure for those but a full buffer, and this
    // one grows. An empty encoding would still be signed as such.
    if let Ok(encoded) = postcard::to_allocvec(statement) {
        bytes.extend_from_slice(&encoded);
    }
    bytes
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(64)?;
        for byte in &self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(64, Bytes64)
    }
}

struct Bytes64;

impl<'de> Visitor<'de> for Bytes64 {
    type Value = Signature;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 bytes of signature")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Signature, A::Error> {
        let mut bytes = [0; 64];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        Ok(Signature(bytes))
    }
}
