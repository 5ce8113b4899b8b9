//! The rendezvous as a whole: from settings to sockets that answer, and back.

use std::net::SocketAddr;
use std::sync::Arc;

use pilot_home::{Home, LoadKeyError, OpenHomeError};
use pilot_identity::{NodeId, NodeKey};
use pilot_proto::registry::Beacon as BeaconRecord;
use pilot_proto::text::Text;
use pilot_store::{OpenError, Store};
use pilot_transport::BindError;
use tokio_util::sync::CancellationToken;

use crate::acceptor::Acceptor;
use crate::beacon::{Admission, Beacon, BeaconSettings, StartBeaconError};
use crate::carriers::{Carriers, ListenAt, Need, StartCarriersError, Ways};
use crate::journal;
use crate::keeper::{Keeper, LoadError};
use crate::settings::{Guests, Settings};
use crate::signposts::Signposts;

/// Everything that must survive, in the state folder.
const DATABASE: &str = "registry.db";

/// A rendezvous that listens.
#[derive(Debug)]
pub struct Server {
    id: NodeId,
    addr: SocketAddr,
    registry: Option<Acceptor>,
    beacon: Option<Beacon>,
    carriers: Carriers,
    /// Held for its lock.
    _home: Home,
}

/// Why a rendezvous did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder is not usable.
    #[error(transparent)]
    Home(#[from] OpenHomeError),
    /// Its key is not usable.
    #[error(transparent)]
    Key(#[from] LoadKeyError),
    /// Its database is not usable.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What is in the database is not usable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its socket is not usable.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its beacon is not usable.
    #[error(transparent)]
    Beacon(#[from] StartBeaconError),
    /// Nodes cannot get through over TCP where they should.
    #[error(transparent)]
    Carriers(#[from] StartCarriersError),
    /// It is told to be neither registry nor beacon.
    #[error("there is neither a registry nor a beacon to start")]
    Nothing,
}

impl Server {
    /// Opens the folder, loads the registry and binds the sockets. The beacon
    /// answers at once, nobody else before [`Server::run`]. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`StartError`]
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let home = Home::open(&settings.state_dir)?;
        let key = Arc::new(home.load_key()?);
        let keeper = match settings.has_registry {
            true => {
                let database = home.path().join(DATABASE);
                let store = Store::open(&pilot_store::Settings::new(database, journal::SCHEMA))?;
                Some(Keeper::load(store, settings.network, settings.max_nodes.get()).await?)
            }
            false => None,
        };
        let beacon = match &settings.beacon {
            Some(wanted) => Some(start_beacon(settings, wanted, Arc::clone(&key))?),
            None => None,
        };
        let registry = match keeper {
            Some(keeper) => {
                let beacons = told(settings, beacon.as_ref(), key.id());
                let signposts = Signposts::new(Arc::clone(&key), beacons);
                Some(Acceptor::bind(settings, Arc::clone(&key), keeper, signposts)?)
            }
            None => None,
        };
        let registering = registry.as_ref().map(Acceptor::local_addr);
        let addr = registering.or_else(|| beacon.as_ref().map(Beacon::local_addr));
        let addr = addr.ok_or(StartError::Nothing)?;
        let door = registry.as_ref().map(Acceptor::door);
        let ways = Ways { registry: door, beacon: beacon.as_ref().map(Beacon::carriers) };
        let at = registering.into_iter().chain(beacon.as_ref().map(Beacon::local_addr));
        let carriers = start_carriers(settings, Arc::clone(&key), at, ways)?;
        Ok(Self { id: key.id(), addr, registry, beacon, carriers, _home: home })
    }

    /// Where nodes register; where the beacon is, if it is alone.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its beacon, if it has one.
    #[must_use]
    pub const fn beacon(&self) -> Option<&Beacon> {
        self.beacon.as_ref()
    }

    /// The TCP addresses at which nodes get through, too.
    #[must_use]
    pub fn carrier_addrs(&self) -> &[SocketAddr] {
        self.carriers.local_addrs()
    }

    /// Its key, which nodes pin.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Serves until `stop` is cancelled, or a socket fails; then says goodbye
    /// to all nodes and closes the store.
    ///
    /// Not cancel safe: dropped, nodes notice by silence and the next start
    /// checks the database.
    pub async fn run(self, stop: CancellationToken) {
        let Self { registry, beacon, carriers, _home, .. } = self;
        // When one ends, so do all; carriers last, for goodbyes go over them, too.
        let (all, told) = (stop.child_token(), CancellationToken::new());
        let registered = async {
            match registry {
                Some(registry) => registry.run(all.clone()).await,
                None => all.cancelled().await,
            }
            all.cancel();
            told.cancel();
        };
        let relayed = async {
            match beacon {
                Some(beacon) => {
                    tokio::select! {
                        () = all.cancelled() => {}
                        () = beacon.ended() => all.cancel(),
                    }
                    told.cancelled().await;
                    beacon.stop().await;
                }
                None => all.cancelled().await,
            }
        };
        let carried = async {
            tokio::select! {
                () = all.cancelled() => {}
                () = carriers.ended() => all.cancel(),
            }
            told.cancelled().await;
            carriers.stop().await;
        };
        tokio::join!(registered, relayed, carried);
    }
}

fn start_beacon(
    settings: &Settings,
    wanted: &BeaconSettings,
    key: Arc<NodeKey>,
) -> Result<Beacon, StartBeaconError> {
    let admission = match &settings.guests {
        Guests::Anybody => Admission::Open,
        Guests::Of(others) => {
            let own = settings.has_registry.then(|| key.id());
            Admission::Tickets(own.into_iter().chain(others.iter().copied()).collect())
        }
    };
    Beacon::start(key, &BeaconSettings { admission, ..wanted.clone() })
}

/// At the same ports as over UDP, and where the settings say.
fn start_carriers(
    settings: &Settings,
    key: Arc<NodeKey>,
    own: impl Iterator<Item = SocketAddr>,
    ways: Ways,
) -> Result<Carriers, StartCarriersError> {
    let listen: Vec<ListenAt> = own
        .map(|addr| ListenAt { addr, need: Need::Wanted })
        .chain(settings.tcp_listen.iter().copied())
        .collect();
    Carriers::start(key, &listen, &settings.carriers, ways)
}

/// The own beacon first, then the others.
fn told(settings: &Settings, beacon: Option<&Beacon>, key: NodeId) -> Vec<BeaconRecord> {
    let own = beacon.zip(settings.beacon.as_ref()).map(|(beacon, wanted)| {
        let addr = beacon.local_addr();
        // Where the rendezvous is found, the beacon is, unless it was put elsewhere.
        let elsewhere = addr.ip() != settings.registry_listen.ip() && !addr.ip().is_unspecified();
        let host = if elsewhere { addr.ip().to_string() } else { String::new() };
        BeaconRecord {
            host: Text::clipped(&host),
            port: addr.port(),
            key,
            services: wanted.services,
        }
    });
    own.into_iter().chain(settings.beacons.iter().cloned()).collect()
}
