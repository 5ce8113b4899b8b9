//! Being bound at one beacon, over one way: hello, challenge, bind, and signs
//! of life for as long as it lasts.
//!
//! Time and randomness are arguments. The driver of the node sends what comes
//! out and feeds what came back; it decides at which of a beacon's places to
//! stay. What a beacon does not seal (challenge, unknown) can be forged by
//! whoever sees the packets: it costs a hello, and changes nothing else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_identity::{NONCE_BYTES, NodeId, NodeKey, PairKey, SignedTicket};
use pilot_proto::beacon::{
    self, Alive, Bind, BindRefusal, CONTEXT, FromBeacon, RelayId, Services, Told,
};

/// First and longest pause between hellos, and between binds. A beacon that is
/// back must be in use within a few seconds.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// How long the answer to a sign of life may take, before it is asked again.
const ALIVE_PATIENCE: Duration = Duration::from_millis(400);

/// Signs of life without an answer after which the binding counts as lost.
const MAX_UNANSWERED: u32 = 3;

/// Pause before a bind that was refused is tried again, unless there is a new ticket.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Shortest time between two bindings that an unsealed packet brings about.
const MIN_LIFE: Duration = Duration::from_secs(1);

/// What a binding is sure of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Where the beacon sees this node.
    pub(crate) observed: SocketAddr,
    /// More of its STUN addresses.
    pub(crate) stun: Vec<SocketAddr>,
    /// What it does.
    pub(crate) services: Services,
    /// Smoothed round trip.
    pub(crate) rtt: Duration,
}

#[derive(Debug)]
enum State {
    /// A hello was sent so many times.
    Hello { tries: u32 },
    /// So was a bind, with this cookie.
    Bind { tries: u32, cookie: [u8; beacon::COOKIE_BYTES], sent: Instant },
    /// It is bound; a sign of life may be on its way.
    Steady { since: Instant, asked: Option<Asked> },
    /// The beacon does not want this node.
    Refused(BindRefusal),
}

#[derive(Debug)]
struct Asked {
    seq: u64,
    at: Instant,
    tries: u32,
}

/// What the shell knows and a binding does not keep.
pub(crate) struct Means<'a> {
    pub(crate) key: &'a NodeKey,
    pub(crate) ticket: Option<&'a SignedTicket>,
    /// Pause between signs of life.
    pub(crate) keepalive: Duration,
    /// Fresh for every call.
    pub(crate) nonce: [u8; NONCE_BYTES],
    /// The wall clock in microseconds, for numbers that grow also over restarts.
    pub(crate) micros: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Binding {
    /// The key the beacon must have, if that is known.
    expected: Option<NodeId>,
    pair: Option<(NodeId, PairKey)>,
    me: NodeId,
    state: State,
    /// Kept while the node binds anew because the beacon or its own address is
    /// another one, until that fails; not once the beacon is silent.
    bound: Option<Bound>,
    due: Instant,
    seq: u64,
    outbox: VecDeque<Vec<u8>>,
}

impl Binding {
    pub(crate) fn new(me: NodeId, expected: Option<NodeId>, now: Instant) -> Self {
        let state = State::Hello { tries: 0 };
        Self {
            expected,
            pair: None,
            me,
            state,
            bound: None,
            due: now,
            seq: 0,
            outbox: VecDeque::new(),
        }
    }

    pub(crate) const fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    pub(crate) const fn refusal(&self) -> Option<BindRefusal> {
        match self.state {
            State::Refused(refusal) => Some(refusal),
            State::Hello { .. } | State::Bind { .. } | State::Steady { .. } => None,
        }
    }

    /// The beacon's key, once a challenge told it or it was known from the start.
    pub(crate) fn beacon(&self) -> Option<NodeId> {
        self.pair.as_ref().map(|(id, _)| *id).or(self.expected)
    }

    /// Hellos sent in a row without an answer.
    pub(crate) const fn unanswered(&self) -> u32 {
        match self.state {
            State::Hello { tries } => tries,
            State::Bind { .. } | State::Steady { .. } | State::Refused(_) => 0,
        }
    }

    /// Something is wrong with what goes through this beacon: asks at once
    /// whether it is there.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if matches!(self.state, State::Steady { asked: None, .. }) {
            self.due = now;
        }
    }

    /// There is a new ticket, or the network changed: begins anew. What is
    /// bound stays in use until an answer says otherwise.
    pub(crate) fn restart(&mut self, now: Instant) {
        match &mut self.state {
            // A sign of life tells: from a new address it is challenged.
            State::Steady { asked, .. } => *asked = None,
            State::Hello { .. } | State::Bind { .. } | State::Refused(_) => {
                self.state = State::Hello { tries: 0 };
            }
        }
        self.due = now;
    }

    pub(crate) const fn next_deadline(&self) -> Instant {
        self.due
    }

    pub(crate) fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    pub(crate) fn handle_timeout(&mut self, means: &Means<'_>, now: Instant) {
        if now < self.due {
            return;
        }
        match &self.state {
            State::Hello { tries } => {
                if *tries >= MAX_UNANSWERED {
                    self.bound = None;
                }
                self.say_hello(*tries, now);
            }
            State::Bind { tries, .. } if *tries >= MAX_UNANSWERED => self.say_hello(0, now),
            State::Bind { tries, cookie, .. } => {
                let (tries, cookie) = (*tries, *cookie);
                self.say_bind(tries, cookie, means, now);
            }
            State::Steady { asked: Some(asked), .. } if asked.tries >= MAX_UNANSWERED => {
                self.bound = None;
                self.say_hello(0, now);
            }
            State::Steady { asked, .. } => {
                let tries = asked.as_ref().map_or(0, |asked| asked.tries);
                self.say_alive(tries, means, now);
            }
            State::Refused(_) => self.say_hello(0, now),
        }
    }

    fn say_hello(&mut self, tries: u32, now: Instant) {
        self.outbox.push_back(beacon::hello(&self.me).to_vec());
        self.state = State::Hello { tries: tries.saturating_add(1) };
        self.due = now + pause(tries);
    }

    fn say_bind(
        &mut self,
        tries: u32,
        cookie: [u8; beacon::COOKIE_BYTES],
        means: &Means<'_>,
        now: Instant,
    ) {
        let seq = self.next_seq(means);
        let Some((_, pair)) = &self.pair else { return self.say_hello(0, now) };
        let bind = Bind { seq, ticket: means.ticket.cloned() };
        self.outbox.push_back(beacon::bind(&self.me, &cookie, pair, means.nonce, &bind));
        self.state = State::Bind { tries: tries.saturating_add(1), cookie, sent: now };
        self.due = now + pause(tries);
    }

    fn say_alive(&mut self, tries: u32, means: &Means<'_>, now: Instant) {
        let seq = self.next_seq(means);
        let Some((_, pair)) = &self.pair else { return self.say_hello(0, now) };
        let id = RelayId::of(&self.me);
        self.outbox.push_back(beacon::alive(id, pair, means.nonce, &Alive { seq }));
        if let State::Steady { asked, .. } = &mut self.state {
            *asked = Some(Asked { seq, at: now, tries: tries.saturating_add(1) });
        }
        self.due = now + ALIVE_PATIENCE;
    }

    fn next_seq(&mut self, means: &Means<'_>) -> u64 {
        self.seq = means.micros.max(self.seq.saturating_add(1));
        self.seq
    }

    /// Takes a marked packet that came from the beacon's place; gives who it
    /// says is not there, if it says so.
    pub(crate) fn handle_packet(
        &mut self,
        packet: &[u8],
        means: &Means<'_>,
        now: Instant,
    ) -> Option<RelayId> {
        match FromBeacon::decode(packet) {
            Ok(FromBeacon::Challenge { beacon, cookie }) => {
                self.on_challenge(beacon, cookie, means, now);
                None
            }
            Ok(FromBeacon::Unknown) => {
                if self.is_old_enough(now) {
                    self.say_hello(0, now);
                }
                None
            }
            Ok(FromBeacon::Told(sealed)) => {
                let (_, pair) = self.pair.as_ref()?;
                let told = sealed.open::<Told>(pair).ok()?;
                self.on_told(told, means, now)
            }
            Err(error) => {
                tracing::trace!(%error, "no packet of a beacon");
                None
            }
        }
    }

    fn on_challenge(
        &mut self,
        beacon: [u8; 32],
        cookie: [u8; beacon::COOKIE_BYTES],
        means: &Means<'_>,
        now: Instant,
    ) {
        let is_asked = matches!(self.state, State::Hello { .. });
        if !is_asked && !self.is_old_enough(now) {
            return;
        }
        let known = self.pair.as_ref().is_some_and(|(id, _)| *id.as_bytes() == beacon);
        if !known {
            let Ok(id) = NodeId::from_bytes(beacon) else { return };
            if self.expected.is_some_and(|expected| expected != id) {
                tracing::debug!(beacon = %id.short(), "a beacon with another key");
                return;
            }
            let Ok(pair) = PairKey::new(means.key, &id, CONTEXT) else { return };
            self.pair = Some((id, pair));
        }
        self.say_bind(0, cookie, means, now);
    }

    /// An unsealed packet may end a binding, but not one after the other.
    fn is_old_enough(&self, now: Instant) -> bool {
        match &self.state {
            State::Steady { since, .. } => now.duration_since(*since) >= MIN_LIFE,
            State::Bind { .. } | State::Hello { .. } | State::Refused(_) => false,
        }
    }

    fn on_told(&mut self, told: Told, means: &Means<'_>, now: Instant) -> Option<RelayId> {
        match (told, &mut self.state) {
            (Told::Bound { seq, observed, stun, services }, State::Bind { sent, .. })
                if seq == self.seq =>
            {
                let rtt = now.duration_since(*sent);
                self.bound = Some(Bound { observed, stun, services, rtt });
                self.state = State::Steady { since: now, asked: None };
                self.due = now + means.keepalive;
                None
            }
            (Told::Refused { seq, code }, State::Bind { .. }) if seq == self.seq => {
                self.state = State::Refused(code);
                self.bound = None;
                // A number was used before by a faster clock: the next is larger.
                let stale = matches!(code, BindRefusal::Stale);
                self.due = now + if stale { RETRY.0 } else { REFUSED_PAUSE };
                None
            }
            (Told::Alive { seq, observed }, State::Steady { asked, .. }) => {
                let answered = asked.take_if(|asked| asked.seq == seq)?;
                let rtt = now.duration_since(answered.at);
                if let Some(bound) = &mut self.bound {
                    bound.rtt = (bound.rtt * 7 + rtt) / 8;
                    bound.observed = observed;
                }
                self.due = now + means.keepalive;
                None
            }
            (Told::Absent { id }, State::Steady { .. }) => Some(id),
            (
                Told::Bound { .. }
                | Told::Refused { .. }
                | Told::Alive { .. }
                | Told::Absent { .. },
                State::Hello { .. } | State::Bind { .. } | State::Steady { .. } | State::Refused(_),
            ) => None,
        }
    }
}

fn pause(tries: u32) -> Duration {
    RETRY.0.saturating_mul(1 << tries.min(8)).min(RETRY.1)
}

#[cfg(test)]
#[path = "tests/binding.rs"]
mod tests;
