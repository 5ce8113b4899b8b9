//! Asks the router to let others in: PCP (RFC 6887), NAT-PMP (RFC 6886) and
//! UPnP-IGD, over the crates that speak them.
//!
//! [`keep`] maps this node's UDP port for as long as it is awaited. What a
//! router says is a hint where the node may be reached, and nothing more: it
//! is probed like any other candidate. Leases are short, so that what is left
//! behind by a node that died is gone after twenty minutes.

mod gateway;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions, PortMappingType,
    TimeoutConfig, natpmp,
};
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{PortMappingProtocol, SearchOptions};
use tokio::sync::watch;
use tokio::time::timeout;

/// For how long a mapping is asked.
const LEASE_SECONDS: u32 = 20 * 60;

/// How long a router may take to answer one question, of either kind.
const PATIENCE: Duration = Duration::from_secs(4);

/// Pause before routers that did not answer are asked again, unless the
/// network changes.
const ASK_AGAIN: Duration = Duration::from_secs(15 * 60);

/// What a UPnP router shows its owner beside the port.
const DESCRIPTION: &str = "pilot";

/// Repetitions of a question within [`PATIENCE`]: at 0, 250, 750 and 1,750 ms.
const TIMING: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 3,
    max_retry_timeout: Some(Duration::from_secs(1)),
};

/// How a router was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// UPnP-IGD.
    Upnp,
}

/// A port of the router that leads to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Who gave it.
    pub protocol: Protocol,
    /// The public address.
    pub external: SocketAddr,
    /// For how long, from now.
    pub lease: Duration,
}

impl Protocol {
    /// Its name in the output of programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pcp => "pcp",
            Self::NatPmp => "nat_pmp",
            Self::Upnp => "upnp",
        }
    }
}

/// Why a router gives no port.
#[derive(Debug, thiserror::Error)]
enum MapError {
    #[error("this machine has no router")]
    NoGateway,
    #[error("the router says {0}")]
    Refused(String),
    #[error("no router answers")]
    Silent,
}

/// Keeps the port of `local` mapped, and tells what is mapped now. `local` is
/// where the node is in its own network; with none, nothing is asked.
///
/// Cancel safe: dropped, the mappings end with their leases.
pub async fn keep(
    mut local: watch::Receiver<Option<SocketAddrV4>>,
    told: watch::Sender<Vec<Mapping>>,
) {
    loop {
        let at = *local.borrow_and_update();
        let before = told.borrow().clone();
        let mappings = match at {
            Some(at) => open(at, &before).await,
            None => Vec::new(),
        };
        for mapping in mappings.iter().filter(|mapping| !before.contains(mapping)) {
            tracing::debug!(external = %mapping.external, by = mapping.protocol.word(), "port mapped");
        }
        let renew = mappings.iter().map(|mapping| mapping.lease / 2).min();
        told.send_replace(mappings);
        let pause = renew.unwrap_or(ASK_AGAIN).clamp(Duration::from_secs(30), ASK_AGAIN);
        if let Ok(Err(_)) = timeout(pause, local.changed()).await {
            return;
        }
    }
}

/// Asks in both ways at once; what was mapped before keeps its port if it can.
async fn open(local: SocketAddrV4, before: &[Mapping]) -> Vec<Mapping> {
    let port_of = |is: fn(Protocol) -> bool| {
        let of = before.iter().find(|mapping| is(mapping.protocol));
        of.and_then(|mapping| NonZeroU16::new(mapping.external.port()))
    };
    let upnp_port = port_of(|protocol| protocol == Protocol::Upnp);
    let other_port = port_of(|protocol| protocol != Protocol::Upnp);
    let (one, other) = tokio::join!(
        timeout(PATIENCE, ask_gateway(local, other_port)),
        timeout(PATIENCE * 2, ask_upnp(local, upnp_port)),
    );
    [one, other]
        .into_iter()
        .filter_map(|answer| match answer.unwrap_or(Err(MapError::Silent)) {
            Ok(mapping) => Some(mapping),
            Err(error) => {
                tracing::debug!(%error, "no port mapped");
                None
            }
        })
        .collect()
}

/// PCP, or NAT-PMP where the router says that it knows only that.
async fn ask_gateway(local: SocketAddrV4, wanted: Option<NonZeroU16>) -> Result<Mapping, MapError> {
    let gateway = gateway::default_gateway().ok().flatten().ok_or(MapError::NoGateway)?;
    let port = NonZeroU16::new(local.port()).ok_or(MapError::NoGateway)?;
    let options = PortMappingOptions {
        external_port: wanted.or(Some(port)),
        lifetime_seconds: Some(LEASE_SECONDS),
        timeout_config: Some(TIMING),
    };
    let gateway = GatewayAddress::IpV4(gateway);
    let client = IpAddr::V4(*local.ip());
    let mapped = PortMapping::new(gateway, client, InternetProtocol::Udp, port, options).await;
    let mapped = mapped.map_err(|error| MapError::Refused(error.to_string()))?;
    let (protocol, ip) = match mapped.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => (Protocol::Pcp, external_ip),
        PortMappingType::NatPmp => {
            let ip = natpmp::external_address(gateway, Some(TIMING)).await;
            let ip = ip.map_err(|error| MapError::Refused(error.to_string()))?;
            (Protocol::NatPmp, IpAddr::V4(ip))
        }
    };
    checked(Mapping {
        protocol,
        external: SocketAddr::new(ip.to_canonical(), mapped.external_port().get()),
        lease: Duration::from_secs(u64::from(mapped.lifetime())),
    })
}

async fn ask_upnp(local: SocketAddrV4, wanted: Option<NonZeroU16>) -> Result<Mapping, MapError> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new((*local.ip()).into(), 0);
    options.timeout = Some(PATIENCE);
    options.single_search_timeout = Some(PATIENCE / 2);
    let gateway: igd_next::aio::Gateway<Tokio> =
        search_gateway(options).await.map_err(|_| MapError::Silent)?;
    let refused = |error: &dyn std::error::Error| MapError::Refused(error.to_string());
    let port = wanted.map_or_else(|| local.port(), NonZeroU16::get);
    let udp = PortMappingProtocol::UDP;
    let at = SocketAddr::V4(local);
    let same = gateway.add_port(udp, port, at, LEASE_SECONDS, DESCRIPTION).await;
    let external_port = match same {
        Ok(()) => port,
        // Another node of this network has it.
        Err(_) => gateway
            .add_any_port(udp, at, LEASE_SECONDS, DESCRIPTION)
            .await
            .map_err(|error| refused(&error))?,
    };
    let ip = gateway.get_external_ip().await.map_err(|error| refused(&error))?;
    checked(Mapping {
        protocol: Protocol::Upnp,
        external: SocketAddr::new(ip, external_port),
        lease: Duration::from_secs(u64::from(LEASE_SECONDS)),
    })
}

/// A router may say anything; an address that is nobody's is of no use.
fn checked(mapping: Mapping) -> Result<Mapping, MapError> {
    let is_usable = match mapping.external.ip() {
        IpAddr::V4(ip) => {
            ip != Ipv4Addr::UNSPECIFIED
                && !ip.is_loopback()
                && !ip.is_multicast()
                && !ip.is_broadcast()
        }
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast(),
    };
    if is_usable && mapping.external.port() != 0 && !mapping.lease.is_zero() {
        Ok(mapping)
    } else {
        Err(MapError::Refused(format!("{} for {:?}", mapping.external, mapping.lease)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(external: &str, lease: u64) -> Mapping {
        Mapping {
            protocol: Protocol::Pcp,
            external: external.parse().unwrap(),
            lease: Duration::from_secs(lease),
        }
    }

    #[test]
    fn nonsense_of_routers_is_not_believed() {
        for (external, lease) in
            [("0.0.0.0:7", 9), ("127.0.0.1:7", 9), ("192.0.2.1:0", 9), ("192.0.2.1:7", 0)]
        {
            assert!(checked(mapping(external, lease)).is_err(), "{external} for {lease} s");
        }
        assert!(checked(mapping("192.0.2.1:7", 9)).is_ok());
    }

    #[tokio::test]
    async fn without_a_network_of_its_own_a_node_asks_nobody() {
        let (at, local) = watch::channel(None);
        let (told, mut mapped) = watch::channel(vec![mapping("192.0.2.1:7", 9)]);

        let look = async {
            mapped.wait_for(Vec::is_empty).await.unwrap();
            drop(at);
        };

        tokio::join!(keep(local, told), look);

        assert!(mapped.borrow().is_empty());
    }
}
