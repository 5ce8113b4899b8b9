//! What is known of where a peer is.

use pilot_identity::Timestamp;
use pilot_proto::registry::NodeRecord;
use pilot_proto::{Address, BootId, Endpoints, NodeName, Tags};

/// A peer's card: its last known address, name and endpoints.
///
/// The host keeps it on disk, so that known peers can be dialled while the
/// rendezvous is away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Card {
    /// The address the rendezvous gave it.
    pub address: Option<Address>,
    /// Its name.
    pub name: Option<NodeName>,
    /// Its tags.
    pub tags: Tags,
    /// Where to dial it.
    pub endpoints: Endpoints,
    /// The run that the rendezvous sees connected; none if it is offline
    /// there, or the rendezvous has not said.
    pub boot: Option<BootId>,
    /// When the rendezvous last saw it.
    pub last_seen: Option<Timestamp>,
}

impl From<NodeRecord> for Card {
    fn from(record: NodeRecord) -> Self {
        Self {
            address: Some(record.address),
            name: record.name,
            tags: record.tags,
            endpoints: record.endpoints,
            boot: record.boot,
            last_seen: Some(record.last_seen),
        }
    }
}
