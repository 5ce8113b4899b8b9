//! Everything of a transfer of files that touches the file system.
//!
//! [`Source`] is what is sent: listed once, and each of its files read only as
//! long as it is what it was then; [`keep`] makes one of copies that nobody
//! changes. [`Incoming`] is what is being received: verified piece by piece,
//! resumed after a crash, in the inbox at once when it is whole. Nothing that a
//! sender names leads out of its folder: each step is one name in an open
//! folder, and no link is followed. [`copy_out`] takes from the inbox what a
//! user wants elsewhere. What is there already, as [`Held`] knows, need not be
//! sent again.
//!
//! All calls block, and nothing here waits for the network: whoever drives it
//! gives it a thread. What a transfer consists of is `pilot-files`'.

mod catalogue;
mod copy;
mod direct;
mod disk_error;
mod durable;
mod fill;
mod finish;
mod folder;
mod growing;
mod held;
mod ignored;
mod incoming;
mod journal;
mod keep;
mod recent;
mod scan;
mod source;
mod verified;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use catalogue::forget_held;
pub use copy::{Conflict, Copied, CopyError, Outcome, copy_out};
pub use direct::PieceBuffer;
pub use disk_error::DiskError;
pub use finish::FinishError;
pub use held::Held;
pub use incoming::{CreateError, Incoming, OpenError, WriteError, Written, discard};
pub use keep::{KeepError, keep, take};
pub use scan::{ScanError, ScanOptions, Scanned, Special};
pub use source::{ReadError, Source, SourceBytesError, SourceFile};
pub use verified::Verified;

/// Bytes of a manifest as a path of this system.
fn os_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
