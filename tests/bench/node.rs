//! A node of the transport alone: its endpoint, and what drives its paths.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use pilot_identity::NodeId;
use pilot_transport::{
    Alpn, BeaconAt, Connection, Endpoint, HostPort, MtuSearch, Reach, Settings, WayReport,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::load::{self, PATIENCE};

/// Pause between two looks at something that happens by itself.
const LOOK: Duration = Duration::from_millis(1);

/// A node and what drives it.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    _driver: JoinSet<()>,
}

impl Node {
    /// With the key of this number, at `listen`, and bound at `beacon` soon.
    pub(crate) fn start(
        number: usize,
        listen: SocketAddr,
        beacon: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        // As a daemon does.
        let mtu_search = MtuSearch::of_links(listen);
        let settings = Settings { mtu_search, ..Settings::new(listen, vec![Alpn::Peer]) };
        let endpoint = Endpoint::bind(Arc::new(load::key(number)), settings)?;
        let reach = endpoint.reach().clone();
        if let Some(beacon) = beacon {
            let target = HostPort::new(&beacon.ip().to_string(), beacon.port())?;
            reach.set_beacons(vec![BeaconAt { target, key: None }], None);
        }
        let mut driver = JoinSet::new();
        driver.spawn(async move { reach.drive().await });
        Ok(Self { endpoint, _driver: driver })
    }

    pub(crate) fn reach(&self) -> &Reach {
        self.endpoint.reach()
    }

    pub(crate) fn id(&self) -> NodeId {
        self.endpoint.id()
    }

    /// By which way `peer` is reached now.
    pub(crate) fn way(&self, peer: NodeId) -> Option<WayReport> {
        self.reach().path(&peer)?.way
    }

    pub(crate) fn is_direct(&self, peer: NodeId) -> bool {
        matches!(self.way(peer), Some(WayReport::Direct(_)))
    }

    pub(crate) fn is_relayed(&self, peer: NodeId) -> bool {
        matches!(self.way(peer), Some(WayReport::Relayed(_)))
    }

    /// Waits until a beacon has taken it.
    pub(crate) async fn bound(&self) -> anyhow::Result<()> {
        let bound = || self.reach().report().beacons.iter().any(|beacon| beacon.place.is_some());
        until("bound at a beacon", bound).await
    }

    /// The next connection of a peer.
    pub(crate) async fn accepted(&self) -> anyhow::Result<Connection> {
        Ok(self.endpoint.accept().await.context("the endpoint is closed")?.accept().await?)
    }

    /// A connection to `peer` by the best path there is.
    pub(crate) async fn connected(&self, peer: NodeId) -> anyhow::Result<Connection> {
        let dial = self.endpoint.connect_peer(peer, Alpn::Peer);
        Ok(timeout(PATIENCE, dial).await.context("no connection in time")??)
    }
}

/// Waits until `is` holds.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE * 3;
    while !is() {
        if Instant::now() > end {
            bail!("never: {what}");
        }
        sleep(LOOK).await;
    }
    Ok(())
}
