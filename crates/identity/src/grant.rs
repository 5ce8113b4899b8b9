//! A signed statement of one node about another: "it may use these of my services".

use serde::{Deserialize, Serialize};

use crate::key::{NodeId, NodeKey};
use crate::scopes::Scopes;
use crate::signed::{Signature, SignatureError};
use crate::timestamp::Timestamp;

const CONTEXT: &str = "pilot/1 grant";

/// What `from` allows `to`. Trust is mutual when each holds the other's live grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The key that grants, and signs.
    pub from: NodeId,
    /// The key that is granted to.
    pub to: NodeId,
    /// The network it is for.
    pub network: u16,
    /// What is allowed; nothing at all means revoked.
    pub scopes: Scopes,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Grows with every grant of this pair: a grant replaces only smaller serials.
    pub serial: u64,
}

impl Grant {
    /// Whether it still allows anything at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.scopes.is_empty() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Signs it. `key` must be the key named in `from`; with another one the
    /// result verifies for nobody.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedGrant {
        let signature = Signature::over(key, CONTEXT, &self);
        SignedGrant { grant: self, signature }
    }
}

/// A [`Grant`] with its signature, which may or may not hold: it is only read
/// through [`SignedGrant::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGrant {
    grant: Grant,
    signature: Signature,
}

impl SignedGrant {
    /// The grant, if its issuer signed every field of it.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if anything in it was altered.
    pub fn verify(&self) -> Result<&Grant, SignatureError> {
        self.signature.verify(&self.grant.from, CONTEXT, &self.grant)?;
        Ok(&self.grant)
    }

    /// The grant as it claims to be, for statements this node verified before
    /// it stored them.
    #[must_use]
    pub const fn assume_verified(&self) -> &Grant {
        &self.grant
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn grant() -> Grant {
        Grant {
            from: key(1).id(),
            to: key(2).id(),
            network: 1,
            scopes: Scopes::ALL,
            issued_at: Timestamp::from_millis(1_000),
            expires_at: Some(Timestamp::from_millis(5_000)),
            serial: 3,
        }
    }

    #[test]
    fn is_live_until_it_expires_or_allows_nothing() {
        let grant = grant();

        assert!(grant.is_live(Timestamp::from_millis(4_999)));
        assert!(!grant.is_live(Timestamp::from_millis(5_000)));
        let revoked = Grant { scopes: Scopes::NONE, expires_at: None, ..grant };
        assert!(!revoked.is_live(Timestamp::from_millis(0)));
    }

    #[test]
    fn the_signature_covers_every_field() {
        let signed = grant().sign(&key(1));
        assert_eq!(signed.verify(), Ok(&grant()));

        let altered: [fn(&mut Grant); 7] = [
            |grant| grant.from = key(3).id(),
            |grant| grant.to = key(3).id(),
            |grant| grant.network = 2,
            |grant| grant.scopes = Scopes::NONE,
            |grant| grant.issued_at = Timestamp::from_millis(1),
            |grant| grant.expires_at = None,
            |grant| grant.serial = 4,
        ];
        for alter in altered {
            let mut forged = signed.clone();
            alter(&mut forged.grant);
            assert_eq!(forged.verify(), Err(SignatureError::Mismatch), "{:?}", forged.grant);
        }
    }

    #[test]
    fn nobody_grants_in_anothers_name() {
        let forged = grant().sign(&key(3));

        assert_eq!(forged.verify(), Err(SignatureError::Mismatch));
    }

    #[test]
    fn the_bytes_stay_as_they_are() {
        let bytes = postcard::to_allocvec(&grant().sign(&key(1))).unwrap();

        assert_eq!(bytes.len(), 32 + 32 + 1 + 1 + 2 + 3 + 1 + 64);
        let back: SignedGrant = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back.verify(), Ok(&grant()));
    }
}
