//! The daemon: one a machine, it owns the identity, the tunnels, the queues and the disk.

pub mod home;
pub mod settings;
