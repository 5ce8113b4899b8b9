//! When this node calls the peer to punch, and in which way.
//!
//! A campaign is a row of attempts, from the plainest to the boldest: both at
//! once from the main socket, then from a fresh mapping with one side ahead of
//! the other, then birthday probing where the kinds of NAT call for it. It ends
//! with the first direct path, or rests and begins anew: after 5 s, then twice
//! as long each time up to 2 minutes, and at once when there is news.
//!
//! Each side runs its own campaign; what the other one calls for is answered
//! by [`Answerer`](crate::answerer::Answerer) at any time. Two campaigns do not
//! disturb each other: they meet in the same rounds from the main sockets, and
//! a fresh mapping belongs to one of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_proto::probe::Method;

use crate::compat::Compat;
use crate::local::OpenRequest;
use crate::via::LocalId;

/// How much earlier one side begins where that is asked for: more than most
/// one-way times, so that its first ping has opened its NAT and is there
/// before the other one's leaves.
pub(crate) const LEAD: Duration = Duration::from_millis(100);

/// Rounds of pings in an attempt.
pub(crate) const ROUNDS: u8 = 5;

/// The same, once it has failed several times.
const LATER_ROUNDS: u8 = 3;

/// When a call is sent again if no answer came, and when it is given up.
const CALL_AGAIN: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(750)];

/// How long fresh sockets and their STUN answers may take.
const OPEN_WITHIN: Duration = Duration::from_secs(3);

/// After how long without a direct path the next attempt begins, counted from
/// the first round, with the round trip of the call added.
const NEXT_ATTEMPT: Duration = Duration::from_millis(500);
const NEXT_ATTEMPT_MORE: Duration = Duration::from_millis(500);

/// How long birthday probing takes.
pub(crate) const BIRTHDAY_FOR: Duration = Duration::from_secs(10);

/// The first rest between two campaigns, and the longest.
const REST: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(120);

/// The same while the peer cannot be reached in any way, not even by a relay.
/// Somebody waits for it then, and it must be found within a second of its
/// return: the rests stay short for some ten campaigns, which is longer than
/// one dial takes. Each new dial is news, and begins with short ones.
const REST_ABSENT: Duration = Duration::from_millis(200);
const REST_MAX_ABSENT: Duration = Duration::from_secs(30);
const PATIENT_CAMPAIGNS: u32 = 10;

/// How long those behind NATs are not pinged while the answer to the first call
/// is awaited: a ping that is there before theirs was sent can spoil the
/// mapping for good (a Linux router that takes unsolicited packets gives the
/// port away).
const HOLD_BACK: Duration = Duration::from_millis(300);

/// Between the starts of two campaigns, however much news there is.
const START_EVERY: Duration = Duration::from_secs(1);

/// The first rest between two rounds of birthday probing, and the longest.
const BIRTHDAY_REST: Duration = Duration::from_secs(30);
const BIRTHDAY_REST_MAX: Duration = Duration::from_secs(600);

/// What the campaign depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    /// Whether a direct path is wanted and there is none.
    pub(crate) needed: bool,
    /// Whether this node is bound at any beacon, to call by it.
    pub(crate) can_call: bool,
    /// Whether the peer can be reached in any way now.
    pub(crate) reachable: bool,
    pub(crate) compat: Compat,
}

/// What the campaign wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Ping from the main socket: at once what no early packet can spoil, the
    /// rest from the time told.
    Early { rounds: u8, wide_from: Instant },
    /// Call the peer.
    Call(Asking),
    /// Open a socket with a fresh mapping.
    Open(OpenRequest),
}

/// A call of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) seq: u64,
    pub(crate) method: Method,
    /// The socket with a fresh mapping, and where it is seen.
    pub(crate) fresh: Option<(LocalId, SocketAddr)>,
    /// What was measured the last time: from call to answer.
    pub(crate) answer_in: Option<Duration>,
}

/// What the peer's answer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Rounds of pings from this socket, from that time on.
    Volley { local: LocalId, rounds: u8, first: Instant },
    /// Birthday probing, now.
    Birthday,
}

/// The campaign of this node.
#[derive(Debug)]
pub(crate) struct Campaign {
    state: State,
    /// Campaigns in a row that led nowhere.
    failures: u32,
    started: Option<Instant>,
    /// News came while an attempt was under way.
    again: bool,
    last_seq: u64,
    last_request: u32,
    answer_in: Option<Duration>,
    birthdays: u32,
    birthday_from: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Resting { until: Option<Instant> },
    Opening { step: Step, request: OpenRequest, until: Instant },
    Calling { step: Step, asking: Asking, first: Option<Instant>, tries: usize, next: Instant },
    Punching { step: Step, fresh: Option<LocalId>, until: Instant },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Together,
    CallerFirst,
    AnswererFirst,
    Birthday,
}

impl Campaign {
    /// At rest until there is news. Numbers its calls from `first_seq` on, by
    /// which the peer can tell them from those of an earlier run.
    pub(crate) const fn new(first_seq: u64) -> Self {
        Self {
            state: State::Resting { until: None },
            failures: 0,
            started: None,
            again: false,
            last_seq: first_seq,
            last_request: 0,
            answer_in: None,
            birthdays: 0,
            birthday_from: None,
        }
    }

    /// Something changed: what failed before may work now.
    pub(crate) fn handle_news(&mut self, now: Instant) {
        self.failures = 0;
        match &mut self.state {
            State::Resting { until } => {
                let from = self.started.map_or(now, |started| now.max(started + START_EVERY));
                *until = Some(until.map_or(from, |until| until.min(from)));
            }
            State::Opening { .. } | State::Calling { .. } | State::Punching { .. } => {
                self.again = true;
            }
        }
    }

    /// The network changed: whatever is under way, it is about the old one.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.rest();
        self.started = None;
        self.birthdays = 0;
        self.birthday_from = None;
        self.handle_news(now);
    }

    /// No direct path is wanted, or there is one.
    pub(crate) const fn rest(&mut self) {
        self.state = State::Resting { until: None };
        self.failures = 0;
        self.again = false;
    }

    /// An answer to the call under way came.
    pub(crate) fn handle_answer(
        &mut self,
        seq: u64,
        method: Method,
        start_in: Duration,
        now: Instant,
    ) -> Option<Answered> {
        let State::Calling { step, asking, first, tries, .. } = self.state else { return None };
        if asking.seq != seq {
            return None;
        }
        let took = now - first?;
        if tries <= 1 {
            self.answer_in = Some(took);
        }
        let one_way = self.answer_in.unwrap_or(took) / 2;
        let fresh = asking.fresh.map(|(local, _)| local);
        if step == Step::Birthday && method == Method::Birthday {
            self.state = State::Punching { step, fresh, until: now + BIRTHDAY_FOR };
            return Some(Answered::Birthday);
        }
        let wait = start_in.saturating_sub(one_way);
        let first = match method {
            Method::Together | Method::Birthday => now + wait,
            // The answerer adds the lead to its own start.
            Method::CallerFirst => now,
            Method::AnswererFirst => now + wait + LEAD,
        };
        let until = first + NEXT_ATTEMPT + took.min(NEXT_ATTEMPT_MORE);
        self.state = State::Punching { step, fresh, until };
        let local = fresh.unwrap_or(LocalId::MAIN);
        Some(Answered::Volley { local, rounds: self.rounds(), first })
    }

    /// Sockets were opened; whether they are those of this campaign.
    pub(crate) fn handle_sockets(
        &mut self,
        request: OpenRequest,
        fresh: Option<(LocalId, SocketAddr)>,
        now: Instant,
    ) -> bool {
        let State::Opening { step, request: ours, .. } = self.state else { return false };
        if ours != request {
            return false;
        }
        match fresh {
            Some(fresh) => self.call(step, Some(fresh), now),
            // No socket, or STUN does not answer: on with the next attempt.
            None => self.state = State::Punching { step, fresh: None, until: now },
        }
        true
    }

    /// The socket with the fresh mapping, while the attempt lasts.
    pub(crate) const fn fresh(&self) -> Option<LocalId> {
        match self.state {
            State::Calling { asking: Asking { fresh: Some((local, _)), .. }, .. } => Some(local),
            State::Punching { fresh, .. } => fresh,
            State::Calling { .. } | State::Resting { .. } | State::Opening { .. } => None,
        }
    }

    /// Does what is due.
    pub(crate) fn poll(&mut self, situation: Situation, now: Instant) -> Option<Act> {
        loop {
            if self.deadline().is_none_or(|at| at > now) || !situation.needed {
                return None;
            }
            let act = match self.state {
                State::Resting { .. } => Some(self.start(situation, now)),
                State::Opening { step, .. } | State::Punching { step, .. } => {
                    match self.after(step, situation, now) {
                        Some(next) => self.begin(next, now),
                        None => self.pause(situation, now),
                    }
                }
                State::Calling { step, asking, first, tries, .. } => match CALL_AGAIN.get(tries) {
                    Some(again) => {
                        let (first, next) = (Some(first.unwrap_or(now)), now + *again);
                        self.state = State::Calling { step, asking, first, tries: tries + 1, next };
                        Some(Act::Call(asking))
                    }
                    None => self.pause(situation, now),
                },
            };
            if act.is_some() {
                return act;
            }
        }
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until } => until,
            State::Opening { until, .. } | State::Punching { until, .. } => Some(until),
            State::Calling { next, .. } => Some(next),
        }
    }

    fn start(&mut self, situation: Situation, now: Instant) -> Act {
        self.started = Some(now);
        self.again = false;
        let wide_from = if situation.can_call {
            self.call(Step::Together, None, now);
            now + HOLD_BACK
        } else {
            let until = now + NEXT_ATTEMPT;
            self.state = State::Punching { step: Step::Together, fresh: None, until };
            now
        };
        Act::Early { rounds: self.rounds(), wide_from }
    }

    fn begin(&mut self, step: Step, now: Instant) -> Option<Act> {
        match step {
            Step::Together => self.call(step, None, now),
            Step::Birthday => {
                let rest = doubled(BIRTHDAY_REST, self.birthdays, BIRTHDAY_REST_MAX);
                self.birthday_from = Some(now + BIRTHDAY_FOR + rest);
                self.birthdays = self.birthdays.saturating_add(1);
                self.call(step, None, now);
            }
            Step::CallerFirst | Step::AnswererFirst => {
                self.last_request = self.last_request.wrapping_add(1);
                let request = fresh_request(self.last_request);
                self.state = State::Opening { step, request, until: now + OPEN_WITHIN };
                return Some(Act::Open(request));
            }
        }
        None
    }

    fn call(&mut self, step: Step, fresh: Option<(LocalId, SocketAddr)>, now: Instant) {
        self.last_seq = self.last_seq.wrapping_add(1);
        let method = match step {
            Step::Together => Method::Together,
            Step::CallerFirst => Method::CallerFirst,
            Step::AnswererFirst => Method::AnswererFirst,
            Step::Birthday => Method::Birthday,
        };
        let asking = Asking { seq: self.last_seq, method, fresh, answer_in: self.answer_in };
        self.state = State::Calling { step, asking, first: None, tries: 0, next: now };
    }

    /// The attempt that follows one that did not help.
    fn after(&self, step: Step, situation: Situation, now: Instant) -> Option<Step> {
        if !situation.can_call {
            return None;
        }
        let birthday = || {
            let due = self.birthday_from.is_none_or(|from| from <= now);
            let sensible = situation.reachable && situation.compat.role().is_some();
            (due && sensible).then_some(Step::Birthday)
        };
        match (step, situation.compat) {
            (Step::Together, Compat::Plain | Compat::PlainThenBirthday(_)) => {
                // Both ways at first, then one of them each time.
                let answerer = self.failures > 0 && self.failures.is_multiple_of(2);
                Some(if answerer { Step::AnswererFirst } else { Step::CallerFirst })
            }
            (Step::CallerFirst, Compat::Plain | Compat::PlainThenBirthday(_))
                if self.failures == 0 =>
            {
                Some(Step::AnswererFirst)
            }
            (Step::Birthday, _) | (_, Compat::Hopeless | Compat::Blocked) => None,
            (Step::Together | Step::CallerFirst | Step::AnswererFirst, _) => birthday(),
        }
    }

    fn pause(&mut self, situation: Situation, now: Instant) -> Option<Act> {
        let until = if self.again {
            self.started.map_or(now, |started| now.max(started + START_EVERY))
        } else {
            let rest = if situation.reachable {
                doubled(REST, self.failures, REST_MAX)
            } else {
                let times = self.failures.saturating_sub(PATIENT_CAMPAIGNS);
                doubled(REST_ABSENT, times, REST_MAX_ABSENT)
            };
            self.failures = self.failures.saturating_add(1);
            now + rest
        };
        self.state = State::Resting { until: Some(until) };
        None
    }

    const fn rounds(&self) -> u8 {
        if self.failures > 2 { LATER_ROUNDS } else { ROUNDS }
    }
}

/// Campaigns use the even numbers, birthday probing the odd ones.
const fn fresh_request(number: u32) -> OpenRequest {
    OpenRequest(number.wrapping_mul(2))
}

/// `first`, doubled so many times, but never more than `longest`.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}
