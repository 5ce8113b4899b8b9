//! The rendezvous as nodes and operators meet it, over loopback.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "these are tests"
)]

mod beacon;
mod beacons;
mod carried;
mod client;
mod coturn;
mod program;
mod relayed;
mod server;
