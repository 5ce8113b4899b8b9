//! The bounded log of one publisher's events on the disk.
//!
//! A folder of segments, each a file of [`Block`]s; what is in a block is the
//! caller's. Blocking, with one writer thread: [`Journal::append`] queues,
//! and whoever needs to know waits for [`Journal::durable`] (on the disk, one
//! sync for all who wait) or [`Journal::write_out`] (readable).
//!
//! # Epochs
//!
//! Each time a journal is opened a new epoch begins, with a segment of its
//! own; nothing is ever added to a segment of an earlier run. So what a crash
//! tore off an old segment cannot stand in the way of what comes, and a
//! [`Position`] that somebody remembers of an event that was lost is never
//! given to another one.
//!
//! # What is lost, and how it shows
//!
//! The oldest segments go when the folder is over its bound. Blocks that found
//! no room on the disk, and those behind a damage, are not in the journal.
//! Either way the sequence numbers of what is read have a hole: none is filled
//! in, and [`Page::oldest`] says where the log begins.
//!
//! One process has a folder open at a time; it is for the caller to see to that.

mod block;
mod journal;
mod line;
mod open;
mod outcome;
mod read;
mod scan;
mod segment;
mod shelf;
mod waiting;
mod writer;

pub use block::{Block, MAX_RECORDS, Stored};
pub use journal::Journal;
pub use open::{OpenError, Recovered, Request, Settings};
pub use outcome::AppendError;
pub use pilot_proto::Position;
pub use read::{Page, ReadError};
pub use segment::Segment;
