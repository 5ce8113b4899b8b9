//! Hears when the network of this machine changes.
//!
//! Linux tells over a netlink socket (rtnetlink(7)) when an address, a link or
//! a route comes or goes. What it says is not read: it is a reason to look.
//! Where there is no such socket, somebody looks every few seconds.

use std::io;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixDatagram;
use tokio::time::sleep;

/// Pause between looks without netlink.
const LOOK: Duration = Duration::from_secs(3);

/// How long changes are gathered: an interface comes with several messages,
/// and its addresses are usable a moment after the first.
const SETTLE: Duration = Duration::from_millis(100);

/// Of rtnetlink(7): links, IPv4 and IPv6 addresses and routes.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// See the module.
///
/// tokio has no netlink sockets. Receiving is the same system call for all
/// sockets of datagrams, so its one for Unix datagrams does.
#[derive(Debug)]
pub(super) struct Network(Option<UnixDatagram>);

impl Network {
    pub(super) fn watch() -> Self {
        let opened = open();
        if let Err(error) = &opened {
            tracing::debug!(%error, "the system does not tell of network changes");
        }
        Self(opened.ok())
    }

    /// Returns when something may have changed.
    ///
    /// Cancel safe: a change that was told stays to be told until it is read.
    pub(super) async fn changed(&mut self) {
        let Some(socket) = &self.0 else { return sleep(LOOK).await };
        if socket.readable().await.is_err() {
            self.0 = None;
            return;
        }
        sleep(SETTLE).await;
        let mut message = [0; 8192];
        // An overrun (ENOBUFS) ends this as well, and was a change, too.
        while socket.try_recv(&mut message).is_ok() {}
    }
}

fn open() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    UnixDatagram::from_std(socket.into())
}
