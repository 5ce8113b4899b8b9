//! The newest events of one stream.

use std::collections::VecDeque;

use bytes::Bytes;
use pilot_proto::Position;

/// Blocks that are there whatever their length: a reader that keeps up never
/// falls behind because one block is large.
const LEAST_BLOCKS: usize = 4;

/// Most blocks, however small: each has its cost.
const MOST_BLOCKS: usize = 16 * 1024;

/// Some events of one epoch that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Their epoch.
    pub epoch: u64,
    /// The number of the last of them.
    pub last: u64,
    /// How many they are.
    pub count: u64,
    /// Their bytes, as [`pilot_proto::events::Records`].
    pub records: Bytes,
}

/// How far somebody has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Everything up to it.
    pub position: Position,
    /// How many events that was, counted by the tail; wraps below 0 for what
    /// was before its time.
    index: u64,
}

/// What is in a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Events. Those up to the reader's position are to be left out.
    Events {
        /// Their epoch.
        epoch: u64,
        /// [`pilot_proto::events::Records`].
        records: Bytes,
    },
    /// So many events, at the most, were lost on the way here.
    Gap {
        /// How many.
        count: u64,
        /// Where it goes on after.
        through: Position,
    },
}

/// Some of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub items: Vec<Item>,
    /// How far the reader has come with them.
    pub next: Cursor,
}

/// What a reader finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Something new.
    Page(Page),
    /// Nothing new.
    Nothing,
    /// What follows the cursor is gone.
    Behind {
        /// How many events.
        lost: u64,
        /// Where the tail begins.
        start: Cursor,
    },
}

/// See the crate's page.
#[derive(Debug)]
pub struct Tail {
    entries: VecDeque<Entry>,
    /// All after it is here.
    start: Position,
    /// All up to it has been here.
    head: Position,
    /// Events that were here before the first entry.
    before: u64,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    what: What,
    last: Position,
}

#[derive(Debug)]
enum What {
    Events { count: u64, records: Bytes },
    Gap(u64),
}

impl What {
    const fn count(&self) -> u64 {
        match self {
            Self::Events { count, .. } | Self::Gap(count) => *count,
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::Events { records, .. } => records.len(),
            Self::Gap(_) => 0,
        }
    }
}

impl Tail {
    /// An empty one, of at most `limit` bytes of events; it begins after `from`.
    #[must_use]
    pub const fn new(from: Position, limit: usize) -> Self {
        Self { entries: VecDeque::new(), start: from, head: from, before: 0, bytes: 0, limit }
    }

    /// Begins anew after `from`: readers that are not there fall behind.
    pub fn restart(&mut self, from: Position) {
        for entry in self.entries.drain(..) {
            self.before = self.before.wrapping_add(entry.what.count());
        }
        (self.start, self.head, self.bytes) = (from, from, 0);
    }

    /// Adds events. Those that are not newer than all before are left out.
    pub fn push(&mut self, block: Block) {
        let Block { epoch, last, count, records } = block;
        self.add(Position { epoch, seq: last }, What::Events { count, records });
    }

    /// Notes that up to `count` events were lost, up to `through`.
    pub fn push_gap(&mut self, count: u64, through: Position) {
        self.add(through, What::Gap(count));
    }

    /// Notes that there is nothing else up to `through`.
    pub fn advance(&mut self, through: Position) {
        self.head = self.head.max(through);
    }

    fn add(&mut self, last: Position, what: What) {
        if last <= self.head {
            return;
        }
        self.bytes += what.len();
        self.entries.push_back(Entry { what, last });
        self.head = last;
        while self.entries.len() > LEAST_BLOCKS
            && (self.bytes > self.limit || self.entries.len() > MOST_BLOCKS)
        {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.what.len();
            self.before = self.before.wrapping_add(oldest.what.count());
            self.start = oldest.last;
        }
    }

    /// The newest position.
    #[must_use]
    pub const fn head(&self) -> Position {
        self.head
    }

    /// The position after which everything is here.
    #[must_use]
    pub const fn start(&self) -> Position {
        self.start
    }

    /// A cursor after `position`. Of what the tail has lost since then the
    /// numbers say how many events it was at the most.
    #[must_use]
    pub fn cursor(&self, position: Position) -> Cursor {
        if position < self.start {
            let lost = self.start.seq.saturating_sub(position.seq);
            return Cursor { position, index: self.before.wrapping_sub(lost) };
        }
        let read = self.entries.iter().take_while(|entry| entry.last <= position);
        let index = read.fold(self.before, |index, entry| index.wrapping_add(entry.what.count()));
        Cursor { position, index }
    }

    /// What follows the cursor: blocks of at most `max` bytes in all, but one at least.
    #[must_use]
    pub fn read(&self, cursor: Cursor, max: usize) -> Read {
        if cursor.position < self.start {
            let lost = self.before.wrapping_sub(cursor.index);
            let start = Cursor { position: self.start, index: self.before };
            return Read::Behind { lost, start };
        }
        let first = self.entries.partition_point(|entry| entry.last <= cursor.position);
        let (mut items, mut bytes, mut next) = (Vec::new(), 0, cursor);
        for entry in self.entries.iter().skip(first) {
            bytes += entry.what.len();
            if !items.is_empty() && bytes > max {
                break;
            }
            items.push(match &entry.what {
                What::Events { records, .. } => {
                    Item::Events { epoch: entry.last.epoch, records: records.clone() }
                }
                What::Gap(count) => Item::Gap { count: *count, through: entry.last },
            });
            next =
                Cursor { position: entry.last, index: next.index.wrapping_add(entry.what.count()) };
        }
        if items.is_empty() { Read::Nothing } else { Read::Page(Page { items, next }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    fn block(last: u64, count: u64, bytes: usize) -> Block {
        Block { epoch: 1, last, count, records: vec![b'x'; bytes].into() }
    }

    #[test]
    fn a_reader_gets_all_of_it_in_pages() {
        let mut tail = Tail::new(at(0), 1_000);
        for last in 1..=4 {
            tail.push(block(last, 1, 100));
        }

        let Read::Page(page) = tail.read(tail.cursor(at(1)), 250) else { panic!("no page") };
        assert_eq!((page.items.len(), page.next.position), (2, at(3)));
        let Read::Page(page) = tail.read(page.next, 10) else { panic!("no page") };
        assert_eq!((page.items.len(), page.next.position), (1, at(4)));
        assert_eq!(tail.read(page.next, 10), Read::Nothing);
    }

    #[test]
    fn one_that_is_too_slow_learns_how_many_it_missed() {
        let mut tail = Tail::new(at(0), 1_000);
        let slow = tail.cursor(at(0));
        for last in 1..=10 {
            tail.push(block(last * 3, 3, 200));
        }

        let Read::Behind { lost, start } = tail.read(slow, 100) else { panic!("not behind") };
        assert_eq!((lost, start.position), (15, at(15)));
        assert!(matches!(tail.read(start, 100), Read::Page(_)));
    }

    #[test]
    fn what_is_not_newer_is_left_out_and_gaps_stand_in_their_place() {
        let mut tail = Tail::new(at(5), 1_000);
        tail.push(block(5, 1, 10));
        tail.push(block(6, 1, 10));
        tail.push_gap(7, at(13));
        tail.push(block(14, 1, 10));
        tail.advance(at(20));
        tail.push(block(18, 1, 10));

        let Read::Page(page) = tail.read(tail.cursor(at(5)), 1_000) else { panic!("no page") };
        assert_eq!(page.items.len(), 3);
        assert_eq!(page.items[1], Item::Gap { count: 7, through: at(13) });
        assert_eq!((page.next.position, tail.head()), (at(14), at(20)));
    }

    #[test]
    fn begun_anew_it_leaves_everybody_behind_who_is_not_there() {
        let mut tail = Tail::new(at(0), 1_000);
        tail.push(block(4, 4, 10));
        let (slow, late) = (tail.cursor(at(0)), tail.cursor(at(4)));

        tail.restart(at(9));

        for (cursor, lost) in [(slow, 4), (late, 0)] {
            let Read::Behind { lost: found, start } = tail.read(cursor, 10) else {
                panic!("not behind")
            };
            assert_eq!((found, start.position), (lost, at(9)));
        }
    }

    proptest! {
        /// Whatever is pushed and whoever reads when: each event is read, or
        /// counted as lost, exactly once.
        #[test]
        fn every_event_is_read_or_counted(
            limit in 50_usize..500,
            steps in proptest::collection::vec((1_u64..5, 1_usize..100, any::<bool>()), 1..200),
        ) {
            let mut tail = Tail::new(at(0), limit);
            let mut cursor = tail.cursor(at(0));
            let (mut seq, mut seen) = (0, 0);
            for (count, bytes, reads) in steps {
                seq += count;
                tail.push(block(seq, count, bytes));
                if reads {
                    match tail.read(cursor, 100) {
                        Read::Page(page) => {
                            seen += page.next.position.seq - cursor.position.seq;
                            cursor = page.next;
                        }
                        Read::Behind { lost, start } => {
                            seen += lost;
                            cursor = start;
                        }
                        Read::Nothing => {}
                    }
                    prop_assert_eq!(cursor.position.seq, seen);
                    prop_assert_eq!(cursor, tail.cursor(cursor.position));
                }
            }
        }
    }
}
