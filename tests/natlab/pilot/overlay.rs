//! A rendezvous and nodes in a lab.

use std::env;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use pilot_local_api::trust::TrustState;
use pilot_proto::PeerRef;
use pilot_tests::{Api, Node, NodeOptions, Process, Programs, Rendezvous};
use tempfile::TempDir;

use super::contract::{
    BEACON_PORT, BeaconFlags, Clients, REGISTRY_PORT, beacon_flag, start_beacon,
};
use super::until;
use crate::lab::{FILES, Lab, RDV, Site};

/// How long two nodes that reach each other may take to trust each other.
const ACQUAINTED: Duration = Duration::from_secs(10);

/// Says what the programs log, for whoever looks for a fault. What they have
/// logged is shown with each failure.
const LOG: &str = "NATLAB_LOG";

/// A rendezvous, and nodes by their names.
#[derive(Debug)]
pub(crate) struct Overlay {
    // They end in this order.
    members: Vec<Member>,
    pub(crate) rendezvous: Rendezvous,
    programs: Programs,
    registry: SocketAddr,
    beacon: Option<SocketAddr>,
    folder: TempDir,
    pub(crate) lab: Lab,
}

#[derive(Debug)]
struct Member {
    site: Site,
    node: Node,
    address: String,
}

impl Overlay {
    /// Starts a rendezvous with a beacon where everybody expects it.
    pub(crate) fn start(lab: Lab) -> anyhow::Result<Self> {
        let registry = SocketAddr::from((RDV, REGISTRY_PORT));
        let beacon = SocketAddr::from((RDV, BEACON_PORT));
        Self::start_at(lab, registry, Some(beacon), &BeaconFlags::at(beacon))
    }

    /// Starts a rendezvous without one.
    pub(crate) fn without_beacon(lab: Lab) -> anyhow::Result<Self> {
        let registry = SocketAddr::from((RDV, REGISTRY_PORT));
        Self::start_at(lab, registry, None, &BeaconFlags::default())
    }

    /// Starts a rendezvous with flags; nodes are told these two addresses.
    pub(crate) fn start_at(
        lab: Lab,
        registry: SocketAddr,
        beacon: Option<SocketAddr>,
        flags: &BeaconFlags,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("o").tempdir_in(FILES)?;
        let programs = Programs::found()?;
        let mut words = flags.words();
        words.extend(log_flag());
        let state = folder.path().join("rendezvous");
        let rendezvous =
            lab.enter(Site::Rdv, || Rendezvous::start_at(&programs, &state, registry, &words))?;
        Ok(Self { members: Vec::new(), rendezvous, programs, registry, beacon, folder, lab })
    }

    /// Tells nodes that join from now on of other addresses.
    pub(crate) fn tell(&mut self, registry: SocketAddr, beacon: SocketAddr) {
        (self.registry, self.beacon) = (registry, Some(beacon));
    }

    /// Sets a variable of programs that are started from now on.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.programs = self.programs.clone().with_variable(name, value);
    }

    /// Starts a node and waits until it is registered.
    pub(crate) fn join(&mut self, name: &str, site: Site) -> anyhow::Result<()> {
        self.join_with(name, site, &[])
    }

    /// The same with further flags.
    pub(crate) fn join_with(
        &mut self,
        name: &str,
        site: Site,
        flags: &[&str],
    ) -> anyhow::Result<()> {
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).to_string();
        let mut words = self.beacon.map_or_else(Vec::new, beacon_flag);
        if !flags.contains(&"--listen") {
            words.extend(["--listen".to_owned(), everywhere]);
        }
        words.extend(log_flag());
        words.extend(flags.iter().map(ToString::to_string));
        let options = NodeOptions { registry: Some(self.registry.to_string()), flags: words };
        let (programs, folder) = (&self.programs, self.folder.path());
        let mut node = self.lab.enter(site, || Node::start(programs, folder, name, options))?;
        let address = node.registered();
        let address = address.with_context(|| format!("{name} at {site:?} does not register"))?;
        self.members.push(Member { site, node, address });
        Ok(())
    }

    /// Makes trust between two nodes mutual.
    pub(crate) fn acquaint(&self, one: &str, other: &str) -> anyhow::Result<()> {
        let sides = [(self.api(one)?, self.peer(other)?), (self.api(other)?, self.peer(one)?)];
        for (api, peer) in &sides {
            api.trust(peer)?;
        }
        for (api, peer) in &sides {
            until(&format!("{one} and {other} trust each other"), ACQUAINTED, || {
                Ok(api.stands(peer, TrustState::Trusted)?)
            })?;
        }
        Ok(())
    }

    /// The node called `name`.
    pub(crate) fn node(&self, name: &str) -> anyhow::Result<&Node> {
        Ok(&self.member(name)?.node)
    }

    /// The address of the node called `name`.
    pub(crate) fn address(&self, name: &str) -> anyhow::Result<&str> {
        Ok(&self.member(name)?.address)
    }

    /// The same as requests want it.
    pub(crate) fn peer(&self, name: &str) -> anyhow::Result<PeerRef> {
        Ok(self.address(name)?.parse()?)
    }

    /// The local API of the node called `name`.
    pub(crate) fn api(&self, name: &str) -> anyhow::Result<Api> {
        self.node(name)?.api()
    }

    /// Its UDP socket as others in its network see it.
    pub(crate) fn socket(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let member = self.member(name)?;
        let port = member.node.socket_addr()?.port();
        Ok(SocketAddr::from((self.lab.address(member.site)?, port)))
    }

    /// The process of the node called `name`.
    pub(crate) fn pid(&self, name: &str) -> anyhow::Result<u32> {
        Ok(self.api(name)?.whoami()?.pid)
    }

    /// Stops the rendezvous at once.
    pub(crate) fn kill_rendezvous(&mut self) -> anyhow::Result<()> {
        self.rendezvous.kill()
    }

    /// Starts it again where it was.
    pub(crate) fn restart_rendezvous(&mut self) -> anyhow::Result<()> {
        let rendezvous = &mut self.rendezvous;
        self.lab.enter(Site::Rdv, || rendezvous.restart())
    }

    /// Starts a beacon in a process of its own.
    pub(crate) fn start_beacon(
        &self,
        site: Site,
        listen: SocketAddr,
        clients: &Clients,
    ) -> anyhow::Result<Process> {
        let folder = self.folder.path().join(format!("beacon-{}", site.name()));
        let programs = &self.programs;
        self.lab.enter(site, || start_beacon(programs, &folder, listen, clients))
    }

    /// Runs a scenario. If that fails, the error tells what all programs say.
    pub(crate) fn play(
        mut self,
        scenario: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        scenario(&mut self).map_err(|error| {
            let report = self.report();
            error.context(report)
        })
    }

    fn report(&mut self) -> String {
        let mut report = String::from("the scenario failed, and these are its programs:\n");
        for member in &mut self.members {
            let (name, site) = (member.node.name().to_owned(), member.site);
            let peers = member.node.ctl(&["peers"]).map(|reply| reply.text());
            let said = member.node.process().map(|process| process.errors()).unwrap_or_default();
            let peers = peers.unwrap_or_default();
            report.push_str(&format!("-- {name} at {site:?}\n{peers}{said}"));
        }
        report.push_str("-- the rendezvous\n");
        report.push_str(&self.rendezvous.process().errors());
        report.push_str("-- the failure");
        report
    }

    fn member(&self, name: &str) -> anyhow::Result<&Member> {
        let mut members = self.members.iter();
        members.find(|member| member.node.name() == name).with_context(|| format!("no {name}"))
    }
}

fn log_flag() -> Vec<String> {
    match env::var(LOG) {
        Ok(filter) => vec!["--log".to_owned(), filter],
        Err(_) => Vec::new(),
    }
}
