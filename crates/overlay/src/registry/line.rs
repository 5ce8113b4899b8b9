//! Opening the line to the rendezvous: over UDP, or over TCP where UDP does not pass.

use core::time::Duration;
use std::net::SocketAddr;

use futures_util::future::{Either, select};
use pilot_identity::NodeId;
use pilot_proto::close;
use pilot_transport::{
    Alpn, Carrier, CarrierError, ConnectError, Connection, Endpoint, Expect, Pump,
};
use tokio::time::{sleep, timeout};

use super::ANSWER_TIMEOUT;
use super::status::LineError;
use crate::registry_addr::RegistryAddr;

/// How long UDP alone is tried before TCP is tried beside it.
///
/// A rendezvous on the other side of the world answers within 0.4 s; a lost
/// first packet is sent again after one.
const UDP_PATIENCE: Duration = Duration::from_millis(1500);

/// How long a line over TCP may take, from the first packet to the last
/// handshake: TCP, a proxy, TLS and QUIC.
const CARRIER_TIMEOUT: Duration = Duration::from_secs(12);

/// Pause between looks whether UDP passes again.
const UDP_AGAIN: Duration = Duration::from_secs(60);

/// What a line over TCP rests on.
pub(super) struct Carried {
    pub(super) carrier: Carrier,
    pub(super) pump: Pump,
}

/// Connects over UDP, or over TCP if that is faster or all there is.
///
/// Cancel safe: dropped, nothing is open.
pub(super) async fn open(
    endpoint: &Endpoint,
    addr: &RegistryAddr,
    pinned: Option<NodeId>,
) -> Result<(Connection, Option<Carried>), LineError> {
    let udp = Box::pin(over_udp(endpoint, addr, pinned));
    let tcp = Box::pin(async {
        sleep(UDP_PATIENCE).await;
        over_tcp(endpoint, addr, pinned).await
    });
    match select(udp, tcp).await {
        Either::Left((Ok(line), _)) => Ok((line, None)),
        Either::Right((Ok((line, carried)), _)) => Ok((line, Some(carried))),
        // What UDP says of the rendezvous is said of it over TCP, too.
        Either::Left((Err(error @ (LineError::WrongKey | LineError::NoAddress(_))), _)) => {
            Err(error)
        }
        Either::Left((Err(error), tcp)) => match tcp.await {
            Ok((line, carried)) => Ok((line, Some(carried))),
            Err(LineError::Carrier(carrier)) => {
                tracing::debug!(%carrier, "no line over TCP");
                Err(error)
            }
            Err(other) => Err(other),
        },
        Either::Right((Err(error), udp)) => match udp.await {
            Ok(line) => Ok((line, None)),
            Err(LineError::Silent) => Err(error),
            Err(other) => Err(other),
        },
    }
}

/// Returns once the rendezvous answers over UDP.
pub(super) async fn udp_again(endpoint: &Endpoint, addr: &RegistryAddr, pinned: Option<NodeId>) {
    loop {
        sleep(UDP_AGAIN).await;
        if let Ok(line) = over_udp(endpoint, addr, pinned).await {
            line.close(close::GOODBYE, "only looking");
            return;
        }
    }
}

async fn over_udp(
    endpoint: &Endpoint,
    addr: &RegistryAddr,
    pinned: Option<NodeId>,
) -> Result<Connection, LineError> {
    let place = addr.at.to_string();
    let found = tokio::net::lookup_host((addr.at.host(), addr.at.port())).await;
    let found: Vec<SocketAddr> =
        found.map_err(|error| LineError::Lookup(place.clone(), error))?.collect();
    if found.is_empty() {
        return Err(LineError::NoAddress(place));
    }
    let dial = endpoint.connect_any(expect(addr, pinned), &found, Alpn::Registry);
    checked(addr, timeout(ANSWER_TIMEOUT, dial).await.unwrap_or(Err(ConnectError::TimedOut)))
}

async fn over_tcp(
    endpoint: &Endpoint,
    addr: &RegistryAddr,
    pinned: Option<NodeId>,
) -> Result<(Connection, Carried), LineError> {
    let dial = async {
        let expect = expect(addr, pinned);
        let key = match expect {
            Expect::Key(key) => Some(key),
            Expect::Any => None,
        };
        let (carrier, mut pump) =
            endpoint.open_carrier(&addr.at, key).await.map_err(LineError::Carrier)?;
        let line = tokio::select! {
            () = &mut pump => return Err(LineError::CarrierEnded),
            line = endpoint.connect_over(&carrier, expect, Alpn::Registry) => line,
        };
        Ok((checked(addr, line)?, Carried { carrier, pump }))
    };
    let silent = || Err(LineError::Carrier(CarrierError::Silent { target: addr.at.clone() }));
    timeout(CARRIER_TIMEOUT, dial).await.unwrap_or_else(|_| silent())
}

fn expect(addr: &RegistryAddr, pinned: Option<NodeId>) -> Expect {
    match (pinned, addr.fingerprint) {
        // A fingerprint given by the operator outranks the pin.
        (Some(key), None) => Expect::Key(key),
        (_, Some(_)) | (None, None) => Expect::Any,
    }
}

/// Whether it is the rendezvous that the operator means.
fn checked(
    addr: &RegistryAddr,
    line: Result<Connection, ConnectError>,
) -> Result<Connection, LineError> {
    let line = match line {
        Ok(line) => line,
        Err(ConnectError::WrongKey { .. }) => return Err(LineError::WrongKey),
        Err(ConnectError::TimedOut) => return Err(LineError::Silent),
        Err(error) => return Err(LineError::Connect(error)),
    };
    if addr.fingerprint.is_some_and(|wanted| line.peer().fingerprint() != wanted) {
        line.close(close::NOT_TRUSTED, "not the pinned key");
        return Err(LineError::WrongKey);
    }
    Ok(line)
}
