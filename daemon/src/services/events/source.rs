//! One stream of one node, as a subscriber reads it: what it missed first, then
//! what comes.

use std::sync::Arc;
use std::time::Duration;

use pilot_events::{Cursor, Filters, Page, Read};
use pilot_identity::NodeId;
use pilot_proto::events::{
    EventsRequest, Fetch, MAX_EVENTS_FRAME, MAX_INTEREST_FRAME, Past, Stream, Told,
};
use pilot_proto::{Position, Service};
use pilot_transport::{Framed, FramedError};
use tokio::sync::watch;

use super::EventsService;
use super::chunk::{Chunk, PAGE, Sieve};
use super::follow::{HeardError, Remote, checked};
use super::past::PastReader;
use super::reader::{OnLag, Reader};

/// Pause before what was missed is asked for again, after it broke off.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a publisher may rest while it says what it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a subscriber wants of a stream, before what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Nothing.
    Now,
    /// This part of the past.
    Past(Past),
    /// All after this one, which is where an earlier subscriber was.
    Place(Position),
}

/// Who reads, and what.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) filters: Filters,
    pub(super) on_lag: OnLag,
    /// Of the subscriber's interest.
    pub(super) serial: u64,
}

pub(super) enum Source {
    Kept(Box<KeptSource>),
    Remote(Box<RemoteSource>),
}

impl Source {
    /// The next of it, once there is any.
    pub(super) async fn next(&mut self) -> Chunk {
        match self {
            Self::Kept(source) => source.next().await,
            Self::Remote(source) => source.next().await,
        }
    }

    /// Whose stream it is, and which.
    pub(super) fn of(&self) -> (NodeId, Stream) {
        match self {
            Self::Kept(source) => source.of,
            Self::Remote(source) => (source.remote.peer, source.stream),
        }
    }
}

/// A stream that this node keeps.
pub(super) struct KeptSource {
    of: (NodeId, Stream),
    past: Option<PastReader>,
    reader: Reader,
}

impl KeptSource {
    pub(super) fn new(
        service: &EventsService,
        stream: Stream,
        begin: Begin,
        wanted: &Wanted,
    ) -> Self {
        let kept = service.kept(stream);
        let head = kept.feed.head();
        let past = match begin {
            Begin::Now => None,
            Begin::Past(past) => Some(past),
            Begin::Place(position) => Some(Past::After(position)),
        };
        let sieve = Sieve::of(wanted.filters.clone());
        let past = past.map(|past| {
            PastReader::new(Arc::clone(kept), service.values_of(stream), sieve, past, head)
        });
        let reader = Reader::new(Arc::clone(kept), head, wanted.on_lag);
        Self { of: (service.me, stream), past, reader }
    }

    async fn next(&mut self) -> Chunk {
        if let Some(past) = &mut self.past {
            if let Some(chunk) = past.next().await {
                return chunk;
            }
            self.past = None;
        }
        self.reader.next().await
    }
}

/// A stream of a peer.
pub(super) struct RemoteSource {
    service: Arc<EventsService>,
    remote: Arc<Remote>,
    stream: Stream,
    wanted: Wanted,
    since: watch::Receiver<Option<super::follow::Since>>,
    news: watch::Receiver<()>,
    step: Step,
    ready: std::collections::VecDeque<Chunk>,
    /// A named subscription, which is kept from where it begins.
    durable: Option<String>,
}

/// How far a source is.
enum Step {
    /// The peer has not been heard yet.
    Waiting(Begin),
    /// What it missed is being fetched.
    Missed { past: Past, until: Position, from: Option<Framed> },
    /// What comes.
    Live(Cursor),
}

impl RemoteSource {
    pub(super) fn new(
        service: Arc<EventsService>,
        remote: Arc<Remote>,
        stream: Stream,
        (begin, durable): (Begin, Option<String>),
        wanted: Wanted,
    ) -> Self {
        let (since, news) = (remote.since.subscribe(), remote.feed(stream).news());
        let (step, ready) = (Step::Waiting(begin), std::collections::VecDeque::new());
        Self { service, remote, stream, wanted, since, news, step, ready, durable }
    }

    async fn next(&mut self) -> Chunk {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return chunk;
            }
            match &mut self.step {
                Step::Waiting(begin) => {
                    let begin = *begin;
                    self.begin(begin).await;
                }
                Step::Missed { .. } => self.missed().await,
                Step::Live(cursor) => {
                    let cursor = *cursor;
                    self.live(cursor).await;
                }
            }
        }
    }

    /// Waits until the peer tells this subscriber what it publishes.
    async fn begin(&mut self, begin: Begin) {
        let serial = self.wanted.serial;
        let holds = |since: &Option<super::follow::Since>| {
            since.is_some_and(|since| since.serial >= serial)
        };
        let since = match self.since.wait_for(holds).await {
            Ok(since) => *since,
            // The remote is part of this.
            Err(_) => None,
        };
        let Some(from) = since.map(|since| since.of(self.stream)) else {
            return std::future::pending().await;
        };
        if let Some(name) = &self.durable {
            let place = (self.remote.peer, self.stream);
            self.service.cursors.begin(name, place, from, &self.service.store);
        }
        self.step = match begin {
            Begin::Past(past) => Step::Missed { past, until: from, from: None },
            Begin::Place(place) if place < from => {
                Step::Missed { past: Past::After(place), until: from, from: None }
            }
            Begin::Place(place) => Step::Live(self.remote.feed(self.stream).cursor(place)),
            Begin::Now => Step::Live(self.remote.feed(self.stream).cursor(from)),
        };
    }

    /// Takes some of what was missed.
    async fn missed(&mut self) {
        let Step::Missed { past, until, from } = &mut self.step else { return };
        let (past_wanted, until) = (*past, *until);
        let told = match from {
            Some(framed) => next_told(framed).await,
            None => match self
                .service
                .ask(&self.remote, self.stream, &self.wanted, past_wanted, until)
                .await
            {
                Ok(framed) => {
                    *from = Some(framed);
                    return;
                }
                Err(error) => Err(error),
            },
        };
        match told.and_then(|told| self.taken(told)) {
            Ok(true) => {}
            Ok(false) => {
                self.step = Step::Live(self.remote.feed(self.stream).cursor(until));
            }
            Err(error) => {
                tracing::debug!(peer = %self.remote.peer.short(), %error,
                    "what was missed could not be fetched");
                if let Step::Missed { from, .. } = &mut self.step {
                    *from = None;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Takes what the publisher says; false at the end of it.
    fn taken(&mut self, told: Told) -> Result<bool, HeardError> {
        let me = self.service.me;
        match told {
            Told::Events { stream, epoch, through, records } if stream == self.stream => {
                let found = checked_past(self.remote.peer, me, stream, epoch, &records)?;
                let Step::Missed { past, .. } = &mut self.step else { return Ok(false) };
                let after = Position::START;
                if let Some(last) = found {
                    // If it breaks off, it goes on from here.
                    if let Past::After(position) = past {
                        *position = Position { epoch, seq: through.max(last) };
                    }
                    self.ready.push_back(Chunk::Events { epoch, after, records });
                }
                Ok(true)
            }
            Told::Gap { stream, count, through } if stream == self.stream => {
                if let Step::Missed { past: Past::After(position), .. } = &mut self.step {
                    *position = through;
                }
                self.ready.push_back(Chunk::Gap { count, through });
                Ok(true)
            }
            Told::Done => Ok(false),
            Told::Events { .. } | Told::Gap { .. } | Told::From { .. } => Err(HeardError::Unasked),
        }
    }

    /// Takes what comes, once it does.
    async fn live(&mut self, cursor: Cursor) {
        self.news.borrow_and_update();
        let feed = self.remote.feed(self.stream);
        match feed.read(cursor, PAGE) {
            Read::Page(Page { items, next }) => {
                let chunks =
                    items.into_iter().map(|item| Chunk::of(item, cursor.position, next.position));
                self.ready.extend(chunks);
                self.step = Step::Live(next);
            }
            Read::Nothing => drop(self.news.changed().await),
            Read::Behind { start, .. } if self.wanted.on_lag == OnLag::CatchUp => {
                let past = Past::After(cursor.position);
                self.step = Step::Missed { past, until: start.position, from: None };
            }
            Read::Behind { lost, start } => {
                if lost > 0 {
                    self.ready.push_back(Chunk::Gap { count: lost, through: start.position });
                }
                self.step = Step::Live(start);
            }
        }
    }
}

async fn next_told(framed: &mut Framed) -> Result<Told, HeardError> {
    let told = tokio::time::timeout(PATIENCE, framed.expect::<Told>(MAX_EVENTS_FRAME)).await;
    Ok(told.map_err(|_| FramedError::Stalled)??)
}

/// As [`checked`]; the parts of what was fetched have no order among them that
/// could be checked. The number of the last event, if there is one.
fn checked_past(
    peer: NodeId,
    me: NodeId,
    stream: Stream,
    epoch: u64,
    records: &bytes::Bytes,
) -> Result<Option<u64>, HeardError> {
    let found = checked(peer, me, stream, epoch, u64::MAX, records)?;
    Ok((found.count > 0).then_some(found.last))
}

impl EventsService {
    /// Asks a peer for what was missed, once it is there.
    async fn ask(
        &self,
        remote: &Remote,
        stream: Stream,
        wanted: &Wanted,
        past: Past,
        until: Position,
    ) -> Result<Framed, HeardError> {
        let Some(overlay) = self.overlay.get() else { return Err(FramedError::Closed.into()) };
        let session = overlay.connected(remote.peer).await.map_err(|_| FramedError::Closed)?;
        let mut framed = session.open(Service::Events).await?;
        let filters = wanted.filters.as_slice().to_vec();
        let fetch = EventsRequest::Fetch(Fetch { stream, filters, past, until });
        framed.send(&fetch, MAX_INTEREST_FRAME).await?;
        Ok(framed)
    }
}
