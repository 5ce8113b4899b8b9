//! A deterministic internet for the path machines: NATs, relays, loss, and time
//! that passes only when something happens.
//!
//! The machines are the real ones; their shell, the NATs and the beacons are
//! models. Every test runs on virtual time and prints its seed when it fails.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]

mod beacon;
mod budget;
mod chance;
mod discovering;
mod failures;
mod homes;
mod hostile;
mod nat;
mod node;
mod packet;
mod pairs;
mod peer;
mod sockets;
mod topologies;
mod world;
