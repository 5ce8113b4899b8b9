//! The trusted peers: their path machines, keys and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, NodeKey, PairKey, PairTag};
use pilot_paths::{Chosen, Local, Paths, Reason, Traffic};
use pilot_proto::envelope::PROBE_CONTEXT;
use tokio::sync::watch;

use crate::socket::{Place, Route, Routes, Way};

/// Peers at once; a further one is not admitted. Trust is given one by one, so
/// this is far beyond what an operator does.
pub(super) const MAX_PEERS: usize = 16_384;

/// How often the traffic on a path in use is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Datagrams sent between two looks that are no more than QUIC keeping a
/// silent connection alive; if something came back, too, nothing is asked.
const KEEPALIVE_PACKETS: u64 = 3;

/// How a peer is reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathInfo {
    /// The path; none if there is none now.
    pub chosen: Option<Chosen>,
    /// Why it is so.
    pub reason: Reason,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) paths: Paths,
    pub(super) pair: PairKey,
    pub(super) route: Arc<Route>,
    pub(super) info: watch::Sender<PathInfo>,
    /// Sessions and dials that want a path.
    wants: usize,
    due: Option<Instant>,
    /// Counters of the route at the last look, and when the next look is.
    seen: (u64, u64),
    look: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    all: BTreeMap<NodeId, Peer>,
    by_tag: BTreeMap<PairTag, NodeId>,
    timers: BTreeSet<(Instant, NodeId)>,
}

impl Peers {
    /// Makes an entry for `id` if there is none; false if there can be none.
    pub(super) fn admit(
        &mut self,
        key: &NodeKey,
        id: NodeId,
        routes: &Routes,
        local: &Local,
        seed: [u8; 32],
        now: Instant,
    ) -> bool {
        if self.all.contains_key(&id) {
            return true;
        }
        if self.all.len() >= MAX_PEERS {
            tracing::warn!(peer = %id.short(), "too many peers: this one is not reached");
            return false;
        }
        let Ok(pair) = PairKey::new(key, &id, PROBE_CONTEXT) else { return false };
        let mut paths = Paths::new(seed, now);
        paths.handle_local(local.clone(), now);
        self.by_tag.insert(pair.tag_in(), id);
        let info = PathInfo { chosen: None, reason: paths.reason() };
        self.all.insert(
            id,
            Peer {
                paths,
                pair,
                route: routes.admit(id),
                info: watch::Sender::new(info),
                wants: 0,
                due: None,
                seen: (0, 0),
                look: None,
            },
        );
        true
    }

    pub(super) fn dismiss(&mut self, id: &NodeId, routes: &Routes) {
        let Some(peer) = self.all.remove(id) else { return };
        self.by_tag.remove(&peer.pair.tag_in());
        self.unschedule(*id, &peer);
        routes.dismiss(id);
    }

    fn unschedule(&mut self, id: NodeId, peer: &Peer) {
        for at in [peer.due, peer.look].into_iter().flatten() {
            self.timers.remove(&(at, id));
        }
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Peer> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Peer> {
        self.all.get_mut(id)
    }

    pub(super) fn by_tag(&self, tag: PairTag) -> Option<NodeId> {
        self.by_tag.get(&tag).copied()
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.all.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.all.iter()
    }

    /// Counts one more, or one less, who wants a path; true if that changed
    /// whether anybody does.
    pub(super) fn want(&mut self, id: &NodeId, more: bool, now: Instant) -> bool {
        let Some(peer) = self.all.get_mut(id) else { return false };
        let before = peer.wants;
        peer.wants = if more { before + 1 } else { before.saturating_sub(1) };
        let changed = (before == 0) != (peer.wants == 0);
        if changed {
            peer.paths.handle_wanted(more, now);
        }
        changed
    }

    /// The ids of those whose time has come.
    pub(super) fn due(&self, now: Instant) -> Vec<NodeId> {
        let due = self.timers.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, id)| *id).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Puts the peer's next moments into the table of timers.
    pub(super) fn schedule(&mut self, id: &NodeId) {
        let Some(peer) = self.all.get_mut(id) else { return };
        let next = peer.paths.next_deadline();
        if next == peer.due {
            return;
        }
        if let Some(before) = std::mem::replace(&mut peer.due, next)
            && Some(before) != peer.look
        {
            self.timers.remove(&(before, *id));
        }
        if let Some(next) = next {
            self.timers.insert((next, *id));
        }
    }

    /// Looks at what QUIC did on the path, if it is time; gives the beacon by
    /// which something went and nothing came.
    pub(super) fn look(&mut self, id: &NodeId, now: Instant) -> Option<Place> {
        let peer = self.all.get_mut(id)?;
        if let Some(at) = peer.look.take_if(|at| *at <= now)
            && peer.due != Some(at)
        {
            self.timers.remove(&(at, *id));
        }
        let counters = peer.route.traffic();
        let sent = counters.0.saturating_sub(peer.seen.0);
        let heard = counters.1.saturating_sub(peer.seen.1);
        if peer.look.is_some() {
            return None;
        }
        peer.seen = counters;
        if sent > 0 || heard > 0 {
            peer.route.set_doubted(heard == 0);
        }
        if sent == 0 {
            if heard > 0 {
                peer.paths.handle_traffic(Traffic { sent: false, heard: true }, now);
            }
            peer.route.rest();
            return None;
        }
        if heard == 0 || sent > KEEPALIVE_PACKETS {
            peer.paths.handle_traffic(Traffic { sent: true, heard: heard > 0 }, now);
        }
        let next = now + LOOK;
        peer.look = Some(next);
        self.timers.insert((next, *id));
        match peer.route.way() {
            Some(Way::Relayed { place }) if heard == 0 => Some(place),
            Some(Way::Relayed { .. } | Way::Direct { .. }) | None => None,
        }
    }

    /// Begins to look at the peers that sent something after a rest.
    pub(super) fn look_at_stirred(&mut self, now: Instant) {
        let stirred = self
            .all
            .iter_mut()
            .filter(|(_, peer)| peer.look.is_none() && peer.route.traffic().0 != peer.seen.0);
        let mut timers = Vec::new();
        for (id, peer) in stirred {
            let next = now + LOOK;
            peer.look = Some(next);
            timers.push((next, *id));
        }
        self.timers.extend(timers);
    }
}

impl Peer {
    /// Tells what is chosen now to whoever waits for it; true if that changed.
    pub(super) fn tell(&self) -> bool {
        let now = PathInfo { chosen: self.paths.chosen(), reason: self.paths.reason() };
        self.info.send_if_modified(|info| {
            let changed = *info != now;
            *info = now;
            changed
        })
    }
}
