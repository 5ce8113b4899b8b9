//! The folder of a rendezvous: locked, private, with its key.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use pilot_identity::NodeKey;
use zeroize::Zeroizing;

/// The folder, locked while this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another rendezvous runs on it.
    #[error("the folder {path} is in use by another rendezvous")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Others could read the secret key.
    #[error("the key file {path} can be read by others (mode {mode:o}): chmod 600 {path}")]
    TooOpen {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key file does not hold a key.
    #[error("the key file {path} does not hold the 32 bytes of a key")]
    NoKey {
        /// The key file.
        path: PathBuf,
    },
    /// The system gave no randomness for a new key.
    #[error("the system gave no randomness for a new key")]
    Random(#[from] getrandom::Error),
    /// The file system refused.
    #[error("cannot use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StateDir {
    /// Makes the folder if it is missing (0700), and locks it.
    ///
    /// # Errors
    ///
    /// [`StateDirError`]
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateDirError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(&lock_path)(source)),
        }
    }

    /// Where the database is.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("registry.db")
    }

    /// The key of this rendezvous, made if there is none. It is on disk when
    /// this returns.
    ///
    /// # Errors
    ///
    /// [`StateDirError`]
    pub fn key(&self) -> Result<NodeKey, StateDirError> {
        let path = self.path.join("key");
        match File::open(&path) {
            Ok(file) => read_key(&path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_key(&path),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// Under its name the file is always whole: it gets it when it is on disk.
    fn make_key(&self, path: &Path) -> Result<NodeKey, StateDirError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())?;
        let unfinished = self.path.join("key.new");
        let write = || {
            // One that a killed start left behind may have any mode.
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(seed.as_slice())?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed(path))?;
        Ok(NodeKey::from_seed(&seed))
    }
}

fn read_key(path: &Path, file: File) -> Result<NodeKey, StateDirError> {
    let mode = file.metadata().map_err(failed(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StateDirError::TooOpen { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(33));
    file.take(33).read_to_end(&mut bytes).map_err(failed(path))?;
    let seed = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new);
    let seed = seed.map_err(|_| StateDirError::NoKey { path: path.to_owned() })?;
    Ok(NodeKey::from_seed(&seed))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |source| StateDirError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = StateDir::open(&path).unwrap().key().unwrap().id();

        assert_eq!(StateDir::open(&path).unwrap().key().unwrap().id(), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("key"))), (0o700, 0o600));
    }

    #[test]
    fn a_start_that_was_killed_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let left_behind = folder.path().join("key.new");
        fs::write(&left_behind, "half a key").unwrap();
        fs::set_permissions(&left_behind, Permissions::from_mode(0o666)).unwrap();
        let state = StateDir::open(folder.path()).unwrap();

        let made = state.key().unwrap().id();

        assert_eq!(state.key().unwrap().id(), made);
        assert!(!left_behind.exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.key().unwrap();

        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(folder.path().join("key"), Permissions::from_mode(mode)).unwrap();
            let refused = state.key().unwrap_err();
            assert!(matches!(refused, StateDirError::TooOpen { mode: m, .. } if m == mode));
        }
    }

    #[test]
    fn a_file_of_another_size_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.key().unwrap();

        for size in [0, 31, 33, 1000] {
            fs::write(folder.path().join("key"), vec![1; size]).unwrap();
            assert!(matches!(state.key(), Err(StateDirError::NoKey { .. })), "{size}");
        }
    }

    #[test]
    fn two_cannot_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();

        assert!(matches!(StateDir::open(folder.path()), Err(StateDirError::Locked { .. })));
        drop(first);
        StateDir::open(folder.path()).unwrap();
    }
}
