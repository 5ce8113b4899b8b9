//! What the peer says.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use pilot_proto::probe::{Call, Method, Probe, Transaction};

use super::Paths;
use crate::campaign::{Answered, ROUNDS};
use crate::compat::Compat;
use crate::own::{Own, canonical};
use crate::pair::Origin;
use crate::via::{BeaconId, LocalId, Via};

/// An answer that comes later than this tells nothing about now.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What a pong by a relay says about where the ping came from.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Paths {
    /// Answered to where it came from. A source that is not proven is pinged
    /// back at once: NATs change addresses, so this is often the only way to
    /// learn the right one.
    pub(super) fn on_ping(&mut self, via: Via, tx: Transaction, now: Instant) {
        if !self.sources.may_answer(via, now) {
            return;
        }
        let Via::Direct { local, remote } = via else {
            self.send(via, Probe::Pong { tx, observed: NOWHERE });
            return;
        };
        if !Own::may_answer(remote) {
            return;
        }
        self.send(via, Probe::Pong { tx, observed: remote });
        self.targets.add_seen(remote);
        let key = (local, remote);
        self.pairs.note_heard(key, now);
        self.held.note_pinged(local, now);
        if self.pairs.is_usable(key) || !self.sources.may_check(local, remote, now) {
            return;
        }
        if self.pairs.find(key).is_some() {
            self.pairs.hurry(key, now);
        } else if self.ping_limit.take(now) {
            self.ping(key, now);
        }
        // Perhaps the peer has moved: see whether the path in use still lives.
        if let Some(chosen) = self.choice.direct() {
            self.pairs.hurry(chosen, now);
        }
    }

    pub(super) fn on_pong(&mut self, via: Via, tx: Transaction, now: Instant) {
        let Via::Direct { local, remote } = via else { return };
        let Some(rtt) = self.pings.take_answered(tx, via, now) else { return };
        let key = (local, remote);
        let birthday = self.birthday.found(local, remote);
        let origin = if birthday { Origin::Birthday } else { Origin::Plain };
        self.pairs.handle_pong(key, origin, rtt, self.choice.direct(), now);
        self.choice.handle_pong(key, &self.pairs);
    }

    /// Calls come by relays only: direct, there is nothing left to call for.
    pub(super) fn on_call(&mut self, via: Via, call: Call, now: Instant) {
        let Via::Relay(beacon) = via else { return };
        if call.answer {
            self.on_answer(call, now);
        } else {
            self.on_asked(beacon, call, now);
        }
    }

    fn on_answer(&mut self, call: Call, now: Instant) {
        let fresh = |(seq, at): (u64, Instant)| call.seq == seq && now < at + ANSWER_WITHIN;
        if !self.asked.is_some_and(fresh) {
            return;
        }
        let Call { seq, method, start_in_ms, nat, mapped, candidates, beacons, answer: _ } = call;
        self.targets.set_answered(candidates);
        self.relays.set_peers(beacons);
        self.peer_nat = nat;
        self.peer_mapped = mapped.map(canonical);
        let start_in = Duration::from_millis(start_in_ms.into());
        match self.campaign.handle_answer(seq, method, start_in, now) {
            None => {}
            Some(Answered::Volley { local, rounds, first }) => {
                self.volleys.start(local, rounds, first, first);
            }
            Some(Answered::Birthday) => self.begin_birthday(now, now),
        }
    }

    fn on_asked(&mut self, beacon: BeaconId, call: Call, now: Instant) {
        let way = self.relays.rtt(beacon, Some(&call.beacons));
        let Some(start_in) = self.answerer.handle_call(&call, way, now) else { return };
        let Call { seq, method, nat, mapped, candidates, .. } = call;
        self.targets.set_called(candidates);
        self.peer_nat = nat;
        self.peer_mapped = mapped.map(canonical);
        let first = now + start_in;
        let birthday = method == Method::Birthday && self.agrees_to_birthday(now);
        let method = match method {
            Method::Birthday if !birthday => Method::Together,
            Method::Together | Method::CallerFirst | Method::AnswererFirst | Method::Birthday => {
                method
            }
        };
        let answer = self.call(seq, true, method, Some(start_in), None);
        self.send(Via::Relay(beacon), Probe::Call(answer));
        if birthday {
            self.begin_birthday(first, now);
        } else {
            self.volleys.start(LocalId::MAIN, ROUNDS, first, first);
        }
    }

    /// Only where plain punching does not do, once both are relayed, and not
    /// as often as the peer may like.
    fn agrees_to_birthday(&mut self, now: Instant) -> bool {
        let sensible = self.compat().role().is_some() && self.choice.direct().is_none();
        sensible && (!self.birthday.is_idle() || self.birthday_limit.take(now))
    }

    pub(super) fn compat(&self) -> Compat {
        let own = self.local.as_ref().map(|local| local.nat).unwrap_or_default();
        Compat::of(own, self.peer_nat)
    }
}
