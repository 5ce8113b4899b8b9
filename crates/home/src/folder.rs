//! The folder itself: made for its owner alone, and refused if others can write to it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Why a folder cannot be a home.
#[derive(Debug, thiserror::Error)]
pub enum OpenHomeError {
    /// It could not be made.
    #[error("cannot make the home folder {path}")]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It, or the lock in it, could not be used.
    #[error("cannot use the home folder {path}")]
    Access {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something else is in its place.
    #[error("the home {path} is not a folder")]
    NotAFolder {
        /// What is no folder.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error("the home folder {path} belongs to user {owner}, and this is user {me}")]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        me: u32,
    },
    /// Others could put their own key into it.
    #[error(
        "others may write to the home folder {path} (mode {mode:03o}): chmod 700 {}",
        path.display()
    )]
    TooOpen {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it.
    #[error("another process runs on {path} already{}", by_process(*pid))]
    AlreadyRunning {
        /// The folder.
        path: PathBuf,
        /// The id of that process, if it has written it already.
        pid: Option<u32>,
    },
}

fn by_process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// Makes sure that `path` is a folder that only this user can write to.
pub(super) fn prepare(path: &Path) -> Result<(), OpenHomeError> {
    let access = |source| OpenHomeError::Access { path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path)
                .map_err(|source| OpenHomeError::Create { path: path.to_owned(), source })?;
            fs::metadata(path).map_err(access)?
        }
        other => other.map_err(access)?,
    };
    if !metadata.is_dir() {
        return Err(OpenHomeError::NotAFolder { path: path.to_owned() });
    }
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != me {
        return Err(OpenHomeError::NotOurs { path: path.to_owned(), owner, me });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(OpenHomeError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        Some(_) | None => sync_folder(Path::new(".")),
    }
}

/// Brings what was made or renamed in a folder onto the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
