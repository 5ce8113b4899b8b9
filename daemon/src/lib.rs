//! The daemon: one a machine, it owns the identity, the tunnels, the queues and the disk.
//!
//! [`Daemon::start`] composes the rooms in their order (folder, key, store,
//! services, overlay, local API) and [`Daemon::stop`] takes them down again.

mod api;
mod clock;
mod daemon;
mod doctor;
mod host;
mod node;
mod services;
pub mod settings;
mod store;

pub use daemon::{Daemon, StartError};
