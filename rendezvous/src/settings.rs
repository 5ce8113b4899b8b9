//! What an operator can set: flag, then variable, then file, then default.

mod flags;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use pilot_identity::NodeId;
use pilot_proto::beacon::Services;
use pilot_proto::registry::{Beacon, MAX_BEACONS};

use crate::beacon::{Admission, BeaconSettings, ByteRate};
use crate::carriers::{CarrierSettings, ListenAt, Need};
pub use flags::{ConfigFile, Flags};
pub use values::{
    Alternate, AlternateError, FurtherBeacon, FurtherBeaconError, ServiceList, ServiceListError,
};

/// What a rendezvous is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the socket is bound.
    pub registry_listen: SocketAddr,
    /// Folder of the key and the database.
    pub state_dir: PathBuf,
    /// The network whose addresses are given.
    pub network: u16,
    /// Connections and handshakes at once; further ones are refused.
    pub max_connections: NonZeroU32,
    /// Keys registered; further ones are refused with `network_full`.
    pub max_nodes: NonZeroU32,
    /// How often somebody may ask.
    pub rates: Rates,
    /// Whether there is a registry, or a beacon alone.
    pub has_registry: bool,
    /// Who may use the beacon without a ticket of this rendezvous.
    pub guests: Guests,
    /// The beacon of this process, whose admission is settled when the key of
    /// the rendezvous is known; none if it does nothing.
    pub beacon: Option<BeaconSettings>,
    /// Further beacons that nodes are told of.
    pub beacons: Vec<Beacon>,
    /// TCP addresses for carriers besides the ports of registry and beacon.
    pub tcp_listen: Vec<ListenAt>,
    /// How many carriers there may be.
    pub carriers: CarrierSettings,
}

/// Who may use the beacon without a ticket of this rendezvous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guests {
    /// Nodes with a ticket of one of these.
    Of(Vec<NodeId>),
    /// Anybody.
    Anybody,
}

/// How often somebody may ask. Four seconds' worth may come at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// New connections of one source; beyond, they are refused.
    pub connections_per_second: NonZeroU32,
    /// Requests of one key; beyond, they are answered with `rate_limited`.
    pub requests_per_second: NonZeroU32,
    /// `KeyOf` requests of one key; beyond, they are answered with `rate_limited`.
    pub key_lookups_per_second: NonZeroU32,
    /// Whether nodes on this machine are limited, too.
    pub limit_loopback: bool,
}

/// Why settings do not fit together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no folder to keep state in.
    #[error("neither --state-dir nor XDG_STATE_HOME nor HOME says where the state is kept")]
    NoStateDir,
    /// Neither registry nor beacon.
    #[error("with --no-registry and no --beacon-services there is nothing to do")]
    Nothing,
    /// A beacon alone takes nobody's tickets.
    #[error("with --no-registry, --ticket-key or --open says who may use the beacon")]
    NobodyAdmitted,
    /// More than can be told.
    #[error("nodes are told of {MAX_BEACONS} beacons at most, this one included")]
    TooManyBeacons,
}

impl Settings {
    /// A rendezvous at `registry_listen` in `state_dir` with all defaults.
    #[must_use]
    pub const fn new(registry_listen: SocketAddr, state_dir: PathBuf) -> Self {
        Self {
            registry_listen,
            state_dir,
            network: 1,
            max_connections: number(20_000),
            // Half a gigabyte of the largest registrations; a typical one has 400 bytes.
            max_nodes: number(100_000),
            rates: Rates {
                // A site of 400 nodes behind one address comes back at once.
                connections_per_second: number(100),
                requests_per_second: number(500),
                // A person pairs nodes one by one; a scan of all addresses is slow.
                key_lookups_per_second: number(10),
                limit_loopback: false,
            },
            has_registry: true,
            guests: Guests::Of(Vec::new()),
            beacon: Some(BeaconSettings {
                listen: beacon_of(registry_listen),
                alternate: None,
                services: Services::ALL,
                admission: Admission::Tickets(Vec::new()),
                max_clients: number(20_000),
                // Two and one Gbit/s: nobody's line is taken by a single node.
                client_rate: ByteRate(250_000_000),
                pair_rate: ByteRate(125_000_000),
                // A site of 400 nodes behind one address comes back at once.
                binds_per_second: number(100),
                stun_per_second: number(100),
                limit_loopback: false,
            }),
            beacons: Vec::new(),
            tcp_listen: Vec::new(),
            carriers: CarrierSettings {
                // With full buffers each holds 200 kB.
                max: number(2_000),
                max_of_one: number(256),
                per_second: number(100),
                limit_loopback: false,
            },
        }
    }

    /// Puts flags (with their variables) over the file over the defaults.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]
    pub fn resolve(flags: &Flags, file: &ConfigFile) -> Result<Self, SettingsError> {
        let state_dir = flags.state_dir.clone().or_else(|| file.state_dir.clone());
        let state_dir = state_dir.or_else(default_state_dir).ok_or(SettingsError::NoStateDir)?;
        let listen = flags.registry_listen.or(file.registry_listen);
        let default = Self::new(
            listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT))),
            state_dir,
        );
        let settings = Self {
            network: flags.network.or(file.network).unwrap_or(default.network),
            max_connections: flags
                .max_connections
                .or(file.max_connections)
                .unwrap_or(default.max_connections),
            max_nodes: flags.max_nodes.or(file.max_nodes).unwrap_or(default.max_nodes),
            rates: rates(flags, file, default.rates),
            has_registry: !flags.no_registry.or(file.no_registry).unwrap_or_default(),
            guests: guests(flags, file),
            beacon: beacon(flags, file, default.beacon),
            beacons: either(&flags.beacon, &file.beacon).iter().map(FurtherBeacon::told).collect(),
            tcp_listen: either(&flags.tcp_listen, &file.tcp_listen)
                .iter()
                .map(|addr| ListenAt { addr: *addr, need: Need::Required })
                .collect(),
            ..default
        };
        let carriers = CarrierSettings {
            max: flags.max_carriers.or(file.max_carriers).unwrap_or(settings.carriers.max),
            max_of_one: flags
                .max_carriers_per_source
                .or(file.max_carriers_per_source)
                .unwrap_or(settings.carriers.max_of_one),
            per_second: settings.rates.connections_per_second,
            limit_loopback: settings.rates.limit_loopback,
        };
        Self { carriers, ..settings }.try_https().check()
    }

    /// Where registry or beacon are at their own ports, nodes look for them at
    /// the port of HTTPS, too.
    fn try_https(mut self) -> Self {
        let addr = match &self.beacon {
            _ if self.has_registry => Some((self.registry_listen, DEFAULT_PORT)),
            Some(beacon) => Some((beacon.listen, DEFAULT_BEACON_PORT)),
            None => None,
        };
        if let Some((addr, port)) = addr
            && addr.port() == port
            && self.tcp_listen.is_empty()
        {
            let addr = SocketAddr::new(addr.ip(), HTTPS_PORT);
            self.tcp_listen.push(ListenAt { addr, need: Need::Tried });
        }
        self
    }

    fn check(self) -> Result<Self, SettingsError> {
        let own = usize::from(self.beacon.is_some());
        if self.beacons.len() + own > MAX_BEACONS {
            return Err(SettingsError::TooManyBeacons);
        }
        if self.has_registry {
            return Ok(self);
        }
        match &self.guests {
            _ if self.beacon.is_none() => Err(SettingsError::Nothing),
            Guests::Of(keys) if keys.is_empty() => Err(SettingsError::NobodyAdmitted),
            Guests::Of(_) | Guests::Anybody => Ok(self),
        }
    }
}

fn rates(flags: &Flags, file: &ConfigFile, default: Rates) -> Rates {
    Rates {
        connections_per_second: flags
            .connections_per_second
            .or(file.connections_per_second)
            .unwrap_or(default.connections_per_second),
        requests_per_second: flags
            .requests_per_second
            .or(file.requests_per_second)
            .unwrap_or(default.requests_per_second),
        key_lookups_per_second: flags
            .key_lookups_per_second
            .or(file.key_lookups_per_second)
            .unwrap_or(default.key_lookups_per_second),
        limit_loopback: flags
            .limit_loopback
            .or(file.limit_loopback)
            .unwrap_or(default.limit_loopback),
    }
}

fn guests(flags: &Flags, file: &ConfigFile) -> Guests {
    if flags.open.or(file.open).unwrap_or_default() {
        Guests::Anybody
    } else {
        Guests::Of(either(&flags.ticket_key, &file.ticket_key).to_vec())
    }
}

/// With one address STUN still tells a NAT that gives each destination another
/// port, by a second port of the beacon's: the next one, or any beside a beacon
/// that is not where nodes look for it.
fn second_port(beacon: SocketAddr) -> SocketAddr {
    let port = if beacon.port() == DEFAULT_BEACON_PORT { DEFAULT_BEACON_PORT + 1 } else { 0 };
    SocketAddr::new(beacon.ip(), port)
}

fn beacon(
    flags: &Flags,
    file: &ConfigFile,
    default: Option<BeaconSettings>,
) -> Option<BeaconSettings> {
    let default = default?;
    let services = flags.beacon_services.or(file.beacon_services);
    let alternate = flags.beacon_alternate.or(file.beacon_alternate);
    let rate =
        |flag: Option<u64>, file: Option<u64>, default| flag.or(file).map_or(default, ByteRate);
    let listen = flags.beacon_listen.or(file.beacon_listen).unwrap_or(default.listen);
    let beacon = BeaconSettings {
        listen,
        alternate: alternate.map_or_else(|| Some(second_port(listen)), Alternate::addr),
        services: services.map_or(default.services, ServiceList::services),
        admission: default.admission,
        max_clients: flags
            .max_beacon_clients
            .or(file.max_beacon_clients)
            .unwrap_or(default.max_clients),
        client_rate: rate(
            flags.relay_bytes_per_second,
            file.relay_bytes_per_second,
            default.client_rate,
        ),
        pair_rate: rate(flags.pair_bytes_per_second, file.pair_bytes_per_second, default.pair_rate),
        binds_per_second: flags
            .binds_per_second
            .or(file.binds_per_second)
            .unwrap_or(default.binds_per_second),
        stun_per_second: flags
            .stun_per_second
            .or(file.stun_per_second)
            .unwrap_or(default.stun_per_second),
        limit_loopback: flags
            .limit_loopback
            .or(file.limit_loopback)
            .unwrap_or(default.limit_loopback),
    };
    (beacon.services != Services::NONE).then_some(beacon)
}

/// What was given as flags, or else what is in the file.
fn either<'a, T>(flags: &'a [T], file: &'a [T]) -> &'a [T] {
    if flags.is_empty() { file } else { flags }
}

/// The ports in every document.
const DEFAULT_PORT: u16 = 9000;
const DEFAULT_BEACON_PORT: u16 = 9001;
const HTTPS_PORT: u16 = 443;

/// Nodes learn the port from the registry: beside one that is elsewhere, any will do.
const fn beacon_of(registry: SocketAddr) -> SocketAddr {
    let port = if registry.port() == DEFAULT_PORT { DEFAULT_BEACON_PORT } else { 0 };
    SocketAddr::new(registry.ip(), port)
}

const fn number(of: u32) -> NonZeroU32 {
    match NonZeroU32::new(of) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// By the XDG base directory specification, which wants an absolute path.
fn default_state_dir() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("pilot-rendezvous"))
}

#[cfg(test)]
mod tests;
