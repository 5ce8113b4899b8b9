//! What may be pinged from here: the peer says anything it likes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::local::Local;

/// This node's own addresses, as far as they say what is sensible to ping.
#[derive(Debug, Default)]
pub(crate) struct Own {
    candidates: Vec<SocketAddr>,
    only_loopback: bool,
}

impl Own {
    pub(crate) fn of(local: &Local) -> Self {
        let candidates: Vec<SocketAddr> =
            local.candidates.iter().chain(&local.mapped).copied().map(canonical).collect();
        let only_loopback =
            !candidates.is_empty() && candidates.iter().all(|own| own.ip().is_loopback());
        Self { candidates, only_loopback }
    }

    /// Whether what came from `remote` may be answered there: its address
    /// family works, and it is a host.
    pub(crate) fn may_answer(remote: SocketAddr) -> bool {
        remote.port() != 0 && is_one_host(remote.ip())
    }

    /// Whether a packet to `remote` can be of any use and harms nobody but one
    /// host: no group, no port or host that means "any", not this machine
    /// (unless everything is on this machine, as in tests), nothing of an
    /// address family that this node does not have.
    pub(crate) fn may_ping(&self, remote: SocketAddr) -> bool {
        remote.port() != 0
            && !self.candidates.contains(&remote)
            && (self.candidates.is_empty()
                || self.candidates.iter().any(|own| own.is_ipv4() == remote.is_ipv4()))
            && is_one_host(remote.ip())
            && (self.only_loopback || !remote.ip().is_loopback())
    }
}

/// IPv4 written as IPv6 is IPv4, or each path would exist twice.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether no NAT of an internet provider stands in front of this address: an
/// early packet to it can spoil no mapping.
pub(crate) fn is_near(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(_) => true,
    }
}

/// Whether the address is of a local network.
pub(crate) fn is_lan(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

fn is_one_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_one_host_v4(ip),
        IpAddr::V6(ip) => is_one_host_v6(ip),
    }
}

fn is_one_host_v4(ip: Ipv4Addr) -> bool {
    // 0/8 is "this network"; 224/4 are groups; 240/4 has no hosts and contains
    // the broadcast address.
    let [first, ..] = ip.octets();
    (1..224).contains(&first)
}

fn is_one_host_v6(ip: Ipv6Addr) -> bool {
    // A link-local address means nothing without its link, which is not told.
    !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use pilot_proto::probe::Nat;

    use super::*;

    fn own(candidates: &[&str]) -> Own {
        let candidates = candidates.iter().map(|text| text.parse().unwrap()).collect();
        Own::of(&Local {
            candidates,
            mapped: None,
            nat: Nat::UNKNOWN,
            keepalive: std::time::Duration::from_secs(15),
            beacons: Vec::new(),
            network: 0,
        })
    }

    fn allowed(own: &Own, remotes: &[&str]) -> Vec<bool> {
        remotes.iter().map(|text| own.may_ping(canonical(text.parse().unwrap()))).collect()
    }

    #[test]
    fn hosts_are_pinged() {
        let own = own(&["192.168.1.11:4000", "[2001:db8::1]:4000"]);

        let hosts = ["198.51.100.2:1", "10.0.0.1:9", "[2001:db8::2]:1", "192.168.1.11:4001"];

        assert_eq!(allowed(&own, &hosts), [true; 4]);
    }

    #[test]
    fn what_is_no_host_or_this_very_one_is_not() {
        let own = own(&["192.168.1.11:4000", "[2001:db8::1]:4000"]);

        let others = [
            "198.51.100.2:0",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "224.0.0.1:1",
            "239.255.255.250:1900",
            "255.255.255.255:1",
            "240.0.0.1:1",
            "127.0.0.1:1",
            "[::]:1",
            "[::1]:1",
            "[ff02::1]:1",
            "[fe80::1]:1",
            "[::ffff:127.0.0.1]:1",
            "[::ffff:224.0.0.1]:1",
            "192.168.1.11:4000",
        ];

        assert_eq!(allowed(&own, &others), [false; 15]);
    }

    #[test]
    fn whatever_host_writes_is_answered() {
        for (source, answered) in
            [("[2001:db8::2]:1", true), ("127.0.0.1:1", true), ("224.0.0.1:1", false)]
        {
            assert_eq!(Own::may_answer(source.parse().unwrap()), answered, "{source}");
        }
    }

    #[test]
    fn loopback_is_pinged_if_this_node_has_nothing_else() {
        assert_eq!(allowed(&own(&["127.0.0.1:4000"]), &["127.0.0.1:4001"]), [true]);
        assert_eq!(
            allowed(&own(&["127.0.0.1:4000", "10.0.0.1:4000"]), &["127.0.0.1:4001"]),
            [false]
        );
    }

    #[test]
    fn an_address_family_that_is_not_here_is_left_alone() {
        assert_eq!(
            allowed(&own(&["10.0.0.1:4000"]), &["[2001:db8::2]:1", "10.0.0.2:1"]),
            [false, true]
        );
        assert_eq!(allowed(&own(&[]), &["[2001:db8::2]:1", "10.0.0.2:1"]), [true, true]);
    }
}
