//! Which key stands behind an address, for ever unless the user says otherwise.

use std::collections::BTreeMap;

use pilot_identity::NodeId;
use pilot_proto::Address;

/// The keys that a user trusted by their address.
#[derive(Debug, Default)]
pub(crate) struct Pins(BTreeMap<Address, NodeId>);

/// Another key than the pinned one was named for an address. Either the
/// rendezvous lies, or the address has a new owner; only `untrust` of the
/// pinned key frees the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is pinned to the key with fingerprint {}, and now the one with {} is named for it",
    pinned.fingerprint(),
    offered.fingerprint()
)]
pub struct IdentityChanged {
    /// The address in question.
    pub address: Address,
    /// The key the user trusted.
    pub pinned: NodeId,
    /// The key named now.
    pub offered: NodeId,
}

impl Pins {
    pub(crate) fn get(&self, address: Address) -> Option<NodeId> {
        self.0.get(&address).copied()
    }

    pub(crate) fn check(&self, address: Address, offered: NodeId) -> Result<(), IdentityChanged> {
        match self.get(address) {
            Some(pinned) if pinned != offered => Err(IdentityChanged { address, pinned, offered }),
            Some(_) | None => Ok(()),
        }
    }

    /// Pins `address` unless it is pinned already.
    pub(crate) fn add(&mut self, address: Address, peer: NodeId) {
        self.0.entry(address).or_insert(peer);
    }

    pub(crate) fn release(&mut self, peer: NodeId) {
        self.0.retain(|_, pinned| *pinned != peer);
    }
}
