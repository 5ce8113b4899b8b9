//! How long the NAT remembers a mapping that is not used (RFC 5780 §4.6).
//!
//! Several auxiliary sockets get a mapping each, at the same time, and are then
//! left silent for different times. After its time, a server is asked from
//! another socket to answer to that mapping: what arrives has got through a
//! mapping that old.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::asking::{Asking, Due};
use crate::local::{OpenRequest, Opened};
use crate::own::canonical;
use crate::stun::{AskId, Change, Heard, StunAsk, StunHeard, StunOutput};
use crate::via::LocalId;

/// The silences that are tried: beyond the longest nobody gains much, below the
/// shortest no NAT is known to be.
const LADDER: [Duration; 5] = [
    Duration::from_secs(26),
    Duration::from_secs(16),
    Duration::from_secs(10),
    Duration::from_secs(6),
    Duration::from_secs(4),
];

/// How much sooner than after the longest silence that was survived.
const MARGIN: Duration = Duration::from_secs(1);

/// Until it is known better. Half of the 30 s after which common NATs forget.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long the sockets may take.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// A socket for each rung, and one to ask from.
const SOCKETS: u16 = 6;

/// Measures how long the NAT remembers.
#[derive(Debug)]
pub struct Lifetime {
    setup: Option<(Option<SocketAddr>, u64)>,
    state: State,
    asking: Asking<Question>,
    verdict: Verdict,
    requests: u32,
    outbox: VecDeque<StunOutput>,
}

#[derive(Debug)]
enum State {
    Idle,
    Opening { request: OpenRequest, until: Instant },
    Measuring { asker: LocalId, rungs: Vec<Rung> },
}

#[derive(Debug)]
struct Rung {
    local: LocalId,
    silence: Duration,
    mapped: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    /// The mapping of that rung.
    Map(usize),
    /// Whether it is still there.
    Check(usize),
}

/// What the rungs have shown so far.
#[derive(Debug, Clone, Copy, Default)]
struct Verdict {
    survived: Option<Duration>,
    failed: Option<Duration>,
    complete: bool,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifetime {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            setup: None,
            state: State::Idle,
            asking: Asking::new(),
            verdict: Verdict { survived: None, failed: None, complete: false },
            requests: 0,
            outbox: VecDeque::new(),
        }
    }

    /// The server to measure with: one that takes RESPONSE-PORT, which those
    /// that have an OTHER-ADDRESS do. Another one, or a larger `network` than
    /// before, begins anew; the same again is ignored.
    pub fn handle_server(&mut self, server: Option<SocketAddr>, network: u64, now: Instant) {
        let setup = (server.map(canonical), network);
        if self.setup == Some(setup) {
            return;
        }
        self.setup = Some(setup);
        self.stop();
        self.verdict = Verdict::default();
        if server.is_some() {
            self.requests = self.requests.wrapping_add(1);
            let request = OpenRequest(self.requests);
            self.state = State::Opening { request, until: now + OPEN_WITHIN };
            self.outbox.push_back(StunOutput::OpenSockets { request, count: SOCKETS });
        }
    }

    /// An answer came.
    pub fn handle_stun(&mut self, heard: StunHeard, now: Instant) {
        let Some(question) = self.asking.question(heard.id) else { return };
        let Heard::Answer { mapped, .. } = heard.what else { return };
        match question {
            Question::Map(number) => self.on_mapped(number, canonical(mapped), now),
            Question::Check(number) => self.on_checked(number, heard.local),
        }
        self.settle(now);
    }

    /// The answer to [`StunOutput::OpenSockets`].
    pub fn handle_sockets(&mut self, opened: Opened, now: Instant) {
        let Opened { request, sockets } = opened;
        let locals: Vec<LocalId> = sockets.into_iter().map(|(local, _)| local).collect();
        let ours = matches!(&self.state, State::Opening { request: ours, .. } if *ours == request);
        match locals.as_slice() {
            // With fewer sockets the longest silences are tried.
            [asker, others @ ..] if ours && !others.is_empty() => {
                let rungs = others.iter().zip(LADDER).map(|(local, silence)| Rung {
                    local: *local,
                    silence,
                    mapped: None,
                });
                self.state = State::Measuring { asker: *asker, rungs: rungs.collect() };
                for number in 0..others.len().min(LADDER.len()) {
                    self.asking.ask(Question::Map(number), now);
                }
            }
            _ => {
                if ours {
                    self.state = State::Idle;
                }
                self.close(locals);
            }
        }
        self.settle(now);
    }

    /// The time of [`next_deadline`](Self::next_deadline) has come. Harmless earlier.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Opening { until, .. } => Some(until),
            State::Measuring { .. } => self.asking.deadline(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<StunOutput> {
        self.outbox.pop_front()
    }

    /// The longest silence after which a mapping was still there, once that is
    /// settled. The real lifetime is at least that; beyond 26 s nobody asks.
    #[must_use]
    pub fn measured(&self) -> Option<Duration> {
        self.verdict.survived.filter(|_| self.verdict.complete)
    }

    /// After how much silence to send something: just under the measured
    /// lifetime, never more than 25 s, and 15 s until it has been measured, or
    /// less if that has turned out to be too long. If nothing at all came back,
    /// not even after the shortest silence, nothing was learnt: most likely the
    /// server does not know RESPONSE-PORT.
    #[must_use]
    pub fn keepalive(&self) -> Duration {
        let Verdict { survived, failed, complete } = self.verdict;
        let under = |silence: Duration| silence.saturating_sub(MARGIN);
        match (survived, failed) {
            (Some(survived), _) if complete => under(survived),
            (Some(survived), Some(failed)) if failed <= KEEPALIVE => under(survived),
            _ => KEEPALIVE,
        }
    }

    fn on_mapped(&mut self, number: usize, mapped: SocketAddr, now: Instant) {
        let State::Measuring { rungs, .. } = &mut self.state else { return };
        let Some(rung) = rungs.get_mut(number) else { return };
        // Every answer has been a use of the mapping: the silence begins now.
        self.asking.close(Question::Map(number));
        rung.mapped = Some(mapped);
        self.asking.ask(Question::Check(number), now + rung.silence);
    }

    fn on_checked(&mut self, number: usize, local: LocalId) {
        let State::Measuring { rungs, .. } = &self.state else { return };
        let Some(rung) = rungs.get(number) else { return };
        if rung.local != local {
            // It came back to the asking socket: the server does not know
            // RESPONSE-PORT, and nothing can be learnt from it.
            self.stop();
            self.verdict = Verdict::default();
            return;
        }
        if self.asking.close(Question::Check(number)) {
            self.verdict.survived = self.verdict.survived.max(Some(rung.silence));
        }
    }

    fn settle(&mut self, now: Instant) {
        if let State::Opening { until, .. } = self.state
            && until <= now
        {
            self.state = State::Idle;
        }
        while let Some(due) = self.asking.poll(now) {
            match due {
                Due::Ask(id, question) => self.put(id, question),
                Due::Lost(Question::Check(number)) => self.on_lost(number),
                Due::Lost(Question::Map(_)) => {}
            }
        }
        let over = matches!(self.state, State::Measuring { .. }) && !self.asking.is_open(|_| true);
        if over {
            self.verdict.complete = true;
            self.stop();
        }
    }

    fn put(&mut self, id: AskId, question: Question) {
        let (State::Measuring { asker, rungs }, Some((Some(server), _))) =
            (&self.state, self.setup)
        else {
            return;
        };
        let (Question::Map(number) | Question::Check(number)) = question;
        let Some(rung) = rungs.get(number) else { return };
        let (local, response_port) = match question {
            Question::Map(_) => (rung.local, None),
            Question::Check(_) => (*asker, rung.mapped.map(|mapped| mapped.port())),
        };
        let ask = StunAsk { id, local, server, change: Change::Same, response_port };
        self.outbox.push_back(StunOutput::Ask(ask));
    }

    fn on_lost(&mut self, number: usize) {
        let State::Measuring { rungs, .. } = &self.state else { return };
        let Some(silence) = rungs.get(number).map(|rung| rung.silence) else { return };
        self.verdict.failed = Some(self.verdict.failed.map_or(silence, |least| least.min(silence)));
    }

    fn stop(&mut self) {
        self.asking.forget();
        if let State::Measuring { asker, rungs } = core::mem::replace(&mut self.state, State::Idle)
        {
            self.close(rungs.into_iter().map(|rung| rung.local).chain([asker]).collect());
        }
    }

    fn close(&mut self, locals: Vec<LocalId>) {
        if !locals.is_empty() {
            self.outbox.push_back(StunOutput::CloseSockets(locals));
        }
    }
}

#[cfg(test)]
#[path = "tests/lifetime.rs"]
mod tests;
