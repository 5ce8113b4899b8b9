//! What is done after every input, and when the time has come.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Paths;
use crate::chosen::Reason;
use crate::output::Output;
use crate::pair::Due;
use crate::pairs::Usage;
use crate::via::LocalId;

/// How long a direct path to a peer that shows itself is kept, though nobody here
/// wants it: longer than the longest keepalive, with which it would come again.
pub(super) const AWAKE_FOR: Duration = Duration::from_secs(30);

/// How long after the last packet there still is traffic.
const ACTIVE_FOR: Duration = Duration::from_secs(2);

/// The keepalive until the shell has told one, and what it may be.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_MIN: Duration = Duration::from_secs(2);
const KEEPALIVE_MAX: Duration = Duration::from_secs(25);

impl Paths {
    /// Lets every part do what is due, in an order in which none works with
    /// what another one has left behind.
    pub(super) fn settle(&mut self, now: Instant) {
        self.settled = self.settled.max(now);
        if !self.is_awake(now) {
            self.fall_asleep();
        }
        self.watch_pairs(now);
        self.choose(now);
        self.look_around(now);
        self.punch(now);
        self.close_unused(now);
    }

    fn is_awake(&self, now: Instant) -> bool {
        self.wanted || self.peer_heard.is_some_and(|heard| now < heard + AWAKE_FOR)
    }

    fn fall_asleep(&mut self) {
        self.peer_heard = None;
        self.pairs.forget_all();
        self.volleys.stop();
        self.birthday.stop();
        self.choice.blame(Reason::RelayFirst);
    }

    pub(super) fn on_network_changed(&mut self, now: Instant) {
        self.pairs.forget_all();
        self.pings.forget();
        self.held.forget_pings();
        self.volleys.stop();
        self.birthday.stop();
        self.targets.forget_seen();
        self.relays.forget_absences();
        self.choice.blame(Reason::NetworkChanged);
        self.campaign.restart(now);
    }

    fn watch_pairs(&mut self, now: Instant) {
        let usage = self.usage(now);
        while let Some((key, due)) = self.pairs.poll(usage, now) {
            match due {
                Due::Ping => self.ping(key, now),
                Due::Died | Due::Forget | Due::Nothing => {}
            }
        }
        let suspect = |key| self.pairs.find(key)?.suspect_since(now);
        if let Some(key) = usage.chosen.filter(|key| suspect(*key).is_some()) {
            self.pairs.hurry_others(key, now);
        }
    }

    fn choose(&mut self, now: Instant) {
        let relay = self.relays.decide();
        if self.choice.decide(&self.pairs, relay, self.relays.why_none(), now) {
            self.outbox.push_back(Output::Use(self.chosen()));
        }
    }

    /// Whether a direct path is to be looked for.
    fn look_around(&mut self, now: Instant) {
        // A peer that wants something leads by itself: it is answered.
        let needed = self.wanted && self.choice.direct().is_none();
        if needed && !self.needed {
            self.campaign.handle_news(now);
        }
        if !needed {
            self.campaign.rest();
        }
        if self.choice.direct().is_some() {
            self.birthday.handle_met(now);
        }
        self.needed = needed;
    }

    fn close_unused(&mut self, now: Instant) {
        if self.held.is_empty() {
            return;
        }
        let used: BTreeSet<LocalId> = self
            .pairs
            .locals()
            .chain(self.volleys.locals())
            .chain(self.birthday.locals().iter().copied())
            .chain(self.campaign.fresh())
            .collect();
        let unused = self.held.take_unused(&used, now);
        if !unused.is_empty() {
            self.outbox.push_back(Output::CloseSockets(unused));
        }
    }

    pub(super) fn usage(&self, now: Instant) -> Usage {
        let keepalive = self.local.as_ref().map_or(KEEPALIVE, |local| local.keepalive);
        Usage {
            chosen: self.choice.direct(),
            active: self.traffic.is_some_and(|at| now < at + ACTIVE_FOR),
            keepalive: self.wanted.then_some(keepalive.clamp(KEEPALIVE_MIN, KEEPALIVE_MAX)),
        }
    }
}
