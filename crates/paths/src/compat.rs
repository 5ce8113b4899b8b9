//! What can be tried between two kinds of NAT.

use pilot_proto::probe::{Behaviour, Nat};

/// What two NATs let hope for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compat {
    /// Plain punching works, or nobody knows that it does not.
    Plain,
    /// Plain punching may work; if not, birthday probing may.
    PlainThenBirthday(Role),
    /// Only birthday probing may.
    Birthday(Role),
    /// Nothing does: both public ports differ by destination.
    Hopeless,
    /// One of the two has no UDP.
    Blocked,
}

/// The parts in birthday probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Pings from many sockets: its public port is another one each time.
    Many,
    /// Pings many ports of the other one.
    Scan,
}

impl Compat {
    /// Between this node and the peer; the peer comes to the mirrored result.
    pub(crate) const fn of(own: Nat, peer: Nat) -> Self {
        match (Kind::of(own), Kind::of(peer)) {
            (Kind::Blocked, _) | (_, Kind::Blocked) => Self::Blocked,
            (Kind::Hard, Kind::Hard) => Self::Hopeless,
            (Kind::Hard, Kind::Strict) => Self::Birthday(Role::Many),
            (Kind::Strict, Kind::Hard) => Self::Birthday(Role::Scan),
            (Kind::Hard, Kind::Unknown) => Self::PlainThenBirthday(Role::Many),
            (Kind::Unknown, Kind::Hard) => Self::PlainThenBirthday(Role::Scan),
            (Kind::Easy, _)
            | (_, Kind::Easy)
            | (Kind::Strict | Kind::Unknown, Kind::Strict | Kind::Unknown) => Self::Plain,
        }
    }

    /// The part of this node, if birthday probing makes sense at all.
    pub(crate) const fn role(self) -> Option<Role> {
        match self {
            Self::Birthday(role) | Self::PlainThenBirthday(role) => Some(role),
            Self::Plain | Self::Hopeless | Self::Blocked => None,
        }
    }
}

/// A NAT as it matters to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Lets in whoever knows the mapped address, or whoever has the right host.
    Easy,
    /// The port is known, but only the one that was written to gets in.
    Strict,
    /// The port is not known before the packet is sent, and only the one that
    /// was written to gets in.
    Hard,
    Blocked,
    Unknown,
}

impl Kind {
    const fn of(nat: Nat) -> Self {
        use Behaviour::{
            AddressAndPortDependent, AddressDependent, Blocked, EndpointIndependent, None, Unknown,
        };
        match (nat.mapping, nat.filtering) {
            (Blocked, _) | (_, Blocked) => Self::Blocked,
            // Open to all: the mapping that the beacon sees will do.
            (_, None | EndpointIndependent) => Self::Easy,
            (
                AddressDependent | AddressAndPortDependent,
                AddressDependent | AddressAndPortDependent,
            )
            | (AddressDependent | AddressAndPortDependent, Unknown) => Self::Hard,
            (None | EndpointIndependent, AddressDependent) => Self::Easy,
            (None | EndpointIndependent, AddressAndPortDependent) => Self::Strict,
            (Unknown, _) | (_, Unknown) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat(mapping: Behaviour, filtering: Behaviour) -> Nat {
        Nat { mapping, filtering }
    }

    #[test]
    fn every_pair_of_kinds_has_its_plan_and_the_mirrored_one() {
        use Behaviour::*;
        let kinds = [
            ("open", nat(None, None)),
            ("cone", nat(EndpointIndependent, EndpointIndependent)),
            ("restricted", nat(EndpointIndependent, AddressDependent)),
            ("port-restricted", nat(EndpointIndependent, AddressAndPortDependent)),
            ("symmetric", nat(AddressAndPortDependent, AddressAndPortDependent)),
            ("blocked", Nat::BLOCKED),
            ("unknown", Nat::UNKNOWN),
        ];
        for (a, own) in kinds {
            for (b, peer) in kinds {
                let expected = match (a, b) {
                    ("blocked", _) | (_, "blocked") => Compat::Blocked,
                    ("symmetric", "symmetric") => Compat::Hopeless,
                    ("symmetric", "port-restricted") => Compat::Birthday(Role::Many),
                    ("port-restricted", "symmetric") => Compat::Birthday(Role::Scan),
                    ("symmetric", "unknown") => Compat::PlainThenBirthday(Role::Many),
                    ("unknown", "symmetric") => Compat::PlainThenBirthday(Role::Scan),
                    _ => Compat::Plain,
                };
                assert_eq!(Compat::of(own, peer), expected, "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_firewall_without_translation_is_strict() {
        let firewall = nat(Behaviour::None, Behaviour::AddressAndPortDependent);
        let symmetric = nat(Behaviour::AddressAndPortDependent, Behaviour::AddressAndPortDependent);

        assert_eq!(Compat::of(firewall, symmetric), Compat::Birthday(Role::Scan));
    }
}
