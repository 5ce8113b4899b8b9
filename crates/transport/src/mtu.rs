//! How large QUIC's datagrams get on a path.
//!
//! What passes is found out by trying (RFC 8899, by quinn): the search begins at
//! 1,200 bytes and ends at a largest size that this side and its peer both
//! take. Over links that take more than Ethernet's 1,500 bytes (jumbo frames,
//! loopback) larger datagrams move three times as much with the same processor,
//! since most of its work is by the datagram.
//!
//! Trying what does not pass costs lost datagrams, so larger ones are only
//! tried where the interface takes them. QUIC does not hear when its path
//! changes from direct to relay: what has become too long goes in parts then.
//! When it changes to a direct path that takes less, quinn goes back to 1,200
//! bytes after four lost bursts, and tries again a minute later.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pilot_proto::beacon::RELAY_HEADER;
use quinn::MtuDiscoveryConfig;

use crate::demux::MAX_ASIDE;

/// Of an ordinary path, in bytes: 1,500 without the headers of IPv6, UDP and a
/// relay, so that what one way takes all others take as well.
const ORDINARY: u16 = 1436;

/// Of a path of jumbo frames. Halving what is between it and 1,200 comes to
/// [`ORDINARY`] after three sizes that do not pass elsewhere, and ten such
/// datagrams, which QUIC sends at once, fit into one batch of the kernel.
const JUMBO: u16 = 4990;

/// Bytes of a link's frames from which on it takes [`JUMBO`] with the headers
/// of IPv6 and UDP.
const JUMBO_LINK: u32 = JUMBO as u32 + 48;

/// The search for jumbo frames ends when its steps are smaller: from 1,554, which
/// does not pass, it need not know more.
const JUMBO_STEP: u16 = 110;

/// How long after a search for jumbo frames the next one begins: the path may
/// have become a direct one. A search that finds nothing costs 15 lost datagrams.
const JUMBO_AGAIN: Duration = Duration::from_secs(300);

/// Largest datagram of QUIC that goes through a relay as it is: those of ours do
/// not take larger ones.
pub(crate) const MAX_RELAYED: usize = MAX_ASIDE - RELAY_HEADER;

/// Up to which size an endpoint looks for the largest datagram that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MtuSearch {
    /// Not at all: 1,200 bytes always pass. For short connections, as to look
    /// takes more datagrams than the handshake.
    None,
    /// 1,436 bytes: what Ethernet takes, also through a relay.
    #[default]
    Ordinary,
    /// 4,990 bytes: for links of jumbo frames.
    Jumbo,
}

impl MtuSearch {
    /// What suits the interfaces of a socket bound to `listen`: that of its
    /// address; of a socket for all addresses, the one that takes most, except
    /// loopback. [`MtuSearch::Ordinary`] if the system does not tell.
    #[must_use]
    pub fn of_links(listen: SocketAddr) -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let of_socket = |interface: &&if_addrs::Interface| match listen.ip() {
            ip if ip.is_unspecified() => !interface.is_loopback(),
            ip => same(ip, interface.ip()),
        };
        let links = interfaces.iter().filter(of_socket);
        Self::of_link(links.filter_map(|interface| link_mtu(&interface.name)).max())
    }

    fn of_link(mtu: Option<u32>) -> Self {
        match mtu {
            Some(JUMBO_LINK..) => Self::Jumbo,
            Some(_) | None => Self::Ordinary,
        }
    }

    /// Largest datagram that an endpoint takes; its peers are told.
    pub(crate) const fn takes(self) -> u16 {
        match self {
            Self::None | Self::Ordinary => ORDINARY,
            Self::Jumbo => JUMBO,
        }
    }

    pub(crate) fn config(self) -> Option<MtuDiscoveryConfig> {
        let mut config = MtuDiscoveryConfig::default();
        config.upper_bound(self.takes());
        match self {
            Self::None => None,
            Self::Ordinary => Some(config),
            Self::Jumbo => {
                config.minimum_change(JUMBO_STEP).interval(JUMBO_AGAIN);
                Some(config)
            }
        }
    }
}

fn same(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

/// Bytes of a frame of this interface; none where the system does not tell.
fn link_mtu(name: &str) -> Option<u32> {
    // A further address of an interface has a label of its own ("eth0:1").
    let name = name.split(':').next().filter(|name| !name.contains('/'))?;
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?;
    mtu.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_that_take_more_than_ethernet_are_searched_further() {
        assert_eq!(MtuSearch::of_link(None), MtuSearch::Ordinary);
        assert_eq!(MtuSearch::of_link(Some(1500)), MtuSearch::Ordinary);
        assert_eq!(MtuSearch::of_link(Some(5037)), MtuSearch::Ordinary);
        assert_eq!(MtuSearch::of_link(Some(5038)), MtuSearch::Jumbo);
        assert_eq!(MtuSearch::of_link(Some(65_536)), MtuSearch::Jumbo);
    }

    #[test]
    fn a_socket_on_loopback_has_the_frames_of_loopback() {
        let loopback = MtuSearch::of_links(([127, 0, 0, 1], 0).into());

        assert_eq!(loopback, MtuSearch::of_link(link_mtu("lo")));
        // No interface has it.
        assert_eq!(MtuSearch::of_links(([192, 0, 2, 1], 0).into()), MtuSearch::Ordinary);
    }

    #[test]
    fn ten_of_the_largest_fit_into_one_batch() {
        assert!(10 * usize::from(JUMBO) <= 65_487);
        assert!(usize::from(ORDINARY) <= MAX_RELAYED);
    }
}
