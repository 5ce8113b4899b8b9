//! Who a node is.

use pilot_identity::{Fingerprint, NodeId};
use pilot_proto::{Address, NodeName};
use serde::{Deserialize, Serialize};

/// A node by everything it can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerIdentity {
    /// Its address, once the rendezvous has given one and it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub address: Option<Address>,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub name: Option<NodeName>,
    /// Its key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub public_key: NodeId,
    /// The hash of the key that people compare.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub fingerprint: Fingerprint,
}

impl PeerIdentity {
    /// The identity of the node with `public_key`.
    #[must_use]
    pub fn new(public_key: NodeId, address: Option<Address>, name: Option<NodeName>) -> Self {
        Self { address, name, public_key, fingerprint: public_key.fingerprint() }
    }

    /// Its address, or the beginning of its key.
    #[must_use]
    pub fn label(&self) -> String {
        self.address.map_or_else(|| self.public_key.short(), |address| address.to_string())
    }
}

/// `GET whoami`: this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    /// Address, name, key and fingerprint.
    #[serde(flatten)]
    pub identity: PeerIdentity,
    /// The network it is registered in, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<u16>,
    /// Its home folder.
    pub home: String,
    /// The version of its daemon.
    pub version: String,
    /// The process of its daemon.
    pub pid: u32,
}
