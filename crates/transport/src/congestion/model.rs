//! What is known of a path, and the window that follows from it.
//!
//! Time goes by *rounds*: one ends when something that was sent after its begin
//! is acknowledged. What was delivered in it, by how long it took, is the rate
//! of a round.
//!
//! | phase | window | until |
//! |---|---|---|
//! | startup | 2.89 of what the path holds | the rate has not grown by a quarter in three rounds, or much is lost; then drain |
//! | drain | 0.9 | two rounds: the queue is empty, and the round trip the path's own |
//! | cruise | 1.1 and 4 ms | six rounds and 0.4 s |
//! | probe | 1.5 and 4 ms | two rounds: if there is a quarter more, startup; if not, drain |

use std::time::{Duration, Instant};

/// Rates that are remembered, each the highest of a round and of 10 ms at least.
const RATES: usize = 10;
const RATE_LASTS: Duration = Duration::from_millis(10);

/// What may wait in queues while all is well: acknowledgements come in bunches,
/// and on a fast path with a short round trip what it holds itself is nothing.
const SLACK: Duration = Duration::from_millis(4);

/// Packets under way at first: RFC 9002 §7.2. And those that always may be.
const FIRST_PACKETS: u64 = 10;
const LEAST_PACKETS: u64 = 4;

/// The part of a round that may be lost before the window takes it for a sign
/// of congestion, unless it is just a few packets; and the part of the window
/// that is kept then.
const MUCH_LOSS: f64 = 0.1;
const FEW_PACKETS: u64 = 8;
const AFTER_LOSS: f64 = 0.85;

const CRUISE_ROUNDS: u32 = 6;
const CRUISE_TIME: Duration = Duration::from_millis(400);
const PROBE_ROUNDS: u32 = 2;
const DRAIN_ROUNDS: u32 = 2;

/// Rounds without much more until startup has found the rate.
const FLAT_ROUNDS: u32 = 3;
const MUCH_MORE: f64 = 1.25;

#[derive(Debug, Clone)]
pub(super) struct Model {
    mtu: u64,
    window: u64,
    phase: Phase,
    /// The phase's begin, and the rounds that have ended in it.
    since: Instant,
    rounds: u32,
    round: Round,
    rates: Rates,
    /// The shortest round trip of the last drain, or any shorter one since.
    least_rtt: Option<Duration>,
    /// At most this much, since much was lost.
    ceiling: Option<u64>,
    in_flight: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The highest rate so far, and the rounds since it grew.
    Startup {
        best: f64,
        flat: u32,
    },
    /// The shortest round trip seen in it.
    Drain {
        rtt: Option<Duration>,
    },
    Cruise,
    /// The rate before it, and the highest in it.
    Probe {
        before: f64,
        found: f64,
    },
}

/// What happened since its begin.
#[derive(Debug, Clone, Copy)]
struct Round {
    begun: Instant,
    delivered: u64,
    lost: u64,
    /// Whether there was less to send than might have been.
    is_limited: bool,
    is_over: bool,
}

impl Model {
    pub(super) fn new(now: Instant, mtu: u64) -> Self {
        let mut model = Self {
            mtu,
            window: 0,
            phase: Phase::Startup { best: 0.0, flat: 0 },
            since: now,
            rounds: 0,
            round: Round::begun(now),
            rates: Rates::none(now),
            least_rtt: None,
            ceiling: None,
            in_flight: 0,
        };
        model.window = model.first_window();
        model
    }

    /// Bytes that may be under way.
    pub(super) const fn window(&self) -> u64 {
        self.window
    }

    /// Bytes that may be at first.
    pub(super) const fn first_window(&self) -> u64 {
        FIRST_PACKETS * self.mtu
    }

    const fn least_window(&self) -> u64 {
        LEAST_PACKETS * self.mtu
    }

    pub(super) fn set_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.window = self.window.max(self.least_window());
    }

    /// Forgets what was learnt of the path.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        *self = Self { in_flight: self.in_flight, ..Self::new(now, self.mtu) };
    }

    pub(super) fn sent(&mut self, now: Instant, bytes: u64) {
        if self.in_flight == 0 {
            // The time in which nothing was sent says nothing about the path.
            self.round = Round::begun(now);
        }
        self.in_flight += bytes;
    }

    /// What was sent at `sent` has arrived.
    pub(super) fn delivered(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        is_app_limited: bool,
    ) {
        let rtt = now.saturating_duration_since(sent);
        if self.least_rtt.is_none_or(|least| rtt < least) {
            self.least_rtt = Some(rtt);
        }
        if let Phase::Drain { rtt: seen } = &mut self.phase
            && seen.is_none_or(|seen| rtt < seen)
        {
            *seen = Some(rtt);
        }
        self.round.delivered += bytes;
        self.round.is_limited |= is_app_limited;
        self.round.is_over |= sent >= self.round.begun;
    }

    pub(super) const fn lost(&mut self, bytes: u64) {
        self.round.lost += bytes;
    }

    /// All that one message acknowledges was told.
    pub(super) fn acknowledged(&mut self, now: Instant, in_flight: u64, is_app_limited: bool) {
        let acknowledged = self.in_flight.saturating_sub(in_flight);
        self.in_flight = in_flight;
        if self.round.is_over {
            self.end_round(now);
        }
        let target = self.target();
        // It grows no faster than the path delivers, and does not shrink for want
        // of something to send: messages now and then say little of the path.
        let least = if is_app_limited && self.ceiling.is_none() {
            self.window
        } else {
            self.least_window()
        };
        self.window = target.min(self.window + acknowledged).max(least);
    }

    fn end_round(&mut self, now: Instant) {
        let round = std::mem::replace(&mut self.round, Round::begun(now));
        let rate = round.rate(now);
        if !round.is_limited || rate > self.rates.highest() {
            self.rates.note(now, rate);
        }
        let much_was_lost = round.loss() > MUCH_LOSS && round.lost > FEW_PACKETS * self.mtu;
        self.adjust_ceiling(much_was_lost);
        self.rounds += 1;
        let lasted = now.saturating_duration_since(self.since);
        match &mut self.phase {
            Phase::Startup { best, flat } => {
                if rate > *best * MUCH_MORE {
                    (*best, *flat) = (rate, 0);
                } else if !round.is_limited {
                    *flat += 1;
                }
                if *flat >= FLAT_ROUNDS || (much_was_lost && *best > 0.0) {
                    self.enter(Phase::Drain { rtt: None }, now);
                }
            }
            Phase::Drain { rtt } if self.rounds >= DRAIN_ROUNDS => {
                self.least_rtt = rtt.or(self.least_rtt);
                self.enter(Phase::Cruise, now);
            }
            Phase::Cruise if self.rounds >= CRUISE_ROUNDS && lasted >= CRUISE_TIME => {
                let before = self.rates.highest();
                self.enter(Phase::Probe { before, found: 0.0 }, now);
            }
            Phase::Probe { before, found } => {
                let found = found.max(rate);
                if found > *before * MUCH_MORE {
                    self.enter(Phase::Startup { best: found, flat: 0 }, now);
                } else if self.rounds >= PROBE_ROUNDS {
                    self.enter(Phase::Drain { rtt: None }, now);
                } else {
                    self.phase = Phase::Probe { before: *before, found };
                }
            }
            Phase::Drain { .. } | Phase::Cruise => {}
        }
    }

    const fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.rounds = 0;
    }

    /// Less after much loss, and a little more with each round without.
    fn adjust_ceiling(&mut self, much_was_lost: bool) {
        self.ceiling = match self.ceiling {
            _ if much_was_lost => Some(part(self.window, AFTER_LOSS).max(self.least_window())),
            Some(ceiling) if ceiling > 2 * self.window => None,
            Some(ceiling) => Some(ceiling + ceiling / 16),
            None => None,
        };
    }

    /// The window that the phase aims at.
    fn target(&self) -> u64 {
        let Some(rtt) = self.least_rtt else { return self.first_window() };
        let rate = self.rates.highest();
        let (gain, slack) = match self.phase {
            Phase::Startup { best: 0.0, .. } => return self.first_window(),
            Phase::Startup { .. } => (2.89, SLACK),
            Phase::Drain { .. } => (0.9, Duration::ZERO),
            Phase::Cruise => (1.1, SLACK),
            Phase::Probe { .. } => (1.5, SLACK),
        };
        let seconds = gain * rtt.as_secs_f64() + slack.as_secs_f64();
        let target = whole(rate * seconds);
        target.min(self.ceiling.unwrap_or(u64::MAX)).max(self.least_window())
    }
}

impl Round {
    const fn begun(begun: Instant) -> Self {
        Self { begun, delivered: 0, lost: 0, is_limited: false, is_over: false }
    }

    /// Bytes a second.
    fn rate(&self, now: Instant) -> f64 {
        let took = now.saturating_duration_since(self.begun).max(Duration::from_micros(1));
        real(self.delivered) / took.as_secs_f64()
    }

    /// The part of it that was lost.
    fn loss(&self) -> f64 {
        real(self.lost) / real((self.lost + self.delivered).max(1))
    }
}

/// The highest rates of the last while.
#[derive(Debug, Clone)]
struct Rates {
    /// A ring; `at` is the newest.
    rates: [f64; RATES],
    at: usize,
    since: Instant,
}

impl Rates {
    const fn none(now: Instant) -> Self {
        Self { rates: [0.0; RATES], at: 0, since: now }
    }

    fn note(&mut self, now: Instant, rate: f64) {
        if now.saturating_duration_since(self.since) >= RATE_LASTS {
            self.since = now;
            self.at = (self.at + 1) % RATES;
            self.set(rate);
        } else if self.rates.get(self.at).is_some_and(|highest| rate > *highest) {
            self.set(rate);
        }
    }

    fn set(&mut self, rate: f64) {
        if let Some(at) = self.rates.get_mut(self.at) {
            *at = rate;
        }
    }

    fn highest(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }
}

fn part(of: u64, part: f64) -> u64 {
    whole(real(of) * part)
}

#[expect(clippy::cast_precision_loss, reason = "no window is near 2^52 bytes")]
const fn real(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and is not negative"
)]
const fn whole(bytes: f64) -> u64 {
    bytes as u64
}
