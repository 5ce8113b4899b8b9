//! Takes connections, and serves each carrier to its end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use pilot_identity::NodeKey;
use pilot_transport::{CARRIER_ALPN, TlsError, carrier_server, pump};
use pilot_transport::{Limiter, source};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::CarrierSettings;
use super::door::{Switch, Ways};
use super::seats::{Seat, Seats};
use crate::beacon::CarrierId;

/// Datagrams that wait for a carrier; further ones are dropped. 190 kB of the
/// largest: TCP's own buffer comes on top, and a longer queue only adds delay.
const MAX_QUEUED: usize = 128;

/// How long the handshake of a stranger may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after the system had no file or memory for a connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Sources that may be busy at once; see [`Limiter`].
const MAX_SOURCES: usize = 65_536;

pub(super) struct Taker {
    tls: TlsAcceptor,
    ways: Ways,
    seats: Seats,
    rate: Limiter<IpAddr>,
    limit_loopback: bool,
    /// The number of the last carrier.
    last: u64,
}

impl Taker {
    pub(super) fn new(
        key: Arc<NodeKey>,
        settings: &CarrierSettings,
        ways: Ways,
    ) -> Result<Self, TlsError> {
        let number = |of: NonZeroU32| usize::try_from(of.get()).unwrap_or(usize::MAX);
        Ok(Self {
            tls: TlsAcceptor::from(carrier_server(key)?),
            ways,
            seats: Seats::new(number(settings.max), number(settings.max_of_one)),
            rate: Limiter::new(settings.per_second, MAX_SOURCES),
            limit_loopback: settings.limit_loopback,
            last: 0,
        })
    }

    /// Takes carriers until `stop` is cancelled, and ends them then.
    ///
    /// # Errors
    ///
    /// If the runtime does not take the listeners.
    pub(super) async fn run(
        mut self,
        listeners: Vec<std::net::TcpListener>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let listeners =
            listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        if listeners.is_empty() {
            stop.cancelled().await;
            return Ok(());
        }
        let mut carriers = JoinSet::new();
        loop {
            let accepting = listeners.iter().map(|listener| Box::pin(listener.accept()));
            tokio::select! {
                () = stop.cancelled() => break,
                (accepted, ..) = select_all(accepting) => match accepted {
                    Ok((stream, remote)) => self.on_connection(stream, remote, &mut carriers, &stop),
                    Err(error) => {
                        tracing::debug!(%error, "a connection was not taken");
                        sleep(NO_ROOM).await;
                    }
                },
                Some(ended) = carriers.join_next(), if !carriers.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a carrier was not served to its end");
                    }
                }
            }
        }
        while carriers.join_next().await.is_some() {}
        Ok(())
    }

    fn on_connection(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        carriers: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let source = source(remote.ip());
        let is_limited = self.limit_loopback || !remote.ip().is_loopback();
        if is_limited && self.rate.take(source, Instant::now()).is_err() {
            return tracing::debug!(%remote, "refused a carrier: too many from there");
        }
        let Some(seat) = self.seats.take(source) else {
            return tracing::debug!(%remote, "refused a carrier: as many as allowed are open");
        };
        self.last += 1;
        let carrier = Served {
            id: CarrierId(self.last),
            remote,
            tls: self.tls.clone(),
            ways: self.ways.clone(),
            stop: stop.clone(),
            _seat: seat,
        };
        carriers.spawn(carrier.serve(stream));
    }
}

struct Served {
    id: CarrierId,
    remote: SocketAddr,
    tls: TlsAcceptor,
    ways: Ways,
    stop: CancellationToken,
    _seat: Seat,
}

impl Served {
    #[tracing::instrument(name = "carrier", skip_all, fields(id = self.id.0))]
    async fn serve(self, stream: TcpStream) {
        let Self { id, remote, tls, ways, stop, _seat } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a carrier waits for full packets");
        }
        let handshake = tokio::select! {
            done = timeout(HANDSHAKE, tls.accept(stream)) => done,
            () = stop.cancelled() => return,
        };
        let stream = match handshake {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(CARRIER_ALPN) => stream,
            Ok(Ok(_)) => return tracing::debug!(%remote, "speaks something else"),
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "no carrier"),
            Err(_) => return tracing::debug!(%remote, "no handshake came"),
        };
        let (out, queue) = mpsc::channel(MAX_QUEUED);
        let mut switch = Switch::new(ways, id, remote, out).await;
        tracing::debug!(%remote, "a carrier is open");
        let moved = pump(stream, queue, |datagram| switch.receive(datagram), &stop).await;
        switch.end().await;
        match moved {
            Ok(()) => tracing::debug!("the carrier has ended"),
            Err(error) => tracing::debug!(%error, "the carrier broke"),
        }
    }
}

impl std::fmt::Debug for Taker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taker").field("seats", &self.seats).finish_non_exhaustive()
    }
}
