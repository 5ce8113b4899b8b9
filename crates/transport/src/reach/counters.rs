//! What happened to the paths of a node since it started.

use std::collections::BTreeMap;

use pilot_paths::Reason;
use pilot_proto::probe::Probe;

/// Changes of path and probes, counted since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathCounters {
    /// How often the path to a peer became another one, by the word of the reason.
    pub changes: BTreeMap<&'static str, u64>,
    /// Probes given to the kernel or a beacon.
    pub sent: ProbeCounters,
    /// Probes that their peer has sealed.
    pub heard: ProbeCounters,
    /// Probes of a known pair of nodes that were sealed by nobody of the two.
    pub forged: u64,
}

/// Probes by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeCounters {
    /// Pings.
    pub pings: u64,
    /// Pongs.
    pub pongs: u64,
    /// Calls to ping each other.
    pub calls: u64,
}

impl PathCounters {
    pub(super) fn changed(&mut self, reason: Reason) {
        *self.changes.entry(reason.word()).or_default() += 1;
    }
}

impl ProbeCounters {
    pub(super) const fn count(&mut self, probe: &Probe) {
        match probe {
            Probe::Ping { .. } => self.pings += 1,
            Probe::Pong { .. } => self.pongs += 1,
            Probe::Call(_) => self.calls += 1,
        }
    }
}
