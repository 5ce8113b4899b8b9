//! A router that opens ports on demand: UPnP-IGD, NAT-PMP and PCP by miniupnpd.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use pilot_tests::Process;

use crate::lab::{FILES, Lab, Router, Site};
use crate::suite::installed;

/// How long it may take to start.
const START: Duration = Duration::from_secs(10);

/// The router's public address: the daemon refuses those that are reserved for documents.
pub(crate) const PUBLIC: Ipv4Addr = Ipv4Addr::new(44, 0, 0, 2);

/// What hosts ask in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// UPnP-IGD.
    Upnp,
    /// NAT-PMP, and PCP at the same port.
    NatPmpAndPcp,
}

/// The daemon on a router. What it has opened stays until the lab is gone.
#[derive(Debug)]
pub(crate) struct PortMapper {
    _process: Process,
}

impl PortMapper {
    /// Starts it, and gives the router the address [`PUBLIC`].
    pub(crate) fn start(lab: &Lab, router: Router, protocol: Protocol) -> anyhow::Result<Self> {
        let mut command = installed("miniupnpd", "miniupnpd-nftables")?;
        let site = Site::Nat(router);
        lab.readdress(site, PUBLIC)?;
        lab.nft(site, CHAINS)?;
        let folder = tempfile::Builder::new().prefix("m").tempdir_in(FILES)?.keep();
        let config = folder.join("miniupnpd.conf");
        let yes = |of| if protocol == of { "yes" } else { "no" };
        let (upnp, nat_pmp) = (yes(Protocol::Upnp), yes(Protocol::NatPmpAndPcp));
        let leases = folder.join("leases");
        fs::write(
            &config,
            format!(
                "ext_ifname=wan\nlistening_ip=lan\nipv6_disable=yes\nsecure_mode=yes\n\
                 enable_upnp={upnp}\nenable_natpmp={nat_pmp}\n\
                 upnp_table_name=miniupnpd\nupnp_nat_table_name=miniupnpd\n\
                 upnp_forward_chain=forwarded\nupnp_nat_chain=inbound\n\
                 upnp_nat_postrouting_chain=outbound\nlease_file={}\n\
                 uuid=6f0f0bd4-53c1-4a2e-9f4f-3f1f2d0a7c11\n",
                leases.display()
            ),
        )?;
        fs::write(leases, "")?;
        // Run as a standard program, it logs to stderr.
        command.args(["-d", "-f"]).arg(&config).arg("-P").arg(folder.join("pid"));
        let mut process = lab.enter(site, || Process::start(command))?;
        let ready = match protocol {
            Protocol::Upnp => "HTTP listening on port",
            Protocol::NatPmpAndPcp => "Listening for NAT-PMP/PCP traffic",
        };
        process.error(ready, START).context("miniupnpd did not start")?;
        Ok(Self { _process: process })
    }
}

/// Where the daemon puts what it opens.
const CHAINS: &str = "table inet miniupnpd {
chain forward { type filter hook forward priority filter; jump forwarded; }
chain prerouting { type nat hook prerouting priority dstnat; jump inbound; }
chain postrouting { type nat hook postrouting priority srcnat; jump outbound; }
chain forwarded { }
chain inbound { }
chain outbound { }
}
";
