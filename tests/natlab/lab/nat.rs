//! What a router does to UDP, in the words of RFC 4787, and the rules that make it so.

use core::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};

/// How a router maps and filters UDP. TCP is masqueraded by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Endpoint-independent mapping and filtering ("full cone").
    Cone,
    /// Endpoint-independent mapping, address-dependent filtering.
    Restricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering.
    PortRestricted,
    /// Address-and-port-dependent mapping, to random ports, and filtering.
    Symmetric,
    /// No UDP gets through.
    UdpBlocked,
}

/// The public port of a mapping. Symmetric routers always take a random one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// That of the inside socket, unless another has it.
    Preserve,
    /// Any.
    Random,
}

/// What becomes of a packet to the router itself that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsolicited {
    /// Nothing.
    Drop,
    /// It is answered with an ICMP error.
    Reject,
    /// It is taken, and the kernel remembers the flow: the inside host's own
    /// packet to that peer is then given another public port.
    Accept,
}

/// Which TCP connections get out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tcp {
    /// All.
    Open,
    /// Those to this proxy.
    OnlyTo(SocketAddrV4),
}

/// A router's behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nat {
    pub(crate) kind: Kind,
    pub(crate) ports: Ports,
    pub(crate) unsolicited: Unsolicited,
    /// Whether inside hosts reach each other by their public endpoints.
    /// Not of symmetric and blocked routers.
    pub(crate) hairpin: bool,
    pub(crate) tcp: Tcp,
    /// Seconds after which the mapping of a flow that was never answered is forgotten.
    pub(crate) unanswered_secs: u32,
    /// The same of one that was.
    pub(crate) answered_secs: u32,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Cone, Self::Restricted, Self::PortRestricted, Self::Symmetric, Self::UdpBlocked];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cone => "cone",
            Self::Restricted => "restricted",
            Self::PortRestricted => "port_restricted",
            Self::Symmetric => "symmetric",
            Self::UdpBlocked => "udp_blocked",
        }
    }

    /// Whether the choice of ports makes a difference.
    pub(crate) const fn chooses_ports(self) -> bool {
        match self {
            Self::Cone | Self::Restricted | Self::PortRestricted => true,
            Self::Symmetric | Self::UdpBlocked => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Ports {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Preserve, Self::Random];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Preserve => "preserve",
            Self::Random => "random",
        }
    }
}

/// A router of this kind that is otherwise as good as they come in shops.
impl From<Kind> for Nat {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            ports: Ports::Preserve,
            unsolicited: Unsolicited::Drop,
            hairpin: false,
            tcp: Tcp::Open,
            unanswered_secs: 30,
            answered_secs: 120,
        }
    }
}

impl Nat {
    pub(crate) const fn ports(self, ports: Ports) -> Self {
        Self { ports, ..self }
    }

    pub(crate) const fn unsolicited(self, unsolicited: Unsolicited) -> Self {
        Self { unsolicited, ..self }
    }

    pub(crate) const fn hairpin(self) -> Self {
        Self { hairpin: true, ..self }
    }

    pub(crate) const fn tcp_only_to(self, proxy: SocketAddrV4) -> Self {
        Self { tcp: Tcp::OnlyTo(proxy), ..self }
    }

    /// Forgets every mapping after `secs` of silence, answered or not.
    pub(crate) const fn lifetime_secs(self, secs: u32) -> Self {
        Self { unanswered_secs: secs, answered_secs: secs, ..self }
    }

    /// The `nft` script for a router at `wan` with a LAN of 256 addresses.
    ///
    /// Masquerading keeps a port only as long as nothing collides, and knows no
    /// mapping that outlives one flow; that is a port-restricted router with
    /// preserved ports, or a symmetric one with random ports. For the others
    /// the router keeps its mappings itself:
    ///
    /// * `ext`: inside endpoint → public port,
    /// * `eim`: public port → inside endpoint,
    /// * `seen`: the filter's memory, what the public port has sent to.
    ///
    /// They are learned behind the source NAT, where `udp sport` is already the
    /// port that the kernel chose while `ct original` names the inside endpoint.
    pub(crate) fn rules(&self, wan: Ipv4Addr, lan: Ipv4Addr) -> Result<String, fmt::Error> {
        // Adding it first makes the deletion of one that is not there no error.
        let mut text = String::from("table ip natlab {}\ndelete table ip natlab\n");
        text.push_str("table ip natlab {\n");
        let mappings = self.mappings();
        if let Some(seen) = mappings {
            self.write_maps(&mut text, seen)?;
        }
        self.write_inbound(&mut text, wan, mappings)?;
        self.write_outbound(&mut text, wan, lan, mappings.is_some())?;
        if let Some(seen) = mappings {
            self.write_learning(&mut text, wan, seen)?;
        }
        self.write_filters(&mut text)?;
        text.push_str("}\n");
        Ok(text)
    }

    /// Whether the router keeps mappings itself, and how it filters by them.
    fn mappings(&self) -> Option<Option<Seen>> {
        match self.kind {
            Kind::Cone => Some(None),
            Kind::Restricted => Some(Some(Seen {
                key: "inet_service . ipv4_addr",
                inbound: "udp dport . ip saddr",
                outbound: "udp sport . ip daddr",
            })),
            Kind::PortRestricted if self.ports == Ports::Random || self.hairpin => {
                Some(Some(Seen {
                    key: "inet_service . ipv4_addr . inet_service",
                    inbound: "udp dport . ip saddr . udp sport",
                    outbound: "udp sport . ip daddr . udp dport",
                }))
            }
            Kind::PortRestricted | Kind::Symmetric | Kind::UdpBlocked => None,
        }
    }

    fn write_maps(&self, text: &mut String, seen: Option<Seen>) -> fmt::Result {
        let secs = self.answered_secs.max(self.unanswered_secs);
        let flags = format!("flags dynamic,timeout; timeout {secs}s; size 65535;");
        writeln!(text, "map ext {{ type ipv4_addr . inet_service : inet_service; {flags} }}")?;
        writeln!(text, "map eim {{ type inet_service : ipv4_addr . inet_service; {flags} }}")?;
        if let Some(Seen { key, .. }) = seen {
            writeln!(text, "set seen {{ type {key}; {flags} }}")?;
        }
        Ok(())
    }

    /// Only the first packet of a flow comes here, the rest follows connection tracking.
    fn write_inbound(
        &self,
        text: &mut String,
        wan: Ipv4Addr,
        mappings: Option<Option<Seen>>,
    ) -> fmt::Result {
        text.push_str("chain pre { type nat hook prerouting priority dstnat;\n");
        if let Some(seen) = mappings {
            let filter = seen.map_or_else(String::new, |seen| format!("{} @seen", seen.inbound));
            let to = "dnat ip to udp dport map @eim";
            writeln!(text, "iifname wan meta l4proto udp {filter} {to}")?;
            if self.hairpin {
                writeln!(text, "iifname lan ip daddr {wan} meta l4proto udp {to}")?;
            }
        }
        text.push_str("}\n");
        Ok(())
    }

    fn write_outbound(
        &self,
        text: &mut String,
        wan: Ipv4Addr,
        lan: Ipv4Addr,
        mapped: bool,
    ) -> fmt::Result {
        let any = "random,fully-random";
        text.push_str("chain post { type nat hook postrouting priority srcnat;\n");
        let hairpin = format!("oifname lan ct status dnat ip saddr {lan}/24");
        let ways = ["oifname wan", &hairpin];
        for way in ways.iter().take(if self.hairpin { 2 } else { 1 }).filter(|_| mapped) {
            let udp = format!("{way} meta l4proto udp");
            let known = "ip saddr . udp sport";
            writeln!(text, "{udp} {known} @ext snat ip to {wan} : {known} map @ext")?;
            // Its own port is another endpoint's.
            writeln!(text, "{udp} udp sport @eim snat ip to {wan} {any}")?;
            match self.ports {
                Ports::Preserve => writeln!(text, "{udp} snat ip to {wan}")?,
                Ports::Random => writeln!(text, "{udp} snat ip to {wan} {any}")?,
            }
        }
        let random = self.kind == Kind::Symmetric || self.ports == Ports::Random;
        writeln!(text, "oifname wan masquerade {}\n}}", if random { any } else { "" })
    }

    /// A flow opened from outside has its inside endpoint in the reply's addresses.
    fn write_learning(&self, text: &mut String, wan: Ipv4Addr, seen: Option<Seen>) -> fmt::Result {
        text.push_str("chain learn_udp {\n");
        for direction in ["original", "reply"] {
            let of = format!("meta l4proto udp ct direction {direction}");
            let inside = format!("ct {direction} ip saddr . ct {direction} proto-src");
            writeln!(text, "{of} update @ext {{ {inside} : udp sport }}")?;
            writeln!(text, "{of} update @eim {{ udp sport : {inside} }}")?;
        }
        if let Some(Seen { outbound, .. }) = seen {
            writeln!(text, "update @seen {{ {outbound} }}")?;
        }
        text.push_str("}\nchain learn { type filter hook postrouting priority srcnat + 50;\n");
        text.push_str("oifname wan meta l4proto udp jump learn_udp\n");
        if self.hairpin {
            writeln!(text, "oifname lan ip saddr {wan} meta l4proto udp jump learn_udp")?;
        }
        text.push_str("}\n");
        Ok(())
    }

    /// Unsolicited packets are dropped in the end, as an accepted one would own its flow.
    fn write_filters(&self, text: &mut String) -> fmt::Result {
        text.push_str("chain forward { type filter hook forward priority filter;\n");
        if self.kind == Kind::UdpBlocked {
            text.push_str("meta l4proto udp drop\n");
        }
        if let Tcp::OnlyTo(proxy) = self.tcp {
            let (ip, port) = (proxy.ip(), proxy.port());
            writeln!(text, "iifname lan ip daddr {ip} tcp dport {port} accept")?;
            text.push_str("iifname lan meta l4proto tcp drop\n");
        }
        text.push_str("iifname wan ct state established,related accept\n");
        text.push_str("iifname wan ct status dnat accept\niifname wan drop\n}\n");
        text.push_str("chain input { type filter hook input priority filter;\n");
        text.push_str("iifname wan ct state established,related accept\n");
        text.push_str("iifname wan icmp type echo-request accept\n");
        match self.unsolicited {
            Unsolicited::Drop => text.push_str("iifname wan drop\n}\n"),
            Unsolicited::Reject => text.push_str("iifname wan reject\n}\n"),
            Unsolicited::Accept => text.push_str("}\n"),
        }
        Ok(())
    }
}

/// How a filter remembers whom the inside has sent to: `nft` expressions of
/// equal shape.
#[derive(Clone, Copy)]
struct Seen {
    key: &'static str,
    inbound: &'static str,
    outbound: &'static str,
}
