//! One direct path: its proof, its round trip, its death, and when to ping it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::own;

/// How often the path in use is pinged while there is traffic.
const ACTIVE_EVERY: Duration = Duration::from_secs(1);

/// How soon a ping is repeated that got no pong, and a path is pinged that has
/// just begun to answer.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// How often a proven path that is not in use is pinged while there is traffic.
const STANDBY_EVERY: Duration = Duration::from_secs(10);

/// How often a path that has died is pinged: at first, and later on.
const DEAD_EVERY: Duration = Duration::from_secs(1);
const DEAD_LATER_EVERY: Duration = Duration::from_secs(5);
const DEAD_LATER_AFTER: Duration = Duration::from_secs(30);

/// How long that goes on, with traffic and without; then it is forgotten.
const DEAD_UNTIL: Duration = Duration::from_secs(300);
const DEAD_UNTIL_IDLE: Duration = Duration::from_secs(60);

/// A path is dead after this time without an answer, and a little later if its
/// round trip is long. With a ping every second whatever goes over it stands
/// still for less than 3 s.
const DEAD_AFTER: Duration = Duration::from_millis(1500);
const DEAD_AFTER_MORE: Duration = Duration::from_millis(400);

/// Unanswered pings that it takes at least: when this machine was asleep for a
/// while, its paths need not have been.
const DEAD_PINGS: u8 = 3;

/// Signs that the path in use may be dying: enough to look at the others.
const SUSPECT_AFTER: Duration = Duration::from_millis(500);

/// Pongs before its round trip is compared with that of another path.
const SETTLED_SAMPLES: u32 = 3;

/// What was proven longer ago than this is no alternative, unless the peer pings
/// by it: then it is the one that the peer uses, and its socket has to stay.
const FRESH_PROOF: Duration = Duration::from_secs(30);

/// Pings without a pong after which a dead path that had answered again counts
/// as silent again.
const SILENT_PINGS: u8 = 4;

/// How a path was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Plain,
    Birthday,
}

/// What the path is for just now: it decides how often it is pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duty {
    /// Whether it is the one in use.
    pub(crate) chosen: bool,
    /// Whether there is traffic with the peer.
    pub(crate) active: bool,
    /// How long it may be silent without traffic; none if nobody here wants it
    /// kept.
    pub(crate) keepalive: Option<Duration>,
}

/// What is to be done about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing yet.
    Nothing,
    /// Ping it; that is noted already.
    Ping,
    /// It was in use and has died now.
    Died,
    /// It is of no use any more.
    Forget,
}

/// A direct path that was proven at least once.
#[derive(Debug)]
pub(crate) struct Pair {
    remote: SocketAddr,
    origin: Origin,
    state: State,
    srtt: Duration,
    samples: u32,
    last_pong: Instant,
    last_ping: Instant,
    /// The peer's last ping.
    last_heard: Instant,
    hurried: Option<Instant>,
    deaths: u8,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The last ping was answered, or is the first one without an answer since
    /// the time told.
    Proven { waiting: Option<Waiting> },
    /// Another path died, perhaps of the same cause: to be proven again.
    Doubted { waiting: Option<Waiting> },
    /// To be proven by so many pongs more.
    Dead { since: Instant, missing: u8, unanswered: u8 },
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Instant,
    pings: u8,
}

impl Pair {
    /// The first pong came.
    pub(crate) fn proven(remote: SocketAddr, origin: Origin, rtt: Duration, now: Instant) -> Self {
        Self {
            remote,
            origin,
            state: State::Proven { waiting: None },
            srtt: rtt,
            samples: 1,
            last_pong: now,
            last_ping: now,
            last_heard: now,
            hurried: None,
            deaths: 0,
        }
    }

    /// A further one.
    pub(crate) fn handle_pong(&mut self, rtt: Duration, now: Instant) {
        self.last_pong = now;
        self.samples = self.samples.saturating_add(1);
        self.srtt = (self.srtt * 7 + rtt) / 8;
        self.state = match self.state {
            State::Dead { since, missing, .. } if missing > 1 => {
                State::Dead { since, missing: missing - 1, unanswered: 0 }
            }
            State::Dead { .. } => {
                self.srtt = rtt;
                State::Proven { waiting: None }
            }
            State::Proven { .. } | State::Doubted { .. } => State::Proven { waiting: None },
        };
    }

    /// Does what is due; call it again until it says [`Due::Nothing`] or
    /// [`Due::Forget`].
    pub(crate) fn poll(&mut self, duty: Duty, now: Instant) -> Due {
        if self.forget_at(duty).is_some_and(|at| at <= now) {
            return Due::Forget;
        }
        if self.dies_at().is_some_and(|at| at <= now) {
            if !duty.chosen {
                return Due::Forget;
            }
            self.die(now);
            return Due::Died;
        }
        if self.next_ping(duty).is_some_and(|at| at <= now) {
            self.note_ping(now);
            return Due::Ping;
        }
        Due::Nothing
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn deadline(&self, duty: Duty) -> Option<Instant> {
        [self.forget_at(duty), self.dies_at(), self.next_ping(duty)].into_iter().flatten().min()
    }

    /// Whether it may be chosen.
    pub(crate) const fn is_usable(&self) -> bool {
        matches!(self.state, State::Proven { .. })
    }

    /// Since when answers are missing, once they are long enough for a look at
    /// the other paths.
    pub(crate) fn suspect_since(&self, now: Instant) -> Option<Instant> {
        self.waiting()
            .filter(|waiting| waiting.pings > 1 && now >= waiting.since + SUSPECT_AFTER)
            .map(|waiting| waiting.since)
    }

    /// When [`Self::suspect_since`] may change by time alone.
    pub(crate) fn suspect_at(&self) -> Option<Instant> {
        self.waiting().map(|waiting| waiting.since + SUSPECT_AFTER)
    }

    /// Whether it was answering after `since`, and is.
    pub(crate) fn answers_since(&self, since: Instant) -> bool {
        self.is_usable() && self.last_pong > since && self.waiting().is_none()
    }

    /// Whether its round trip can be compared with that of another path.
    pub(crate) const fn is_settled(&self) -> bool {
        self.samples >= SETTLED_SAMPLES
    }

    /// Whether the peer is on the same local network by this path.
    pub(crate) fn is_lan(&self) -> bool {
        own::is_lan(self.remote)
    }

    /// The smoothed round trip.
    pub(crate) const fn srtt(&self) -> Duration {
        self.srtt
    }

    pub(crate) const fn origin(&self) -> Origin {
        self.origin
    }

    /// The peer pings by it.
    pub(crate) fn note_heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// There is a reason to look at it now; not more often than unanswered
    /// pings are repeated.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if self.hurried.is_none() {
            self.hurried = Some(now.max(self.last_ping + RETRY_EVERY));
        }
    }

    /// Another path died: this one is to be proven again, at once.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.is_usable() {
            self.state = State::Doubted { waiting: None };
            self.hurried = Some(now);
        }
    }

    fn die(&mut self, now: Instant) {
        self.deaths = self.deaths.saturating_add(1);
        // Two the first time, twice as many each further time: a path that
        // comes and goes must not drag the traffic along each time.
        let missing = 1 << self.deaths.min(4);
        self.state = State::Dead { since: now, missing, unanswered: SILENT_PINGS };
    }

    fn note_ping(&mut self, now: Instant) {
        self.last_ping = now;
        self.hurried = None;
        match &mut self.state {
            State::Dead { unanswered, .. } => *unanswered = unanswered.saturating_add(1),
            State::Proven { waiting } | State::Doubted { waiting } => {
                let waiting = waiting.get_or_insert(Waiting { since: now, pings: 0 });
                waiting.pings = waiting.pings.saturating_add(1);
            }
        }
    }

    const fn waiting(&self) -> Option<Waiting> {
        match self.state {
            State::Proven { waiting } | State::Doubted { waiting } => waiting,
            State::Dead { .. } => None,
        }
    }

    fn forget_at(&self, duty: Duty) -> Option<Instant> {
        match self.state {
            State::Dead { since, .. } if duty.keepalive.is_none() => Some(since),
            State::Dead { since, .. } if duty.active => Some(since + DEAD_UNTIL),
            State::Dead { since, .. } => Some(since + DEAD_UNTIL_IDLE),
            State::Proven { .. } | State::Doubted { .. } if duty.chosen => None,
            State::Proven { .. } | State::Doubted { .. } => {
                Some(self.last_pong.max(self.last_heard) + FRESH_PROOF)
            }
        }
    }

    fn dies_at(&self) -> Option<Instant> {
        let waiting = self.waiting().filter(|waiting| waiting.pings >= DEAD_PINGS)?;
        Some(waiting.since + DEAD_AFTER + self.srtt.min(DEAD_AFTER_MORE))
    }

    fn next_ping(&self, duty: Duty) -> Option<Instant> {
        let every = match self.state {
            State::Dead { unanswered, .. } if unanswered < SILENT_PINGS => Some(RETRY_EVERY),
            State::Dead { since, .. } if self.last_ping < since + DEAD_LATER_AFTER => {
                Some(DEAD_EVERY)
            }
            State::Dead { .. } => Some(DEAD_LATER_EVERY),
            State::Doubted { .. } | State::Proven { waiting: Some(_) } => Some(RETRY_EVERY),
            State::Proven { waiting: None } if !self.is_settled() => Some(RETRY_EVERY),
            State::Proven { waiting: None } => match (duty.chosen, duty.active) {
                (true, true) => Some(ACTIVE_EVERY),
                (true, false) => duty.keepalive,
                (false, true) => Some(STANDBY_EVERY),
                // Nobody looks at the alternatives while nothing is sent.
                (false, false) => None,
            },
        };
        let regular = every.map(|every| self.last_ping + every);
        [regular, self.hurried].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "tests/pair.rs"]
mod tests;
