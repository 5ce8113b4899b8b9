//! What is wrong with the wires: cuts, loss, and pairs that cannot reach each other.
//!
//! All of it happens where a packet arrives, so that its sender sees no error.

use core::fmt::{self, Write as _};
use std::collections::{BTreeMap, BTreeSet};

use super::site::Site;

/// Faults of a lab.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    /// By the lower end.
    cut: BTreeSet<Site>,
    /// Packets lost of 1,000, in each direction, by the lower end.
    lossy: BTreeMap<Site, u32>,
    /// IP addresses between which nothing passes the public switch.
    severed: BTreeSet<(String, String)>,
}

impl Wires {
    /// Lets nothing through the wire above `site`, or everything again.
    pub(crate) fn cut(&mut self, site: Site, cut: bool) {
        if cut {
            self.cut.insert(site);
        } else {
            self.cut.remove(&site);
        }
    }

    /// Loses so many of 1,000 packets in each direction above `site`.
    pub(crate) fn lose(&mut self, site: Site, per_thousand: u32) {
        self.lossy.insert(site, per_thousand);
    }

    /// Lets nothing pass between two addresses on the public switch, or everything again.
    pub(crate) fn sever(&mut self, one: String, other: String, severed: bool) {
        if severed {
            self.severed.insert((one, other));
        } else {
            self.severed.remove(&(one, other));
        }
    }

    /// The `nft` script for one end of the wire above `site`: the lower one, or the one above.
    pub(crate) fn rules(&self, site: Site, device: &str, end: End) -> Result<String, fmt::Error> {
        let table = format!("netdev wire_{}", site.name());
        // Adding it first makes the deletion of one that is not there no error.
        let mut text = format!("table {table} {{}}\ndelete table {table}\n");
        writeln!(text, "table {table} {{ chain arriving {{")?;
        writeln!(text, "type filter hook ingress device {device} priority 0;")?;
        if self.cut.contains(&site) {
            text.push_str("drop\n");
        }
        if let Some(per_thousand) = self.lossy.get(&site) {
            writeln!(text, "numgen random mod 1000 < {per_thousand} drop")?;
        }
        for (one, other) in self.severed.iter().filter(|_| end == End::Above) {
            for (from, to) in [(one, other), (other, one)] {
                let ip = if from.contains(':') { "ip6" } else { "ip" };
                writeln!(text, "{ip} saddr {from} {ip} daddr {to} drop")?;
            }
        }
        text.push_str("}\n}\n");
        Ok(text)
    }
}

/// An end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The site the wire belongs to.
    Lower,
    /// The switch it is plugged into.
    Above,
}
