//! A stream of events that this node keeps: in memory, and in a journal.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pilot_events::{Block, Tail};
use pilot_journal::{AppendError, Journal, Recovered};
use pilot_proto::Position;
use pilot_proto::events::{MAX_EVENT_DATA, Origin, Record, Stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use crate::clock;

/// Bytes of the newest events that are in memory.
const TAIL: usize = 8 * 1024 * 1024;

/// Requests that are known again when they are repeated.
const REQUESTS: usize = 4096;

/// Bytes of the events of a request: a block of a journal.
const MAX_REQUEST: usize = pilot_journal::MAX_RECORDS;

/// Numbers that are left out for events that are lost.
const MAX_SKIP: u64 = 1_000_000;

/// An event that is to be published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEvent<'a> {
    pub(crate) topic: &'a str,
    /// JSON in one line.
    pub(crate) data: &'a str,
    pub(crate) retained: bool,
    /// Who published it and when, if that was not this node now.
    pub(super) origin: Option<(Origin, u64)>,
}

impl<'a> NewEvent<'a> {
    pub(crate) const fn new(topic: &'a str, data: &'a str, retained: bool) -> Self {
        Self { topic, data, retained, origin: None }
    }
}

/// The id that whoever publishes gave a request.
pub(crate) type RequestId = [u8; 16];

/// What was published, all of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) first: Position,
    pub(crate) last: Position,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("there is nothing to publish")]
    Nothing,
    #[error("the events of a request have {len} bytes in all; they may have {MAX_REQUEST}")]
    TooMuch { len: usize },
    #[error("the data of an event has {len} bytes; it may have {MAX_EVENT_DATA}")]
    TooLong { len: usize },
    #[error("the events went to whoever listens, but are not kept")]
    NotKept(#[source] AppendError),
    #[error("an event was published but its value is not kept")]
    NotRetained(#[source] pilot_store::CommitError),
    #[error("the values that are kept would be more than 4,096 or have more than 4 MiB")]
    TooManyRetained,
    #[error("there is no room for what is new")]
    NoRoom(#[source] pilot_store::CommitError),
}

/// What is kept of a stream, and where.
pub(super) struct Keep<'a> {
    pub(super) folder: &'a Path,
    /// Bytes of its journal; it has none if there are none.
    pub(super) bytes: u64,
    /// How long appends gather while nobody waits for them.
    pub(super) pause: Duration,
}

/// See the module.
///
/// Events are told to who listens once they are written, though not yet synced:
/// what a killed daemon has forgotten nobody has heard, and it may be published
/// again.
pub(super) struct KeptStream {
    pub(super) feed: Feed,
    pub(super) journal: Option<Journal>,
    /// Nobody waits for its journal.
    gathers: bool,
    order: Mutex<Order>,
    /// Rings when something is to be told.
    appended: Notify,
}

/// What comes next.
struct Order {
    next: Position,
    /// What is being written, and is to be told after that.
    unwritten: VecDeque<Unwritten>,
    requests: BTreeMap<RequestId, Published>,
    oldest: VecDeque<RequestId>,
}

enum Unwritten {
    Events(Block),
    Gap(u64, Position),
}

impl Unwritten {
    const fn last(&self) -> u64 {
        match self {
            Self::Events(block) => block.last,
            Self::Gap(_, through) => through.seq,
        }
    }

    fn enter(self, tail: &mut Tail) {
        match self {
            Self::Events(block) => tail.push(block),
            Self::Gap(count, through) => tail.push_gap(count, through),
        }
    }
}

impl KeptStream {
    pub(super) fn open(keep: &Keep<'_>) -> Result<Self, pilot_journal::OpenError> {
        let now = clock::now().as_millis();
        let mut order = Order {
            next: Position { epoch: now, seq: 1 },
            unwritten: VecDeque::new(),
            requests: BTreeMap::new(),
            oldest: VecDeque::new(),
        };
        let journal = if keep.bytes == 0 {
            None
        } else {
            let settings = pilot_journal::Settings {
                bytes: keep.bytes,
                pause: keep.pause,
                ..pilot_journal::Settings::default()
            };
            let (journal, Recovered { last, requests }) =
                Journal::open(keep.folder, now, settings)?;
            order.next.epoch = journal.epoch();
            order.next.seq = last.map_or(1, |last| last.seq + 1);
            for pilot_journal::Request { id, first, last } in requests {
                order.note(id, Published { first, last });
            }
            Some(journal)
        };
        let head = Position { epoch: order.next.epoch, seq: order.next.seq - 1 };
        let gathers = !keep.pause.is_zero();
        let (feed, appended) = (Feed::new(head, TAIL), Notify::new());
        Ok(Self { feed, journal, gathers, order: Mutex::new(order), appended })
    }

    /// Publishes events, in this order and with nothing between; whether it
    /// was done before, if the request is repeated. They are kept once
    /// [`Self::kept`] says so.
    pub(super) fn publish(
        &self,
        events: &[NewEvent<'_>],
        request: Option<RequestId>,
    ) -> Result<(Published, bool), PublishError> {
        if let Some(event) = events.iter().find(|event| event.data.len() > MAX_EVENT_DATA) {
            return Err(PublishError::TooLong { len: event.data.len() });
        }
        let now = clock::now().as_millis();
        let mut order = self.order();
        if let Some(before) = request.and_then(|request| order.requests.get(&request)) {
            return Ok((*before, true));
        }
        let first = order.next;
        let mut position = first;
        let mut bytes = Vec::new();
        let mut last = None;
        for event in events {
            let (origin, at) = event.origin.map_or((None, now), |(origin, at)| (Some(origin), at));
            let NewEvent { topic, data, retained, .. } = *event;
            Record { seq: position.seq, at, retained, topic, data, origin }.encode(&mut bytes);
            last = Some(position);
            position.seq += 1;
        }
        let last = last.ok_or(PublishError::Nothing)?;
        if bytes.len() > MAX_REQUEST {
            return Err(PublishError::TooMuch { len: bytes.len() });
        }
        let (published, records) = (Published { first, last }, Bytes::from(bytes));
        order.next = position;
        if let Some(request) = request {
            order.note(request, published);
        }
        let count = last.seq - first.seq + 1;
        let block = Block { epoch: last.epoch, last: last.seq, count, records: records.clone() };
        if let Some(journal) = &self.journal {
            let (first, last) = (first.seq, last.seq);
            journal.append(pilot_journal::Block { first, last, at: now, request, records });
        }
        self.tell(&mut order, Unwritten::Events(block));
        Ok((published, false))
    }

    /// Tells it to who listens: at once if nothing is written, or nobody waits
    /// for that.
    fn tell(&self, order: &mut Order, what: Unwritten) {
        if self.journal.is_none() || self.gathers {
            self.feed.change(|tail| what.enter(tail));
        } else {
            order.unwritten.push_back(what);
            self.appended.notify_one();
        }
    }

    /// Tells what has been written, in its order, until the node stops.
    pub(super) async fn tell_all(self: Arc<Self>, stop: CancellationToken) {
        let Some(journal) = &self.journal else { return };
        loop {
            let last = self.order().unwritten.back().map(Unwritten::last);
            let Some(last) = last else {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.appended.notified() => continue,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = journal.write_out(last) => {}
            }
            let mut order = self.order();
            self.feed.change(|tail| {
                while let Some(what) = order.unwritten.pop_front_if(|what| what.last() <= last) {
                    what.enter(tail);
                }
            });
        }
    }

    /// Up to so many events that should stand here were lost.
    pub(super) fn skip(&self, count: u64) {
        let mut order = self.order();
        // Those who read the journal see as many as numbers are left out.
        order.next.seq = order.next.seq.saturating_add(count.min(MAX_SKIP));
        let through = Position { seq: order.next.seq - 1, ..order.next };
        self.tell(&mut order, Unwritten::Gap(count, through));
    }

    /// Waits for room in the line of what is to be written.
    pub(super) async fn room(&self) {
        if let Some(journal) = &self.journal {
            journal.room().await;
        }
    }

    /// Waits until all up to this one is on disk.
    pub(super) async fn kept(&self, last: Position) -> Result<(), PublishError> {
        match &self.journal {
            // What an earlier run published is on disk since then.
            Some(journal) if journal.epoch() == last.epoch => {
                journal.durable(last.seq).await.map_err(PublishError::NotKept)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn note(&mut self, request: RequestId, published: Published) {
        match self.requests.entry(request) {
            Entry::Occupied(_) => return,
            Entry::Vacant(new) => new.insert(published),
        };
        self.oldest.push_back(request);
        if self.oldest.len() > REQUESTS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.requests.remove(&oldest);
        }
    }
}

/// The word for a stream in tokens and in the log.
pub(super) const fn word(stream: Stream) -> &'static str {
    match stream {
        Stream::Own => "own",
        Stream::Relayed => "relayed",
        Stream::Automatic => "automatic",
    }
}
