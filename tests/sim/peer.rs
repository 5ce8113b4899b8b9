//! What a node has about one peer, and what a test wants to know of it.

use std::time::Duration;

use pilot_paths::{Paths, Reason, Traffic, Via};
use pilot_proto::probe::Call;

/// How often the machine is told of traffic.
const REPORT_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Peer {
    pub(crate) paths: Paths,
    /// When the next packet of traffic is sent, if there is traffic.
    pub(crate) data_at: Option<Duration>,
    pub(crate) report_at: Option<Duration>,
    traffic: Traffic,
    reported: Option<Duration>,
    /// When traffic came.
    pub(crate) arrivals: Vec<Duration>,
    /// What was chosen, and when.
    pub(crate) uses: Vec<(Duration, Option<Via>, Reason)>,
    /// When a probe was sent, and whether it was sent direct.
    pub(crate) probes: Vec<(Duration, bool)>,
    pub(crate) most_sockets: usize,
    pub(crate) last_call: Option<Call>,
}

impl Peer {
    pub(crate) const fn new(paths: Paths) -> Self {
        Self {
            paths,
            data_at: None,
            report_at: None,
            traffic: Traffic { sent: false, heard: false },
            reported: None,
            arrivals: Vec::new(),
            uses: Vec::new(),
            probes: Vec::new(),
            most_sockets: 0,
            last_call: None,
        }
    }

    pub(crate) fn note_traffic(&mut self, traffic: Traffic, now: Duration) {
        self.traffic.sent |= traffic.sent;
        self.traffic.heard |= traffic.heard;
        let next = self.reported.map_or(now, |at| at + REPORT_EVERY);
        self.report_at = Some(next.max(now));
    }

    pub(crate) fn take_report(&mut self, now: Duration) -> Option<Traffic> {
        self.report_at.filter(|at| *at <= now)?;
        self.report_at = None;
        self.reported = Some(now);
        Some(core::mem::take(&mut self.traffic))
    }

    /// Whether the path in use is direct.
    pub(crate) fn is_direct(&self) -> bool {
        self.paths.chosen().is_some_and(|chosen| chosen.via.is_direct())
    }

    /// The longest time without traffic between two points of time.
    pub(crate) fn longest_gap(&self, from: Duration, until: Duration) -> Duration {
        let arrivals = self.arrivals.iter().copied().filter(|at| (from..until).contains(at));
        let mut last = from;
        let mut longest = Duration::ZERO;
        for at in arrivals.chain([until]) {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }

    /// Probes sent between two points of time.
    pub(crate) fn probes_between(&self, from: Duration, until: Duration) -> usize {
        self.probes.iter().filter(|(at, _)| (from..until).contains(at)).count()
    }
}
