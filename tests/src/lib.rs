//! Real programs for tests, the demonstration and the benchmarks.
//!
//! A [`Team`] is a rendezvous and some nodes, each a process of its own with
//! a folder of its own, all on loopback. Dropping a part kills its process.
//! Nothing here waits by the clock alone: every wait is for a line that a
//! program prints, or for a command to end, with a deadline.

pub mod api;
mod link;
mod node;
mod process;
mod programs;
mod rendezvous;
mod skip;
mod small_disk;
mod team;

pub use api::Api;
pub use link::Link;
pub use node::{Node, NodeOptions, Reply};
pub use process::{Process, resident_kb};
pub use programs::Programs;
pub use rendezvous::Rendezvous;
pub use skip::{must_run, skip};
pub use small_disk::on_small_disk;
pub use team::{Team, eventually};
