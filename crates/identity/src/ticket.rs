//! A statement of a rendezvous about a node: "it is registered with me".
//!
//! Shown to a beacon that knows the rendezvous' key, so that a beacon needs no
//! list of nodes.

use serde::{Deserialize, Serialize};

use crate::key::{NodeId, NodeKey};
use crate::signed::{Signature, SignatureError};
use crate::timestamp::Timestamp;

const CONTEXT: &str = "pilot/1 ticket";

/// Lets `node` use a beacon until `expires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Who may.
    pub node: NodeId,
    /// Until when, by the clock of the rendezvous.
    pub expires: Timestamp,
}

impl Ticket {
    /// Whether it still holds at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires
    }

    /// Signs it with the key of the rendezvous.
    #[must_use]
    pub fn sign(self, rendezvous: &NodeKey) -> SignedTicket {
        let signature = Signature::over(rendezvous, CONTEXT, &self);
        SignedTicket { ticket: self, signature }
    }
}

/// A [`Ticket`] with its signature, which may or may not hold. It does not
/// name its issuer: who reads it knows whose tickets it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTicket {
    ticket: Ticket,
    signature: Signature,
}

impl SignedTicket {
    /// The ticket, if `rendezvous` signed it.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if another key signed it, or anything was altered.
    pub fn verify(&self, rendezvous: &NodeId) -> Result<&Ticket, SignatureError> {
        self.signature.verify(rendezvous, CONTEXT, &self.ticket)?;
        Ok(&self.ticket)
    }

    /// What it says, believed by who had it from the rendezvous itself.
    #[must_use]
    pub const fn assume_verified(&self) -> &Ticket {
        &self.ticket
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn ticket() -> Ticket {
        Ticket { node: key(1).id(), expires: Timestamp::from_millis(5_000) }
    }

    #[test]
    fn holds_until_it_expires() {
        assert!(ticket().is_live(Timestamp::from_millis(4_999)));
        assert!(!ticket().is_live(Timestamp::from_millis(5_000)));
    }

    #[test]
    fn only_the_rendezvous_signs_and_it_signs_every_field() {
        let signed = ticket().sign(&key(9));
        assert_eq!(signed.verify(&key(9).id()), Ok(&ticket()));
        assert_eq!(signed.verify(&key(1).id()), Err(SignatureError::Mismatch));

        let others = [
            Ticket { node: key(2).id(), ..ticket() },
            Ticket { expires: Timestamp::from_millis(6_000), ..ticket() },
        ];
        for ticket in others {
            let forged = SignedTicket { ticket, ..signed };
            assert_eq!(forged.verify(&key(9).id()), Err(SignatureError::Mismatch), "{ticket:?}");
        }
    }

    #[test]
    fn the_bytes_stay_as_they_are() {
        let bytes = postcard::to_allocvec(&ticket().sign(&key(9))).unwrap();

        assert_eq!(bytes.len(), 32 + 2 + 64);
        let back: SignedTicket = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back.verify(&key(9).id()), Ok(&ticket()));
    }
}
