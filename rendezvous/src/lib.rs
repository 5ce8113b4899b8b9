//! The rendezvous: gives keys their addresses and names, tells trusted nodes
//! of each other, and helps them to meet.
//!
//! [`registry`] decides, as a pure machine; `keeper` keeps it in step with
//! the disk ([`journal`]); `line` serves one connection and `acceptor` all of
//! them; `gate` limits who may ask how often. [`beacon`] is what nodes need to
//! reach each other: STUN and a relay, on a socket and a thread of their own.
//! [`Server`] is both together. It never holds a secret of a node: whoever
//! takes it over can refuse service and see who trusts whom and who talks with
//! whom, and nothing else.

mod acceptor;
pub mod beacon;
pub mod carriers;
mod gate;
pub mod journal;
mod keeper;
mod line;
pub mod polo;
pub mod registry;
mod server;
pub mod settings;
mod signposts;
mod worker;

pub use keeper::LoadError;
pub use server::{Server, StartError};
