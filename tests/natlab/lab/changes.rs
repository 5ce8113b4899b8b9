//! What may happen to a lab while it runs.

use core::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;

use super::wires::{End, Wires};
use super::{Lab, Router, Site, lock};

/// 2001:db8::, the public switch's network.
const PUBLIC_V6: u128 = 0x2001_0db8 << 96;

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

    /// Gives a host or router another IPv4 address, as a lease does; it loses
    /// all that it had. The gateway is host 1 of the same network.
    pub(crate) fn readdress(&self, site: Site, address: Ipv4Addr) -> anyhow::Result<()> {
        let device = self.plan.port(site).context("the switch has no address")?.device;
        let [a, b, c, _] = address.octets();
        self.space(site)?.ip(&format!(
            "addr flush dev {device} scope global\naddr add {address}/24 dev {device}\n\
             route add default via {}\n",
            Ipv4Addr::new(a, b, c, 1)
        ))?;
        lock(&self.addresses).insert(site, address.into());
        if site.lan().is_some() { self.flush(site) } else { Ok(()) }
    }

    /// Gives the hosts of a LAN global IPv6 addresses behind a firewall that
    /// lets in what answers them (RFC 6092).
    pub(crate) fn give_ipv6(&self, router: Router) -> anyhow::Result<()> {
        let site = Site::Nat(router);
        let lan = u128::from(site.lan_v6().context("no LAN")?);
        let number = (lan >> 80) & 0xffff;
        let (gateway, wan) = (Ipv6Addr::from(lan + 1), Ipv6Addr::from(PUBLIC_V6 + 0xa0 + number));
        let space = self.space(site)?;
        space.set(&[("ipv6/conf/wan/disable_ipv6", "0"), ("ipv6/conf/lan/disable_ipv6", "0")])?;
        space.ip(&format!(
            "addr add {wan}/64 dev wan\naddr add {gateway}/64 dev lan\n\
             route add default via {}\n",
            Ipv6Addr::from(PUBLIC_V6 + 1)
        ))?;
        space.nft(
            "table ip6 natlab { chain forward { type filter hook forward priority filter;\n\
             iifname wan ct state established,related accept\n\
             iifname wan icmpv6 type echo-request accept\niifname wan drop\n}\n}\n",
        )?;
        space.await_address(&format!("{wan}/64"))?;
        space.await_address(&format!("{gateway}/64"))?;
        self.space(Site::Pub)?.ip(&format!("route add {}/64 via {wan}\n", Ipv6Addr::from(lan)))?;
        for (index, site) in self.spaces.keys().filter(|s| s.router() == Some(router)).enumerate() {
            let address = Ipv6Addr::from(lan + 0x11 + u128::try_from(index)?);
            let space = self.space(*site)?;
            space.ip(&format!(
                "addr add {address}/64 dev eth0\nroute add default via {gateway}\n"
            ))?;
            space.await_address(&format!("{address}/64"))?;
        }
        Ok(())
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
