//! The rendezvous: gives addresses and names, and tells trusted nodes of each other.
pub mod registry;
