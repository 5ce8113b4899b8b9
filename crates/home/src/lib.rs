//! A program's folder: who it is and what it keeps, for one process at a time.
//!
//! [`Home::open`] makes the folder, refuses one that others could write to,
//! and locks it for the life of the process; everything else in here needs
//! that lock. The lock is the kernel's, so nothing that a dead process left
//! behind keeps a new one from starting. Nodes and the rendezvous use it alike.
//!
//! | file | what |
//! |---|---|
//! | `node.key` | the secret key, 32 bytes, 0600 |
//! | `lock` | locked by the running process, holds its process id |
//!
//! Databases, sockets and settings in it are named by whoever owns it.
//! Runs before the runtime starts: its calls block.

mod folder;
mod key_file;
mod lock;
mod socket;

use std::path::{Path, PathBuf};

use pilot_identity::NodeKey;

pub use folder::OpenHomeError;
pub use key_file::LoadKeyError;
use lock::Lock;
pub use socket::{BindSocketError, bind_socket};

/// A folder, locked until this is dropped.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: Lock,
}

impl Home {
    /// Opens the folder at `path`, makes it (0700) if there is none, and locks it.
    ///
    /// # Errors
    ///
    /// [`OpenHomeError`]; [`OpenHomeError::AlreadyRunning`] if another process has it.
    pub fn open(path: &Path) -> Result<Self, OpenHomeError> {
        folder::prepare(path)?;
        let lock = Lock::acquire(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key; made on the first start, and on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`LoadKeyError`]. A key file that is there is never replaced.
    pub fn load_key(&self) -> Result<NodeKey, LoadKeyError> {
        key_file::load_or_create(&self.path)
    }
}

#[cfg(test)]
mod tests;
