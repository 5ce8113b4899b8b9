//! Events in memory: the newest of a stream, and who wants which.
//!
//! A [`Tail`] holds the newest events of one stream, as the bytes in which
//! they go over the wire and into a journal. Nobody has a queue: whoever reads
//! has a [`Cursor`], and reads at its own pace. One that is too slow finds
//! that the tail has gone on without it, learns how many it missed, and makes
//! up for them from the publisher's journal if it wants to. So the slowest
//! reader costs nobody anything, and memory is bounded by the tails alone.
//!
//! Pure: no clock, no task, no file.

mod filters;
mod tail;

pub use filters::{Filters, Matcher};
pub use tail::{Block, Cursor, Item, Page, Read, Tail};
