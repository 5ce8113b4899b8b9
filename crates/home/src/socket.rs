//! A unix socket, for its owner alone from the first moment.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::Home;

/// Connections that wait to be accepted; the next one waits or is refused by
/// the kernel. The number that std takes.
const BACKLOG: i32 = 128;

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindSocketError {
    /// The system has a limit of about 100 bytes.
    #[error("the socket path {path} is too long: choose a shorter one with --socket")]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Something else is in its place, and is left alone.
    #[error("{path} is in the way and is no socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another process answers on it.
    #[error("another process listens on {path} already")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {path}")]
    Bind {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Listens on `path`, a socket with mode 0600 and not blocking. One that a dead
/// process left there is replaced; one that is answered is not.
///
/// `home` is the proof that this process is the only one of its home.
///
/// # Errors
///
/// [`BindSocketError`].
pub fn bind_socket(home: &Home, path: &Path) -> Result<UnixListener, BindSocketError> {
    tracing::debug!(home = %home.path().display(), socket = %path.display(), "binding");
    let address = SocketAddrUnix::new(path)
        .map_err(|_| BindSocketError::TooLong { path: path.to_owned() })?;
    let refused = |source| BindSocketError::Bind { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindSocketError::NotASocket { path: path.to_owned() });
        }
        Ok(_) if is_answered(&address).map_err(refused)? => {
            return Err(BindSocketError::InUse { path: path.to_owned() });
        }
        Ok(_) => fs::remove_file(path).map_err(refused)?,
    }
    listen(path, &address).map_err(refused)
}

/// Whether anybody listens. Does not wait: a full backlog is an answer too.
fn is_answered(address: &SocketAddrUnix) -> io::Result<bool> {
    match rustix::net::connect(open_socket()?, address) {
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// Nobody can connect before `listen`, and by then the mode is right.
fn listen(path: &Path, address: &SocketAddrUnix) -> io::Result<UnixListener> {
    let socket = open_socket()?;
    rustix::net::bind(&socket, address)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn open_socket() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
