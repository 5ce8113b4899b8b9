//! The rendezvous: gives keys their addresses and names, and tells trusted
//! nodes of each other.
//!
//! [`registry`] decides, as a pure machine; `keeper` keeps it in step with
//! the disk ([`journal`]); `line` serves one connection and [`Server`] all of
//! them; `gate` limits who may ask how often. It never holds a
//! secret of a node: whoever takes it over can refuse service and see who
//! trusts whom, and nothing else.

pub mod beacon;
mod gate;
pub mod journal;
mod keeper;
mod line;
pub mod registry;
mod server;
pub mod settings;
mod signposts;

pub use keeper::LoadError;
pub use server::{Server, StartError};
