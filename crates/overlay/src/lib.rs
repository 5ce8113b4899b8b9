//! Sessions with peers, and the line to the rendezvous.
//!
//! This room finds or opens a session with a peer, keeps it, hands incoming
//! streams to the services above, and speaks with the rendezvous. It decides
//! nothing about trust, tasks or storage: what it needs to know it asks of
//! its [`Host`], which the program implements.
//!
//! Invariant: no stream of a peer is read unless the host admits the key of
//! its connection at that moment.

mod accept;
mod backoff;
mod book;
mod dial;
mod duplicates;
mod gate;
mod host;
mod overlay;
mod peer;
mod registry;
mod registry_addr;
mod session;
mod streams;

pub use book::Card;
pub use dial::DialError;
pub use host::{BoxFuture, Host, LinkEvent, RegistryEvent};
pub use overlay::{Overlay, Setup};
pub use pilot_transport::{HostPort, HostPortError};
pub use registry::{RegistryClient, RegistryError, RegistryStatus, RegistryTrouble, RegistryWay};
pub use registry_addr::{RegistryAddr, RegistryAddrError};
pub use session::{PeerStream, Session};
