//! The node's folder: who it is and what it keeps, for one daemon at a time.
//!
//! [`Home::open`] makes the folder, refuses one that others could write to,
//! and locks it for the life of the process; everything else in here needs
//! that lock. The lock is the kernel's, so nothing that a dead daemon left
//! behind keeps a new one from starting.
//!
//! | file | what |
//! |---|---|
//! | `node.key` | the secret key, 32 bytes, 0600 |
//! | `pilot.db` | everything else that must survive |
//! | `pilot.sock` | the local API, 0600 |
//! | `lock` | locked by the running daemon, holds its process id |
//! | `config.toml` | settings, if the operator wrote any |
//!
//! Runs before the runtime starts: its calls block.

mod folder;
mod key_file;
mod lock;
mod socket;

use std::path::{Path, PathBuf};

use pilot_identity::NodeKey;
use pilot_proto::BootId;

pub use folder::OpenHomeError;
pub use key_file::LoadKeyError;
use lock::Lock;
pub use socket::{BindSocketError, bind_socket};

/// The name of the local API's socket in a home, unless the settings say otherwise.
pub const SOCKET_NAME: &str = "pilot.sock";
/// The name of the settings file in a home.
pub const CONFIG_NAME: &str = "config.toml";

/// A node's folder, locked until this is dropped.
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
    /// [`OpenHomeError`]; [`OpenHomeError::AlreadyRunning`] if another daemon has it.
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

    /// The node's database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("pilot.db")
    }

    /// The node's key; made on the first start, and on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`LoadKeyError`]. A key file that is there is never replaced.
    pub fn load_key(&self) -> Result<NodeKey, LoadKeyError> {
        key_file::load_or_create(&self.path)
    }
}

/// A number for this run of the daemon.
///
/// # Errors
///
/// [`getrandom::Error`] if the system has no randomness to give.
pub fn draw_boot_id() -> Result<BootId, getrandom::Error> {
    Ok(BootId(getrandom::u64()?))
}

#[cfg(test)]
mod tests;
