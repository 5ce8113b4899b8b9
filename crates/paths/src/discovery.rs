//! What kind of NAT this node is behind, from STUN answers (RFC 5780 §4).
//!
//! From the main socket all addresses of all servers are asked: what they see
//! tells the mapping. Everything else is asked from an auxiliary socket that
//! has never sent to a server's other address, or the answer from there would
//! be let in for that: whom the NAT lets in, and whether a packet from inside to
//! an own public address comes back in.
//!
//! A server with one address and two ports cannot tell a NAT that looks at the
//! address of the other end from one that looks at nothing: mappings are then
//! taken for the latter, which nearly all are, and filters for the former.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pilot_proto::probe::{Behaviour, Nat};

use crate::asking::{Asking, Due};
use crate::local::{OpenRequest, Opened};
use crate::own::canonical;
use crate::stun::{Change, Finding, Heard, StunAsk, StunHeard, StunOutput};
use crate::via::LocalId;

/// Public addresses of the main socket that are told.
pub const MAX_MAPPED: usize = 4;

/// Addresses of servers that are asked, all of them together.
const MAX_ASKED: usize = 8;

/// How long to wait before all is asked again after nobody answered at all, at
/// first and at most: the network may only have been slow to come up.
const ASK_AGAIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(120);

/// How long the auxiliary socket may take.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// A STUN server, usually a beacon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunServer {
    /// Where it is asked first.
    pub address: SocketAddr,
    /// Its other addresses and ports, as far as it told them outside of STUN.
    pub others: Vec<SocketAddr>,
}

/// Finds out what kind of NAT this node is behind.
#[derive(Debug)]
pub struct Discovery {
    setup: Option<Setup>,
    state: State,
    asking: Asking<Question>,
    /// What the main socket looks like to whom.
    seen: Vec<Seen>,
    filter: Filter,
    hairpin: bool,
    finding: Finding,
    requests: u32,
    blocked: u32,
    outbox: VecDeque<StunOutput>,
}

#[derive(Debug, PartialEq, Eq)]
struct Setup {
    servers: Vec<StunServer>,
    own: Vec<IpAddr>,
    network: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing to ask, or all is known.
    Done,
    /// Nobody answered.
    Blocked { until: Instant },
    /// The main socket is asked about.
    Mapping,
    /// An auxiliary socket is wanted.
    Opening { request: OpenRequest, server: Seen, until: Instant },
    /// It is asked about.
    Filtering { local: LocalId, server: Seen, mapped: Option<SocketAddr> },
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    server: SocketAddr,
    mapped: SocketAddr,
    other: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    /// From the main socket.
    Mapping(SocketAddr),
    /// From the auxiliary one, so that the server is known to its NAT.
    Greeting(SocketAddr),
    /// The same, to be answered from elsewhere.
    Filter(SocketAddr, Change),
    /// From one to the public address of the other.
    Hairpin { from: LocalId, to: SocketAddr },
}

/// From where answers came to the auxiliary socket.
#[derive(Debug, Clone, Copy, Default)]
struct Filter {
    port: bool,
    address: bool,
}

impl Default for Discovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Discovery {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            setup: None,
            state: State::Done,
            asking: Asking::new(),
            seen: Vec::new(),
            filter: Filter { port: false, address: false },
            hairpin: false,
            finding: Finding { nat: Nat::UNKNOWN, mapped: Vec::new(), hairpin: None },
            requests: 0,
            blocked: 0,
            outbox: VecDeque::new(),
        }
    }

    /// What there is to ask, and what this machine's own addresses are. A
    /// larger `network` than before begins anew, as do other servers or own
    /// addresses; the same again is ignored.
    pub fn handle_local(
        &mut self,
        servers: &[StunServer],
        own: &[IpAddr],
        network: u64,
        now: Instant,
    ) {
        let own = own.iter().map(IpAddr::to_canonical).collect();
        let setup = Setup { servers: servers.to_vec(), own, network };
        if self.setup.as_ref() == Some(&setup) {
            return;
        }
        if self.setup.as_ref().is_none_or(|before| network > before.network) {
            self.finding = Finding::default();
        }
        self.setup = Some(setup);
        self.blocked = 0;
        self.start(now);
        self.settle(now);
    }

    /// An answer came.
    pub fn handle_stun(&mut self, heard: StunHeard, now: Instant) {
        let Some(question) = self.asking.question(heard.id) else { return };
        match (question, heard.what) {
            (Question::Mapping(server), Heard::Answer { mapped, other }) => {
                let mapped = canonical(mapped);
                if self.asking.close(question) {
                    self.seen.push(Seen { server, mapped, other });
                }
            }
            (Question::Greeting(_), Heard::Answer { mapped, .. }) => {
                if self.asking.close(question) {
                    self.on_greeted(canonical(mapped), now);
                }
            }
            (Question::Filter(_, change), Heard::Answer { .. }) => {
                self.asking.close(question);
                match change {
                    Change::Same => {}
                    Change::Port => self.filter.port = true,
                    Change::AddressAndPort => self.filter.address = true,
                }
            }
            (Question::Hairpin { from, .. }, Heard::OwnRequest) => {
                self.hairpin |= heard.local != from;
                self.asking.close(question);
            }
            // A server at a public address of our own: nobody there.
            (Question::Hairpin { .. }, Heard::Answer { .. })
            | (
                Question::Mapping(_) | Question::Greeting(_) | Question::Filter(..),
                Heard::OwnRequest,
            ) => {}
        }
        self.settle(now);
    }

    /// The answer to [`StunOutput::OpenSockets`].
    pub fn handle_sockets(&mut self, opened: Opened, now: Instant) {
        let wanted = match self.state {
            State::Opening { request, server, .. } if request == opened.request => Some(server),
            State::Done
            | State::Blocked { .. }
            | State::Mapping
            | State::Opening { .. }
            | State::Filtering { .. } => None,
        };
        let locals: Vec<LocalId> = opened.sockets.iter().map(|(local, _)| *local).collect();
        match (wanted, locals.as_slice()) {
            (Some(server), [local, rest @ ..]) => {
                self.close(rest.to_vec());
                self.state = State::Filtering { local: *local, server, mapped: None };
                self.asking.ask(Question::Greeting(server.server), now);
            }
            (Some(_), []) => self.finish(),
            (None, _) => self.close(locals),
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
        let own = match self.state {
            State::Blocked { until } | State::Opening { until, .. } => Some(until),
            State::Done | State::Mapping | State::Filtering { .. } => None,
        };
        own.into_iter().chain(self.asking.deadline()).min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<StunOutput> {
        self.outbox.pop_front()
    }

    /// What is known by now.
    #[must_use]
    pub const fn finding(&self) -> &Finding {
        &self.finding
    }

    /// Whether all that can be found out has been.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Blocked { .. })
    }

    fn start(&mut self, now: Instant) {
        if let State::Filtering { local, .. } = self.state {
            self.close(vec![local]);
        }
        self.asking.forget();
        self.seen.clear();
        (self.filter, self.hairpin) = (Filter::default(), false);
        let Some(setup) = &self.setup else { return };
        // Every server once before any other address: one of them may be the
        // only one that answers.
        let first = setup.servers.iter().map(|server| server.address);
        let others = setup.servers.iter().flat_map(|server| server.others.iter().copied());
        let mut asked = BTreeSet::new();
        for address in first.chain(others).map(canonical) {
            if asked.len() < MAX_ASKED && asked.insert(address) {
                self.asking.ask(Question::Mapping(address), now);
            }
        }
        self.state = if asked.is_empty() { State::Done } else { State::Mapping };
    }

    fn settle(&mut self, now: Instant) {
        if let State::Blocked { until } = self.state
            && until <= now
        {
            self.start(now);
        }
        while let Some(due) = self.asking.poll(now) {
            if let Due::Ask(id, question) = due {
                let ask = self.form(question);
                let ask = StunAsk { id, ..ask };
                self.outbox.push_back(StunOutput::Ask(ask));
            }
        }
        match self.state {
            State::Mapping if !self.asking.is_open(|_| true) => self.on_mapping_known(now),
            State::Opening { until, .. } if until <= now => self.finish(),
            State::Filtering { mapped, .. } if !self.asking.is_open(|_| true) => {
                self.on_filtering_known(mapped.is_some());
            }
            State::Done
            | State::Blocked { .. }
            | State::Mapping
            | State::Opening { .. }
            | State::Filtering { .. } => {}
        }
    }

    fn form(&self, question: Question) -> StunAsk {
        let aux = match self.state {
            State::Filtering { local, .. } => local,
            State::Done | State::Blocked { .. } | State::Mapping | State::Opening { .. } => {
                LocalId::MAIN
            }
        };
        let (local, server, change) = match question {
            Question::Mapping(server) => (LocalId::MAIN, server, Change::Same),
            Question::Greeting(server) => (aux, server, Change::Same),
            Question::Filter(server, change) => (aux, server, change),
            Question::Hairpin { from, to } => (from, to, Change::Same),
        };
        StunAsk { id: crate::stun::AskId(0), local, server, change, response_port: None }
    }

    fn on_mapping_known(&mut self, now: Instant) {
        let ipv4: Vec<Seen> =
            self.seen.iter().filter(|seen| seen.server.is_ipv4()).copied().collect();
        let seen = if ipv4.is_empty() { self.seen.clone() } else { ipv4 };
        let Some(first) = seen.first() else {
            self.finding = Finding { nat: Nat::BLOCKED, ..Finding::default() };
            let wait = ASK_AGAIN.saturating_mul(1 << self.blocked.min(16)).min(ASK_AGAIN_MAX);
            self.blocked = self.blocked.saturating_add(1);
            self.state = State::Blocked { until: now + wait };
            return;
        };
        let Nat { mapping: was, filtering } = self.finding.nat;
        let filtering = if was == Behaviour::Blocked { Behaviour::Unknown } else { filtering };
        self.finding.nat = Nat { mapping: mapping(&seen, self.own()), filtering };
        self.finding.mapped = self.mapped(&seen);
        let server = *seen.iter().find(|seen| seen.other.is_some()).unwrap_or(first);
        self.requests = self.requests.wrapping_add(1);
        let request = OpenRequest(self.requests);
        self.state = State::Opening { request, server, until: now + OPEN_WITHIN };
        self.outbox.push_back(StunOutput::OpenSockets { request, count: 1 });
    }

    fn on_greeted(&mut self, seen: SocketAddr, now: Instant) {
        let State::Filtering { local, server, mapped } = &mut self.state else { return };
        *mapped = Some(seen);
        let (local, Seen { server, mapped: main, other }) = (*local, *server);
        if let Some(other) = other {
            self.asking.ask(Question::Filter(server, Change::Port), now);
            if other.ip().to_canonical() != server.ip() {
                self.asking.ask(Question::Filter(server, Change::AddressAndPort), now);
            }
        }
        // From both ends, as each lets in only whom it has written to.
        self.asking.ask(Question::Hairpin { from: local, to: main }, now);
        self.asking.ask(Question::Hairpin { from: LocalId::MAIN, to: seen }, now);
    }

    fn on_filtering_known(&mut self, greeted: bool) {
        let State::Filtering { server, .. } = self.state else { return };
        if greeted {
            let behind = self.finding.nat.mapping != Behaviour::None;
            self.finding.hairpin = behind.then_some(self.hairpin);
        }
        if greeted && server.other.is_some() {
            self.finding.nat.filtering = match (self.filter.address, self.filter.port) {
                (true, _) if self.finding.nat.mapping == Behaviour::None => Behaviour::None,
                (true, _) => Behaviour::EndpointIndependent,
                (false, true) => Behaviour::AddressDependent,
                (false, false) => Behaviour::AddressAndPortDependent,
            };
        }
        self.finish();
    }

    fn finish(&mut self) {
        if let State::Filtering { local, .. } = self.state {
            self.close(vec![local]);
        }
        self.state = State::Done;
    }

    fn close(&mut self, locals: Vec<LocalId>) {
        if !locals.is_empty() {
            self.outbox.push_back(StunOutput::CloseSockets(locals));
        }
    }

    fn own(&self) -> &[IpAddr] {
        self.setup.as_ref().map_or(&[], |setup| &setup.own)
    }

    fn mapped(&self, first: &[Seen]) -> Vec<SocketAddr> {
        let mut mapped = Vec::new();
        for seen in first.iter().chain(&self.seen) {
            if mapped.len() < MAX_MAPPED && !mapped.contains(&seen.mapped) {
                mapped.push(seen.mapped);
            }
        }
        mapped
    }
}

/// On what the public port depends, from what several addresses of servers saw.
fn mapping(seen: &[Seen], own: &[IpAddr]) -> Behaviour {
    let differ = |same_host: bool| {
        let mut pairs = seen.iter().flat_map(|one| seen.iter().map(move |other| (one, other)));
        pairs.any(|(one, other)| {
            (one.server.ip() == other.server.ip()) == same_host && one.mapped != other.mapped
        })
    };
    let ports_compared = seen.iter().any(|one| {
        seen.iter()
            .any(|two| one.server.ip() == two.server.ip() && one.server.port() != two.server.port())
    });
    if seen.iter().all(|seen| own.contains(&seen.mapped.ip())) {
        return Behaviour::None;
    }
    match (differ(true), differ(false)) {
        (true, _) => Behaviour::AddressAndPortDependent,
        (false, true) if ports_compared => Behaviour::AddressDependent,
        // Nearly all that differ by address do by port as well.
        (false, true) => Behaviour::AddressAndPortDependent,
        (false, false) if seen.len() > 1 => Behaviour::EndpointIndependent,
        (false, false) => Behaviour::Unknown,
    }
}

#[cfg(test)]
#[path = "tests/discovery.rs"]
mod tests;
