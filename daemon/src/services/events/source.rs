//! One stream of one node, as a subscriber reads it: what it missed first, then
//! what comes.

use std::sync::Arc;
use std::time::Duration;

use pilot_events::{Cursor, Filters, Page, Read};
use pilot_identity::{NodeId, Scope};
use pilot_proto::events::{
    EventsRequest, Fetch, MAX_EVENTS_FRAME, MAX_INTEREST_FRAME, Past, Stream, Told,
};
use pilot_proto::{Position, Service};
use pilot_transport::{Framed, FramedError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::EventsService;
use super::chunk::{Chunk, PAGE, Sieve};
use super::follow::{HeardError, Remote, Since};
use super::past::PastReader;
use super::reader::{OnLag, Reader};

/// Pause before what was missed is asked for again, after it broke off.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a publisher may rest while it says what it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a part of what was missed: a publisher sends 1 MiB, and what belongs
/// together beyond that.
const MAX_PAGE: usize = 16 * 1024 * 1024;

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
    since: watch::Receiver<Option<Since>>,
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
    Missed { past: Past, until: Position },
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
        let holds = |since: &Option<Since>| since.is_some_and(|since| since.serial >= serial);
        let since = match self.since.wait_for(holds).await {
            Ok(since) => *since,
            // The remote is part of this.
            Err(_) => None,
        };
        let Some(from) = since.map(|since| since.of(self.stream)) else {
            return std::future::pending().await;
        };
        // It may have come to the stream since the subscription was made.
        let begin = match &self.durable {
            None => begin,
            Some(name) => {
                let of = (self.remote.peer, self.stream);
                Begin::Place(self.service.cursors.begin(name, of, from, &self.service.store))
            }
        };
        self.step = match begin {
            Begin::Past(past) => Step::Missed { past, until: from },
            Begin::Place(place) if place < from => {
                Step::Missed { past: Past::After(place), until: from }
            }
            // Of an epoch that the peer has forgotten.
            Begin::Place(place) if place.epoch > from.epoch => {
                Step::Live(self.remote.feed(self.stream).cursor(from))
            }
            Begin::Place(place) => Step::Live(self.remote.feed(self.stream).cursor(place)),
            Begin::Now => Step::Live(self.remote.feed(self.stream).cursor(from)),
        };
    }

    /// Takes a part of what was missed. It is read whole before any of it is
    /// given out: a slow subscriber holds up nobody.
    async fn missed(&mut self) {
        let Step::Missed { past, until } = self.step else { return };
        match self.page(past, until).await {
            Ok(Some(rest)) => self.step = Step::Missed { past: Past::After(rest), until },
            Ok(None) => self.step = Step::Live(self.remote.feed(self.stream).cursor(until)),
            Err(error) => {
                tracing::debug!(peer = %self.remote.peer.short(), %error,
                    "what was missed could not be fetched");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Takes one part; after which event there is more, if there is. What broke
    /// off half-way counts as far as it came.
    async fn page(&mut self, past: Past, until: Position) -> Result<Option<Position>, HeardError> {
        let mut framed =
            self.service.ask(&self.remote, self.stream, &self.wanted, past, until).await?;
        let mut bytes = 0;
        loop {
            let told = timeout(PATIENCE, framed.expect::<Told>(MAX_EVENTS_FRAME)).await;
            let told = told.map_err(|_| FramedError::Stalled)??;
            if !told.is_valid() {
                return Err(HeardError::Number);
            }
            match told {
                Told::Events { stream, epoch, records, .. } if stream == self.stream => {
                    bytes += records.len();
                    if bytes > MAX_PAGE {
                        return Err(HeardError::Unasked);
                    }
                    let peer = self.remote.peer;
                    let found = self.service.checked(peer, stream, epoch, u64::MAX, &records)?;
                    if found.count > 0 {
                        // If it breaks off, it goes on from here.
                        let last = Position { epoch, seq: found.last };
                        self.missed_until(last);
                        let records = self.service.unknown(stream, records);
                        let after = Position::START;
                        self.ready.push_back(Chunk::Events { epoch, after, records });
                    }
                }
                Told::Gap { stream, count, through } if stream == self.stream => {
                    self.missed_until(through);
                    self.ready.push_back(Chunk::Gap { count, through });
                }
                Told::More { after } => return Ok(Some(after)),
                Told::Done => return Ok(None),
                Told::Events { .. } | Told::Gap { .. } | Told::From { .. } => {
                    return Err(HeardError::Unasked);
                }
            }
        }
    }

    /// Nothing up to this one has to be asked for again.
    fn missed_until(&mut self, position: Position) {
        if let Step::Missed { past, .. } = &mut self.step
            && *past != Past::Retained
        {
            *past = Past::After(position);
        }
    }

    /// Takes what comes, once it does.
    async fn live(&mut self, cursor: Cursor) {
        self.news.borrow_and_update();
        let feed = self.remote.feed(self.stream);
        match feed.read(cursor, PAGE) {
            Read::Page(Page { items, next }) => {
                let chunks = items.into_iter().map(|item| Chunk::of(item, cursor.position));
                self.ready.extend(chunks);
                self.step = Step::Live(next);
            }
            Read::Nothing => drop(self.news.changed().await),
            Read::Behind { start, .. } if self.wanted.on_lag == OnLag::CatchUp => {
                let past = Past::After(cursor.position);
                self.step = Step::Missed { past, until: start.position };
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
        if !self.trust.allows(remote.peer, Scope::Events) {
            return Err(HeardError::NotAllowed);
        }
        let session = overlay.connected(remote.peer).await.map_err(|_| FramedError::Closed)?;
        let mut framed = session.open(Service::Events).await?;
        let filters = wanted.filters.as_slice().to_vec();
        let signed = self.wants.of_peer(&remote.peer).signed;
        let fetch = EventsRequest::Fetch(Fetch { stream, filters, past, until, signed });
        framed.send(&fetch, MAX_INTEREST_FRAME).await?;
        Ok(framed)
    }
}
