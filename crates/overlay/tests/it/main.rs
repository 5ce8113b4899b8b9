//! Sessions over real sockets on loopback, with a host that does as it is told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod nodes;
mod puppets;
mod sessions;
