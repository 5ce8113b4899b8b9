//! Where a client of a beacon is.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use pilot_transport::source;

/// Names a carrier while it lasts; none has the number of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CarrierId(pub u64);

/// Where something came from, and where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A UDP address. Anybody can claim to send from it.
    Udp {
        /// The client's address.
        remote: SocketAddr,
        /// The address of this machine at which it found the beacon, as the
        /// kernel names it: a NAT lets answers through from there alone.
        local: Option<IpAddr>,
    },
    /// A TCP connection.
    Carrier {
        /// Which.
        id: CarrierId,
        /// Its other end.
        remote: SocketAddr,
    },
}

impl Place {
    /// A UDP address in its one form: IPv4 is never disguised as IPv6, and
    /// there is no flow label to make two of one.
    #[must_use]
    pub fn udp(remote: SocketAddr, local: Option<IpAddr>) -> Self {
        let remote = match remote {
            SocketAddr::V6(v6) => match v6.ip().to_canonical() {
                ip @ IpAddr::V4(_) => SocketAddr::new(ip, v6.port()),
                IpAddr::V6(ip) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
            },
            v4 @ SocketAddr::V4(_) => v4,
        };
        Self::Udp { remote, local }
    }

    /// What its owner is told of where it is seen.
    #[must_use]
    pub const fn observed(&self) -> SocketAddr {
        match self {
            Self::Udp { remote, .. } | Self::Carrier { remote, .. } => *remote,
        }
    }

    /// What counts as one source.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        source(self.observed().ip())
    }

    /// Whether it is on this machine.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.observed().ip().to_canonical().is_loopback()
    }

    /// Whether something can be sent there. Port 0 is nowhere, and makes the
    /// kernel refuse in a way that looks like a lack of segmentation offload.
    #[must_use]
    pub const fn is_reachable(&self) -> bool {
        let addr = self.observed();
        addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
    }
}
