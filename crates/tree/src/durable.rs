//! How a whole tree gets onto the disk.
//!
//! Linux syncs a file system with one call, whatever the number of files;
//! elsewhere each file and folder is synced by itself.

use std::io;
use std::os::fd::AsFd;

use rustix::fd::BorrowedFd;

/// Called for each file and folder once it is as it is to stay.
pub(crate) fn each(thing: impl AsFd) -> io::Result<()> {
    if cfg!(target_os = "linux") { Ok(()) } else { one(thing) }
}

/// Called at the end with any folder of the tree.
pub(crate) fn all(folder: impl AsFd) -> io::Result<()> {
    whole(folder.as_fd())
}

/// Brings one file or folder onto the disk. A folder's part of that are its
/// names.
pub(crate) fn one(thing: impl AsFd) -> io::Result<()> {
    std::fs::File::from(thing.as_fd().try_clone_to_owned()?).sync_all()
}

#[cfg(target_os = "linux")]
fn whole(folder: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

#[cfg(not(target_os = "linux"))]
fn whole(_: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}
