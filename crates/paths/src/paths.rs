//! The paths to one peer: the doors, and the order in which its parts are asked.
//!
//! Decides which way what goes to the peer takes, and sends the probes for it.
//! What the peer says is taken as authentic but possibly hostile or old: it can
//! make this node send a bounded number of pings to single hosts, and nothing
//! else. A direct path is used only after a pong to an own ping on it.
//!
//! # What is sent at most, to one peer
//!
//! | what | packets |
//! |---|---|
//! | pings by calls and to new sources | 64 at once, then 50/s |
//! | pings in birthday probing | 100/s, for 10 s in a row |
//! | pings to proven paths | 4/s each, eight of them |
//! | pongs | 20 at once and 10/s for each source, 200 and 100/s in all |
//! | calls and answers | 12 for each campaign and beacon; 8 at once, then 2.5/s |
//!
//! A pair of nodes without traffic sends, each of the two, a ping and a pong
//! for each keepalive when it is direct, and nothing when nobody wants a
//! session. Relayed, with nothing getting through, each sends three rounds to at
//! most 24 candidates and a few calls every two minutes, once it has tried for a
//! few minutes: with the usual handful of candidates less than 30 packets a minute.

mod probes;
mod punching;
mod settling;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_proto::probe::{Nat, Probe};

use self::settling::AWAKE_FOR;
use crate::answerer::Answerer;
use crate::birthday::Birthday;
use crate::bucket::Bucket;
use crate::campaign::Campaign;
use crate::chance::Chance;
use crate::choice::Choice;
use crate::chosen::{Chosen, Reason};
use crate::held::Held;
use crate::local::{Local, Opened, Traffic};
use crate::output::Output;
use crate::own::{Own, canonical};
use crate::pairs::Pairs;
use crate::pings::Pings;
use crate::relays::Relays;
use crate::sources::Sources;
use crate::targets::Targets;
use crate::via::{BeaconId, LocalId, Via};
use crate::volleys::Volleys;

/// Probes that wait for the shell; beyond it they are dropped, as a full socket
/// would. Several times what one input causes.
const MAX_OUTBOX: usize = 1024;

/// Pings by calls and to new sources.
const PINGS: Bucket = Bucket::new(64, Duration::from_millis(20));

/// Birthday probing at the peer's wish.
const BIRTHDAYS: Bucket = Bucket::new(2, Duration::from_secs(30));

/// The paths to one peer, for as long as it is trusted.
#[derive(Debug)]
pub struct Paths {
    chance: Chance,
    local: Option<Local>,
    own: Own,
    wanted: bool,
    /// Whether a direct path was looked for at the last look.
    needed: bool,
    peer_heard: Option<Instant>,
    traffic: Option<Instant>,
    /// The call of which an answer tells something new.
    asked: Option<(u64, Instant)>,
    peer_nat: Nat,
    peer_mapped: Option<SocketAddr>,
    targets: Targets,
    relays: Relays,
    pings: Pings,
    pairs: Pairs,
    choice: Choice,
    campaign: Campaign,
    answerer: Answerer,
    volleys: Volleys,
    birthday: Birthday,
    sources: Sources,
    ping_limit: Bucket,
    birthday_limit: Bucket,
    /// Sockets that were opened for this machine.
    held: Held,
    settled: Instant,
    outbox: VecDeque<Output>,
}

impl Paths {
    /// Nothing known, nothing wanted. The seed is random and secret, and never
    /// used for anything else: the peer must not guess the transactions.
    #[must_use]
    pub fn new(seed: [u8; 32], now: Instant) -> Self {
        let mut chance = Chance::new(seed);
        // Half of the numbers are left for counting on.
        let campaign = Campaign::new(chance.number() >> 1);
        Self {
            chance,
            local: None,
            own: Own::default(),
            wanted: false,
            needed: false,
            peer_heard: None,
            traffic: None,
            asked: None,
            peer_nat: Nat::UNKNOWN,
            peer_mapped: None,
            targets: Targets::default(),
            relays: Relays::default(),
            pings: Pings::default(),
            pairs: Pairs::default(),
            choice: Choice::new(now),
            campaign,
            answerer: Answerer::new(),
            volleys: Volleys::default(),
            birthday: Birthday::default(),
            sources: Sources::new(),
            ping_limit: PINGS,
            birthday_limit: BIRTHDAYS,
            held: Held::default(),
            settled: now,
            outbox: VecDeque::new(),
        }
    }

    /// Somebody here has a session with the peer, or wants one. While nobody
    /// does nothing is sent but answers, and pings back to where the peer shows
    /// itself; once it is silent too, direct paths are forgotten and a relay
    /// stays chosen.
    pub fn handle_wanted(&mut self, wanted: bool, now: Instant) {
        if wanted && !self.wanted {
            self.relays.forget_absences();
            self.campaign.handle_news(now);
        }
        self.wanted = wanted;
        self.settle(now);
    }

    /// The peer may have tried before this node answered it: tells it that it
    /// is answered now, by one ping to wherever it may be.
    pub fn handle_admitted(&mut self, now: Instant) {
        for remote in self.targets.list(&self.own) {
            if self.ping_limit.take(now) {
                self.ping((LocalId::MAIN, remote), now);
            }
        }
        if let Some(beacon) = self.relays.decide() {
            let tx = self.chance.transaction();
            self.send(Via::Relay(beacon), Probe::Ping { tx });
        }
        self.settle(now);
    }

    /// This node's side changed. Cheap if it did not: may be called with the
    /// same again.
    pub fn handle_local(&mut self, local: Local, now: Instant) {
        if self.local.as_ref() == Some(&local) {
            return;
        }
        let newly_bound = self.relays.set_beacons(&local.beacons);
        let before = self.local.replace(local);
        let (Some(local), before) = (&self.local, before.as_ref()) else { return };
        self.own = Own::of(local);
        let same_place = before.is_some_and(|before| {
            before.candidates == local.candidates
                && before.mapped == local.mapped
                && before.nat == local.nat
        });
        if before.is_some_and(|before| local.network > before.network) {
            self.on_network_changed(now);
        } else if newly_bound || !same_place {
            self.campaign.handle_news(now);
        }
        self.settle(now);
    }

    /// Where the registry's card of the peer says that it is.
    pub fn handle_endpoints(&mut self, endpoints: &[SocketAddr], now: Instant) {
        if self.targets.set_card(endpoints) {
            self.relays.forget_absences();
            self.campaign.handle_news(now);
            self.settle(now);
        }
    }

    /// A probe of the peer came this way. The shell has opened it with the key
    /// of the two nodes: nobody else can have made it, but anybody can have
    /// sent it again, from anywhere. The source of a direct one is in `via`.
    pub fn handle_probe(&mut self, via: Via, probe: Probe, now: Instant) {
        let via = match via {
            Via::Direct { local, remote } => Via::Direct { local, remote: canonical(remote) },
            Via::Relay(beacon) => Via::Relay(beacon),
        };
        self.peer_heard = Some(now);
        if let Via::Relay(beacon) = via
            && self.relays.note_heard(beacon, now)
        {
            self.campaign.handle_news(now);
        }
        match probe {
            Probe::Ping { tx } => self.on_ping(via, tx, now),
            Probe::Pong { tx, .. } => self.on_pong(via, tx, now),
            Probe::Call(call) => self.on_call(via, call, now),
        }
        self.settle(now);
    }

    /// QUIC sent or received on the chosen path. While it does, the path is
    /// pinged every second, and at once when nothing comes back.
    pub fn handle_traffic(&mut self, traffic: Traffic, now: Instant) {
        if !traffic.sent && !traffic.heard {
            return;
        }
        self.traffic = Some(now);
        if let (Traffic { sent: true, heard: false }, Some(key)) = (traffic, self.choice.direct()) {
            // No answer yet: the next ping tells sooner whether there will be one.
            self.pairs.hurry(key, now);
        }
        if let (true, Some(Via::Relay(beacon))) = (traffic.heard, self.choice.via()) {
            self.relays.note_heard(beacon, now);
        }
        self.settle(now);
    }

    /// A beacon says that the peer is not bound there.
    pub fn handle_absent(&mut self, beacon: BeaconId, now: Instant) {
        if self.relays.note_absent(beacon, now) {
            self.settle(now);
            if self.choice.via().is_none() {
                // No answer will come: what waited for it goes out.
                self.volleys.widen(LocalId::MAIN, now);
                self.settle(now);
            }
        }
    }

    /// The answer to [`Output::OpenSockets`]. Sockets that are no longer wanted
    /// are given back by [`Output::CloseSockets`].
    pub fn handle_sockets(&mut self, opened: Opened, now: Instant) {
        let Opened { request, sockets } = opened;
        self.held.add(sockets.iter().map(|(local, _)| *local));
        let fresh =
            sockets.iter().find_map(|(local, mapped)| Some((*local, canonical((*mapped)?))));
        let locals = sockets.iter().map(|(local, _)| *local);
        if !self.campaign.handle_sockets(request, fresh, now) {
            self.birthday.handle_sockets(request, locals, now);
        }
        self.settle(now);
    }

    /// A socket that was opened for this machine is gone.
    pub fn handle_socket_lost(&mut self, local: LocalId, now: Instant) {
        self.held.remove(local);
        self.pairs.forget_local(local);
        self.volleys.forget_local(local);
        self.birthday.handle_socket_lost(local);
        self.settle(now);
    }

    /// The time of [`next_deadline`](Self::next_deadline) has come. Harmless earlier.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let chosen = self.choice.direct().and_then(|key| self.pairs.find(key));
        let suspect = chosen.and_then(|pair| pair.suspect_at());
        let deadlines = [
            self.pairs.deadline(self.usage(self.settled)),
            suspect.filter(|at| *at > self.settled),
            self.campaign.deadline().filter(|_| self.needed),
            self.volleys.deadline(),
            self.birthday.deadline(),
            self.held.deadline(self.settled),
            self.peer_heard.filter(|_| !self.wanted).map(|heard| heard + AWAKE_FOR),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The path in use; none if the peer cannot be reached now.
    #[must_use]
    pub fn chosen(&self) -> Option<Chosen> {
        let rtt = match self.choice.via()? {
            Via::Direct { local, remote } => {
                self.pairs.find((local, remote)).map(|pair| pair.srtt())
            }
            Via::Relay(beacon) => self.relays.rtt(beacon, None),
        };
        self.choice.chosen(rtt)
    }

    /// Why this path is in use, or why none is.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.choice.reason()
    }

    fn ping(&mut self, (local, remote): (LocalId, SocketAddr), now: Instant) {
        let tx = self.chance.transaction();
        let via = Via::Direct { local, remote };
        self.pings.note_sent(tx, via, now);
        self.send(via, Probe::Ping { tx });
    }

    fn send(&mut self, via: Via, probe: Probe) {
        if self.outbox.len() < MAX_OUTBOX {
            self.outbox.push_back(Output::Send { via, probe });
        }
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
