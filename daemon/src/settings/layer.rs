//! One source of settings: the flags, the variables or the file.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use pilot_flags::HumanBytes;
use pilot_proto::{NodeName, Tag};
use serde::{Deserialize, Deserializer};

use super::{HostPort, HostPortError, LogFilter, RegistryAddr, SettingsError};

/// The variable of each flag. A key in the file is the flag's long name;
/// `home` and `config` say where the file is, and cannot stand in it.
pub const VARIABLES: [(&str, &str); 19] = [
    ("home", "PILOT_HOME"),
    ("config", "PILOT_CONFIG"),
    ("socket", "PILOT_SOCKET"),
    ("registry-addr", "PILOT_REGISTRY_ADDR"),
    ("beacon-addr", "PILOT_BEACON_ADDR"),
    ("listen", "PILOT_LISTEN"),
    ("endpoint", "PILOT_ENDPOINT"),
    ("public", "PILOT_PUBLIC"),
    ("port-mapping", "PILOT_PORT_MAPPING"),
    ("jumbo-frames", "PILOT_JUMBO_FRAMES"),
    ("inbox-quota", "PILOT_INBOX_QUOTA"),
    ("inbox-quota-per-peer", "PILOT_INBOX_QUOTA_PER_PEER"),
    ("event-journal", "PILOT_EVENT_JOURNAL"),
    ("messages-limit", "PILOT_MESSAGES_LIMIT"),
    ("messages-limit-per-peer", "PILOT_MESSAGES_LIMIT_PER_PEER"),
    ("name", "PILOT_NAME"),
    ("tag", "PILOT_TAG"),
    ("log", "PILOT_LOG"),
    ("log-format", "PILOT_LOG_FORMAT"),
];

/// Runs a Pilot node: its key, its tunnels, its queues and its disk.
#[derive(Debug, Clone, Default, clap::Parser, Deserialize)]
#[command(name = "pilot-daemon", version, after_help = EXAMPLES)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layer {
    /// Folder of the node: key, database, socket [env: PILOT_HOME] [default: ~/.pilot]
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub home: Option<PathBuf>,

    /// Settings file, TOML with the long flags as keys [env: PILOT_CONFIG] [default: config.toml
    /// in the home folder, if it is there]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Socket of the local API [env: PILOT_SOCKET] [default: pilot.sock in the home folder]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Rendezvous to register with; after a '#', the fingerprint its key must have. Without it only
    /// known peers are reached [env: PILOT_REGISTRY_ADDR]
    #[arg(long, value_name = "HOST:PORT[#FINGERPRINT]")]
    pub registry_addr: Option<RegistryAddr>,

    /// Beacon beside those that the rendezvous tells of, for finding the own
    /// public address and for relaying; repeatable, or with commas [env: PILOT_BEACON_ADDR]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_more")]
    pub beacon_addr: Vec<HostPort>,

    /// UDP socket of the tunnels, port 0 for any [env: PILOT_LISTEN] [default: every address, at
    /// the port used last or else any]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Address told to others, instead of those found [env: PILOT_ENDPOINT]
    #[arg(long, value_name = "IP:PORT")]
    pub endpoint: Option<SocketAddr>,

    /// Lets untrusted nodes see name, address and endpoint; it never lets them in [env:
    /// PILOT_PUBLIC]
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    pub public: Option<bool>,
    /// Ask the router for a port, by PCP, NAT-PMP or UPnP [default: true] [env: PILOT_PORT_MAPPING]
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    pub port_mapping: Option<bool>,
    /// Try datagrams of up to 4,990 bytes where the network interface takes more than 1,500
    /// [default: true] [env: PILOT_JUMBO_FRAMES]
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    pub jumbo_frames: Option<bool>,

    /// Bytes that received files may take, such as 50G; what would be more waits
    /// at its sender [default: as the disk has room] [env: PILOT_INBOX_QUOTA]
    #[arg(long, value_name = "BYTES")]
    pub inbox_quota: Option<HumanBytes>,

    /// The same for the files of each one peer [env: PILOT_INBOX_QUOTA_PER_PEER]
    #[arg(long, value_name = "BYTES")]
    pub inbox_quota_per_peer: Option<HumanBytes>,

    /// Bytes of the newest events that are kept on disk for who comes later or was away; with 0 none
    /// are [default: 128M] [env: PILOT_EVENT_JOURNAL]
    #[arg(long, value_name = "BYTES")]
    pub event_journal: Option<HumanBytes>,
    /// Messages that may wait in the inbox to be acknowledged; what would be more
    /// waits at its sender [default: 10000] [env: PILOT_MESSAGES_LIMIT]
    #[arg(long, value_name = "N")]
    pub messages_limit: Option<NonZeroU32>,

    /// The same for the messages of each one peer [default: 2000] [env:
    /// PILOT_MESSAGES_LIMIT_PER_PEER]
    #[arg(long, value_name = "N")]
    pub messages_limit_per_peer: Option<NonZeroU32>,

    /// Unique name of the node: a-z, 0-9 and inner hyphens [env: PILOT_NAME]
    #[arg(long)]
    pub name: Option<NodeName>,

    /// What the node says about itself; repeatable, or several with commas between them [env:
    /// PILOT_TAG]
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub tag: Vec<Tag>,

    /// What is logged: error, warn, info, debug, trace, or module=level with commas between them
    /// [env: PILOT_LOG] [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<LogFilter>,

    /// How the log is written to stderr [env: PILOT_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

const EXAMPLES: &str = "\
Long flags may be written with one dash.

Examples:
  pilot-daemon -registry-addr pilot.example:9000 -beacon-addr pilot.example:9001 --name backend
  pilot-daemon -registry-addr pilot.example:9000 -endpoint 203.0.113.7:4000 -public
  pilot-daemon --home /srv/gpu-2 --name gpu-2 --tag gpu=a100 --tag zone=eu";

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Layer {
    /// What the environment says. A variable that is empty counts as not set.
    pub(super) fn from_variables(
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let environment = Environment { variable };
        let tags: Option<TagList> = environment.parsed("PILOT_TAG")?;
        let beacons: Option<BeaconList> = environment.parsed("PILOT_BEACON_ADDR")?;
        Ok(Self {
            home: environment.path("PILOT_HOME"),
            config: environment.path("PILOT_CONFIG"),
            socket: environment.path("PILOT_SOCKET"),
            registry_addr: environment.parsed("PILOT_REGISTRY_ADDR")?,
            beacon_addr: beacons.map_or_else(Vec::new, |beacons| beacons.0),
            listen: environment.parsed("PILOT_LISTEN")?,
            endpoint: environment.parsed("PILOT_ENDPOINT")?,
            public: environment.parsed("PILOT_PUBLIC")?,
            port_mapping: environment.parsed("PILOT_PORT_MAPPING")?,
            jumbo_frames: environment.parsed("PILOT_JUMBO_FRAMES")?,
            inbox_quota: environment.parsed("PILOT_INBOX_QUOTA")?,
            inbox_quota_per_peer: environment.parsed("PILOT_INBOX_QUOTA_PER_PEER")?,
            event_journal: environment.parsed("PILOT_EVENT_JOURNAL")?,
            messages_limit: environment.parsed("PILOT_MESSAGES_LIMIT")?,
            messages_limit_per_peer: environment.parsed("PILOT_MESSAGES_LIMIT_PER_PEER")?,
            name: environment.parsed("PILOT_NAME")?,
            tag: tags.map_or_else(Vec::new, |tags| tags.0),
            log: environment.parsed("PILOT_LOG")?,
            log_format: environment.parsed("PILOT_LOG_FORMAT")?,
        })
    }

    /// This layer, and `below` wherever it says nothing. Tags are one setting:
    /// those above replace all of those below.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            home: self.home.or(below.home),
            config: self.config.or(below.config),
            socket: self.socket.or(below.socket),
            registry_addr: self.registry_addr.or(below.registry_addr),
            beacon_addr: if self.beacon_addr.is_empty() {
                below.beacon_addr
            } else {
                self.beacon_addr
            },
            listen: self.listen.or(below.listen),
            endpoint: self.endpoint.or(below.endpoint),
            public: self.public.or(below.public),
            port_mapping: self.port_mapping.or(below.port_mapping),
            jumbo_frames: self.jumbo_frames.or(below.jumbo_frames),
            inbox_quota: self.inbox_quota.or(below.inbox_quota),
            inbox_quota_per_peer: self.inbox_quota_per_peer.or(below.inbox_quota_per_peer),
            event_journal: self.event_journal.or(below.event_journal),
            messages_limit: self.messages_limit.or(below.messages_limit),
            messages_limit_per_peer: self.messages_limit_per_peer.or(below.messages_limit_per_peer),
            name: self.name.or(below.name),
            tag: if self.tag.is_empty() { below.tag } else { self.tag },
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
        }
    }
}

struct Environment<'a, F> {
    variable: &'a F,
}

impl<F: Fn(&str) -> Option<OsString>> Environment<'_, F> {
    fn read(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.read(name).map(PathBuf::from)
    }

    fn parsed<T>(&self, name: &'static str) -> Result<Option<T>, SettingsError>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        let Some(value) = self.read(name) else { return Ok(None) };
        // What is no UTF-8 is refused by the parser for its replacement characters.
        let text = value.to_string_lossy();
        text.parse().map(Some).map_err(|source: T::Err| SettingsError::Variable {
            name,
            value: text.into_owned(),
            source: Box::new(source),
        })
    }
}

/// Beacons with commas between them, as the flag takes them too.
struct BeaconList(Vec<HostPort>);

impl FromStr for BeaconList {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// In a file, one beacon is a text and several are a list of them.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HostPort>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(HostPort),
        More(Vec<HostPort>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}

/// Tags with commas between them, as the flag takes them too.
struct TagList(Vec<Tag>);

impl FromStr for TagList {
    type Err = pilot_proto::TagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A word that names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log format is text or json")]
pub struct LogFormatError;

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(text: &str) -> Result<Self, LogFormatError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogFormatError),
        }
    }
}
