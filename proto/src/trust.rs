//! The trust exchange: one frame there and one back on a `pilot-trust/1` connection.
//!
//! It is the only thing that an untrusted key can say to a node. It works
//! without a rendezvous, between nodes that know each other's endpoints.

use pilot_identity::SignedGrant;
use serde::{Deserialize, Serialize};

use crate::{Address, NodeName};

/// "Here is my newest grant to you."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustOffer {
    /// From the key of the connection to the receiver's key.
    pub grant: SignedGrant,
    /// What the sender says its address is; believed once the rendezvous
    /// says the same of this key.
    pub address: Option<Address>,
    /// What the sender says its name is, for people only.
    pub name: Option<NodeName>,
}

/// What the receiver made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrustAnswer {
    /// It is on disk.
    Stored {
        /// The receiver's newest grant to the sender, if it ever gave one.
        yours: Option<SignedGrant>,
    },
    /// Not believed: wrong signature, parties or network.
    Invalid,
    /// A grant of the same or a higher serial is held already: a replay, or
    /// the sender lost its state.
    Stale {
        /// The highest serial seen; the sender must exceed it.
        serial: u64,
        /// The receiver's newest grant to the sender, if it ever gave one.
        yours: Option<SignedGrant>,
    },
    /// Too many strangers are waiting; try later.
    Full,
}
