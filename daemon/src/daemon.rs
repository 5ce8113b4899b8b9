//! Start and stop.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pilot_home::{BindSocketError, Home, LoadKeyError, OpenHomeError, bind_socket};
use pilot_identity::{NodeId, NodeKey};
use pilot_overlay::{Overlay, Setup};
use pilot_proto::registry::{Register, Registered};
use pilot_proto::{Address, BootId, Endpoints, MINOR_VERSION, NodeName};
use pilot_store::{OpenError, ReadError, Settings as StoreSettings, Store};
use pilot_transport::{
    Alpn, BindError, Endpoint, MtuSearch, Proxies, Settings as TransportSettings, local_candidates,
};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Server;
use crate::host::{Known, NodeHost, Registration};
use crate::node::{Node, Parts};
use crate::services::data::{DataService, Place, Quota};
use crate::services::events::{self, EventsPlace, EventsService};
use crate::services::messages::{LoadError as LoadMessagesError, MessagesService};
use crate::services::tasks::TasksService;
use crate::services::{LoadError, TrustService, port_mapping};
use crate::settings::Settings;
use crate::store::{cards, meta, schema};

/// Everything that must survive, in the home folder.
const DATABASE: &str = "pilot.db";

/// How long background work may take to end when the daemon stops.
const GRACE: Duration = Duration::from_secs(1);

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder.
    #[error(transparent)]
    Home(#[from] OpenHomeError),
    /// The key.
    #[error(transparent)]
    Key(#[from] LoadKeyError),
    /// The local API's socket.
    #[error(transparent)]
    Socket(#[from] BindSocketError),
    /// The socket again, as tokio sees it.
    #[error("cannot serve the local API")]
    Serve(#[source] io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A row of the database.
    #[error("the database cannot be read")]
    Read(#[from] ReadError),
    /// The rows of trust.
    #[error("the trust in the database cannot be used")]
    Trust(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The rows of messages.
    #[error(transparent)]
    Messages(Box<dyn std::error::Error + Send + Sync>),
    /// The UDP socket.
    #[error("cannot open the UDP socket on {listen}")]
    Udp {
        /// Where.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: BindError,
    },
    /// What is kept of events.
    #[error("the events of this node cannot be read")]
    Events(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No randomness.
    #[error("the system gives no randomness")]
    Random(#[source] getrandom::Error),
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Trust(Box::new(error))
    }
}

impl From<events::StartError> for StartError {
    fn from(error: events::StartError) -> Self {
        Self::Events(Box::new(error))
    }
}

impl From<LoadMessagesError> for StartError {
    fn from(error: LoadMessagesError) -> Self {
        Self::Messages(Box::new(error))
    }
}

/// A running daemon.
pub struct Daemon {
    node: Arc<Node>,
    store: Store,
    announced: watch::Receiver<Option<Registered>>,
    background: TaskTracker,
    stop: CancellationToken,
    _home: Home,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("node", &self.node.id()).finish_non_exhaustive()
    }
}

/// What was kept from the last run.
struct Kept {
    rendezvous: Option<NodeId>,
    known: Known,
    port: Option<u16>,
}

impl Daemon {
    /// Starts everything on the current tokio runtime. The local API answers
    /// when this returns; the rendezvous is still being looked for.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing runs then, and nothing was lost.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let home = Home::open(&settings.home)?;
        let key = Arc::new(home.load_key()?);
        let database = home.path().join(DATABASE);
        let store = Store::open(&StoreSettings::new(database.clone(), schema::MIGRATIONS))?;
        let kept = kept(&store)?;
        let endpoint = bind(&key, &settings, kept.port)?;
        let listener = bind_socket(&home, &settings.socket)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(StartError::Serve)?;
        let boot = BootId(getrandom::u64().map_err(StartError::Random)?);

        let (background, stop) = (TaskTracker::new(), CancellationToken::new());
        let network = kept.known.address.map(Address::network);
        let trust =
            TrustService::start(Arc::clone(&key), network, store.clone(), &background, &stop)?;
        let quota = Quota { whole: settings.inbox_quota, per_peer: settings.inbox_quota_per_peer };
        let place = Place { home: home.path(), quota };
        let data =
            DataService::start(place, store.clone(), Arc::clone(&trust), &background, &stop)?;
        let place = EventsPlace { home: home.path(), journal: settings.event_journal };
        let (judge, bulk) = (Arc::clone(&trust), Arc::clone(&data));
        let events = EventsService::start(
            place,
            Arc::clone(&key),
            store.clone(),
            (judge, bulk),
            &background,
            &stop,
        )?;
        let tasks = TasksService::start(
            Arc::clone(&key),
            store.clone(),
            Arc::clone(&trust),
            (Arc::clone(&data), Arc::clone(&events)),
            &background,
            &stop,
        )?;
        let messages = MessagesService::start(
            settings.messages,
            store.clone(),
            Arc::clone(&trust),
            Arc::clone(&data),
            &background,
            &stop,
        )?;
        let registration = Registration::default();
        registration.set(kept.known);
        let (announce, announced) = watch::channel(None);
        let host = Arc::new(NodeHost {
            trust: Arc::clone(&trust),
            tasks: Arc::clone(&tasks),
            data: Arc::clone(&data),
            events: Arc::clone(&events),
            messages: Arc::clone(&messages),
            store: store.clone(),
            registration: registration.clone(),
            announce,
            overlay: OnceLock::new(),
            background: background.clone(),
        });
        let overlay = connect(&settings, boot, endpoint, &host, kept.rendezvous, &store)?;
        let (map_ports, port_mappings) = watch::channel(Vec::new());
        if settings.port_mapping && settings.endpoint.is_none() {
            background.spawn(port_mapping::keep(overlay.clone(), map_ports, stop.clone()));
        }

        let parts = Parts {
            id: key.id(),
            settings,
            database,
            store: store.clone(),
            overlay,
            trust,
            tasks,
            data,
            events,
            messages,
            registration,
            port_mappings,
        };
        let node = Arc::new(Node::new(parts));
        let server = Server::new(listener, Arc::clone(&node));
        let stopped = stop.clone();
        background.spawn(async move {
            if let Err(error) = server.run(stopped).await {
                tracing::error!(%error, "the local API ended");
            }
        });
        Ok(Self { node, store, announced, background, stop, _home: home })
    }

    /// Prints the two lines that whoever started the daemon may wait for:
    /// `serving SOCKET` at once, and `registered as ADDRESS [NAME]` with each
    /// new address or name. Never returns.
    pub async fn announce(&mut self) {
        if let Err(error) = self.announce_all().await {
            // Whoever reads them may go, and a log may have no room.
            tracing::warn!(%error, "stdout takes no more lines");
        }
        std::future::pending().await
    }

    /// Until stdout takes no more or nothing more can come.
    async fn announce_all(&mut self) -> io::Result<()> {
        say(&format!("serving {}", self.node.settings().socket.display()))?;
        let mut last = None;
        loop {
            let registered = self.announced.borrow_and_update().clone();
            if let Some(registered) = registered {
                let name = registered.name.map(|name| format!(" {name}")).unwrap_or_default();
                let line = format!("registered as {}{name}", registered.address);
                if last.as_ref() != Some(&line) {
                    say(&line)?;
                    last = Some(line);
                }
            }
            if self.announced.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Says goodbye to peers and rendezvous, ends what runs and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        self.node.overlay().stop().await;
        self.background.close();
        if timeout(GRACE, self.background.wait()).await.is_err() {
            tracing::debug!("background work outlived the daemon's grace");
        }
        self.store.close();
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn kept(store: &Store) -> Result<Kept, ReadError> {
    store.read(|connection| {
        let rendezvous = meta::get(connection, meta::Key::Rendezvous)?;
        let rendezvous = rendezvous.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let text = |key| meta::text(connection, key);
        Ok(Kept {
            rendezvous: rendezvous.and_then(|bytes| NodeId::from_bytes(bytes).ok()),
            known: Known {
                address: text(meta::Key::Address)?.and_then(|text| text.parse().ok()),
                name: text(meta::Key::Name)?.and_then(|text| text.parse::<NodeName>().ok()),
                name_taken: false,
            },
            port: text(meta::Key::Port)?.and_then(|text| text.parse().ok()),
        })
    })
}

/// Binds the UDP socket: where the operator says; otherwise on all addresses,
/// at the port of the advertised endpoint, or at the port used last, where
/// peers look for this node first.
fn bind(
    key: &Arc<NodeKey>,
    settings: &Settings,
    last_port: Option<u16>,
) -> Result<Endpoint, StartError> {
    let open = |listen| {
        let mut transport = TransportSettings::new(listen, vec![Alpn::Peer, Alpn::Trust]);
        if settings.jumbo_frames {
            transport.mtu_search = MtuSearch::of_links(listen);
        }
        // Named by the network's operator for all programs, not by this one's.
        transport.proxies = Proxies::from_env();
        Endpoint::bind(Arc::clone(key), transport)
            .map_err(|source| StartError::Udp { listen, source })
    };
    let (ip, port) = match (settings.listen, settings.endpoint) {
        (Some(listen), _) if listen.port() != 0 => return open(listen),
        (None, Some(endpoint)) => return any(|ip| open(SocketAddr::new(ip, endpoint.port()))),
        (Some(listen), _) => (Some(listen.ip()), last_port),
        (None, None) => (None, last_port),
    };
    let at = |port| match ip {
        Some(ip) => open(SocketAddr::new(ip, port)),
        None => any(|ip| open(SocketAddr::new(ip, port))),
    };
    match port.map(at) {
        Some(Ok(endpoint)) => Ok(endpoint),
        // Somebody else has the port by now.
        Some(Err(_)) | None => at(0),
    }
}

/// All addresses of both families, or of IPv4 where there is no IPv6.
fn any<T>(open: impl Fn(IpAddr) -> Result<T, StartError>) -> Result<T, StartError> {
    open(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| open(Ipv4Addr::UNSPECIFIED.into()))
}

fn connect(
    settings: &Settings,
    boot: BootId,
    endpoint: Endpoint,
    host: &Arc<NodeHost>,
    rendezvous: Option<NodeId>,
    store: &Store,
) -> Result<Overlay, StartError> {
    let local = endpoint.local_addr();
    let mut batch = store.batch();
    meta::put(&mut batch, meta::Key::Port, local.port().to_string().into_bytes());
    // If it is lost, the next start takes another port.
    drop(store.commit(batch));
    if settings.registry.is_none() {
        tracing::warn!("no rendezvous is configured: only peers known from before are reached");
    }
    let register = Register {
        minor: MINOR_VERSION,
        name: settings.name.clone(),
        tags: settings.tags.clone(),
        public: settings.public,
        endpoints: match settings.endpoint {
            Some(endpoint) => Endpoints::new([endpoint]),
            None => Endpoints::new(local_candidates(local)),
        },
        fixed: settings.endpoint.is_some(),
        boot,
    };
    let overlay = Overlay::start(Setup {
        me: endpoint.id(),
        endpoint,
        boot,
        host: Arc::clone(host) as Arc<dyn pilot_overlay::Host>,
        cards: store.read(cards::all)?,
        registry: settings.registry.clone().map(|addr| (addr, rendezvous)),
        beacons: settings.beacons.clone(),
        register,
    });
    let listener = Arc::clone(host);
    host.trust.connect(overlay.clone(), move |peer, standing| {
        listener.trust_changed(peer, standing);
    });
    host.tasks.connect(overlay.clone());
    host.data.connect(overlay.clone());
    host.events.connect(overlay.clone());
    host.messages.connect(overlay.clone());
    if host.overlay.set(overlay.clone()).is_err() {
        tracing::error!("the host was connected twice");
    }
    // Only now: what changes from here on is told to the overlay by the host.
    for peer in host.trust.mutual() {
        overlay.admit(peer);
    }
    Ok(overlay)
}
