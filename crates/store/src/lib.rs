//! The SQLite engine of both programs: each brings its own schema.
//!
//! One file (WAL, `synchronous=FULL`), one writer thread that commits in
//! groups for whoever waits, readers on connections of their own. A
//! [`Store::commit`] is queued when it is called and resolves when it is on
//! disk; commits are durable in the order of the calls.
//!
//! # Failure, and the epoch
//!
//! Callers hold machines in memory that are *ahead* of the disk by whatever
//! is still queued. When a group cannot be written, the machines of everyone
//! have decided things that will never be on disk, and batches that were
//! built on those decisions must not be written either. So a failed group
//! ends the [`Epoch`]: all batches in the group fail with its cause, and every
//! batch of the ended epoch that is still queued, or is committed later, is
//! refused with [`CommitError::Stale`]. The way back is always the same:
//!
//! 1. drop the machine,
//! 2. ask for [`Store::epoch`], *then* load the machine from disk,
//! 3. build batches with [`Batch::new`] and that epoch.
//!
//! A machine that keeps the epoch it was loaded in can never write on top of
//! something that was lost, even if it has not yet noticed the failure.
//! [`Store::batch`] takes the current epoch and is for writes that depend on
//! no such machine.
//!
//! # A full disk
//!
//! [`Store::room_for_new_work`] refuses while less than a reserve is free;
//! commits themselves go on into the reserve, so that results and
//! acknowledgements still find room. When even that is used up, commits fail
//! with [`CommitError::DiskFull`], and work again as soon as there is space.

mod batch;
mod lockfile;
mod open;
mod queue;
mod read;
mod space;
mod store;
mod writer;

pub use batch::{Batch, Commit, CommitError, Epoch};
pub use open::{OpenError, Settings};
pub use read::ReadError;
pub use store::Store;
