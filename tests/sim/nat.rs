//! A NAT as RFC 4787 describes them, with the quirk of Linux that spoils early
//! punching.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pilot_proto::probe::{Behaviour, Nat as Kinds};

use crate::chance::Chance;

/// The five kinds that the issue names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cone,
    Restricted,
    PortRestricted,
    Symmetric,
    Blocked,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Cone, Self::Restricted, Self::PortRestricted, Self::Symmetric, Self::Blocked];

    /// As the STUN machines would find it out.
    pub(crate) const fn behaviour(self) -> Kinds {
        use Behaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let (mapping, filtering) = match self {
            Self::Cone => (EndpointIndependent, EndpointIndependent),
            Self::Restricted => (EndpointIndependent, AddressDependent),
            Self::PortRestricted => (EndpointIndependent, AddressAndPortDependent),
            Self::Symmetric => (AddressAndPortDependent, AddressAndPortDependent),
            Self::Blocked => return Kinds::BLOCKED,
        };
        Kinds { mapping, filtering }
    }
}

/// How the public port is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortRule {
    /// The private one, if it is free. A symmetric NAT picks at random anyway.
    Preserve,
    Random,
}

/// What a NAT is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NatRules {
    pub(crate) kind: Kind,
    pub(crate) ports: PortRule,
    /// How long a mapping and a permission live after the last packet out.
    pub(crate) timeout: Duration,
    pub(crate) hairpin: bool,
    /// Takes unsolicited packets to itself. They then own the pair of
    /// addresses, and a packet of ours to the same place gets another port.
    pub(crate) wan_accept: bool,
}

impl NatRules {
    pub(crate) const fn new(kind: Kind, ports: PortRule) -> Self {
        Self { kind, ports, timeout: Duration::from_secs(30), hairpin: false, wan_accept: false }
    }
}

/// What a mapping is for: the inside, and as much of the outside as it depends on.
type MappingKey = (SocketAddr, Option<SocketAddr>);

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    last_out: Duration,
    /// To whom something was sent, and when last.
    contacts: BTreeMap<SocketAddr, Duration>,
}

/// The state of one.
#[derive(Debug)]
pub(crate) struct Nat {
    pub(crate) rules: NatRules,
    ports: BTreeMap<MappingKey, u16>,
    mappings: BTreeMap<u16, Mapping>,
    /// Pairs of public port and outside address that belong to the router.
    taken: BTreeMap<(u16, SocketAddr), Duration>,
}

impl Nat {
    pub(crate) const fn new(rules: NatRules) -> Self {
        Self { rules, ports: BTreeMap::new(), mappings: BTreeMap::new(), taken: BTreeMap::new() }
    }

    /// It was switched off and on.
    pub(crate) fn reboot(&mut self) {
        *self = Self::new(self.rules);
    }

    /// A packet goes out: its public port.
    pub(crate) fn outbound(
        &mut self,
        inside: SocketAddr,
        to: SocketAddr,
        now: Duration,
        chance: &mut Chance,
    ) -> Option<u16> {
        if self.rules.kind == Kind::Blocked {
            return None;
        }
        let plain = match self.rules.kind {
            Kind::Symmetric => (inside, Some(to)),
            Kind::Cone | Kind::Restricted | Kind::PortRestricted | Kind::Blocked => (inside, None),
        };
        // A flow that was given another port keeps it.
        let own = (inside, Some(to));
        let key = if self.alive(own, now).is_some() { own } else { plain };
        let port = match self.alive(key, now) {
            Some(port) if !self.is_taken(port, to, now) => port,
            Some(_) => self.map(own, to, now, chance),
            None => self.map(key, to, now, chance),
        };
        if let Some(mapping) = self.mappings.get_mut(&port) {
            mapping.last_out = now;
            mapping.contacts.insert(to, now);
        }
        Some(port)
    }

    /// A packet comes in: whom it is for, if it is let in.
    pub(crate) fn inbound(
        &mut self,
        from: SocketAddr,
        port: u16,
        now: Duration,
    ) -> Option<SocketAddr> {
        let timeout = self.rules.timeout;
        let fresh = |at: &Duration| now < *at + timeout;
        let inside = self.mappings.get(&port).filter(|mapping| fresh(&mapping.last_out));
        let inside = inside.filter(|mapping| {
            let mut contacts = mapping.contacts.iter();
            match self.rules.kind {
                Kind::Cone => true,
                Kind::Restricted => {
                    contacts.any(|(contact, at)| contact.ip() == from.ip() && fresh(at))
                }
                Kind::PortRestricted | Kind::Symmetric => {
                    mapping.contacts.get(&from).is_some_and(fresh)
                }
                Kind::Blocked => false,
            }
        });
        let inside = inside.map(|mapping| mapping.inside);
        if inside.is_none() && self.rules.wan_accept {
            self.taken.insert((port, from), now);
        }
        inside
    }

    fn alive(&self, key: MappingKey, now: Duration) -> Option<u16> {
        let port = self.ports.get(&key).copied()?;
        let mapping = self.mappings.get(&port)?;
        (now < mapping.last_out + self.rules.timeout).then_some(port)
    }

    fn map(&mut self, key: MappingKey, to: SocketAddr, now: Duration, chance: &mut Chance) -> u16 {
        let preserve = self.rules.ports == PortRule::Preserve && self.rules.kind != Kind::Symmetric;
        let wish = Some(key.0.port()).filter(|_| preserve);
        let port = wish.filter(|port| self.is_free(*port, to, now)).unwrap_or_else(|| {
            loop {
                let port = 1024 + u16::try_from(chance.below(64_512)).unwrap();
                if self.is_free(port, to, now) {
                    break port;
                }
            }
        });
        let mapping = Mapping { inside: key.0, last_out: now, contacts: BTreeMap::new() };
        self.ports.retain(|_, used| *used != port);
        self.ports.insert(key, port);
        self.mappings.insert(port, mapping);
        port
    }

    fn is_free(&self, port: u16, to: SocketAddr, now: Duration) -> bool {
        let mapped = self.mappings.get(&port);
        mapped.is_none_or(|mapping| now >= mapping.last_out + self.rules.timeout)
            && !self.is_taken(port, to, now)
    }

    fn is_taken(&self, port: u16, by: SocketAddr, now: Duration) -> bool {
        let taken = self.taken.get(&(port, by));
        taken.is_some_and(|at| now < *at + self.rules.timeout)
    }
}

/// Whether plain punching can work between two kinds.
pub(crate) fn punchable(a: Kind, b: Kind) -> bool {
    match (a, b) {
        (Kind::Blocked, _) | (_, Kind::Blocked) => false,
        (Kind::Symmetric, Kind::PortRestricted | Kind::Symmetric)
        | (Kind::PortRestricted, Kind::Symmetric) => false,
        (
            Kind::Cone | Kind::Restricted | Kind::PortRestricted,
            Kind::Cone | Kind::Restricted | Kind::PortRestricted,
        )
        | (Kind::Symmetric, Kind::Cone | Kind::Restricted)
        | (Kind::Cone | Kind::Restricted, Kind::Symmetric) => true,
    }
}

/// The IPv4 or IPv6 address and port of something.
pub(crate) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}
