//! A rendezvous and its nodes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_local_api::trust::TrustState;
use pilot_proto::PeerRef;
use tempfile::TempDir;

use crate::api::Api;
use crate::node::{Node, NodeOptions};
use crate::programs::Programs;
use crate::rendezvous::Rendezvous;

/// A rendezvous and nodes, in a folder that goes with them.
#[derive(Debug)]
pub struct Team {
    /// The rendezvous.
    pub rendezvous: Rendezvous,
    programs: Programs,
    nodes: Vec<Node>,
    addresses: Vec<String>,
    folder: TempDir,
}

impl Team {
    /// Starts a rendezvous and one node for each name, in this order, so that
    /// the first has the address `1:0001.0000.0001`.
    ///
    /// # Errors
    ///
    /// If one of them does not start or register.
    pub fn start(names: &[&str]) -> anyhow::Result<Self> {
        let mut team = Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        for name in names {
            team.add(name, &[])?;
        }
        Ok(team)
    }

    /// Starts a rendezvous that listens there, and no node yet.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start_at(listen: SocketAddr) -> anyhow::Result<Self> {
        let programs = Programs::built()?;
        let folder = tempfile::Builder::new().prefix("pilot").tempdir()?;
        let state = folder.path().join("rendezvous");
        let rendezvous = Rendezvous::start_at(&programs, &state, listen, &[])?;
        Ok(Self { rendezvous, programs, nodes: vec![], addresses: vec![], folder })
    }

    /// Starts one more node with further flags; its address.
    ///
    /// # Errors
    ///
    /// If it does not start or register.
    pub fn add(&mut self, name: &str, flags: &[&str]) -> anyhow::Result<String> {
        let registry = self.rendezvous.addr().to_string();
        self.add_by(name, &registry, flags)
    }

    /// The same for one that finds the rendezvous at this address.
    ///
    /// # Errors
    ///
    /// If it does not start or register.
    pub fn add_by(&mut self, name: &str, registry: &str, flags: &[&str]) -> anyhow::Result<String> {
        let options = NodeOptions {
            registry: Some(registry.to_owned()),
            flags: flags.iter().map(ToString::to_string).collect(),
        };
        let mut node = Node::start(&self.programs, self.folder.path(), name, options)?;
        let address = node.registered()?;
        self.nodes.push(node);
        self.addresses.push(address.clone());
        Ok(address)
    }

    /// The node called `name`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test that misnames a node is wrong")]
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name() == name).expect("a node of the team")
    }

    /// The node called `name`, to be killed and restarted.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[expect(clippy::expect_used, reason = "a test that misnames a node is wrong")]
    pub fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name() == name).expect("a node of the team")
    }

    /// The address of the node called `name`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test that misnames a node is wrong")]
    pub fn address(&self, name: &str) -> &str {
        let index = self.nodes.iter().position(|node| node.name() == name);
        index.and_then(|index| self.addresses.get(index)).expect("a node of the team")
    }

    /// The node called `name` by its address, as requests want it.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the rendezvous gave the address")]
    pub fn peer(&self, name: &str) -> PeerRef {
        self.address(name).parse().expect("an address is a peer")
    }

    /// The local API of the node called `name`.
    ///
    /// # Errors
    ///
    /// If the system gives no runtime.
    pub fn api(&self, name: &str) -> anyhow::Result<Api> {
        self.node(name).api()
    }

    /// Makes trust between two nodes mutual.
    ///
    /// # Errors
    ///
    /// If it does not become so within 10 s.
    pub fn trust(&self, one: &str, other: &str) -> anyhow::Result<()> {
        let sides = [(self.api(one)?, self.peer(other)), (self.api(other)?, self.peer(one))];
        for (api, peer) in &sides {
            api.trust(peer)?;
        }
        for (api, peer) in &sides {
            eventually(&format!("{one} and {other} trust each other"), || {
                Ok(api.stands(peer, TrustState::Trusted)?)
            })?;
        }
        Ok(())
    }

    /// The folder with everything of the team.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path inside that folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The programs it runs.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }
}

/// Asks again and again, as fast as the answer comes, until it is yes.
///
/// # Errors
///
/// If it is not within 10 s, or the question itself fails.
pub fn eventually(
    what: &str,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so().with_context(|| format!("while waiting until {what}"))? {
        if Instant::now() > deadline {
            bail!("not within 10 s: {what}");
        }
    }
    Ok(())
}
