//! What the publisher of an event signs when somebody else will hand it on.

use serde::Serialize;

use crate::key::{NodeId, NodeKey};
use crate::signed::{Signature, SignatureError};

const CONTEXT: &str = "pilot/1 event";

/// An event as its publisher made it. A signature of it lets a third node hand
/// it on, and nobody else make it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EventStatement<'a> {
    /// The publisher's stream: when it was begun, in milliseconds since 1970.
    pub epoch: u64,
    /// Its number there.
    pub seq: u64,
    /// When it was published, in milliseconds since 1970.
    pub at: u64,
    /// What it is about.
    pub topic: &'a str,
    /// What it says, as JSON.
    pub data: &'a str,
}

impl EventStatement<'_> {
    /// Signs it with the publisher's key.
    #[must_use]
    pub fn sign(&self, publisher: &NodeKey) -> Signature {
        Signature::over(publisher, CONTEXT, self)
    }

    /// Checks that `publisher` signed it.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if another key signed it, or anything was altered.
    pub fn verify(&self, publisher: &NodeId, signature: &Signature) -> Result<(), SignatureError> {
        signature.verify(publisher, CONTEXT, self)
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
    fn only_the_publisher_and_only_this_event() {
        let event = EventStatement { epoch: 1, seq: 2, at: 3, topic: "a.b", data: "{}" };
        let signature = event.sign(&key(1));

        assert_eq!(event.verify(&key(1).id(), &signature), Ok(()));
        assert!(event.verify(&key(2).id(), &signature).is_err());
        for other in [
            EventStatement { epoch: 2, ..event },
            EventStatement { seq: 3, ..event },
            EventStatement { at: 4, ..event },
            EventStatement { topic: "a.c", ..event },
            EventStatement { data: "[]", ..event },
            // The boundary between two texts is signed, too.
            EventStatement { topic: "a.b{", data: "}", ..event },
        ] {
            assert!(other.verify(&key(1).id(), &signature).is_err(), "{other:?}");
        }
    }
}
