//! What an operator can set: flag, then variable, then file, then default.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Parser;
use serde::Deserialize;

/// Gives nodes their addresses and tells trusted nodes of each other.
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
    pub log: Option<String>,
}

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

/// There is no folder to keep state in.
#[derive(Debug, thiserror::Error)]
#[error("neither --state-dir nor XDG_STATE_HOME nor HOME says where the state is kept")]
pub struct NoStateDir;

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
        }
    }

    /// Puts flags (with their variables) over the file over the defaults.
    ///
    /// # Errors
    ///
    /// [`NoStateDir`] if the folder is not set and the user has no home.
    pub fn resolve(flags: &Flags, file: &ConfigFile) -> Result<Self, NoStateDir> {
        let state_dir = flags.state_dir.clone().or_else(|| file.state_dir.clone());
        let state_dir = state_dir.or_else(default_state_dir).ok_or(NoStateDir)?;
        let listen = flags.registry_listen.or(file.registry_listen);
        let default = Self::new(
            listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT))),
            state_dir,
        );
        let rates = Rates {
            connections_per_second: flags
                .connections_per_second
                .or(file.connections_per_second)
                .unwrap_or(default.rates.connections_per_second),
            requests_per_second: flags
                .requests_per_second
                .or(file.requests_per_second)
                .unwrap_or(default.rates.requests_per_second),
            key_lookups_per_second: flags
                .key_lookups_per_second
                .or(file.key_lookups_per_second)
                .unwrap_or(default.rates.key_lookups_per_second),
            limit_loopback: flags
                .limit_loopback
                .or(file.limit_loopback)
                .unwrap_or(default.rates.limit_loopback),
        };
        Ok(Self {
            network: flags.network.or(file.network).unwrap_or(default.network),
            max_connections: flags
                .max_connections
                .or(file.max_connections)
                .unwrap_or(default.max_connections),
            max_nodes: flags.max_nodes.or(file.max_nodes).unwrap_or(default.max_nodes),
            rates,
            ..default
        })
    }
}

/// The port in every document.
const DEFAULT_PORT: u16 = 9000;

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
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let flags = Flags::try_parse_from(["pilot-rendezvous", "--network", "7"]).unwrap();
        let file: ConfigFile = toml::from_str(
            "network = 5\nstate-dir = '/tmp/x'\nregistry-listen = '[::1]:1'\nlimit-loopback = true",
        )
        .unwrap();

        let settings = Settings::resolve(&flags, &file).unwrap();

        assert_eq!(settings.network, 7);
        assert_eq!(settings.state_dir, PathBuf::from("/tmp/x"));
        assert_eq!(settings.registry_listen, "[::1]:1".parse().unwrap());
        assert!(settings.rates.limit_loopback);
        let default = Settings::new(settings.registry_listen, settings.state_dir);
        assert_eq!(settings.max_connections, default.max_connections);
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        for text in ["netwrok = 1", "network = 70000", "max-connections = 0", "config = 'x'"] {
            assert!(toml::from_str::<ConfigFile>(text).is_err(), "{text}");
        }
        for value in ["70000", "-1", ""] {
            let words = ["pilot-rendezvous".to_owned(), format!("--network={value}")];
            assert!(Flags::try_parse_from(words).is_err(), "{value}");
        }
    }

    #[test]
    fn every_flag_has_a_variable_and_a_key() {
        Flags::command().debug_assert();
        for argument in Flags::command().get_arguments() {
            let Some(flag) = argument.get_long() else { continue };
            if ["help", "version"].contains(&flag) {
                continue;
            }
            assert!(argument.get_env().is_some(), "{flag} has no variable");
            let line = format!("{flag} = []");
            let error = toml::from_str::<ConfigFile>(&line).unwrap_err().to_string();
            assert_eq!(error.contains("unknown field"), flag == "config", "{flag}: {error}");
        }
    }

    const SAMPLE: &str = include_str!("../../deploy/rendezvous.toml");
    const UNIT: &str = include_str!("../../deploy/pilot-rendezvous.service");

    #[test]
    fn the_sample_is_valid_and_shows_the_default_of_every_key() {
        let resolve = |text: &str| {
            let file = toml::from_str(text).unwrap();
            let flags = Flags { state_dir: Some("/x".into()), ..Flags::default() };
            Settings::resolve(&flags, &file).unwrap()
        };
        // A key that is commented out has no blank after its hash.
        let all: String = SAMPLE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    format!("{key}\n")
                }
                Some(_) | None => format!("{line}\n"),
            })
            .collect();

        assert_eq!(resolve(SAMPLE), resolve(""));
        assert_eq!(resolve(&all), resolve(""));
        let keys: toml::Table = all.parse().unwrap();
        for argument in Flags::command().get_arguments() {
            let Some(flag) = argument.get_long() else { continue };
            assert_eq!(keys.contains_key(flag), flag != "config", "{flag}");
        }
    }

    #[test]
    fn the_unit_names_variables_that_are_read() {
        let command = Flags::command();
        let variables: Vec<_> =
            command.get_arguments().filter_map(|argument| argument.get_env()).collect();
        let mut named = 0;
        for line in UNIT.lines() {
            let Some(pair) = line.strip_prefix("Environment=") else { continue };
            let name = pair.split('=').next().unwrap();
            assert!(variables.contains(&std::ffi::OsStr::new(name)), "{name}");
            named += 1;
        }
        assert_eq!(named, 1);
    }
}
