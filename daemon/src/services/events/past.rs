//! What was published in a stream that this node keeps, for who comes later.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use pilot_events::Read;
use pilot_proto::Position;
use pilot_proto::events::{Past, Records};

use super::chunk::{Chunk, PAGE, Sieve};
use super::retained::Retained;
use super::stream::KeptStream;
use crate::clock;

/// Most events that can be asked for by their number, and their bytes.
pub(crate) const MAX_LAST: u32 = 10_000;
const MAX_LAST_BYTES: usize = 4 * 1024 * 1024;

/// Reads a part of the past from its first to its last event.
pub(super) struct PastReader {
    stream: Arc<KeptStream>,
    sieve: Sieve,
    rest: Rest,
    found: VecDeque<Chunk>,
}

enum Rest {
    /// All after this one.
    After(Position),
    Last(u32),
    Retained(Arc<Retained>),
    Over,
}

impl PastReader {
    /// Of what `sieve` lets through, up to `until`.
    pub(super) fn new(
        stream: Arc<KeptStream>,
        retained: Option<&Arc<Retained>>,
        mut sieve: Sieve,
        past: Past,
        until: Position,
    ) -> Self {
        let until = until.min(stream.feed.head());
        sieve.until = Some(until);
        let rest = match past {
            Past::After(position) => Rest::After(position),
            Past::Within(millis) => {
                sieve.since = clock::now().as_millis().saturating_sub(millis);
                Rest::After(stream.before(sieve.since))
            }
            Past::Last(count) => Rest::Last(count.min(MAX_LAST)),
            Past::Retained => match retained {
                Some(retained) => Rest::Retained(Arc::clone(retained)),
                None => Rest::Over,
            },
        };
        Self { stream, sieve, rest, found: VecDeque::new() }
    }

    const fn until(&self) -> Position {
        match self.sieve.until {
            Some(until) => until,
            None => Position { epoch: 0, seq: 0 },
        }
    }

    /// Where it can be gone on later; none in the middle of something, or at the end.
    pub(super) fn rest(&self) -> Option<Position> {
        match self.rest {
            Rest::After(position) if self.found.is_empty() => Some(position),
            Rest::After(_) | Rest::Last(_) | Rest::Retained(_) | Rest::Over => None,
        }
    }

    /// The next of it; none at the end.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        loop {
            if let Some(chunk) = self.found.pop_front() {
                return Some(chunk);
            }
            match std::mem::replace(&mut self.rest, Rest::Over) {
                Rest::Over => return None,
                Rest::After(after) => self.page(after).await,
                Rest::Last(count) => self.last(count).await,
                Rest::Retained(retained) => {
                    self.found.extend(retained.chunks(&self.sieve));
                }
            }
        }
    }

    /// The next page after this one: from memory, if it is still there.
    async fn page(&mut self, after: Position) {
        let until = self.until();
        if after >= until {
            return;
        }
        let feed = &self.stream.feed;
        match feed.read(feed.cursor(after), PAGE) {
            Read::Nothing => {}
            Read::Page(page) => {
                for item in page.items {
                    let chunk = Chunk::of(item, after);
                    self.found.push_back(self.sifted(chunk));
                }
                self.rest = Rest::After(page.next.position);
            }
            Read::Behind { lost, start } => {
                let goal = start.position.min(until);
                let journalled = self.stream.journalled(after, goal).await;
                let (page, mut through) = journalled.unwrap_or_else(|| (Vec::new(), after));
                for chunk in page {
                    self.take(chunk);
                }
                if through == after {
                    through = goal;
                    self.take(Chunk::Gap { count: lost, through });
                }
                self.rest = Rest::After(through);
            }
        }
    }

    /// What was asked for by the time has no gap: nobody said how much it is.
    fn take(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Gap { count, .. } if count == 0 || self.sieve.since > 0 => {}
            Chunk::Gap { .. } | Chunk::Events { .. } => self.found.push_back(self.sifted(chunk)),
        }
    }

    /// What there is of it without a journal.
    fn in_memory(&mut self) {
        let feed = &self.stream.feed;
        let mut cursor = feed.cursor(Position::START);
        loop {
            match feed.read(cursor, PAGE) {
                Read::Page(page) => {
                    for item in page.items {
                        let chunk = Chunk::of(item, Position::START);
                        self.found.push_back(self.sifted(chunk));
                    }
                    cursor = page.next;
                }
                Read::Behind { start, .. } => cursor = start,
                Read::Nothing => return,
            }
        }
    }

    async fn last(&mut self, count: u32) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let Some(journal) = &self.stream.journal else {
            self.in_memory();
            let newest = newest(self.found.drain(..), count);
            self.found.extend(newest);
            return;
        };
        let until = self.until();
        if until.epoch == journal.epoch() {
            journal.write_out(until.seq).await;
        }
        let (stream, sieve) = (Arc::clone(&self.stream), self.sieve.clone());
        let searching = tokio::task::spawn_blocking(move || stream.last(&sieve, count));
        self.found.extend(searching.await.unwrap_or_default());
    }

    /// Only what is wanted of it.
    fn sifted(&self, chunk: Chunk) -> Chunk {
        match chunk {
            Chunk::Gap { .. } => chunk,
            Chunk::Events { epoch, after, records } => {
                let mut wanted = Vec::new();
                for (_, bytes) in self.sieve.sift(epoch, after, &records) {
                    wanted.extend_from_slice(bytes);
                }
                Chunk::Events { epoch, after, records: wanted.into() }
            }
        }
    }
}

/// The last so many events of some chunks that are sifted.
fn newest(chunks: impl Iterator<Item = Chunk>, count: usize) -> VecDeque<Chunk> {
    let mut newest = VecDeque::new();
    for chunk in chunks {
        let Chunk::Events { epoch, after, records } = chunk else { continue };
        for (_, bytes) in Records::of(&records).map_while(Result::ok) {
            let records = records.slice_ref(bytes);
            newest.push_back(Chunk::Events { epoch, after, records });
            if newest.len() > count {
                newest.pop_front();
            }
        }
    }
    newest
}

impl KeptStream {
    /// A position before everything that was published at `since` or later.
    fn before(&self, since: u64) -> Position {
        let Some(journal) = &self.journal else { return Position::START };
        let segments = journal.segments();
        let later = segments.iter().position(|segment| segment.started_at > since);
        let found = match later {
            Some(later) => segments.get(later.saturating_sub(1)),
            None => segments.last(),
        };
        found.map_or(Position::START, |segment| Position {
            epoch: segment.epoch,
            seq: segment.first.saturating_sub(1),
        })
    }

    /// The last so many events of the journal that are wanted, found from its
    /// end; blocks.
    fn last(&self, sieve: &Sieve, count: usize) -> VecDeque<Chunk> {
        let mut found: VecDeque<Chunk> = VecDeque::new();
        let mut bytes = 0;
        let Some(journal) = &self.journal else { return found };
        for segment in journal.segments().iter().rev() {
            let blocks = match journal.read_segment(segment) {
                Ok(blocks) => blocks,
                Err(error) => {
                    tracing::warn!(%error, "a part of the journal of events cannot be read");
                    continue;
                }
            };
            for stored in blocks.iter().rev() {
                let records = &stored.block.records;
                let wanted: Vec<&[u8]> = sieve
                    .sift(stored.epoch, Position::START, records)
                    .map(|(_, bytes)| bytes)
                    .collect();
                for wanted in wanted.into_iter().rev() {
                    bytes += wanted.len();
                    if found.len() == count || bytes > MAX_LAST_BYTES {
                        return found;
                    }
                    found.push_front(Chunk::Events {
                        epoch: stored.epoch,
                        after: Position::START,
                        records: Bytes::copy_from_slice(wanted),
                    });
                }
            }
        }
        found
    }
}
