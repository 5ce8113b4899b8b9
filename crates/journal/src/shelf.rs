//! Which segments there are, how far each can be read, and where in them to
//! begin.
//!
//! Decides which go when there is too much. Shared by the writer, which alone
//! adds and removes, and all readers; touches no file.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pilot_proto::Position;

use crate::segment::{HEADER_END, Segment};

/// Most segments kept, whatever their size: they are listed and opened at each
/// start. The oldest beyond it are removed.
pub(crate) const MAX_SEGMENTS: usize = 1024;

/// Bytes of a segment between two marks: what is read in vain at most to find
/// an event in the middle.
const BETWEEN_MARKS: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Shelf(Mutex<Held>);

#[derive(Debug)]
struct Held {
    /// In order of [`Segment::start`].
    entries: VecDeque<Entry>,
    /// The sum of their sizes.
    bytes: u64,
}

/// One segment on the shelf.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) segment: Segment,
    /// Where reading ends: the size, or where a damage begins.
    pub(crate) readable: u64,
    /// Places known to begin a block, in order, by the number of its first event.
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    first: u64,
    at: u64,
}

/// What to read of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: Segment,
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl Entry {
    pub(crate) const fn new(segment: Segment) -> Self {
        Self { readable: segment.bytes, segment, marks: Vec::new() }
    }

    /// Remembers that a block begins there, if no mark is near.
    pub(crate) fn mark(&mut self, first: u64, at: u64) {
        let near = self.marks.last().map_or(HEADER_END, |mark| mark.at) + BETWEEN_MARKS;
        if at >= near {
            self.marks.push(Mark { first, at });
        }
    }

    /// Where to read from to find what comes after the event `after`.
    fn place(&self, after: u64) -> Place {
        let passed = self.marks.partition_point(|mark| mark.first <= after.saturating_add(1));
        let mark = passed.checked_sub(1).and_then(|index| self.marks.get(index));
        let at = mark.map_or(HEADER_END, |mark| mark.at);
        Place { segment: self.segment, at, end: self.readable }
    }

    /// Reading ends there, if not before.
    pub(crate) fn cut(&mut self, readable: u64) {
        self.readable = self.readable.min(readable);
        self.marks.retain(|mark| mark.at < readable);
    }
}

impl Shelf {
    /// A shelf with these segments, in order.
    pub(crate) fn new(entries: VecDeque<Entry>) -> Self {
        let bytes = entries.iter().map(|entry| entry.segment.bytes).sum();
        Self(Mutex::new(Held { entries, bytes }))
    }

    /// All segments, the oldest first.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.lock().entries.iter().map(|entry| entry.segment).collect()
    }

    /// Where the oldest segment starts.
    pub(crate) fn oldest(&self) -> Option<Position> {
        self.lock().entries.front().map(|entry| entry.segment.start())
    }

    /// Where to look first for what comes after this position.
    pub(crate) fn after(&self, position: Position) -> Option<Place> {
        let held = self.lock();
        let begun = held.entries.partition_point(|entry| entry.segment.start() <= position);
        let inside = begun.checked_sub(1).and_then(|index| held.entries.get(index));
        match inside {
            Some(entry) if entry.segment.epoch == position.epoch => Some(entry.place(position.seq)),
            // All of an earlier epoch comes before it.
            Some(_) | None => held.entries.get(begun).map(|entry| entry.place(0)),
        }
    }

    /// Where to go on after this place was read: in the same segment if it has
    /// grown meanwhile, or at the beginning of the next.
    pub(crate) fn following(&self, read: &Place) -> Option<Place> {
        let mut held = self.lock();
        let start = read.segment.start();
        if let Some(entry) = held.entry(start).filter(|entry| entry.readable > read.end) {
            return Some(Place { segment: entry.segment, at: read.end, end: entry.readable });
        }
        let begun = held.entries.partition_point(|entry| entry.segment.start() <= start);
        held.entries.get(begun).map(|entry| entry.place(0))
    }

    /// All of the segment that starts there.
    pub(crate) fn whole(&self, start: Position) -> Option<Place> {
        self.lock().entry(start).map(|entry| entry.place(0))
    }

    /// A block was seen to begin there.
    pub(crate) fn mark(&self, start: Position, first: u64, at: u64) {
        if let Some(entry) = self.lock().entry(start) {
            entry.mark(first, at);
        }
    }

    /// The blocks from `readable` on are none, or not to be read any more.
    pub(crate) fn cut(&self, start: Position, readable: u64) {
        if let Some(entry) = self.lock().entry(start) {
            entry.cut(readable);
        }
    }

    /// The newest segment, whose size is said in it, has more blocks, which
    /// begin there; it is put on the shelf if it was not.
    pub(crate) fn grew(&self, segment: Segment, blocks: impl IntoIterator<Item = (u64, u64)>) {
        let mut held = self.lock();
        let before = held.entry(segment.start()).map(|entry| entry.segment.bytes);
        held.bytes = held.bytes.saturating_sub(before.unwrap_or(0)).saturating_add(segment.bytes);
        if before.is_none() {
            held.entries.push_back(Entry::new(segment));
        }
        if let Some(entry) = held.entry(segment.start()) {
            entry.segment = segment;
            entry.readable = segment.bytes;
            for (first, at) in blocks {
                entry.mark(first, at);
            }
        }
    }

    /// The segment that starts there is as long as it can be read, or gone.
    pub(crate) fn shrank(&self, start: Position, bytes: u64) {
        let mut held = self.lock();
        let Some(entry) = held.entry(start) else { return };
        entry.cut(bytes);
        let before = std::mem::replace(&mut entry.segment.bytes, bytes);
        held.bytes = held.bytes.saturating_sub(before).saturating_add(bytes);
        if bytes == 0 {
            held.entries.retain(|entry| entry.segment.start() != start);
        }
    }

    /// Takes the oldest segments off the shelf until it holds no more than
    /// `bytes` and [`MAX_SEGMENTS`], but never the newest.
    pub(crate) fn prune(&self, bytes: u64) -> Vec<Segment> {
        let mut held = self.lock();
        let mut gone = Vec::new();
        while held.entries.len() > 1 && (held.bytes > bytes || held.entries.len() > MAX_SEGMENTS) {
            let Some(entry) = held.entries.pop_front() else { break };
            held.bytes = held.bytes.saturating_sub(entry.segment.bytes);
            gone.push(entry.segment);
        }
        gone
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn entry(&mut self, start: Position) -> Option<&mut Entry> {
        let index =
            self.entries.binary_search_by_key(&start, |entry| entry.segment.start()).ok()?;
        self.entries.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn segment(epoch: u64, first: u64, bytes: u64) -> Segment {
        Segment { epoch, first, started_at: 0, bytes }
    }

    const fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    #[test]
    fn reading_begins_at_the_mark_before_what_is_asked_for() {
        let shelf = Shelf::new(VecDeque::new());
        let step = BETWEEN_MARKS;
        let blocks = (0..8).map(|n| (1 + n * 10, HEADER_END + n * step / 2));
        shelf.grew(segment(5, 1, 1 << 20), blocks);
        shelf.grew(segment(7, 90, 1000), []);

        let place = |after| shelf.after(after).map(|place| (place.segment.epoch, place.at));
        assert_eq!(place(Position::START), Some((5, HEADER_END)));
        assert_eq!(place(at(5, 19)), Some((5, HEADER_END)));
        assert_eq!(place(at(5, 20)), Some((5, HEADER_END + step)));
        assert_eq!(place(at(5, u64::MAX)), Some((5, HEADER_END + 3 * step)));
        assert_eq!(place(at(6, 1)), Some((7, HEADER_END)));
        assert_eq!(place(at(8, 1)), None);
    }

    #[test]
    fn a_segment_that_grows_while_it_is_read_is_read_on() {
        let shelf = Shelf::new(VecDeque::new());
        shelf.grew(segment(5, 1, 1000), []);
        let read = shelf.after(Position::START).unwrap();
        assert_eq!(shelf.following(&read), None);

        shelf.grew(segment(5, 1, 1500), []);
        shelf.grew(segment(5, 90, 700), []);

        let rest = shelf.following(&read).unwrap();
        assert_eq!((rest.segment.first, rest.at, rest.end), (1, 1000, 1500));
        let next = shelf.following(&rest).unwrap();
        assert_eq!((next.segment.first, next.at, next.end), (90, HEADER_END, 700));
    }

    #[test]
    fn the_oldest_go_but_never_the_newest() {
        let shelf = Shelf::new((1..=4).map(|n| Entry::new(segment(n, n, 100))).collect());

        let epochs = |gone: Vec<Segment>| gone.iter().map(|one| one.epoch).collect::<Vec<_>>();
        assert_eq!(epochs(shelf.prune(400)), []);
        assert_eq!(epochs(shelf.prune(250)), [1, 2]);
        assert_eq!(epochs(shelf.prune(0)), [3]);
        assert_eq!(shelf.oldest(), Some(at(4, 4)));

        shelf.shrank(at(4, 4), 0);
        assert_eq!(shelf.oldest(), None);
    }

    #[test]
    fn there_are_no_more_than_1024() {
        let many = MAX_SEGMENTS as u64 + 3;
        let shelf = Shelf::new((1..=many).map(|n| Entry::new(segment(n, n, 1))).collect());

        assert_eq!(shelf.prune(u64::MAX).len(), 3);
        assert_eq!(shelf.oldest(), Some(at(4, 4)));
    }
}
