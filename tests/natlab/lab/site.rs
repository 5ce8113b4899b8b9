//! The places of the internet in a box, and how they are joined.
//!
//! ```text
//!            Pub: one switch, 203.0.113.0/24, 198.51.100.0/24, 2001:db8::/64
//!   ┌────┬─────┬─────┬────┬────┬──────┬──────┬───────┬──────────┬──────────┐
//!  Rdv  Rdv2  P1    P2   V1   V2    NatA   NatB    NatC    CarrierX   CarrierY
//!                                  A1  A2  B1  B2   C1     (a NAT may be behind one)
//! ```
//! C's LAN has the same range as A's, as homes do. The switch also has a network
//! of addresses that are not reserved for documents, for programs that look.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A network namespace of a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Site {
    /// The switch, and the default gateway of all public sites.
    Pub,
    /// The rendezvous, with two addresses.
    Rdv,
    /// Another beacon's host.
    Rdv2,
    /// A public host.
    P1,
    /// Another one.
    P2,
    /// A host that has IPv6 only.
    V1,
    /// Another one.
    V2,
    /// A router with hosts behind it.
    Nat(Router),
    /// A router with routers behind it.
    Carrier(Carrier),
    /// A host behind router A.
    A1,
    /// Another one.
    A2,
    /// A host behind router B.
    B1,
    /// Another one.
    B2,
    /// The host behind router C.
    C1,
}

/// A router of a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Router {
    A,
    B,
    C,
}

/// A router of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carrier {
    X,
    Y,
}

/// How a site is joined to the one above it.
pub(crate) struct Port {
    /// Its interface.
    pub(crate) device: &'static str,
    /// The site whose switch that is plugged into.
    pub(crate) above: Site,
    /// Addresses with prefix lengths, IPv4 first.
    pub(crate) addresses: Vec<String>,
    /// Default gateways, likewise.
    pub(crate) gateways: Vec<String>,
}

impl Site {
    /// A short name, unique in a lab; also of the port it is plugged into.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::Rdv => "rdv",
            Self::Rdv2 => "rdv2",
            Self::P1 => "p1",
            Self::P2 => "p2",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Nat(Router::A) => "natA",
            Self::Nat(Router::B) => "natB",
            Self::Nat(Router::C) => "natC",
            Self::Carrier(Carrier::X) => "cgnX",
            Self::Carrier(Carrier::Y) => "cgnY",
            Self::A1 => "a1",
            Self::A2 => "a2",
            Self::B1 => "b1",
            Self::B2 => "b2",
            Self::C1 => "c1",
        }
    }

    /// The router it is behind, if it is a private host.
    pub(crate) const fn router(self) -> Option<Router> {
        match self {
            Self::A1 | Self::A2 => Some(Router::A),
            Self::B1 | Self::B2 => Some(Router::B),
            Self::C1 => Some(Router::C),
            Self::Pub
            | Self::Rdv
            | Self::Rdv2
            | Self::P1
            | Self::P2
            | Self::V1
            | Self::V2
            | Self::Nat(_)
            | Self::Carrier(_) => None,
        }
    }

    /// The network inside it, if it is a router; it is host 1 there.
    pub(crate) const fn lan(self) -> Option<Ipv4Addr> {
        match self {
            Self::Nat(router) => Some(router.lan()),
            Self::Carrier(carrier) => Some(carrier.lan()),
            Self::Pub
            | Self::Rdv
            | Self::Rdv2
            | Self::P1
            | Self::P2
            | Self::V1
            | Self::V2
            | Self::A1
            | Self::A2
            | Self::B1
            | Self::B2
            | Self::C1 => None,
        }
    }

    /// The /64 of its LAN, where that has IPv6.
    pub(crate) const fn lan_v6(self) -> Option<Ipv6Addr> {
        let number = match self {
            Self::Nat(Router::A) => 0xa,
            Self::Nat(Router::B) => 0xb,
            Self::Nat(Router::C) => 0xc,
            Self::Pub
            | Self::Rdv
            | Self::Rdv2
            | Self::P1
            | Self::P2
            | Self::V1
            | Self::V2
            | Self::Carrier(_)
            | Self::A1
            | Self::A2
            | Self::B1
            | Self::B2
            | Self::C1 => return None,
        };
        Some(Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 0))
    }

    /// Addresses on its switch, with prefix lengths.
    pub(crate) fn inside_addresses(self) -> Vec<String> {
        if self == Self::Pub {
            return ["203.0.113.1/24", "198.51.100.1/24", "44.0.0.1/24", "2001:db8::1/64"]
                .map(str::to_owned)
                .into();
        }
        let first = |lan: Ipv4Addr| format!("{}/24", Ipv4Addr::from(u32::from(lan) + 1));
        self.lan().map(first).into_iter().collect()
    }

    /// The switch inside it, if it has one.
    pub(crate) const fn switch(self) -> Option<&'static str> {
        match self {
            Self::Pub => Some("br0"),
            Self::Nat(_) | Self::Carrier(_) => Some("lan"),
            Self::Rdv
            | Self::Rdv2
            | Self::P1
            | Self::P2
            | Self::V1
            | Self::V2
            | Self::A1
            | Self::A2
            | Self::B1
            | Self::B2
            | Self::C1 => None,
        }
    }

    /// Its link upwards; `carrier` is what its router is behind, if it is one.
    pub(crate) fn port(self, carrier: Option<Carrier>) -> Option<Port> {
        let (server, home) = ("203.0.113.1", "198.51.100.1");
        let (v4, gateway): (&[&str], _) = match self {
            Self::Pub => return None,
            Self::Rdv => (&["203.0.113.10/24", "203.0.113.12/24"], server),
            Self::Rdv2 => (&["203.0.113.11/24"], server),
            Self::P1 => (&["198.51.100.21/24"], home),
            Self::P2 => (&["198.51.100.22/24"], home),
            Self::V1 | Self::V2 => (&[], ""),
            Self::Nat(router) => return Some(router.port(carrier)),
            Self::Carrier(carrier) => return Some(carrier.port()),
            Self::A1 | Self::C1 => (&["192.168.1.11/24"], "192.168.1.1"),
            Self::A2 => (&["192.168.1.12/24"], "192.168.1.1"),
            Self::B1 => (&["192.168.2.11/24"], "192.168.2.1"),
            Self::B2 => (&["192.168.2.12/24"], "192.168.2.1"),
        };
        let v6 = match self {
            Self::Rdv => Some("2001:db8::10/64"),
            Self::Rdv2 => Some("2001:db8::11/64"),
            Self::V1 => Some("2001:db8::21/64"),
            Self::V2 => Some("2001:db8::22/64"),
            Self::Pub
            | Self::P1
            | Self::P2
            | Self::Nat(_)
            | Self::Carrier(_)
            | Self::A1
            | Self::A2
            | Self::B1
            | Self::B2
            | Self::C1 => None,
        };
        let gateways = [Some(gateway).filter(|g| !g.is_empty()), v6.map(|_| "2001:db8::1")];
        Some(Port {
            device: "eth0",
            above: self.router().map_or(Self::Pub, Self::Nat),
            addresses: v4.iter().copied().chain(v6).map(str::to_owned).collect(),
            gateways: gateways.into_iter().flatten().map(str::to_owned).collect(),
        })
    }
}

impl Router {
    const fn lan(self) -> Ipv4Addr {
        match self {
            Self::A | Self::C => Ipv4Addr::new(192, 168, 1, 0),
            Self::B => Ipv4Addr::new(192, 168, 2, 0),
        }
    }

    const fn wan(self, carrier: Option<Carrier>) -> Ipv4Addr {
        let host = match self {
            Self::A => 2,
            Self::B => 3,
            Self::C => 4,
        };
        let [a, b, c, _] = match carrier {
            Some(carrier) => carrier.lan().octets(),
            None => [198, 51, 100, 0],
        };
        Ipv4Addr::new(a, b, c, host)
    }

    fn port(self, carrier: Option<Carrier>) -> Port {
        let wan = self.wan(carrier);
        let [a, b, c, _] = wan.octets();
        Port {
            device: "wan",
            above: carrier.map_or(Site::Pub, Site::Carrier),
            addresses: vec![format!("{wan}/24")],
            gateways: vec![Ipv4Addr::new(a, b, c, 1).to_string()],
        }
    }
}

impl Carrier {
    const fn lan(self) -> Ipv4Addr {
        match self {
            Self::X => Ipv4Addr::new(100, 64, 1, 0),
            Self::Y => Ipv4Addr::new(100, 64, 2, 0),
        }
    }

    const fn wan(self) -> Ipv4Addr {
        match self {
            Self::X => Ipv4Addr::new(198, 51, 100, 11),
            Self::Y => Ipv4Addr::new(198, 51, 100, 12),
        }
    }

    fn port(self) -> Port {
        Port {
            device: "wan",
            above: Site::Pub,
            addresses: vec![format!("{}/24", self.wan())],
            gateways: vec!["198.51.100.1".to_owned()],
        }
    }
}
