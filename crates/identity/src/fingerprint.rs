//! What two people read to each other to be sure of a key.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::key::{NodeId, base32};

/// The first 160 bits of the BLAKE3 hash of a public key, in base32 in eight
/// groups of four: `k3fa-9d2x-…`.
///
/// Finding a second key with the same fingerprint takes 2^160 tries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 20]);

/// Text that is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 32 characters of base32, in groups of four or not")]
pub struct FingerprintError;

impl Fingerprint {
    /// The fingerprint of `id`.
    #[must_use]
    pub fn of(id: &NodeId) -> Self {
        let mut bytes = [0; 20];
        blake3::Hasher::new().update(id.as_bytes()).finalize_xof().fill(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in base32().encode(&self.0).chars().enumerate() {
            if index > 0 && index % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Case, dashes and blanks do not matter, as it may have been typed from a call.
impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let plain: String = text
            .chars()
            .filter(|letter| !matches!(letter, '-' | ' '))
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        let decoded = base32().decode(plain.as_bytes()).map_err(|_| FingerprintError)?;
        decoded.try_into().map(Self).map_err(|_| FingerprintError)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::NodeKey;

    #[test]
    fn is_read_back_however_it_was_typed() {
        let fingerprint = NodeKey::from_seed(&Zeroizing::new([1; 32])).id().fingerprint();
        let text = fingerprint.to_string();

        assert_eq!(text.len(), 39);
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(text.replace('-', " ").to_uppercase().parse(), Ok(fingerprint));
        assert_eq!(text.replace('-', "").parse(), Ok(fingerprint));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "abcd", "not a fingerprint!", &"a".repeat(33), &"ä".repeat(16)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
