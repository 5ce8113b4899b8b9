//! The messages that wait for one peer, in their order.

use core::time::Duration;
use std::collections::BTreeMap;

use pilot_identity::Timestamp;
use pilot_proto::MessageId;
use pilot_proto::messages::MAX_BATCH;

use crate::state::Trouble;

/// The first pause after a peer could not take messages; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: room of which this node was not told is found within it.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The shortest time between two tries that a peer's word of room brings about.
const ROOM_AGAIN: Duration = Duration::from_millis(200);
/// Messages of the first batch after the peer took none or not all, so that a
/// full inbox is not sent a quarter of a megabyte for each place that gets free;
/// doubles with each batch that is taken.
const FIRST_WINDOW: usize = 4;

/// One that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: MessageId,
    pub(crate) bytes: u32,
    pub(crate) expires: Timestamp,
    /// Whether it was ever handed to a stream without having been refused since.
    pub(crate) sent: bool,
}

/// What keeps a lane from sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing.
    Open,
    /// The batch with this stamp is on its way.
    InFlight {
        stamp: u64,
        asks: bool,
        /// Of how many messages.
        count: usize,
        /// Trust changed meanwhile: an answer that says no may be older than that.
        trust_changed: bool,
    },
    /// The peer could not take any more.
    Paused(Timestamp),
    /// The peer does not let us, until trust changes.
    Blocked,
}

#[derive(Debug)]
pub(crate) struct Lane {
    /// The number that was given last.
    pub(crate) last_seq: u64,
    /// How often the count to this peer had to begin anew.
    pub(crate) renewals: u64,
    pub(crate) waiting: BTreeMap<u64, Entry>,
    /// Bytes of the texts of those.
    pub(crate) bytes: u64,
    pub(crate) way: Way,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) window: usize,
    refusals: u32,
    /// When the peer's word of room last brought about a try.
    room_heard: Option<Timestamp>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            last_seq: 0,
            renewals: 0,
            waiting: BTreeMap::new(),
            bytes: 0,
            way: Way::Open,
            trouble: None,
            window: MAX_BATCH,
            refusals: 0,
            room_heard: None,
        }
    }
}

impl Lane {
    /// Whether the peer may have some of them: it must be asked before anything
    /// else is decided about those.
    pub(crate) fn is_unsure(&self) -> bool {
        // What was sent is always the head of the lane.
        self.waiting.values().next().is_some_and(|entry| entry.sent)
    }

    pub(crate) fn has_owed(&self) -> bool {
        self.way == Way::Open && !self.waiting.is_empty()
    }

    /// All went well. What was only asked says nothing of how much the way carries.
    pub(crate) fn open(&mut self, asked: bool) {
        self.way = Way::Open;
        self.trouble = None;
        self.refusals = 0;
        if !asked {
            self.window = self.window.saturating_mul(2).min(MAX_BATCH);
        }
    }

    /// What was on its way is not answered: it may have been too much for the line.
    pub(crate) fn failed(&mut self, count: usize) {
        self.way = Way::Open;
        if count > 0 {
            self.window = self.window.min(count).div_euclid(2).max(1);
        }
    }

    /// The peer did not take everything.
    pub(crate) fn refused(&mut self, trouble: Trouble, progress: bool, now: Timestamp) {
        self.trouble = Some(trouble);
        self.window = FIRST_WINDOW;
        if trouble == Trouble::NotAllowed {
            let trust_changed = matches!(self.way, Way::InFlight { trust_changed: true, .. });
            self.way = if trust_changed { Way::Open } else { Way::Blocked };
            return;
        }
        if progress {
            self.refusals = 0;
        }
        let factor = 1_u32.checked_shl(self.refusals).unwrap_or(u32::MAX);
        self.refusals = self.refusals.saturating_add(1).min(16);
        let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
        self.way = Way::Paused(now.saturating_add(pause));
    }

    /// The peer has room again, it says. True if that was waited for.
    pub(crate) fn resume(&mut self, now: Timestamp) -> bool {
        let Way::Paused(until) = self.way else { return false };
        self.trouble = None;
        self.refusals = 0;
        let heard = self.room_heard.filter(|heard| *heard <= now);
        if let Some(heard) = heard
            && now.since(heard) < ROOM_AGAIN
        {
            self.way = Way::Paused(until.min(heard.saturating_add(ROOM_AGAIN)));
            return false;
        }
        self.room_heard = Some(now);
        self.way = Way::Open;
        true
    }

    /// Trust changed: what the peer did not let us do is tried again. True if
    /// that was waited for.
    pub(crate) fn trust_changed(&mut self) -> bool {
        if let Way::InFlight { trust_changed, .. } = &mut self.way {
            *trust_changed = true;
        }
        if self.way != Way::Blocked {
            return false;
        }
        self.way = Way::Open;
        self.trouble = None;
        true
    }
}
