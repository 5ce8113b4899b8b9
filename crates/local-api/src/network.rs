//! What stands between this node and others.

use pilot_identity::NodeId;
use serde::{Deserialize, Serialize};

/// How packets for a rendezvous, a beacon or a relayed peer are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Transport {
    /// Over UDP.
    Udp,
    /// Over TLS on TCP, as UDP does not pass.
    Tcp,
    /// The same, through an HTTP proxy.
    TcpProxy,
}

impl Transport {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::TcpProxy];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::TcpProxy => "tcp_proxy",
        }
    }
}

/// On what a NAT lets something depend (RFC 4787 §4.1 and §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NatBehaviour {
    /// Not found out yet, or it cannot be.
    #[default]
    Unknown,
    /// There is no NAT, or it lets everything through.
    None,
    /// On nothing but the own socket.
    EndpointIndependent,
    /// On the address of the other end.
    AddressDependent,
    /// On the address and the port of the other end.
    AddressAndPortDependent,
    /// Nothing passes over UDP.
    Blocked,
}

impl NatBehaviour {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::EndpointIndependent => "endpoint_independent",
            Self::AddressDependent => "address_dependent",
            Self::AddressAndPortDependent => "address_and_port_dependent",
            Self::Blocked => "blocked",
        }
    }
}

/// A NAT by the name that people know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NatKind {
    /// Not found out yet, or it cannot be.
    #[default]
    Unknown,
    /// There is none; a firewall may still let in answers only.
    None,
    /// One public port for each socket, open to everybody.
    Cone,
    /// The same, open to addresses that were sent to.
    Restricted,
    /// The same, open to addresses and ports that were sent to.
    PortRestricted,
    /// Another public port for each destination.
    Symmetric,
    /// UDP does not pass at all.
    UdpBlocked,
}

impl NatKind {
    /// The kind of a NAT that maps and lets in like this.
    #[must_use]
    pub const fn of(mapping: NatBehaviour, filtering: NatBehaviour) -> Self {
        use NatBehaviour as Behaviour;
        match (mapping, filtering) {
            (Behaviour::Blocked, _) => Self::UdpBlocked,
            (Behaviour::None, _) => Self::None,
            (Behaviour::AddressDependent | Behaviour::AddressAndPortDependent, _) => {
                Self::Symmetric
            }
            (Behaviour::EndpointIndependent, Behaviour::None | Behaviour::EndpointIndependent) => {
                Self::Cone
            }
            (Behaviour::EndpointIndependent, Behaviour::AddressDependent) => Self::Restricted,
            (Behaviour::EndpointIndependent, Behaviour::AddressAndPortDependent) => {
                Self::PortRestricted
            }
            (Behaviour::EndpointIndependent, Behaviour::Unknown | Behaviour::Blocked)
            | (Behaviour::Unknown, _) => Self::Unknown,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Cone => "cone",
            Self::Restricted => "restricted",
            Self::PortRestricted => "port_restricted",
            Self::Symmetric => "symmetric",
            Self::UdpBlocked => "udp_blocked",
        }
    }
}

/// A beacon of this node: STUN, hole punching, relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BeaconView {
    /// `HOST:PORT` as configured, or as the rendezvous told.
    pub address: String,
    /// Its public key, once known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub key: Option<NodeId>,
    /// How it is spoken with; the word `none` if it is not.
    #[serde(with = "transport_or_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub transport: Option<Transport>,
    /// Microseconds to it and back.
    pub rtt_us: Option<u64>,
    /// `IP:PORT` where its packets go, over UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `IP:PORT` where it sees this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// What it does for this node: `stun`, `punch`, `relay`.
    #[serde(default)]
    pub services: Vec<String>,
    /// Why this node is not bound there, if there is more to say than silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Always a word, as every beacon has this column.
mod transport_or_none {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Transport;

    const NONE: &str = "none";

    pub(super) fn serialize<S: Serializer>(
        transport: &Option<Transport>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(transport.map_or(NONE, Transport::word))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Transport>, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(Transport::ALL.into_iter().find(|transport| transport.word() == word))
    }
}

/// The port that the router keeps open for this node, by the protocol in which
/// it was asked: `IP:PORT` from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortMapping {
    /// UPnP-IGD.
    pub upnp: Option<String>,
    /// NAT-PMP (RFC 6886).
    pub nat_pmp: Option<String>,
    /// PCP (RFC 6887).
    pub pcp: Option<String>,
}

/// The query of `GET netcheck`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetcheckQuery {
    /// How long to wait, at most a minute, until all that can be found out
    /// has been; the daemon answers at once without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// `GET netcheck`: what this node has found out about its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetcheckView {
    /// Whether all has been found out that can be; the lifetime comes later.
    pub done: bool,
    /// Whether UDP is known to pass. It may not, or nobody has answered: where
    /// it is known not to pass, `nat` says so.
    pub udp: bool,
    /// Whether this node has an IPv4 address.
    pub ipv4: bool,
    /// Whether this node has an IPv6 address that others can use.
    pub ipv6: bool,
    /// On what the public port of the socket depends.
    pub mapping: NatBehaviour,
    /// From whom packets are let in.
    pub filtering: NatBehaviour,
    /// Both by the name that people know.
    pub nat: NatKind,
    /// Whether a packet from inside to an own public address comes back in.
    pub hairpin: Option<bool>,
    /// The port that the router mapped on request.
    pub port_mapping: PortMapping,
    /// `IP:PORT` where the socket is seen from outside, and what the router mapped.
    pub mapped: Vec<String>,
    /// For how long the NAT remembers at least: measured over half a minute,
    /// `null` until then.
    pub lifetime_ms: Option<u64>,
    /// The pause between two signs of life.
    #[serde(default)]
    pub keepalive_ms: u64,
    /// The beacons.
    pub beacons: Vec<BeaconView>,
    /// `IP:PORT` where peers are told that this node may be, best first.
    pub candidates: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_nat_follow_from_mapping_and_filtering() {
        use NatBehaviour as B;
        let table = [
            (B::Unknown, B::Unknown, "unknown"),
            (B::Unknown, B::AddressDependent, "unknown"),
            (B::None, B::None, "none"),
            (B::None, B::AddressAndPortDependent, "none"),
            (B::EndpointIndependent, B::EndpointIndependent, "cone"),
            (B::EndpointIndependent, B::None, "cone"),
            (B::EndpointIndependent, B::AddressDependent, "restricted"),
            (B::EndpointIndependent, B::AddressAndPortDependent, "port_restricted"),
            (B::EndpointIndependent, B::Unknown, "unknown"),
            (B::AddressDependent, B::AddressDependent, "symmetric"),
            (B::AddressAndPortDependent, B::EndpointIndependent, "symmetric"),
            (B::Blocked, B::Blocked, "udp_blocked"),
        ];

        for (mapping, filtering, kind) in table {
            assert_eq!(NatKind::of(mapping, filtering).word(), kind, "{mapping:?} {filtering:?}");
        }
    }

    #[test]
    fn a_beacon_that_is_not_spoken_with_has_a_word_for_that() {
        let beacon = |transport| BeaconView {
            address: "h:1".to_owned(),
            key: None,
            transport,
            rtt_us: None,
            endpoint: None,
            observed: None,
            services: Vec::new(),
            problem: None,
        };

        for (transport, word) in [(None, "none"), (Some(Transport::TcpProxy), "tcp_proxy")] {
            let json = serde_json::to_value(beacon(transport)).unwrap();

            assert_eq!(json["transport"], word);
            assert_eq!(serde_json::from_value::<BeaconView>(json).unwrap(), beacon(transport));
        }
    }

    #[test]
    fn words_are_what_json_says() {
        let kinds = [NatKind::Unknown, NatKind::PortRestricted, NatKind::UdpBlocked];
        let behaviours = [NatBehaviour::EndpointIndependent, NatBehaviour::AddressAndPortDependent];

        for transport in Transport::ALL {
            assert_eq!(serde_json::json!(transport), transport.word());
        }
        for kind in kinds {
            assert_eq!(serde_json::json!(kind), kind.word());
        }
        for behaviour in behaviours {
            assert_eq!(serde_json::json!(behaviour), behaviour.word());
        }
    }
}
