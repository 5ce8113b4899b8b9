//! Real programs on loopback: what only programs can show.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod article;
mod cli;
mod crash;
mod hostile;
mod leases;
mod polo;
mod rendezvous;
mod rooms;
mod task_files;
mod task_logs;
mod trust;
