//! Beside the database: one process at a time, and whether the last one ended well.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What the file says after a proper close. While the store is in use it is
/// empty, so a process that is killed leaves it empty.
const CLEAN: &[u8] = b"clean\n";

/// Locked while it lives.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
}

pub(crate) enum LockError {
    Held,
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl LockFile {
    /// `<database>-lock`
    pub(crate) fn path_for(database: &Path) -> PathBuf {
        let mut path = database.as_os_str().to_owned();
        path.push("-lock");
        PathBuf::from(path)
    }

    pub(crate) fn acquire(path: &Path) -> Result<Self, LockError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held),
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    /// Whether the last user closed the store properly.
    pub(crate) fn was_clean(&mut self) -> io::Result<bool> {
        let mut said = Vec::new();
        self.file.rewind()?;
        // One byte more than the word, so that a longer text is another one.
        (&self.file).take(CLEAN.len() as u64 + 1).read_to_end(&mut said)?;
        Ok(said == CLEAN)
    }

    /// From here on, until [`Self::mark_clean`], an end is a crash.
    pub(crate) fn mark_in_use(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_all()
    }

    pub(crate) fn mark_clean(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(CLEAN)?;
        self.file.sync_all()
    }
}
