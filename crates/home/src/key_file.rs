//! The secret key on disk: 32 bytes that nobody else may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pilot_identity::NodeKey;
use rustix::fs::OFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::folder::sync_folder;

const NAME: &str = "node.key";
/// Where a key is written before it is whole; one that is left over is of no use.
const NEW_NAME: &str = "node.key.new";

const KEY_BYTES: usize = 32;

/// Why there is no key. None of these is mended by making another: a new key
/// is another node.
#[derive(Debug, thiserror::Error)]
pub enum LoadKeyError {
    /// It could not be read.
    #[error("cannot read the key file {path}")]
    Read {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A new one could not be written.
    #[error("cannot write the key file {path}")]
    Write {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may have read it.
    #[error(
        "others may read the key file {path} (mode {mode:03o}): chmod 600 {}",
        path.display()
    )]
    TooOpen {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("the key file {path} belongs to user {owner}, and this is user {me}")]
    NotOurs {
        /// The key file.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        me: u32,
    },
    /// A link, a folder or a device, where a key must be a file of its own.
    #[error("the key file {path} is not a regular file")]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// Not a key at all, or cut off.
    #[error(
        "the key file {path} holds {found} bytes, and a key has {KEY_BYTES}: restore it from a copy"
    )]
    WrongLength {
        /// The key file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
    },
    /// The system gave no randomness for a new key.
    #[error("no randomness for a new key")]
    Random(#[from] getrandom::Error),
}

pub(super) fn load_or_create(home: &Path) -> Result<NodeKey, LoadKeyError> {
    let path = home.join(NAME);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path) {
        Ok(file) => read(&file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(home, path),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Err(LoadKeyError::NotAFile { path })
        }
        Err(source) => Err(LoadKeyError::Read { path, source }),
    }
}

fn read(mut file: &File, path: PathBuf) -> Result<NodeKey, LoadKeyError> {
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(source) => return Err(LoadKeyError::Read { path, source }),
    };
    if !metadata.is_file() {
        return Err(LoadKeyError::NotAFile { path });
    }
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != me {
        return Err(LoadKeyError::NotOurs { path, owner, me });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(LoadKeyError::TooOpen { path, mode });
    }
    if metadata.len() != KEY_BYTES as u64 {
        return Err(LoadKeyError::WrongLength { path, found: metadata.len() });
    }
    let mut seed = Zeroizing::new([0; KEY_BYTES]);
    match file.read_exact(seed.as_mut_slice()) {
        Ok(()) => Ok(NodeKey::from_seed(&seed)),
        Err(source) => Err(LoadKeyError::Read { path, source }),
    }
}

/// Whole or not at all, whenever the power goes: the new key has its name
/// only once its bytes are on disk.
fn create(home: &Path, path: PathBuf) -> Result<NodeKey, LoadKeyError> {
    let mut seed = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(seed.as_mut_slice())?;
    match write(home, &path, &seed) {
        Ok(()) => Ok(NodeKey::from_seed(&seed)),
        Err(source) => Err(LoadKeyError::Write { path, source }),
    }
}

fn write(home: &Path, path: &Path, seed: &Zeroizing<[u8; KEY_BYTES]>) -> io::Result<()> {
    let new = home.join(NEW_NAME);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(seed.as_slice())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(home)
}
