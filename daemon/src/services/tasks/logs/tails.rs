//! The end of what each command wrote, at its worker. Nothing of it is durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pilot_identity::NodeId;
use pilot_proto::TaskId;
use pilot_proto::tasks::{Logs, MAX_LOG_OFFSET, MAX_LOG_PIECE};

/// Bytes kept of one task. What is pushed out before it was sent is a gap.
const TAIL: usize = 256 * 1024;

/// Tasks of which anything is kept: with [`TAIL`], 64 MiB. Beyond it the one
/// that wrote longest ago goes.
const TAILS: usize = 256;

/// How long the tail of a task that has ended is kept for its submitter, who
/// may be away.
const KEPT_UNSENT: Duration = Duration::from_secs(600);

/// How long it is kept once it was sent, for whoever reads it here.
const KEPT_SENT: Duration = Duration::from_secs(60);

/// Of which task at which attempt something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) id: TaskId,
    pub(super) peer: NodeId,
    pub(super) attempt: u32,
    /// Whether it can have written nothing that is not known here.
    pub(super) is_fresh: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tails {
    tails: BTreeMap<TaskId, Tail>,
    /// Grows with every write; tells one tail of a task from the next, too.
    clock: u64,
}

/// Positions count from the beginning of the tail, offsets from that of the attempt.
#[derive(Debug)]
struct Tail {
    peer: NodeId,
    attempt: u32,
    /// Tells it from the tail that this task had before.
    birth: u64,
    /// The offset at position 0; none until the submitter has said how much it
    /// has of what was written before.
    base: Option<u64>,
    kept: VecDeque<u8>,
    /// The position behind the last byte.
    end: u64,
    /// The position up to which the submitter has it.
    sent: u64,
    /// The submitter wants none of it.
    is_muted: bool,
    /// By [`Tails::clock`].
    written: u64,
    ended: Option<Instant>,
}

/// What is to be sent, and what its answer is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    birth: u64,
    upto: u64,
    pub(super) logs: Logs,
}

/// How far somebody has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    birth: u64,
    position: u64,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) attempt: u32,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    pub(super) cursor: Cursor,
}

impl Tails {
    /// Takes what a command wrote. True if another tail had to go for it.
    pub(super) fn write(&mut self, writer: Writer, bytes: &[u8]) -> bool {
        self.clock = self.clock.saturating_add(1);
        let Writer { id, peer, attempt, is_fresh } = writer;
        let known = self.tails.get(&id);
        let is_same = known.is_some_and(|tail| tail.peer == peer && tail.attempt == attempt);
        let mut evicted = false;
        if !is_same {
            self.tails.remove(&id);
            if self.tails.len() >= TAILS {
                let oldest = self.tails.iter().min_by_key(|(_, tail)| tail.written);
                let oldest = oldest.map(|(id, _)| *id);
                evicted = oldest.and_then(|id| self.tails.remove(&id)).is_some();
            }
            let base = is_fresh.then_some(0);
            self.tails.insert(id, Tail::new(peer, attempt, self.clock, base));
        }
        if let Some(tail) = self.tails.get_mut(&id) {
            tail.written = self.clock;
            tail.write(bytes);
        }
        evicted
    }

    /// The tasks of which anything is kept.
    pub(super) fn ids(&self) -> BTreeSet<TaskId> {
        self.tails.keys().copied().collect()
    }

    pub(super) fn has_owed(&self, peer: &NodeId) -> bool {
        self.tails.values().any(|tail| tail.peer == *peer && tail.is_owed())
    }

    /// What is to be sent to a peer: a piece of each of its tasks, at most `max`.
    pub(super) fn round(&self, peer: &NodeId, max: usize) -> Vec<Outgoing> {
        let owed = self.tails.iter().filter(|(_, tail)| tail.peer == *peer && tail.is_owed());
        owed.take(max).map(|(id, tail)| tail.outgoing(*id)).collect()
    }

    /// The submitter has it, and knows of so many bytes of that attempt.
    pub(super) fn on_logged(&mut self, sent: &Outgoing, end: u64) {
        let Some(tail) = self.of(sent) else { return };
        if tail.base.is_none() {
            tail.base = Some(end.min(MAX_LOG_OFFSET));
        } else {
            tail.sent = tail.sent.max(sent.upto);
        }
    }

    /// The submitter could not take it: it is left out.
    pub(super) fn on_lost(&mut self, sent: &Outgoing) {
        if let Some(tail) = self.of(sent) {
            tail.base.get_or_insert(0);
            tail.sent = tail.sent.max(sent.upto);
        }
    }

    /// The submitter wants nothing of this attempt.
    pub(super) fn on_refused(&mut self, sent: &Outgoing) {
        if let Some(tail) = self.of(sent) {
            tail.is_muted = true;
        }
    }

    /// The peer takes none of it, as it seems.
    pub(super) fn mute(&mut self, peer: &NodeId) {
        for tail in self.tails.values_mut().filter(|tail| tail.peer == *peer) {
            tail.is_muted = true;
        }
    }

    /// At most [`MAX_LOG_PIECE`] bytes behind the cursor; from the beginning if
    /// it is of a tail that is no more.
    pub(super) fn read(&self, id: &TaskId, cursor: Option<Cursor>) -> Option<Read> {
        let tail = self.tails.get(id)?;
        let position = cursor.filter(|cursor| cursor.birth == tail.birth);
        let (from, bytes) = tail.piece(position.map_or(0, |cursor| cursor.position));
        let position = from.saturating_add(length(&bytes));
        (!bytes.is_empty()).then(|| Read {
            attempt: tail.attempt,
            offset: tail.base.unwrap_or_default().saturating_add(from),
            bytes,
            cursor: Cursor { birth: tail.birth, position },
        })
    }

    /// Lets go of what nobody needs. `is_over` says which tasks have ended.
    pub(super) fn sweep(&mut self, now: Instant, is_over: impl Fn(&TaskId) -> bool) {
        self.tails.retain(|id, tail| {
            if !is_over(id) {
                tail.ended = None;
                return true;
            }
            let ended = *tail.ended.get_or_insert(now);
            let limit = if tail.is_owed() { KEPT_UNSENT } else { KEPT_SENT };
            now.saturating_duration_since(ended) < limit
        });
    }

    fn of(&mut self, sent: &Outgoing) -> Option<&mut Tail> {
        self.tails.get_mut(&sent.logs.id).filter(|tail| tail.birth == sent.birth)
    }
}

impl Tail {
    const fn new(peer: NodeId, attempt: u32, birth: u64, base: Option<u64>) -> Self {
        Self {
            peer,
            attempt,
            birth,
            base,
            kept: VecDeque::new(),
            end: 0,
            sent: 0,
            is_muted: false,
            written: birth,
            ended: None,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.end = self.end.saturating_add(length(bytes));
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(TAIL);
        self.kept.drain(..excess);
    }

    const fn is_owed(&self) -> bool {
        !self.is_muted && (self.base.is_none() || self.sent < self.end)
    }

    /// The next piece; while the base is not known, what asks for it.
    fn outgoing(&self, id: TaskId) -> Outgoing {
        let (birth, attempt) = (self.birth, self.attempt);
        let Some(base) = self.base else {
            let logs = Logs { id, attempt, offset: 0, bytes: Bytes::new() };
            return Outgoing { birth, upto: 0, logs };
        };
        let (from, bytes) = self.piece(self.sent);
        let upto = from.saturating_add(length(&bytes));
        let logs = Logs { id, attempt, offset: base.saturating_add(from), bytes };
        Outgoing { birth, upto, logs }
    }

    /// What is kept from `position` on, and where that begins.
    fn piece(&self, position: u64) -> (u64, Bytes) {
        let first = self.end.saturating_sub(u64::try_from(self.kept.len()).unwrap_or(u64::MAX));
        let from = position.clamp(first, self.end);
        let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = self.kept.iter().skip(skipped).take(MAX_LOG_PIECE).copied().collect();
        (from, bytes.into())
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(seed: u8) -> NodeId {
        pilot_identity::NodeKey::from_seed(&[seed; 32].into()).id()
    }

    fn writer(number: u8, attempt: u32) -> Writer {
        let id = TaskId::from_bytes([number; 16]);
        Writer { id, peer: peer(1), attempt, is_fresh: true }
    }

    fn one(tails: &Tails) -> Outgoing {
        let mut round = tails.round(&peer(1), 9);
        assert_eq!(round.len(), 1, "{round:?}");
        round.remove(0)
    }

    #[test]
    fn each_byte_is_sent_once_in_pieces() {
        let mut tails = Tails::default();
        tails.write(writer(1, 1), &[7; MAX_LOG_PIECE]);
        tails.write(writer(1, 1), b"end");

        let first = one(&tails);
        assert_eq!((first.logs.offset, first.logs.bytes.len()), (0, MAX_LOG_PIECE));
        assert_eq!(one(&tails), first, "not sent yet");
        tails.on_logged(&first, 0);
        let second = one(&tails);
        assert_eq!(second.logs.offset, 64 * 1024);
        assert_eq!(second.logs.bytes.as_ref(), b"end");
        tails.on_logged(&second, 0);

        assert!(!tails.has_owed(&peer(1)) && tails.round(&peer(1), 9).is_empty());
    }

    #[test]
    fn what_is_pushed_out_is_a_gap() {
        let mut tails = Tails::default();
        for _ in 0..5 {
            tails.write(writer(1, 1), &[7; MAX_LOG_PIECE]);
        }

        assert_eq!(one(&tails).logs.offset, 64 * 1024);
        let read = tails.read(&writer(1, 1).id, None).unwrap();
        assert_eq!((read.offset, read.bytes.len()), (64 * 1024, MAX_LOG_PIECE));
    }

    #[test]
    fn a_tail_that_may_have_lost_its_beginning_asks_where_it_is() {
        let mut tails = Tails::default();
        tails.write(Writer { is_fresh: false, ..writer(1, 1) }, b"more");

        let question = one(&tails);
        assert!(question.logs.bytes.is_empty());
        tails.on_logged(&question, 300);

        let sent = one(&tails);
        assert_eq!((sent.logs.offset, sent.logs.bytes.as_ref()), (300, &b"more"[..]));
        assert_eq!(tails.read(&writer(1, 1).id, None).unwrap().offset, 300);
    }

    #[test]
    fn a_new_attempt_begins_at_zero_and_old_answers_mean_nothing_to_it() {
        let mut tails = Tails::default();
        tails.write(writer(1, 1), b"one");
        let old = one(&tails);
        let read = tails.read(&old.logs.id, None).unwrap();
        assert_eq!(tails.read(&old.logs.id, Some(read.cursor)), None);
        tails.write(writer(1, 2), b"second");

        tails.on_logged(&old, 3);
        tails.on_refused(&old);

        let logs = one(&tails).logs;
        assert_eq!((logs.attempt, logs.offset, logs.bytes.as_ref()), (2, 0, &b"second"[..]));
        let read = tails.read(&old.logs.id, Some(read.cursor)).unwrap();
        assert_eq!((read.attempt, read.offset), (2, 0));
    }

    #[test]
    fn what_is_refused_is_not_sent_again() {
        let mut tails = Tails::default();
        tails.write(writer(1, 1), b"one");
        tails.write(writer(2, 1), b"two");
        let [first, second] = tails.round(&peer(1), 9).try_into().unwrap();

        tails.on_lost(&first);
        tails.on_refused(&second);
        tails.write(writer(1, 1), b"more");
        tails.write(writer(2, 1), b"more");

        assert_eq!(one(&tails).logs.offset, 3);
        tails.mute(&peer(1));
        assert!(!tails.has_owed(&peer(1)));
    }

    #[test]
    fn the_task_that_wrote_longest_ago_makes_room() {
        let mut tails = Tails::default();
        for number in 0..=255 {
            assert!(!tails.write(writer(number, 1), b"x"));
        }
        tails.write(writer(0, 1), b"y");

        let another = Writer {
            id: TaskId::from_bytes([0xab, 0xcd].repeat(8).try_into().unwrap()),
            ..writer(0, 1)
        };
        assert!(tails.write(another, b"x"));

        assert!(tails.read(&writer(0, 1).id, None).is_some());
        assert!(tails.read(&writer(1, 1).id, None).is_none());
        assert!(tails.read(&another.id, None).is_some());
    }

    #[test]
    fn an_ended_task_is_kept_until_it_was_sent_and_some_time() {
        let mut tails = Tails::default();
        let (sent, unsent) = (writer(1, 1), writer(2, 1));
        tails.write(sent, b"x");
        let round = one(&tails);
        tails.on_logged(&round, 0);
        tails.write(unsent, b"x");
        let began = Instant::now();
        let kept = |tails: &Tails| [sent, unsent].map(|it| tails.read(&it.id, None).is_some());

        tails.sweep(began, |_| false);
        tails.sweep(began + KEPT_UNSENT, |_| true);
        assert_eq!(kept(&tails), [true, true]);
        tails.sweep(began + KEPT_UNSENT + KEPT_SENT, |_| true);
        assert_eq!(kept(&tails), [false, true]);
        tails.sweep(began + KEPT_UNSENT * 2, |_| true);
        assert_eq!(kept(&tails), [false, false]);
    }
}
