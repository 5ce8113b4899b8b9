//! A statement of worker and submitter about one attempt at a task.
//!
//! The worker signs it when it offers the result; the submitter signs the
//! worker's statement once the result is on its disk. Only then may the
//! worker forget the result.

use core::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::key::{NodeId, NodeKey};
use crate::signed::{Signature, SignatureError};
use crate::timestamp::Timestamp;

const WORKER_CONTEXT: &str = "pilot/1 receipt";
const SUBMITTER_CONTEXT: &str = "pilot/1 receipt countersigned";

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The work was done.
    Succeeded,
    /// The work was tried and not done.
    Failed,
    /// The worker did not want it.
    Declined,
    /// The submitter took it back.
    Cancelled,
    /// A deadline or a time-out of its passed.
    Expired,
}

/// The BLAKE3 hash of a result as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// When things happened, by the worker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReceiptTimes {
    /// The task reached the worker's queue.
    pub received: Timestamp,
    /// A worker took it.
    pub accepted: Option<Timestamp>,
    /// It ended.
    pub finished: Timestamp,
}

/// What the worker says happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task.
    pub task: Uuid,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// Who asked for it.
    pub submitter: NodeId,
    /// Who worked on it, and signs.
    pub worker: NodeId,
    /// How it ended.
    pub outcome: Outcome,
    /// The result as it was sent.
    pub digest: Digest,
    /// When.
    pub times: ReceiptTimes,
}

impl Receipt {
    /// The worker's signature. `key` must be the key named in `worker`.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedReceipt {
        let signature = Signature::over(key, WORKER_CONTEXT, &self);
        SignedReceipt { receipt: self, signature }
    }
}

/// A receipt signed by the worker alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    receipt: Receipt,
    signature: Signature,
}

impl SignedReceipt {
    /// The receipt, if the worker named in it signed every field.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if anything in it was altered.
    pub fn verify(&self) -> Result<&Receipt, SignatureError> {
        self.signature.verify(&self.receipt.worker, WORKER_CONTEXT, &self.receipt)?;
        Ok(&self.receipt)
    }

    /// The submitter's signature under the worker's.
    #[must_use]
    pub fn countersign(self, key: &NodeKey) -> Countersigned {
        let countersignature = Signature::over(key, SUBMITTER_CONTEXT, &self);
        Countersigned { signed: self, countersignature }
    }
}

/// A receipt signed by both: the proof that the result arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Countersigned {
    signed: SignedReceipt,
    countersignature: Signature,
}

impl Countersigned {
    /// The receipt without a look at its signatures: for who made it, who has
    /// verified it before, or who refuses it cheaply before that.
    #[must_use]
    pub const fn assume_verified(&self) -> &Receipt {
        &self.signed.receipt
    }

    /// The receipt, if the worker and the submitter named in it both signed it.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if either signature does not hold.
    pub fn verify(&self) -> Result<&Receipt, SignatureError> {
        let receipt = self.signed.verify()?;
        self.countersignature.verify(&receipt.submitter, SUBMITTER_CONTEXT, &self.signed)?;
        Ok(receipt)
    }

    /// Whether `signed` is the statement that the submitter has signed.
    #[must_use]
    pub fn is_of(&self, signed: &SignedReceipt) -> bool {
        self.signed == *signed
    }

    /// Whether this is the submitter's signature under `statement` exactly as
    /// `worker`, the key named in it, signed it.
    ///
    /// Says yes to what [`Countersigned::verify`] accepts and no to everything
    /// else, in half the time: a key signs the same statement the same way
    /// every time (RFC 8032 §5.1.6), and to sign is quicker than to verify.
    #[must_use]
    pub fn confirms(&self, statement: &Receipt, worker: &NodeKey) -> bool {
        let SignedReceipt { receipt, signature } = &self.signed;
        receipt == statement
            && receipt.worker == worker.id()
            && *signature == Signature::over(worker, WORKER_CONTEXT, statement)
            && self
                .countersignature
                .verify(&statement.submitter, SUBMITTER_CONTEXT, &self.signed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn receipt() -> Receipt {
        Receipt {
            task: Uuid::from_u128(7),
            attempt: 1,
            submitter: key(1).id(),
            worker: key(2).id(),
            outcome: Outcome::Succeeded,
            digest: Digest::of(b"done"),
            times: ReceiptTimes::default(),
        }
    }

    #[test]
    fn both_signatures_hold() {
        let countersigned = receipt().sign(&key(2)).countersign(&key(1));

        assert_eq!(countersigned.verify(), Ok(&receipt()));
        assert!(countersigned.confirms(&receipt(), &key(2)));
    }

    #[test]
    fn the_worker_is_confirmed_in_its_own_statement_and_signature_only() {
        let signed = receipt().sign(&key(2));
        let other = Receipt { attempt: 2, ..receipt() };
        let mut spoilt = signed.clone().countersign(&key(1));
        spoilt.signed.signature = other.clone().sign(&key(2)).signature;
        let resigned = SignedReceipt { signature: spoilt.signed.signature, ..signed.clone() };

        assert!(!signed.clone().countersign(&key(1)).confirms(&other, &key(2)));
        assert!(!signed.clone().countersign(&key(1)).confirms(&receipt(), &key(3)));
        assert!(!signed.countersign(&key(3)).confirms(&receipt(), &key(2)));
        assert!(!spoilt.confirms(&receipt(), &key(2)));
        assert!(!resigned.countersign(&key(1)).confirms(&receipt(), &key(2)));
    }

    #[test]
    fn the_worker_signs_every_field() {
        let signed = receipt().sign(&key(2));
        let altered: [fn(&mut Receipt); 7] = [
            |receipt| receipt.task = Uuid::from_u128(8),
            |receipt| receipt.attempt = 2,
            |receipt| receipt.submitter = key(3).id(),
            |receipt| receipt.worker = key(3).id(),
            |receipt| receipt.outcome = Outcome::Failed,
            |receipt| receipt.digest = Digest::of(b"other"),
            |receipt| receipt.times.finished = Timestamp::from_millis(1),
        ];

        for alter in altered {
            let mut forged = signed.clone();
            alter(&mut forged.receipt);
            assert_eq!(forged.verify(), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn only_the_named_submitter_countersigns() {
        let forged = receipt().sign(&key(2)).countersign(&key(2));

        assert_eq!(forged.verify(), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_countersignature_cannot_be_moved_to_another_receipt() {
        let one = receipt().sign(&key(2)).countersign(&key(1));
        let other = Receipt { attempt: 2, ..receipt() }.sign(&key(2));

        let forged = Countersigned { signed: other, countersignature: one.countersignature };

        assert_eq!(forged.verify(), Err(SignatureError::Mismatch));
    }
}
