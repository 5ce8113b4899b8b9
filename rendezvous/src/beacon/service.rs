//! A beacon as a whole: its sockets, its thread, and its end.
//!
//! It has a thread of its own, so that a flood at its sockets does not keep
//! the registry from its nodes, nor the other way round.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pilot_identity::NodeKey;
use pilot_proto::beacon::Services;
use tokio::sync::mpsc;

use super::carried::FromCarrier;
use super::counters::Counters;
use super::driver::Driver;
use super::rate::ByteRate;
use super::relay::{Admission, Relay, RelaySettings};
use super::socket::{Bound, Socket};
use super::stun::{Layout, SocketIndex, StunServer};
use crate::worker::Worker;

/// Packets of carriers that wait for the beacon; carriers wait beyond.
const MAX_CARRIED: usize = 1024;

/// What a beacon is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// A second address or port for STUN; the port may be 0 for any.
    pub alternate: Option<SocketAddr>,
    /// What it does.
    pub services: Services,
    /// Who is let in.
    pub admission: Admission,
    /// Clients at once; further ones are refused.
    pub max_clients: NonZeroU32,
    /// Bytes a second that one client may send; more is dropped.
    pub client_rate: ByteRate,
    /// The same for what one client sends to one other.
    pub pair_rate: ByteRate,
    /// Hellos and binds a second of one source, each; more are dropped.
    pub binds_per_second: NonZeroU32,
    /// STUN requests a second of one source; more are dropped.
    pub stun_per_second: NonZeroU32,
    /// Whether the rates also hold for nodes on this machine.
    pub limit_loopback: bool,
}

/// Why a beacon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartBeaconError {
    /// An address is in use, or not of this machine.
    #[error("cannot bind the beacon to {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The second address is of no use.
    #[error(
        "a beacon at {listen} has no use for the other address {alternate}: \
         both must be addresses of this machine, of one family, with different ports"
    )]
    Alternate {
        /// The first.
        listen: SocketAddr,
        /// The second.
        alternate: SocketAddr,
    },
    /// The system gives no random numbers.
    #[error("cannot draw a random seed")]
    Random(#[source] getrandom::Error),
    /// The system gives no thread, or no runtime in it.
    #[error("cannot start the thread of the beacon")]
    Thread(#[source] io::Error),
}

/// A beacon that runs. Dropped, it ends by itself a moment later.
#[derive(Debug)]
pub struct Beacon {
    addr: SocketAddr,
    counters: Arc<Mutex<Counters>>,
    carriers: mpsc::Sender<FromCarrier>,
    worker: Worker,
}

impl Beacon {
    /// Binds the sockets and starts to answer.
    ///
    /// # Errors
    ///
    /// [`StartBeaconError`]
    pub fn start(key: Arc<NodeKey>, settings: &BeaconSettings) -> Result<Self, StartBeaconError> {
        let (layout, bound) = bind(settings.listen, settings.alternate)?;
        let addr = bound.first().map_or(settings.listen, |(_, bound)| bound.local);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(StartBeaconError::Random)?;
        let relay = Relay::new(key, relay(settings, &layout), seed, Instant::now());
        let stun = settings
            .services
            .contains(Services::STUN)
            .then(|| StunServer::new(layout, settings.stun_per_second, settings.limit_loopback));
        let counters = Arc::new(Mutex::new(Counters::default()));
        let (carriers, packets) = mpsc::channel(MAX_CARRIED);
        let published = Arc::clone(&counters);
        let worker = Worker::start("beacon", async move |stop| {
            let (main, others) = open(bound)?;
            Driver::new(main, others, relay, stun, packets, published).run(stop).await
        })
        .map_err(StartBeaconError::Thread)?;
        tracing::info!(%addr, services = %settings.services, "beacon started");
        Ok(Self { addr, counters, carriers, worker })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has done, as of its last pause.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where carriers hand in what came over them.
    #[must_use]
    pub fn carriers(&self) -> mpsc::Sender<FromCarrier> {
        self.carriers.clone()
    }

    /// Waits until its thread has ended, which it should not do by itself.
    ///
    /// Cancel safe.
    pub async fn ended(&self) {
        self.worker.ended().await;
    }

    /// Ends it, and waits for that.
    ///
    /// Not cancel safe: dropped, the thread ends without anybody waiting.
    pub async fn stop(self) {
        self.worker.stop().await;
    }
}

fn relay(settings: &BeaconSettings, layout: &Layout) -> RelaySettings {
    RelaySettings {
        services: settings.services,
        admission: settings.admission.clone(),
        stun: layout.told(),
        max_clients: settings.max_clients,
        client_rate: settings.client_rate,
        pair_rate: settings.pair_rate,
        binds_per_second: settings.binds_per_second,
        limit_loopback: settings.limit_loopback,
    }
}

/// Binds all sockets, the main one first. A port of 0 is settled by the first
/// socket that gets it.
fn bind(
    listen: SocketAddr,
    alternate: Option<SocketAddr>,
) -> Result<(Layout, Vec<(SocketIndex, Bound)>), StartBeaconError> {
    let at = |addr| Bound::bind(addr).map_err(|source| StartBeaconError::Bind { addr, source });
    let main = at(listen)?;
    let Some(wanted) = alternate else {
        return Ok((Layout::One(main.local), vec![(SocketIndex::MAIN, main)]));
    };
    let unusable = || StartBeaconError::Alternate { listen, alternate: wanted };
    let (is_same_ip, port) = (wanted.ip() == listen.ip(), main.local.port());
    if listen.is_ipv4() != wanted.is_ipv4() || wanted.port() == port {
        return Err(unusable());
    }
    if !is_same_ip && (listen.ip().is_unspecified() || wanted.ip().is_unspecified()) {
        return Err(unusable());
    }
    let other_port = at(SocketAddr::new(listen.ip(), wanted.port()))?;
    let other = SocketAddr::new(wanted.ip(), other_port.local.port());
    let layout = if is_same_ip {
        Layout::Ports(main.local, other.port())
    } else {
        Layout::Full(main.local, other)
    };
    let [first, second, third, fourth] = SocketIndex::ALL;
    let mut bound = vec![(first, main), (second, other_port)];
    if !is_same_ip {
        bound.push((third, at(SocketAddr::new(other.ip(), port))?));
        bound.push((fourth, at(other)?));
    }
    Ok((layout, bound))
}

/// Hands the sockets to the runtime.
fn open(bound: Vec<(SocketIndex, Bound)>) -> io::Result<(Socket, Vec<(SocketIndex, Socket)>)> {
    let mut opened = Vec::new();
    for (index, bound) in bound {
        opened.push((index, bound.open()?));
    }
    if opened.is_empty() {
        return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
    }
    let (_, main) = opened.remove(0);
    Ok((main, opened))
}
