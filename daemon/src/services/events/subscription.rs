//! A subscriber of this node: reads all streams that it wants at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use pilot_events::Filters;
use pilot_identity::NodeId;
use pilot_proto::events::{EventId, EventIds, Past, Stream};
use pilot_proto::{Position, TopicFilter};
use tokio::sync::watch;

use super::EventsService;
use super::chunk::{Chunk, Sieve};
use super::cursors::{CursorError, StreamOf};
use super::reader::OnLag;
use super::source::{Begin, KeptSource, RemoteSource, Source, Wanted};
use super::wants::SubscriberId;

/// What somebody subscribes to.
#[derive(Debug, Clone)]
pub(crate) struct Subscribe {
    pub(crate) filters: Vec<TopicFilter>,
    /// Of whom; none: of everybody.
    pub(crate) from: Option<NodeId>,
    pub(crate) begin: BeginAt,
    pub(crate) on_lag: OnLag,
}

/// What of the past is wanted, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BeginAt {
    /// The values that are kept.
    Values,
    /// The last so many milliseconds.
    Within(u64),
    /// All of this event's publisher after it.
    After(EventId),
    /// The last so many of each publisher.
    Last(u32),
    /// What was not acknowledged by this name.
    Cursor(String),
}

/// Some of what is wanted.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Whose stream it was read from.
    pub(crate) of: StreamOf,
    pub(crate) chunk: Chunk,
}

type Reading = BoxFuture<'static, (Source, Chunk)>;

/// See the module. Dropped, it ends.
pub(crate) struct Subscription {
    service: Arc<EventsService>,
    id: SubscriberId,
    wanted: Wanted,
    sieve: Sieve,
    subscribe: Subscribe,
    /// How far the cursor came, by which it reads.
    places: BTreeMap<StreamOf, Position>,
    known: BTreeSet<StreamOf>,
    standings: watch::Receiver<u64>,
    reading: FuturesUnordered<Reading>,
    _claim: Option<Claim>,
}

impl EventsService {
    /// Begins to listen; durable when this returns, if it has a name.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        subscribe: Subscribe,
    ) -> Result<Subscription, CursorError> {
        let mut places = BTreeMap::new();
        let mut claim = None;
        if let BeginAt::Cursor(name) = &subscribe.begin {
            let own = [Stream::Own, Stream::Automatic];
            let heads = own.map(|stream| ((self.me, stream), self.kept(stream).feed.head()));
            let (cursor, commit) = self.cursors.use_by(name, &subscribe, &heads, &self.store)?;
            claim = Some(Claim { service: Arc::clone(self), name: name.clone() });
            commit.await?;
            places = cursor.places;
            self.wants.set_durable(name, Some((&subscribe.filters, subscribe.from)));
        }
        let (id, serial) = self.wants.add(&subscribe.filters, subscribe.from);
        self.wake_links();
        let filters = Filters::of(&subscribe.filters);
        let subscription = Subscription {
            service: Arc::clone(self),
            id,
            wanted: Wanted { filters: filters.clone(), on_lag: subscribe.on_lag, serial },
            sieve: Sieve::of(filters),
            places,
            known: BTreeSet::new(),
            standings: self.standings.subscribe(),
            reading: FuturesUnordered::new(),
            subscribe,
            _claim: claim,
        };
        Ok(subscription)
    }
}

/// The use of a cursor by one subscriber.
struct Claim {
    service: Arc<EventsService>,
    name: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.service.cursors.release(&self.name);
    }
}

impl Subscription {
    /// The next that is wanted. Cancel safe.
    pub(crate) async fn next(&mut self) -> Delivery {
        loop {
            self.add_sources();
            tokio::select! {
                biased;
                Some((source, chunk)) = self.reading.next() => {
                    let of = source.of();
                    self.reading.push(next_of(source));
                    return Delivery { of, chunk };
                }
                changed = self.standings.changed() => if changed.is_err() {
                    // The service is part of this.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// What is wanted of some events.
    pub(crate) const fn sieve(&self) -> &Sieve {
        &self.sieve
    }

    /// The name by which it reads.
    pub(crate) const fn cursor(&self) -> Option<&String> {
        match &self.subscribe.begin {
            BeginAt::Cursor(name) => Some(name),
            BeginAt::Values | BeginAt::Within(_) | BeginAt::After(_) | BeginAt::Last(_) => None,
        }
    }

    fn add_sources(&mut self) {
        self.standings.borrow_and_update();
        let me = self.service.me;
        let wants = |peer: &NodeId| self.subscribe.from.is_none_or(|from| from == *peer);
        let mut streams = Vec::new();
        if wants(&me) {
            streams.extend([(me, Stream::Own), (me, Stream::Automatic)]);
        }
        for peer in self.service.trust.mutual().into_iter().filter(wants) {
            streams.extend([(peer, Stream::Own), (peer, Stream::Relayed)]);
        }
        for of in streams {
            if self.known.insert(of) {
                self.reading.push(next_of(self.source(of)));
            }
        }
    }

    fn source(&self, of: StreamOf) -> Source {
        let (node, stream) = of;
        let begin = self.begin(of);
        if node == self.service.me {
            let source = KeptSource::new(&self.service, stream, begin, &self.wanted);
            return Source::Kept(Box::new(source));
        }
        let service = Arc::clone(&self.service);
        let remote = service.remote(node);
        let durable = self.cursor().cloned();
        let wanted = self.wanted.clone();
        let source = RemoteSource::new(service, remote, stream, (begin, durable), wanted);
        Source::Remote(Box::new(source))
    }

    fn begin(&self, of: StreamOf) -> Begin {
        match &self.subscribe.begin {
            BeginAt::Values => Begin::Past(Past::Retained),
            BeginAt::Within(millis) => Begin::Past(Past::Within(*millis)),
            BeginAt::Last(count) => Begin::Past(Past::Last(*count)),
            // The numbers of what is handed on are not those of its publishers.
            BeginAt::After(_) if of.1 == Stream::Relayed => Begin::Now,
            BeginAt::After(id) => match EventIds::of(&of.0, of.1).position(*id) {
                Some(position) => Begin::Past(Past::After(position)),
                None => Begin::Now,
            },
            BeginAt::Cursor(_) => self.places.get(&of).map_or(Begin::Now, |at| Begin::Place(*at)),
        }
    }
}

fn next_of(mut source: Source) -> Reading {
    Box::pin(async move {
        let chunk = source.next().await;
        (source, chunk)
    })
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.service.wants.remove(self.id);
        self.service.wake_links();
    }
}
