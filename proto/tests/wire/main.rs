//! What is on the wire: the bytes of every message, and what becomes of others.
//!
//! The snapshots are the protocol: a change of one breaks nodes that are out
//! there, and needs a new minor version with both forms read.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod beacon;
mod data_samples;
mod event_samples;
mod hostile;
mod message_samples;
mod part;
mod polo_samples;
mod samples;
mod snapshots;
