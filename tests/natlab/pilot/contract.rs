//! The command lines that scenarios use, and what they answer, in one place.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use pilot_local_api::peers::{PathKind, PingView};
use pilot_tests::{Node, Process, Programs};
use serde::Deserialize;

use crate::net::coturn::Behaviour;

/// The port of the registry.
pub(crate) const REGISTRY_PORT: u16 = 9000;
/// The port of beacons.
pub(crate) const BEACON_PORT: u16 = 9001;

/// How long a program may take to start.
const START: Duration = Duration::from_secs(10);

/// Flags of `pilot-rendezvous` beside the registry's address.
#[derive(Debug, Clone, Default)]
pub(crate) struct BeaconFlags {
    /// Where the beacon listens.
    pub(crate) listen: Option<SocketAddr>,
    /// Its second address for behaviour discovery.
    pub(crate) alternate: Option<SocketAddr>,
    /// Where TCP is taken beside the registry's and the beacon's ports.
    pub(crate) tcp: Option<SocketAddr>,
    /// What the beacon does, if not everything: `stun`, `punch`, `relay` with commas between.
    pub(crate) services: Option<&'static str>,
}

impl BeaconFlags {
    /// A beacon at its usual port.
    pub(crate) fn at(listen: impl Into<SocketAddr>) -> Self {
        Self { listen: Some(listen.into()), ..Self::default() }
    }

    pub(crate) fn words(&self) -> Vec<String> {
        let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        let flags = [
            ("--beacon-listen", text(self.listen)),
            ("--beacon-alternate", text(self.alternate)),
            ("--tcp-listen", text(self.tcp)),
            ("--beacon-services", self.services.map(str::to_owned)),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        given.flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }
}

/// Whom a beacon without a registry serves.
#[derive(Debug, Clone)]
pub(crate) enum Clients {
    /// Whoever has a ticket of the rendezvous with this key.
    OfRendezvous(String),
    /// Anybody.
    All,
}

/// Starts a beacon without a registry; to be called inside its site.
pub(crate) fn start_beacon(
    programs: &Programs,
    folder: &Path,
    listen: SocketAddr,
    clients: &Clients,
) -> anyhow::Result<Process> {
    let mut command = programs.command("pilot-rendezvous");
    command.args(["--no-registry", "--beacon-listen", &listen.to_string()]);
    command.arg("--state-dir").arg(folder);
    match clients {
        Clients::OfRendezvous(key) => command.args(["--ticket-key", key]),
        Clients::All => command.arg("--open"),
    };
    let mut process = Process::start(command)?;
    process.words("listening on ", START).context("the beacon did not start")?;
    Ok(process)
}

/// Flags of `pilot-daemon` by which it finds a beacon, or any STUN server.
pub(crate) fn beacon_flag(at: SocketAddr) -> Vec<String> {
    // With one dash, as the documents print it.
    vec!["-beacon-addr".to_owned(), at.to_string()]
}

/// The exit code of a peer that is not reached.
pub(crate) const UNREACHABLE: i32 = 7;

/// What `pilotctl ping --until-direct` came to.
#[derive(Debug)]
pub(crate) enum Reach {
    /// The last answer took the direct path.
    Direct(PingView),
    /// None did in time, and the relayed way goes on working.
    NotDirect,
}

/// Pings until an answer takes the direct path.
pub(crate) fn ping_until_direct(
    node: &Node,
    peer: &str,
    patience: Duration,
) -> anyhow::Result<Reach> {
    let timeout = format!("{}ms", patience.as_millis());
    let reply = node.ctl(&["ping", peer, "--until-direct", "--timeout", &timeout, "--json"])?;
    let text = reply.text();
    match reply.code {
        Some(0) => {
            let last: PingView = serde_json::from_str(text.lines().last().context("no answer")?)?;
            ensure!(last.path == PathKind::Direct, "ended without a direct answer: {text}");
            Ok(Reach::Direct(last))
        }
        Some(5) => {
            let code = reply.error_code();
            ensure!(code.as_deref() == Some("not_direct"), "exit 5 with {}", reply.stderr);
            Ok(Reach::NotDirect)
        }
        code => bail!("ping {peer} --until-direct: exit {code:?}: {}", reply.stderr.trim()),
    }
}

/// Pings once.
pub(crate) fn ping(node: &Node, peer: &str, patience: Duration) -> anyhow::Result<PingView> {
    let timeout = format!("{}ms", patience.as_millis());
    let text = node.ok(&["ping", peer, "-c", "1", "--timeout", &timeout, "--json"])?;
    serde_json::from_str(&text).with_context(|| format!("ping printed {text:?}"))
}

/// Submits a task and waits for its result.
pub(crate) fn submit(node: &Node, peer: &str, description: &str) -> anyhow::Result<String> {
    node.ok(&["task", "submit", "--to", peer, "--description", description, "--wait"])
}

/// A peer as `pilotctl peers --json` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PeerPath {
    pub(crate) path: PathKind,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_reason: Option<String>,
    pub(crate) path_since: Option<String>,
}

/// The way to a peer.
pub(crate) fn path_to(node: &Node, name: &str) -> anyhow::Result<PeerPath> {
    let peers = node.json(&["peers"])?;
    let mut listed = peers.as_array().context("no list")?.iter();
    let named = |peer: &&serde_json::Value| peer.get("name").is_some_and(|value| value == name);
    let peer = listed.find(named).with_context(|| format!("{name} is not among the peers"))?;
    Ok(PeerPath::deserialize(peer)?)
}

/// What `pilotctl netcheck --json` prints.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Netcheck {
    pub(crate) udp: bool,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    pub(crate) mapping: String,
    pub(crate) filtering: String,
    pub(crate) nat: String,
    pub(crate) hairpin: Option<bool>,
    pub(crate) mapped: Vec<SocketAddr>,
    pub(crate) lifetime_ms: Option<u64>,
    pub(crate) beacons: Vec<BeaconView>,
}

/// One of its beacons.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BeaconView {
    pub(crate) transport: String,
}

/// What a node finds out about its network.
pub(crate) fn netcheck(node: &Node) -> anyhow::Result<Netcheck> {
    Ok(serde_json::from_value(node.json(&["netcheck"])?)?)
}

/// The word for a behaviour in [`Netcheck`].
pub(crate) const fn word(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::None => "none",
        Behaviour::EndpointIndependent => "endpoint_independent",
        Behaviour::AddressDependent => "address_dependent",
        Behaviour::AddressAndPortDependent => "address_and_port_dependent",
        Behaviour::Unknown => "unknown",
    }
}
