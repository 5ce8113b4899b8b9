//! Reads on in a stream that this node keeps.

use std::collections::VecDeque;
use std::sync::Arc;

use pilot_events::{Cursor, Page, Read};
use pilot_proto::Position;
use tokio::sync::watch;

use super::chunk::{Chunk, PAGE};
use super::stream::KeptStream;

/// What becomes of a reader that is too slow for the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLag {
    /// It is told how many events it missed.
    Gap,
    /// It reads them from the publisher's journal, as far as that goes back.
    CatchUp,
}

/// Somebody's place in a stream.
pub(super) struct Reader {
    stream: Arc<KeptStream>,
    cursor: Cursor,
    on_lag: OnLag,
    news: watch::Receiver<()>,
    read: VecDeque<Chunk>,
}

impl Reader {
    /// One that begins after `position`.
    pub(super) fn new(stream: Arc<KeptStream>, position: Position, on_lag: OnLag) -> Self {
        let (cursor, news) = (stream.feed.cursor(position), stream.feed.news());
        Self { stream, cursor, on_lag, news, read: VecDeque::new() }
    }

    /// How far it has come, if all that was given out counts as read.
    pub(super) const fn position(&self) -> Position {
        self.cursor.position
    }

    /// The next of it, once there is any. Cancel safe.
    pub(super) async fn next(&mut self) -> Chunk {
        loop {
            if let Some(chunk) = self.ready().await {
                return chunk;
            }
            self.changed().await;
        }
    }

    /// Waits for something new since the last [`Self::ready`]. Cancel safe.
    pub(super) async fn changed(&mut self) {
        // The sender is part of the stream.
        drop(self.news.changed().await);
    }

    /// The next of it, if there is any now. Cancel safe.
    pub(super) async fn ready(&mut self) -> Option<Chunk> {
        while self.read.is_empty() {
            self.news.borrow_and_update();
            match self.stream.feed.read(self.cursor, PAGE) {
                Read::Page(Page { items, next }) => {
                    let after = self.cursor.position;
                    let chunks = items.into_iter().map(|item| Chunk::of(item, after));
                    self.read.extend(chunks);
                    self.cursor = next;
                }
                Read::Nothing => return None,
                Read::Behind { lost, start } => self.catch_up(lost, start).await,
            }
        }
        self.read.pop_front()
    }

    /// Goes on where the memory begins, or a page further in the journal.
    async fn catch_up(&mut self, lost: u64, start: Cursor) {
        let after = self.cursor.position;
        if self.on_lag == OnLag::CatchUp
            && let Some((found, through)) = self.stream.journalled(after, start.position).await
            && through > after
        {
            self.read.extend(found);
            self.cursor = self.stream.feed.cursor(through);
            return;
        }
        // It was one that begins where nothing was lost.
        if lost > 0 {
            self.read.push_back(Chunk::Gap { count: lost, through: start.position });
        }
        self.cursor = start;
    }
}

impl KeptStream {
    /// Some of what the journal has after `after` and up to `until`, with a gap
    /// for what is not kept any more, and how far that is. None if there is no
    /// journal, or it cannot be read.
    pub(super) async fn journalled(
        self: &Arc<Self>,
        after: Position,
        until: Position,
    ) -> Option<(Vec<Chunk>, Position)> {
        let journal = self.journal.as_ref()?;
        if until.epoch == journal.epoch() {
            journal.write_out(until.seq).await;
        }
        let stream = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            stream.journal.as_ref().map(|journal| journal.read(after, until, PAGE))
        });
        let page = match reading.await {
            Ok(Some(Ok(page))) => page,
            Ok(Some(Err(error))) => {
                tracing::warn!(%error, "the journal of events cannot be read");
                return None;
            }
            Ok(None) | Err(_) => return None,
        };
        let (mut found, mut reached) = (Vec::new(), after);
        let mut expected = after.seq + 1;
        for stored in page.blocks {
            let (first, last) = (stored.first(), stored.last());
            if first.seq > expected {
                let through = Position { seq: first.seq - 1, ..first };
                found.push(Chunk::Gap { count: first.seq - expected, through });
            }
            expected = last.seq + 1;
            reached = last;
            let (epoch, records) = (stored.epoch, stored.block.records);
            found.push(Chunk::Events { epoch, after, records });
        }
        Some((found, reached))
    }
}
