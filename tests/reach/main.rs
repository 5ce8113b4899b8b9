//! Endpoints and beacons in one process, over real sockets on loopback: how
//! the transport finds its paths, and what it makes of liars.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod forged;
mod ground;
mod switching;
