//! A submitter's permission to fetch the result of one of its tasks.
//!
//! The worker that has the result gives it to the node that shows the pass,
//! over a tunnel that proves that node's key.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::key::{NodeId, NodeKey};
use crate::signed::{Signature, SignatureError};
use crate::timestamp::Timestamp;

const CONTEXT: &str = "pilot/1 pass";

/// What it permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The task whose result it is.
    pub task: Uuid,
    /// Which attempt at it.
    pub attempt: u32,
    /// Who gave the task, and signs.
    pub submitter: NodeId,
    /// Who did it.
    pub worker: NodeId,
    /// Who may have the result.
    pub to: NodeId,
    /// Until when, by the submitter's clock.
    pub expires: Timestamp,
}

/// A pass and the submitter's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPass {
    pass: Pass,
    signature: Signature,
}

impl Pass {
    /// The submitter's signature. `key` must be the key named in `submitter`.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedPass {
        let signature = Signature::over(key, CONTEXT, &self);
        SignedPass { pass: self, signature }
    }
}

impl SignedPass {
    /// The pass, if the submitter named in it signed every field.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if anything in it was altered.
    pub fn verify(&self) -> Result<&Pass, SignatureError> {
        self.signature.verify(&self.pass.submitter, CONTEXT, &self.pass)?;
        Ok(&self.pass)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    #[test]
    fn the_submitter_signs_every_field() {
        let pass = Pass {
            task: Uuid::from_u128(7),
            attempt: 1,
            submitter: key(1).id(),
            worker: key(2).id(),
            to: key(3).id(),
            expires: Timestamp::from_millis(9),
        };
        let signed = pass.sign(&key(1));
        let altered: [fn(&mut Pass); 6] = [
            |pass| pass.task = Uuid::from_u128(8),
            |pass| pass.attempt = 2,
            |pass| pass.submitter = key(3).id(),
            |pass| pass.worker = key(3).id(),
            |pass| pass.to = key(4).id(),
            |pass| pass.expires = Timestamp::from_millis(10),
        ];

        assert_eq!(signed.verify(), Ok(&pass));
        for alter in altered {
            let mut forged = signed.clone();
            alter(&mut forged.pass);
            assert_eq!(forged.verify(), Err(SignatureError::Mismatch));
        }
        assert_eq!(pass.sign(&key(2)).verify(), Err(SignatureError::Mismatch));
    }
}
