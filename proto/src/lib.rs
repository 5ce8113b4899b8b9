//! Every byte that goes between machines: addresses, ids, frames, messages, limits, codes.
//!
//! Pure. Decoders are total: any bytes give a value or a typed error, and no
//! allocation is larger than the limit of the frame they came in. Values with
//! rules are newtypes whose rules also hold for what arrives from the wire.
//!
//! | ALPN | who | streams |
//! |---|---|---|
//! | `pilot-peer/1` | two nodes with mutual trust | [`Service`] number, then frames |
//! | `pilot-trust/1` | any two nodes, rate limited | one [`trust`] exchange |
//! | `pilot-registry/1` | node and rendezvous | one [`registry`] exchange each, and one for pushes |
//!
//! Beside QUIC on the same sockets: [`beacon`], between a node and a beacon, and
//! [`part`], what QUIC sends in parts.

mod address;
pub mod beacon;
mod boot;
pub mod close;
mod component;
pub mod control;
pub mod data;
mod endpoints;
pub mod envelope;
pub mod events;
mod file_name;
pub mod frame;
mod id;
mod list;
pub mod manifest;
pub mod messages;
mod name;
pub mod part;
mod peer;
mod position;
pub mod probe;
pub mod record;
pub mod registry;
mod service;
mod tag;
pub mod tasks;
pub mod text;
mod topic;
pub mod trust;

pub use address::{Address, AddressError};
pub use boot::BootId;
pub use component::{Component, ComponentError, MAX_COMPONENT};
pub use endpoints::{Endpoints, MAX_ENDPOINTS};
pub use file_name::{FileName, FileNameError};
pub use id::{MessageId, MessageIdError, TaskId, TaskIdError, TransferId, TransferIdError};
pub use name::{NodeName, NodeNameError};
pub use peer::{PeerRef, PeerRefError};
pub use pilot_identity as identity;
pub use position::{Position, PositionError};
pub use service::Service;
pub use tag::{MAX_TAGS, Tag, TagError, Tags};
pub use topic::{
    MAX_TOKENS, MAX_TOPIC, RESERVED, Topic, TopicError, TopicFilter, check_topic, is_reserved_topic,
};

/// The minor version of the protocol that this build speaks. Each side says
/// its own in the hello and both then use the smaller one.
///
/// | minor | adds |
/// |---|---|
/// | 1 | receipts and polo at the rendezvous |
pub const MINOR_VERSION: u16 = 1;
