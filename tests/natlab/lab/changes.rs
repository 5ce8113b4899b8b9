//! What may happen to a lab while it runs.

use core::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context as _;

use super::wires::{End, Wires};
use super::{Lab, Router, Site, lock};

impl Lab {
    /// Lets nothing through the wire above `site`; nobody is told.
    pub(crate) fn cut(&self, site: Site) -> anyhow::Result<()> {
        self.rewire(&[site], |wires| wires.cut(site, true))
    }

    /// Undoes a [`cut`](Self::cut).
    pub(crate) fn heal(&self, site: Site) -> anyhow::Result<()> {
        self.rewire(&[site], |wires| wires.cut(site, false))
    }

    /// Loses so many of 1,000 packets above `site`, in each direction.
    pub(crate) fn lose(&self, site: Site, per_thousand: u32) -> anyhow::Result<()> {
        self.rewire(&[site], |wires| wires.lose(site, per_thousand))
    }

    /// Lets nothing pass between two sites of the public switch, while both
    /// reach all others.
    pub(crate) fn sever(&self, one: Site, other: Site) -> anyhow::Result<()> {
        self.set_severed(one, other, true)
    }

    /// Undoes [`sever`](Self::sever).
    pub(crate) fn join(&self, one: Site, other: Site) -> anyhow::Result<()> {
        self.set_severed(one, other, false)
    }

    fn set_severed(&self, one: Site, other: Site, severed: bool) -> anyhow::Result<()> {
        let (from, to) = (self.address(one)?.to_string(), self.address(other)?.to_string());
        self.rewire(&[one, other], |wires| wires.sever(from, to, severed))
    }

    fn rewire(&self, sites: &[Site], change: impl FnOnce(&mut Wires)) -> anyhow::Result<()> {
        let mut wires = lock(&self.wires);
        change(&mut wires);
        for site in sites {
            let port = self.plan.port(*site).context("the switch has no wire")?;
            self.space(port.above)?.nft(&wires.rules(*site, site.name(), End::Above)?)?;
            self.space(*site)?.nft(&wires.rules(*site, port.device, End::Lower)?)?;
        }
        Ok(())
    }

    /// Gives a host another IPv4 address in the same network, as a lease does.
    pub(crate) fn readdress(&self, host: Site, address: Ipv4Addr) -> anyhow::Result<()> {
        let port = self.plan.port(host).context("the switch has no address")?;
        let mut script = format!("addr flush dev {} scope global\n", port.device);
        writeln!(script, "addr add {address}/24 dev {}", port.device)?;
        for gateway in port.gateways.iter().filter(|gateway| !gateway.contains(':')) {
            writeln!(script, "route add default via {gateway}")?;
        }
        self.space(host)?.ip(&script)?;
        lock(&self.addresses).insert(host, address.into());
        if host.lan().is_some() { self.flush(host) } else { Ok(()) }
    }

    /// Forbids the hosts of a LAN to talk to each other, as guest networks do;
    /// they still reach their router.
    pub(crate) fn isolate(&self, router: Router) -> anyhow::Result<()> {
        let mut script = String::new();
        for site in self.spaces.keys().filter(|site| site.router() == Some(router)) {
            writeln!(script, "link set {} type bridge_slave isolated on", site.name())?;
        }
        self.space(Site::Nat(router))?.ip(&script)
    }

    /// The source address that a host uses towards `to`.
    pub(crate) fn source(&self, host: Site, to: Ipv4Addr) -> anyhow::Result<IpAddr> {
        let socket = self.udp(host, (Ipv4Addr::UNSPECIFIED, 0))?;
        // The namespace is the socket's, not this thread's.
        socket.connect((to, 9))?;
        Ok(socket.local_addr()?.ip())
    }
}
