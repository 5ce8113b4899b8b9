//! The flags, and the same in a file.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Parser;
use pilot_identity::NodeId;
use serde::Deserialize;

use super::values::{Alternate, FurtherBeacon, ServiceList};

/// Gives nodes their addresses, tells trusted nodes of each other, and helps
/// them to meet.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "pilot-rendezvous", version)]
pub struct Flags {
    /// UDP address and port for nodes [default: 0.0.0.0:9000]
    #[arg(long, env = "PILOT_RENDEZVOUS_REGISTRY_LISTEN", value_name = "IP:PORT")]
    pub registry_listen: Option<SocketAddr>,
    /// Folder of the key and the database
    /// [default: $XDG_STATE_HOME/pilot-rendezvous or ~/.local/state/pilot-rendezvous]
    #[arg(long, env = "PILOT_RENDEZVOUS_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Number of the network whose addresses are given [default: 1]
    #[arg(long, env = "PILOT_RENDEZVOUS_NETWORK", value_name = "N")]
    pub network: Option<u16>,
    /// Most nodes connected at once [default: 20000]
    #[arg(long, env = "PILOT_RENDEZVOUS_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<NonZeroU32>,
    /// Most keys registered [default: 100000]
    #[arg(long, env = "PILOT_RENDEZVOUS_MAX_NODES", value_name = "N")]
    pub max_nodes: Option<NonZeroU32>,
    /// New connections a second from one IPv4 address or IPv6 /64 [default: 100]
    #[arg(long, env = "PILOT_RENDEZVOUS_CONNECTIONS_PER_SECOND", value_name = "N")]
    pub connections_per_second: Option<NonZeroU32>,
    /// Requests a second of one node [default: 500]
    #[arg(long, env = "PILOT_RENDEZVOUS_REQUESTS_PER_SECOND", value_name = "N")]
    pub requests_per_second: Option<NonZeroU32>,
    /// Addresses whose key one node may ask for, a second [default: 10]
    #[arg(long, env = "PILOT_RENDEZVOUS_KEY_LOOKUPS_PER_SECOND", value_name = "N")]
    pub key_lookups_per_second: Option<NonZeroU32>,
    /// Whether these rates also hold for nodes on this machine [default: false]
    #[arg(long, env = "PILOT_RENDEZVOUS_LIMIT_LOOPBACK", value_name = "true|false")]
    pub limit_loopback: Option<bool>,
    /// UDP address and port of the beacon: STUN, hole punching, relay
    /// [default: the registry's address; port 9001, or any if the registry is not at 9000]
    #[arg(long, env = "PILOT_RENDEZVOUS_BEACON_LISTEN", value_name = "IP:PORT")]
    pub beacon_listen: Option<SocketAddr>,
    /// A second address, or the same with another port, from which STUN is
    /// answered, too, or none [default: the beacon's address, port 9002 beside
    /// 9001, any beside another]
    #[arg(long, env = "PILOT_RENDEZVOUS_BEACON_ALTERNATE", value_name = "IP:PORT")]
    pub beacon_alternate: Option<Alternate>,
    /// What the beacon does, or none for no beacon [default: stun,punch,relay]
    #[arg(long, env = "PILOT_RENDEZVOUS_BEACON_SERVICES", value_name = "LIST")]
    pub beacon_services: Option<ServiceList>,
    /// A further beacon that nodes are told of; up to three
    #[arg(
        long,
        env = "PILOT_RENDEZVOUS_BEACON",
        value_name = "HOST:PORT#KEY",
        value_delimiter = ','
    )]
    pub beacon: Vec<FurtherBeacon>,
    /// Whether this is a beacon alone, without a registry [default: false]
    #[arg(
        long,
        env = "PILOT_RENDEZVOUS_NO_REGISTRY",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub no_registry: Option<bool>,
    /// Key of a rendezvous whose nodes may use the beacon, besides those of this one
    #[arg(long, env = "PILOT_RENDEZVOUS_TICKET_KEY", value_name = "KEY", value_delimiter = ',')]
    pub ticket_key: Vec<NodeId>,
    /// Whether any node may use the beacon [default: false]
    #[arg(
        long,
        env = "PILOT_RENDEZVOUS_OPEN",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub open: Option<bool>,
    /// Most nodes bound at the beacon at once [default: 20000]
    #[arg(long, env = "PILOT_RENDEZVOUS_MAX_BEACON_CLIENTS", value_name = "N")]
    pub max_beacon_clients: Option<NonZeroU32>,
    /// Bytes a second that one node may send through the relay, 0 for no limit
    /// [default: 250000000]
    #[arg(long, env = "PILOT_RENDEZVOUS_RELAY_BYTES_PER_SECOND", value_name = "N")]
    pub relay_bytes_per_second: Option<u64>,
    /// The same for what one node sends to one other [default: 125000000]
    #[arg(long, env = "PILOT_RENDEZVOUS_PAIR_BYTES_PER_SECOND", value_name = "N")]
    pub pair_bytes_per_second: Option<u64>,
    /// Hellos and binds a second at the beacon from one IPv4 address or IPv6
    /// /64 [default: 100]
    #[arg(long, env = "PILOT_RENDEZVOUS_BINDS_PER_SECOND", value_name = "N")]
    pub binds_per_second: Option<NonZeroU32>,
    /// STUN requests a second from one IPv4 address or IPv6 /64 [default: 100]
    #[arg(long, env = "PILOT_RENDEZVOUS_STUN_PER_SECOND", value_name = "N")]
    pub stun_per_second: Option<NonZeroU32>,
    /// A TCP address at which nodes get through where no UDP passes, besides
    /// the ports of registry and beacon [default: port 443 if that is allowed]
    #[arg(
        long,
        env = "PILOT_RENDEZVOUS_TCP_LISTEN",
        value_name = "IP:PORT",
        value_delimiter = ','
    )]
    pub tcp_listen: Vec<SocketAddr>,
    /// Most TCP connections of nodes at once [default: 2000]
    #[arg(long, env = "PILOT_RENDEZVOUS_MAX_CARRIERS", value_name = "N")]
    pub max_carriers: Option<NonZeroU32>,
    /// Of those, most from one IPv4 address or IPv6 /64 [default: 256]
    #[arg(long, env = "PILOT_RENDEZVOUS_MAX_CARRIERS_PER_SOURCE", value_name = "N")]
    pub max_carriers_per_source: Option<NonZeroU32>,
    /// What is logged to stderr, such as info or pilot_rendezvous=debug [default: info]
    #[arg(long, env = "PILOT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// TOML file with the names of these flags as keys
    #[arg(long, env = "PILOT_RENDEZVOUS_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The same in a file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the flag of its name")]
pub struct ConfigFile {
    pub registry_listen: Option<SocketAddr>,
    pub state_dir: Option<PathBuf>,
    pub network: Option<u16>,
    pub max_connections: Option<NonZeroU32>,
    pub max_nodes: Option<NonZeroU32>,
    pub connections_per_second: Option<NonZeroU32>,
    pub requests_per_second: Option<NonZeroU32>,
    pub key_lookups_per_second: Option<NonZeroU32>,
    pub limit_loopback: Option<bool>,
    pub beacon_listen: Option<SocketAddr>,
    pub beacon_alternate: Option<Alternate>,
    pub beacon_services: Option<ServiceList>,
    #[serde(default)]
    pub beacon: Vec<FurtherBeacon>,
    pub no_registry: Option<bool>,
    #[serde(default)]
    pub ticket_key: Vec<NodeId>,
    pub open: Option<bool>,
    pub max_beacon_clients: Option<NonZeroU32>,
    pub relay_bytes_per_second: Option<u64>,
    pub pair_bytes_per_second: Option<u64>,
    pub binds_per_second: Option<NonZeroU32>,
    pub stun_per_second: Option<NonZeroU32>,
    #[serde(default)]
    pub tcp_listen: Vec<SocketAddr>,
    pub max_carriers: Option<NonZeroU32>,
    pub max_carriers_per_source: Option<NonZeroU32>,
    pub log: Option<String>,
}
