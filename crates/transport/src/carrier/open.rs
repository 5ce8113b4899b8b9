//! Opening a carrier: straight, or through the proxy of the network.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, select_ok};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use pilot_identity::NodeId;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::{Attached, Carrier, HTTPS_PORT, MAX_QUEUED, Pump, pump};
use crate::host_port::HostPort;
use crate::socket::Socket;
use crate::tls::{ServerVerifier, Tls, TlsError};

/// How long one try may take, from the first packet to the end of the handshake.
const PATIENCE: Duration = Duration::from_secs(8);

/// Head start of the target's own port before 443 is tried beside it.
const HEAD_START: Duration = Duration::from_millis(300);

/// Never sent: rendezvous and beacons have no names.
const SERVER_NAME: &str = "node.invalid";

/// Which HTTP proxy stands before which host, as `HTTPS_PROXY`, `ALL_PROXY`
/// and `NO_PROXY` say.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Matcher>>);

impl Proxies {
    /// None.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// As this process's environment says at this moment.
    #[must_use]
    pub fn from_env() -> Self {
        Self(Some(Arc::new(Matcher::from_env())))
    }

    /// `proxy` (such as `http://proxy:3128`) before every host.
    #[must_use]
    pub fn always(proxy: &str) -> Self {
        Self(Some(Arc::new(Matcher::builder().all(proxy).build())))
    }

    fn before(&self, target: &HostPort) -> Option<Intercept> {
        let uri = format!("https://{target}").parse().ok()?;
        self.0.as_ref()?.intercept(&uri)
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A proxy's address may hold a password.
        f.debug_tuple("Proxies").field(&self.0.is_some()).finish()
    }
}

/// Why there is no carrier.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// Nobody takes TCP connections there.
    #[error("no TCP connection to {target}")]
    Tcp {
        /// Where.
        target: HostPort,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The proxy does not let this node through.
    #[error("the proxy does not connect to {target}: {problem}")]
    Proxy {
        /// Where.
        target: HostPort,
        /// What it said.
        problem: String,
    },
    /// Something else answers there, or somebody reads along.
    #[error("no carrier answers at {target}")]
    Tls {
        /// Where.
        target: HostPort,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// Nothing answered in time.
    #[error("{target} does not answer over TCP")]
    Silent {
        /// Where.
        target: HostPort,
    },
    /// This build cannot.
    #[error("TLS is impossible")]
    Local(#[from] TlsError),
}

/// What a dial of a carrier needs.
pub(crate) struct Opening<'a> {
    pub(crate) socket: &'a Arc<Socket>,
    pub(crate) tls: &'a Tls,
    pub(crate) proxies: &'a Proxies,
}

/// Opens a carrier to `target`: at its own port, or at 443 if that answers
/// first. The pump is to be awaited for as long as the carrier is used.
///
/// Cancel safe: dropped, nothing is open.
pub(crate) async fn open(
    opening: &Opening<'_>,
    target: &HostPort,
    expected: Option<NodeId>,
) -> Result<(Carrier, Pump), CarrierError> {
    let mut tries: Vec<BoxFuture<'_, _>> = vec![Box::pin(dial(opening, target.clone(), expected))];
    if let Some(https) = target.at(HTTPS_PORT).filter(|https| https != target) {
        tries.push(Box::pin(async move {
            sleep(HEAD_START).await;
            dial(opening, https, expected).await
        }));
    }
    let ((stream, by_proxy), _) = select_ok(tries).await?;
    let (out, queue) = mpsc::channel(MAX_QUEUED);
    let attached = Attached::new(Arc::clone(opening.socket), out, None);
    let ended = CancellationToken::new();
    let (socket, id, stop) = (Arc::clone(opening.socket), attached.id(), ended.clone());
    let work: Pump = Box::pin(async move {
        let _ends = stop.clone().drop_guard();
        let moved = pump(stream, queue, |datagram| socket.receive(id, datagram), &stop).await;
        if let Err(error) = moved {
            tracing::debug!(%error, "a carrier broke");
        }
    });
    Ok((Carrier { attached, ended, by_proxy }, work))
}

async fn dial(
    opening: &Opening<'_>,
    target: HostPort,
    expected: Option<NodeId>,
) -> Result<(TlsStream<TcpStream>, bool), CarrierError> {
    let dial = async {
        let proxy = opening.proxies.before(&target);
        let by_proxy = proxy.is_some();
        let stream = match proxy {
            Some(proxy) => through(&proxy, &target).await?,
            None => TcpStream::connect((target.host(), target.port()))
                .await
                .map_err(|source| CarrierError::Tcp { target: target.clone(), source })?,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a carrier waits for full packets");
        }
        let verifier = Arc::new(ServerVerifier::expecting(expected));
        let connector = TlsConnector::from(opening.tls.carrier_client(verifier));
        let failed = |source| CarrierError::Tls { target: target.clone(), source };
        let name =
            ServerName::try_from(SERVER_NAME).map_err(|error| failed(io::Error::other(error)))?;
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        Ok((stream, by_proxy))
    };
    let silent = || Err(CarrierError::Silent { target: target.clone() });
    timeout(PATIENCE, dial).await.unwrap_or_else(|_| silent())
}

async fn through(proxy: &Intercept, target: &HostPort) -> Result<TcpStream, CarrierError> {
    let refused = |problem: String| CarrierError::Proxy { target: target.clone(), problem };
    let mut tunnel = Tunnel::new(proxy.uri().clone(), HttpConnector::new());
    if let Some(auth) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    let uri = format!("https://{target}").parse();
    let uri = uri.map_err(|_| refused("it cannot be named in a request".to_owned()))?;
    let stream: TokioIo<TcpStream> =
        tunnel.call(uri).await.map_err(|error| refused(error.to_string()))?;
    Ok(stream.into_inner())
}
