//! Two daemons that trust each other, driven through their local API.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_local_api::Client;
use pilot_local_api::trust::{TrustRequest, TrustState};
use pilot_proto::PeerRef;
use pilot_tests::{Node, Programs, Rendezvous, Team};

/// How long trust may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A rendezvous, a manager and a worker.
pub(crate) struct Pair {
    pub(crate) team: Team,
    pub(crate) manager: Client,
    pub(crate) worker: Client,
    pub(crate) worker_address: PeerRef,
}

impl Pair {
    /// Starts them and waits until each trusts the other.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::of(Team::start(&["manager", "worker"])?).await
    }

    /// Of a team that has both.
    pub(crate) async fn of(team: Team) -> anyhow::Result<Self> {
        let manager = client(team.node("manager"));
        let worker = client(team.node("worker"));
        let addresses = [team.address("manager").parse()?, team.address("worker").parse()?];
        let [manager_address, worker_address] = addresses;
        trust(&manager, &manager_address, &worker, &worker_address).await?;
        Ok(Self { team, manager, worker, worker_address })
    }
}

/// A client of a node's daemon.
pub(crate) fn client(node: &Node) -> Client {
    Client::keeping(node.home().join("pilot.sock"))
}

/// Makes trust mutual: until both sides say so.
pub(crate) async fn trust(
    one: &Client,
    one_address: &PeerRef,
    other: &Client,
    other_address: &PeerRef,
) -> anyhow::Result<()> {
    one.trust(&request(other_address)).await?;
    other.trust(&request(one_address)).await?;
    let deadline = Instant::now() + PATIENCE;
    for (node, peer) in [(one, other_address), (other, one_address)] {
        while node.trust_show(peer).await?.state != TrustState::Trusted {
            if Instant::now() > deadline {
                bail!("no mutual trust within {PATIENCE:?}");
            }
        }
    }
    Ok(())
}

fn request(peer: &PeerRef) -> TrustRequest {
    TrustRequest { peer: peer.clone(), fingerprint: None, allow: None, expires_in_ms: None }
}

/// A rendezvous alone, in a folder that goes with it.
pub(crate) fn rendezvous(programs: &Programs) -> anyhow::Result<(Rendezvous, tempfile::TempDir)> {
    let folder = tempfile::Builder::new().prefix("pilot-bench").tempdir()?;
    let rendezvous = Rendezvous::start(programs, folder.path())
        .context("the rendezvous for the measure did not start")?;
    Ok((rendezvous, folder))
}
