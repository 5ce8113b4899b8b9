//! What this node does to get a direct path.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_proto::probe::{Call, Candidates, Method, Probe};

use super::Paths;
use crate::birthday::MAX_BIRTHDAY_SOCKETS;
use crate::campaign::{Act, Asking, Situation};
use crate::compat::Role;
use crate::output::{Output, Purpose};
use crate::own::is_near;
use crate::via::{LocalId, Via};
use crate::volleys::Round;

impl Paths {
    pub(super) fn punch(&mut self, now: Instant) {
        let situation = Situation {
            needed: self.needed,
            can_call: self.relays.bound().next().is_some(),
            reachable: self.choice.via().is_some(),
            compat: self.compat(),
        };
        while let Some(act) = self.campaign.poll(situation, now) {
            match act {
                Act::Early { rounds, wide_from } => {
                    self.volleys.start(LocalId::MAIN, rounds, now, wide_from);
                }
                Act::Call(asking) => self.ask(asking, now),
                Act::Open(request) => {
                    let purpose = Purpose::Fresh;
                    self.outbox.push_back(Output::OpenSockets { request, count: 1, purpose });
                }
            }
        }
        while let Some(round) = self.volleys.poll(now) {
            self.fire(round, now);
        }
        while let Some(key) = self.birthday.poll(now) {
            self.ping(key, now);
        }
    }

    /// This node's part in birthday probing, if there is one.
    pub(super) fn begin_birthday(&mut self, first: Instant, now: Instant) {
        let target = self.peer_mapped.filter(|mapped| self.own.may_ping(*mapped));
        let (Some(role), Some(target)) = (self.compat().role(), target) else { return };
        if !self.birthday.is_idle() {
            return;
        }
        match role {
            Role::Many => {
                let request = self.birthday.start_many(target, now);
                let (count, purpose) = (MAX_BIRTHDAY_SOCKETS, Purpose::Birthday);
                self.outbox.push_back(Output::OpenSockets { request, count, purpose });
            }
            Role::Scan => {
                let chance = self.chance.number();
                self.birthday.start_scan(target.ip(), first, chance);
            }
        }
    }

    /// A call as it stands now.
    pub(super) fn call(
        &self,
        seq: u64,
        answer: bool,
        method: Method,
        start_in: Option<Duration>,
        fresh: Option<SocketAddr>,
    ) -> Call {
        let millis = start_in.unwrap_or_default().as_millis();
        let local = self.local.as_ref();
        let candidates = local.into_iter().flat_map(|local| &local.candidates).copied();
        Call {
            seq,
            answer,
            method,
            start_in_ms: u16::try_from(millis).unwrap_or(u16::MAX),
            nat: local.map(|local| local.nat).unwrap_or_default(),
            mapped: local.and_then(|local| local.mapped),
            candidates: Candidates::new(fresh.into_iter().chain(candidates)),
            beacons: self.relays.times(),
        }
    }

    fn ask(&mut self, asking: Asking, now: Instant) {
        let Asking { seq, method, fresh, answer_in } = asking;
        self.asked = Some((seq, now));
        let call = self.call(seq, false, method, answer_in, fresh.map(|(_, mapped)| mapped));
        let beacons: Vec<_> = self.relays.bound().collect();
        for beacon in beacons {
            self.send(Via::Relay(beacon), Probe::Call(call.clone()));
        }
    }

    /// One round of pings; what is proven already is left out.
    fn fire(&mut self, round: Round, now: Instant) {
        for remote in self.targets.list(&self.own) {
            let key = (round.local, remote);
            let early = !round.wide && !is_near(remote);
            if early || self.pairs.find(key).is_some() {
                continue;
            }
            if !self.ping_limit.take(now) {
                return;
            }
            self.ping(key, now);
        }
    }
}
