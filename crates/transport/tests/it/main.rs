//! What an endpoint promises, over real sockets on loopback.
//!
//! Tests with a paused clock run both ends in one runtime: loopback delivers
//! at once, so that the clock only moves when nobody has anything to do.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod datagrams;
mod dialing;
mod endings;
mod foreign;
mod frames;
mod handshake;
mod impostors;
mod nodes;
