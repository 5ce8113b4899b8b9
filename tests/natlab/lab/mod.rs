//! An internet in a box: network namespaces, virtual wires, and routers with
//! real NAT rules.
//!
//! A lab is up in a fraction of a second and is one of many: names and
//! addresses of labs never meet. Processes and sockets are put inside with
//! [`Lab::enter`]. A lab that is dropped is gone when the last of them is.

mod changes;
pub(crate) mod nat;
mod netns;
mod site;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail, ensure};
use core::fmt::Write as _;

use self::nat::{Kind, Nat};
use self::netns::{Netns, ip};
pub(crate) use self::site::{Carrier, Router, Site};
use self::wires::Wires;

/// Where programs in a lab keep their files.
pub(crate) const FILES: &str = "/run/natlab";

/// The rendezvous' first address.
pub(crate) const RDV: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Its second one.
pub(crate) const RDV_ALTERNATE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 12);

/// The other beacon's address.
pub(crate) const RDV2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
/// The rendezvous' IPv6 address.
pub(crate) const RDV_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

/// What a lab is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    sites: BTreeSet<Site>,
    carriers: BTreeMap<Router, Carrier>,
}

impl Plan {
    /// These sites, and all that they need to reach each other and the rendezvous.
    pub(crate) fn of(sites: &[Site]) -> Self {
        let mut plan = Self::default();
        plan.sites.extend([Site::Pub, Site::Rdv]);
        for site in sites {
            plan.sites.insert(*site);
            plan.sites.extend(site.router().map(Site::Nat));
        }
        plan
    }

    /// Puts a router behind a carrier's.
    pub(crate) fn behind(mut self, router: Router, carrier: Carrier) -> Self {
        self.sites.extend([Site::Nat(router), Site::Carrier(carrier)]);
        self.carriers.insert(router, carrier);
        self
    }

    fn port(&self, site: Site) -> Option<site::Port> {
        let behind = |(router, carrier): (&Router, &Carrier)| {
            (site == Site::Nat(*router)).then_some(*carrier)
        };
        let carrier = self.carriers.iter().find_map(behind);
        site.port(carrier)
    }
}

/// A running lab. Every router starts as port-restricted.
#[derive(Debug)]
pub(crate) struct Lab {
    plan: Plan,
    spaces: BTreeMap<Site, Netns>,
    wires: Mutex<Wires>,
    /// What each router does.
    routers: Mutex<BTreeMap<Site, Nat>>,
    /// Of the sites that have another one than at first.
    addresses: Mutex<BTreeMap<Site, IpAddr>>,
}

impl Lab {
    /// Builds it.
    pub(crate) fn up(plan: &Plan) -> anyhow::Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("l{}-", LABS.fetch_add(1, Ordering::Relaxed));
        let full = |site: Site| format!("{prefix}{}", site.name());
        let mut script = String::new();
        for site in &plan.sites {
            writeln!(script, "netns add {}", full(*site))?;
        }
        ip(&script)?;
        let mut lab = Self {
            plan: plan.clone(),
            spaces: BTreeMap::new(),
            wires: Mutex::default(),
            routers: Mutex::default(),
            addresses: Mutex::default(),
        };
        for site in &plan.sites {
            lab.spaces.insert(*site, Netns::open(full(*site))?);
        }
        lab.lay_wires()?;
        for site in &plan.sites {
            lab.furnish(*site)?;
        }
        for (site, space) in &lab.spaces {
            let port = plan.port(*site).map(|port| port.addresses);
            for address in port.into_iter().flatten().chain(site.inside_addresses()) {
                space.await_address(&address)?;
            }
        }
        for site in &plan.sites {
            if let Site::Nat(_) | Site::Carrier(_) = site {
                lab.nat(*site, Kind::PortRestricted)?;
            }
        }
        Ok(lab)
    }

    /// Makes the switches, and the wires between them and the sites.
    fn lay_wires(&self) -> anyhow::Result<()> {
        let mut wires = String::new();
        for (site, space) in &self.spaces {
            space.set(HOST_PARAMETERS)?;
            if site.switch().is_some() {
                space.set(SWITCH_PARAMETERS)?;
            }
            if site.lan().is_some() {
                space.set(ROUTER_PARAMETERS)?;
            }
            let Some(port) = self.plan.port(*site) else { continue };
            let (lower, above) = (space.name(), self.space(port.above)?.name());
            let (device, name) = (port.device, site.name());
            // Without segmentation offload one lost packet is one, not a batch. The
            // index is none of the other end's: were both the same by chance, the
            // kernel would take its time, up to a second, to notice that a wire is up.
            writeln!(
                wires,
                "link add name {device} index 1000 netns {lower} gso_max_segs 1 type veth \
                 peer name {name} netns {above} gso_max_segs 1"
            )?;
        }
        ip(&wires)
    }

    /// Sets addresses and routes of one site, and plugs the wires of those below it in.
    fn furnish(&self, site: Site) -> anyhow::Result<()> {
        let mut script = String::from("link set lo up\n");
        if let Some(switch) = site.switch() {
            // Its address must not change when a port with a lower one comes.
            let mac = "02:00:00:00:00:01";
            // Whoever forwards multicast only where it was asked for loses the first ones.
            let options = "forward_delay 0 mcast_snooping 0";
            writeln!(script, "link add {switch} address {mac} type bridge {options}")?;
            for below in self.spaces.keys().copied() {
                if self.plan.port(below).is_some_and(|port| port.above == site) {
                    let name = below.name();
                    writeln!(script, "link set {name} master {switch} addrgenmode none up")?;
                }
            }
            for address in site.inside_addresses() {
                writeln!(script, "addr add {address} dev {switch}")?;
            }
            writeln!(script, "link set {switch} up")?;
        }
        if let Some(port) = self.plan.port(site) {
            for address in &port.addresses {
                writeln!(script, "addr add {address} dev {}", port.device)?;
            }
            writeln!(script, "link set {} up", port.device)?;
            for gateway in &port.gateways {
                writeln!(script, "route add default via {gateway}")?;
            }
        }
        self.space(site)?.ip(&script)
    }

    /// Runs `work` in a thread inside `site`: sockets made and programs started
    /// by it are there and stay there.
    pub(crate) fn enter<T: Send>(
        &self,
        site: Site,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.space(site)?.enter(work)
    }

    /// Runs a tool inside `site` to its end; what it printed.
    pub(crate) fn run(&self, site: Site, program: &str, words: &[&str]) -> anyhow::Result<String> {
        self.space(site)?.run(program, words)
    }

    /// Feeds a script to `nft` in `site`.
    pub(crate) fn nft(&self, site: Site, script: &str) -> anyhow::Result<()> {
        self.space(site)?.nft(script)
    }

    /// A UDP socket in `site`.
    pub(crate) fn udp(&self, site: Site, at: impl Into<SocketAddr>) -> anyhow::Result<UdpSocket> {
        let at = at.into();
        self.enter(site, || UdpSocket::bind(at).with_context(|| format!("cannot bind {at}")))
    }

    /// A TCP socket in `site` that listens.
    pub(crate) fn tcp(&self, site: Site, at: impl Into<SocketAddr>) -> anyhow::Result<TcpListener> {
        let at = at.into();
        self.enter(site, || TcpListener::bind(at).with_context(|| format!("cannot bind {at}")))
    }

    /// The first address of `site`; towards the internet, if it is a router.
    pub(crate) fn address(&self, site: Site) -> anyhow::Result<IpAddr> {
        if let Some(address) = lock(&self.addresses).get(&site) {
            return Ok(*address);
        }
        let port = self.plan.port(site).context("the switch has no address")?;
        let first = port.addresses.first().context("no address")?;
        let (address, _) = first.split_once('/').context("no prefix length")?;
        Ok(address.parse()?)
    }

    /// Makes a router behave so; what it knew is forgotten.
    pub(crate) fn nat(&self, router: Site, nat: impl Into<Nat>) -> anyhow::Result<()> {
        let nat = nat.into();
        ensure!(!nat.hairpin || nat.kind.chooses_ports(), "no hairpin on a {} router", nat.kind);
        lock(&self.routers).insert(router, nat);
        self.flush(router)
    }

    /// Makes a router forget every mapping, as if it had been restarted.
    pub(crate) fn flush(&self, router: Site) -> anyhow::Result<()> {
        let nat = *lock(&self.routers).get(&router).context("no router")?;
        let lan = router.lan().context("no router")?;
        let IpAddr::V4(wan) = self.address(router)? else { bail!("a router has IPv4") };
        let space = self.space(router)?;
        space.nft(&nat.rules(wan, lan)?)?;
        let (unanswered, answered) =
            (nat.unanswered_secs.to_string(), nat.answered_secs.to_string());
        space.set(&[
            ("netfilter/nf_conntrack_udp_timeout", &unanswered),
            ("netfilter/nf_conntrack_udp_timeout_stream", &answered),
        ])?;
        space.run("conntrack", &["-F"])?;
        Ok(())
    }

    fn space(&self, site: Site) -> anyhow::Result<&Netns> {
        self.spaces.get(&site).with_context(|| format!("{} is not in the plan", site.name()))
    }
}

/// No duplicate address detection, which takes a second, and no router solicitations.
const HOST_PARAMETERS: &[(&str, &str)] = &[
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
];

/// Forwarding. What crosses a switch must not run through the rules of the
/// router it is in (it would, where Docker has loaded `br_netfilter`).
const SWITCH_PARAMETERS: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("bridge/bridge-nf-call-iptables", "0"),
    ("bridge/bridge-nf-call-ip6tables", "0"),
    ("bridge/bridge-nf-call-arptables", "0"),
];

/// Hosts with IPv6 would go past the router under test.
const ROUTER_PARAMETERS: &[(&str, &str)] = &[("ipv6/conf/default/disable_ipv6", "1")];

impl Drop for Lab {
    fn drop(&mut self) {
        let script: String =
            self.spaces.values().map(|space| format!("netns del {}\n", space.name())).collect();
        // What is left dies with the sandbox.
        drop(ip(&script));
    }
}

/// Whether this machine can do all that a lab needs.
pub(crate) fn check() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::P1]))?;
    lab.nat(Site::Nat(Router::A), Nat::from(Kind::Restricted).ports(nat::Ports::Random))?;
    lab.lose(Site::A1, 1)?;
    Ok(())
}

/// A panic under a lock is a test that has failed; others go on.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
