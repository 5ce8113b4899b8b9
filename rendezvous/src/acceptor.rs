//! Takes the connections of nodes at the registry's socket, and serves each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pilot_identity::NodeKey;
use pilot_proto::close;
use pilot_transport::{Alpn, Attached, BindError, Endpoint, Incoming, Knock, MtuSearch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::carriers::{QuicDoor, QuicWay};
use crate::gate::Gate;
use crate::keeper::Keeper;
use crate::line;
use crate::settings::Settings;
use crate::signposts::Signposts;

/// How long connections may take to end when the rendezvous stops.
const GRACE: Duration = Duration::from_secs(2);

/// Streams a node may have open: requests under way and its watch. It waits
/// beyond. Every allowed stream costs memory also on an idle connection.
const MAX_STREAMS: u32 = 32;

/// Bytes a node may send ahead on one stream: the largest request.
const STREAM_WINDOW: u32 = 72 * 1024;

/// Bytes a node may send ahead on all streams; with 20,000 connections of
/// hostile nodes that is what bounds the memory they hold.
const CONNECTION_WINDOW: u32 = 256 * 1024;

pub(crate) struct Acceptor {
    endpoint: Endpoint,
    keeper: Arc<Keeper>,
    gate: Arc<Gate>,
    signposts: Arc<Signposts>,
    max_connections: usize,
}

/// Gives carriers their places at the registry's endpoint.
struct RegistryDoor(Endpoint);

impl QuicDoor for RegistryDoor {
    fn open(&self, from: SocketAddr, out: mpsc::Sender<Bytes>) -> Box<dyn QuicWay> {
        Box::new(self.0.attach_carrier(out, from))
    }
}

impl QuicWay for Attached {
    fn receive(&self, datagram: Bytes) {
        self.receive(datagram);
    }
}

impl Acceptor {
    /// Where carriers come in.
    pub(crate) fn door(&self) -> Arc<dyn QuicDoor> {
        Arc::new(RegistryDoor(self.endpoint.clone()))
    }

    /// Binds the socket. Nobody is answered before [`Acceptor::run`].
    pub(crate) fn bind(
        settings: &Settings,
        key: Arc<NodeKey>,
        keeper: Keeper,
        signposts: Signposts,
    ) -> Result<Self, BindError> {
        let endpoint = Endpoint::bind(key, transport(settings.registry_listen))?;
        let max_connections = usize::try_from(settings.max_connections.get()).unwrap_or(usize::MAX);
        Ok(Self {
            endpoint,
            keeper: Arc::new(keeper),
            gate: Arc::new(Gate::new(&settings.rates, max_connections.saturating_mul(2))),
            signposts: Arc::new(signposts),
            max_connections,
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// Serves until `stop` is cancelled, then says goodbye to all nodes and
    /// closes the store.
    ///
    /// Not cancel safe: dropped, nodes notice by silence and the next start
    /// checks the database.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut lines = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.on_incoming(incoming, &mut lines),
                    None => break,
                },
                Some(ended) = lines.join_next(), if !lines.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection was not served to its end");
                    }
                }
            }
        }
        self.endpoint.close(close::GOODBYE, "the rendezvous stops");
        let ended = timeout(GRACE, async {
            while lines.join_next().await.is_some() {}
            self.endpoint.wait_idle().await;
        });
        if ended.await.is_err() {
            tracing::debug!("some nodes did not hear the goodbye");
        }
        lines.shutdown().await;
        let keeper = self.keeper;
        if let Err(error) = tokio::task::spawn_blocking(move || keeper.close()).await {
            tracing::error!(%error, "the store was not closed");
        }
    }

    fn on_incoming(&self, incoming: Incoming, lines: &mut JoinSet<()>) {
        if lines.len() >= self.max_connections {
            tracing::debug!("refused a connection: as many as allowed are open");
            return incoming.refuse();
        }
        let from = incoming.remote_addr();
        match self.gate.knock(from.ip(), incoming.is_validated(), Instant::now()) {
            Knock::Prove => incoming.retry(),
            Knock::Refuse => {
                tracing::debug!(%from, "refused a connection: too many from there");
                incoming.refuse();
            }
            Knock::Accept => {
                let (keeper, gate) = (Arc::clone(&self.keeper), Arc::clone(&self.gate));
                let signposts = Arc::clone(&self.signposts);
                lines.spawn(async move {
                    match incoming.accept().await {
                        Ok(connection) => line::serve(connection, keeper, gate, signposts).await,
                        Err(error) => tracing::debug!(%from, %error, "no connection"),
                    }
                });
            }
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn transport(listen: SocketAddr) -> pilot_transport::Settings {
    let mut settings = pilot_transport::Settings::new(listen, vec![Alpn::Registry]);
    settings.max_streams = MAX_STREAMS;
    settings.stream_window = STREAM_WINDOW;
    settings.connection_window = CONNECTION_WINDOW;
    // A node asks and is told little.
    settings.mtu_search = MtuSearch::None;
    settings
}
