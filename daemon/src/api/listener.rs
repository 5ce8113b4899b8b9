//! The unix socket, and who may connect to it.

use std::io;

use axum::serve::Listener;
use rustix::process::geteuid;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// Accepts connections of the daemon's own user and of root. The folder and
/// the socket are closed to others already; this holds also where somebody
/// has opened them by mistake.
pub(crate) struct OwnUser(pub(crate) UnixListener);

impl Listener for OwnUser {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            let (stream, addr) = Listener::accept(&mut self.0).await;
            match stream.peer_cred().map(|cred| cred.uid()) {
                Ok(uid) if uid == geteuid().as_raw() || uid == 0 => return (stream, addr),
                Ok(uid) => tracing::warn!(uid, "another user tried to use the local API"),
                Err(error) => tracing::debug!(%error, "a client without credentials"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
