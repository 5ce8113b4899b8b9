//! What the operator wants, resolved once: flag, variable, file, default.
//!
//! Nothing else in the daemon reads a flag, a variable or the settings file.
//! The three sources are the same [`Layer`], laid over each other; words
//! become types here, so that a wrong one is refused before anything starts.

mod layer;
mod log_filter;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, FromArgMatches as _};
use pilot_flags::HumanBytes;
use pilot_messages::InboxLimits;
use pilot_proto::{NodeName, Tags};

pub use layer::{Layer, LogFormat, LogFormatError, VARIABLES};
pub use log_filter::{LogFilter, LogFilterError};
pub use pilot_overlay::{HostPort, HostPortError, RegistryAddr, RegistryAddrError};

/// The local API's socket in the home folder.
const SOCKET_NAME: &str = "pilot.sock";
/// The settings file in the home folder, if the operator wrote one.
const CONFIG_NAME: &str = "config.toml";

/// Bytes of the events that are kept on disk, if nothing else is said.
const EVENT_JOURNAL: u64 = 128 * 1000 * 1000;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The node's folder, absolute.
    pub home: PathBuf,
    /// The socket of the local API, absolute.
    pub socket: PathBuf,
    /// The settings file that was read.
    pub config: Option<PathBuf>,
    /// The rendezvous. Without one the node reaches the peers it knows already,
    /// and nobody new.
    pub registry: Option<RegistryAddr>,
    /// Beacons beside those that the rendezvous tells of.
    pub beacons: Vec<HostPort>,
    /// The UDP socket; `None` leaves the port to the daemon.
    pub listen: Option<SocketAddr>,
    /// The address that is told to others, instead of those found.
    pub endpoint: Option<SocketAddr>,
    /// Whether untrusted nodes may see name, address and endpoint.
    pub public: bool,
    /// Whether the router is asked for a port, where there is one.
    pub port_mapping: bool,
    /// Whether datagrams of jumbo frames are tried where the interface takes them.
    pub jumbo_frames: bool,
    /// Bytes that received files may take, those of all peers and of each.
    pub inbox_quota: Option<u64>,
    /// See above.
    pub inbox_quota_per_peer: Option<u64>,
    /// Bytes of the events that are kept on disk; none are with 0.
    pub event_journal: u64,
    /// What the inbox of messages holds.
    pub messages: InboxLimits,
    /// The name to ask the rendezvous for.
    pub name: Option<NodeName>,
    /// What the node says about itself.
    pub tags: Tags,
    /// What is logged.
    pub log: LogFilter,
    /// How it is written.
    pub log_format: LogFormat,
}

/// Why the settings make no sense. All but the reading of the file are the
/// caller's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A flag is wrong, or asks for help or the version: clap's own text, exit code
    /// and stream say which.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// A variable holds something else than its flag takes.
    #[error("the variable {name} is set to {value:?}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings file could not be read.
    #[error("cannot read the settings file {path}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The settings file is no TOML, has an unknown key or a wrong value.
    #[error("in the settings file {path}")]
    ParseFile {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// There is no place for the node.
    #[error(
        "neither --home nor PILOT_HOME nor HOME is set: say where the node lives with --home DIR"
    )]
    NoHome,
    /// A path has no absolute form.
    #[error("cannot use the path {path}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More tags than a node may carry.
    #[error("a node may carry {} tags, and there are {count}", pilot_proto::MAX_TAGS)]
    TooManyTags {
        /// How many there are.
        count: usize,
    },
    /// Nobody could send anything to it.
    #[error("{endpoint} is no address that others can reach: --endpoint takes IP:PORT")]
    Endpoint {
        /// The endpoint given.
        endpoint: SocketAddr,
    },
}

impl Settings {
    /// Reads `args` (the program's name first), the environment through `variable`, and
    /// the settings file.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]; [`SettingsError::Flags`] also for `--help`.
    pub fn load(
        args: impl IntoIterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let command = Layer::command();
        let words = pilot_flags::normalize(&command, args);
        let flags = Layer::from_arg_matches(&command.try_get_matches_from(words)?)?;
        let over = flags.over(Layer::from_variables(&variable)?);

        let default_home = || Some(PathBuf::from(variable("HOME")?).join(".pilot"));
        let home = over.home.clone().or_else(default_home).ok_or(SettingsError::NoHome)?;
        let home = absolute(&home)?;
        let (config, file) = match &over.config {
            Some(path) => (Some(path.clone()), read_file(path)?),
            None => read_if_there(home.join(CONFIG_NAME))?,
        };
        over.over(file).resolve(home, config)
    }
}

impl Layer {
    fn resolve(self, home: PathBuf, config: Option<PathBuf>) -> Result<Settings, SettingsError> {
        let count = self.tag.len();
        let tags = Tags::new(self.tag).map_err(|_| SettingsError::TooManyTags { count })?;
        let unreachable =
            |endpoint: &SocketAddr| endpoint.port() == 0 || endpoint.ip().is_unspecified();
        if let Some(endpoint) = self.endpoint.filter(unreachable) {
            return Err(SettingsError::Endpoint { endpoint });
        }
        let socket = match self.socket {
            Some(path) => absolute(&path)?,
            None => home.join(SOCKET_NAME),
        };
        let defaults = InboxLimits::default();
        let count = |given: Option<NonZeroU32>, default| {
            given.map_or(default, |given| usize::try_from(given.get()).unwrap_or(usize::MAX))
        };
        Ok(Settings {
            socket,
            home,
            config,
            registry: self.registry_addr,
            beacons: self.beacon_addr,
            listen: self.listen,
            endpoint: self.endpoint,
            public: self.public.unwrap_or(false),
            port_mapping: self.port_mapping.unwrap_or(true),
            jumbo_frames: self.jumbo_frames.unwrap_or(true),
            inbox_quota: self.inbox_quota.map(|HumanBytes(bytes)| bytes),
            inbox_quota_per_peer: self.inbox_quota_per_peer.map(|HumanBytes(bytes)| bytes),
            event_journal: self.event_journal.map_or(EVENT_JOURNAL, |HumanBytes(bytes)| bytes),
            messages: InboxLimits {
                messages: count(self.messages_limit, defaults.messages),
                messages_per_peer: count(self.messages_limit_per_peer, defaults.messages_per_peer),
                ..defaults
            },
            name: self.name,
            tags,
            log: self.log.unwrap_or_default(),
            log_format: self.log_format.unwrap_or_default(),
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, SettingsError> {
    std::path::absolute(path)
        .map_err(|source| SettingsError::Path { path: path.to_owned(), source })
}

/// The file that was asked for must be there.
fn read_file(path: &Path) -> Result<Layer, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::ReadFile { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| SettingsError::ParseFile {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The file in the home need not.
fn read_if_there(path: PathBuf) -> Result<(Option<PathBuf>, Layer), SettingsError> {
    match read_file(&path) {
        Ok(layer) => Ok((Some(path), layer)),
        Err(SettingsError::ReadFile { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok((None, Layer::default()))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
