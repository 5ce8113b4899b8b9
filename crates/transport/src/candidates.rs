//! The addresses of this machine at which the socket may be reached.

use std::net::{IpAddr, SocketAddr};

/// The most candidates a node names and a dial tries; further ones are dropped.
pub const MAX_CANDIDATES: usize = pilot_proto::MAX_ENDPOINTS;

/// The addresses at which others may reach a socket bound to `listen`, the
/// most promising first, at most [`MAX_CANDIDATES`].
///
/// A socket bound to one address has just that. Bound to all addresses, it has
/// those of every interface: no link-local ones, which mean nothing without an
/// interface, and loopback last. If the system does not tell its interfaces,
/// there are none.
#[must_use]
pub fn local_candidates(listen: SocketAddr) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![SocketAddr::new(listen.ip().to_canonical(), listen.port())];
    }
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => ranked(listen, interfaces.iter().map(if_addrs::Interface::ip)),
        Err(error) => {
            tracing::warn!(%error, "the system does not tell its network interfaces");
            Vec::new()
        }
    }
}

fn ranked(listen: SocketAddr, found: impl Iterator<Item = IpAddr>) -> Vec<SocketAddr> {
    let mut usable: Vec<IpAddr> = Vec::new();
    for ip in found {
        let reaches_socket = ip.is_ipv4() || listen.is_ipv6();
        if reaches_socket && !is_link_local(ip) && !ip.is_unspecified() && !usable.contains(&ip) {
            usable.push(ip);
        }
    }
    usable.sort_by_key(IpAddr::is_loopback);
    usable.truncate(MAX_CANDIDATES);
    usable.into_iter().map(|ip| SocketAddr::new(ip, listen.port())).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(listen: &str, found: &[&str]) -> Vec<String> {
        ranked(listen.parse().unwrap(), ips(found).into_iter())
            .into_iter()
            .map(|candidate| candidate.to_string())
            .collect()
    }

    #[test]
    fn loopback_comes_last_and_link_local_not_at_all() {
        let found =
            ["127.0.0.1", "::1", "10.0.0.5", "fe80::1", "169.254.3.4", "2001:db8::5", "10.0.0.5"];

        assert_eq!(
            shown("[::]:9000", &found),
            ["10.0.0.5:9000", "[2001:db8::5]:9000", "127.0.0.1:9000", "[::1]:9000"]
        );
        assert_eq!(shown("0.0.0.0:9000", &found), ["10.0.0.5:9000", "127.0.0.1:9000"]);
    }

    #[test]
    fn no_more_than_eight_are_named() {
        let many: Vec<String> = (0..50).map(|host| format!("10.0.0.{host}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();

        assert_eq!(shown("0.0.0.0:1", &many).len(), MAX_CANDIDATES);
    }

    #[test]
    fn a_socket_bound_to_one_address_has_that_one() {
        let one = |listen: &str| local_candidates(listen.parse().unwrap());

        assert_eq!(one("127.0.0.1:7"), ["127.0.0.1:7".parse().unwrap()]);
        assert_eq!(one("[2001:db8::1]:7"), ["[2001:db8::1]:7".parse().unwrap()]);
    }

    #[test]
    fn a_socket_bound_to_all_addresses_has_some_of_this_machine() {
        let found = local_candidates("0.0.0.0:7".parse().unwrap());

        assert!(!found.is_empty());
        assert!(found.iter().all(|candidate| candidate.is_ipv4() && candidate.port() == 7));
    }
}
