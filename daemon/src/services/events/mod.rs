//! Events: what is published here goes to whoever wants to hear it, here and on
//! peers, and what peers publish to who wants that here.
//!
//! Each node keeps what it publishes, newest in memory and as much as fits in
//! a journal; nobody keeps it for it. Whoever reads, a subscriber here or a peer,
//! is a cursor in that stream and reads at its own pace. Peers tell each other
//! what they want to hear, and get one copy of each such event.

mod chunk;
mod counters;
mod cursors;
mod feed;
mod follow;
mod interests;
mod past;
mod reader;
mod relay;
mod retained;
mod serve;
mod source;
mod stream;
mod subscription;
mod topics;
mod turns;
mod wants;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pilot_identity::{NodeId, NodeKey, Scope};
use pilot_overlay::Overlay;
use pilot_proto::TopicFilter;
use pilot_proto::events::Stream;
use pilot_store::{ReadError, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::data::DataService;
use super::links::Links;
use super::trust::TrustService;
use crate::clock;
use crate::store::events as rows;
pub(crate) use chunk::{Chunk, Sieve};
use counters::Counters;
use cursors::Cursors;
pub(crate) use cursors::{CursorError, DurableCursor, StreamOf};
use follow::Remote;
use interests::Interests;
pub(crate) use past::MAX_LAST;
pub(crate) use reader::OnLag;
use relay::Relay;
pub(crate) use relay::{RelayError, RelayRule, is_relays};
use retained::Retained;
pub(crate) use retained::Value;
use stream::{Keep, KeptStream};
pub(crate) use stream::{NewEvent, PublishError, Published, RequestId};
pub(crate) use subscription::{BeginAt, Delivery, Subscribe};
use topics::Topics;
pub(crate) use topics::Traffic;
use turns::Turns;
use wants::Wants;

/// Bytes of the journal of what the daemon itself says.
const AUTOMATIC: u64 = 16 * 1024 * 1024;

/// How long its appends gather: nobody waits for them.
const GATHER: Duration = Duration::from_millis(10);

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the journal of events cannot be opened")]
    Journal(#[from] pilot_journal::OpenError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Where events are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventsPlace<'a> {
    pub(crate) home: &'a Path,
    /// Bytes of the journal of what is published here; none if 0.
    pub(crate) journal: u64,
}

/// See the module.
pub(crate) struct EventsService {
    me: NodeId,
    key: Arc<NodeKey>,
    store: Store,
    trust: Arc<TrustService>,
    data: Arc<DataService>,
    own: Arc<KeptStream>,
    automatic: Arc<KeptStream>,
    relayed: Arc<KeptStream>,
    retained: Arc<Retained>,
    cursors: Cursors,
    wants: Wants,
    interests: Interests,
    relay: Relay,
    topics: Topics,
    counters: Counters,
    remotes: Mutex<BTreeMap<NodeId, Arc<Remote>>>,
    /// Counts changes of trust.
    standings: watch::Sender<u64>,
    fetches: Turns,
    links: Links,
    overlay: OnceLock<Overlay>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl EventsService {
    pub(crate) fn start(
        place: EventsPlace<'_>,
        key: Arc<NodeKey>,
        store: Store,
        (trust, data): (Arc<TrustService>, Arc<DataService>),
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let folder = place.home.join("events");
        let open = |stream, bytes, pause| {
            let folder = folder.join(stream::word(stream));
            KeptStream::open(&Keep { folder: &folder, bytes, pause }).map(Arc::new)
        };
        let cursors = Cursors::load(&store)?;
        let (interests, rules) = store
            .read(|connection| Ok((rows::interests(connection)?, rows::relays(connection)?)))?;
        Ok(Arc::new(Self {
            me: key.id(),
            key,
            trust,
            data,
            own: open(Stream::Own, place.journal, Duration::ZERO)?,
            automatic: open(Stream::Automatic, place.journal.min(AUTOMATIC), GATHER)?,
            relayed: open(Stream::Relayed, place.journal, Duration::ZERO)?,
            retained: Arc::new(Retained::load(&store)?),
            wants: Wants::of(cursors.wanted()),
            cursors,
            interests: Interests::of(interests),
            relay: Relay::of(rules),
            topics: Topics::default(),
            counters: Counters::default(),
            remotes: Mutex::default(),
            standings: watch::Sender::new(0),
            fetches: Turns::default(),
            links: Links::new(tasks, stop),
            overlay: OnceLock::new(),
            store,
            tasks: tasks.clone(),
            stop: stop.clone(),
        }))
    }

    /// Gives it the overlay; once, at start.
    pub(crate) fn connect(self: &Arc<Self>, overlay: Overlay) {
        for stream in [&self.own, &self.relayed] {
            self.tasks.spawn(Arc::clone(stream).tell_all(self.stop.clone()));
        }
        if self.overlay.set(overlay).is_err() {
            tracing::error!("the events service was connected twice");
            return;
        }
        self.run_relays();
        self.wake_links();
    }

    /// Trust with a peer has changed.
    pub(crate) fn trust_changed(self: &Arc<Self>) {
        self.standings.send_modify(|changes| *changes += 1);
        self.wake_links();
    }

    /// Publishes events for this node's users; kept when this returns. How
    /// many peers want any of them.
    pub(crate) async fn publish(
        &self,
        events: &[NewEvent<'_>],
        request: Option<RequestId>,
    ) -> Result<(Published, usize), PublishError> {
        self.store.room_for_new_work().map_err(PublishError::NoRoom)?;
        self.own.room().await;
        let mut topics: Vec<&str> = Vec::new();
        for event in events {
            if topics.last() != Some(&event.topic) {
                topics.push(event.topic);
            }
        }
        topics.sort_unstable();
        topics.dedup();
        let peers = self.interests.of_topics(&topics);
        let peers = peers.into_iter().filter(|peer| self.trust.allows(*peer, Scope::Events));
        let peers = peers.count();
        // From here to the value that is kept nothing is waited for: whoever
        // asked may go away.
        self.retained.has_room(events)?;
        let (published, is_repeated) = self.own.publish(events, request)?;
        let values = self.retained.keep(events, published, &self.store);
        self.data.give_way();
        if !is_repeated {
            let count = published.last.seq - published.first.seq + 1;
            self.counters.published(count);
            self.note_topics(events, &topics);
        }
        // Whoever tells them to peers goes first, and so does what it sends: the
        // answer is longer under way than it takes.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        self.own.kept(published.last).await?;
        if let Some(values) = values {
            values.await.map_err(PublishError::NotRetained)?;
        }
        Ok((published, peers))
    }

    /// Says something about this node to whoever listens here.
    pub(crate) fn say(&self, topic: &str, data: &serde_json::Value) {
        let data = data.to_string();
        let event = NewEvent::new(topic, &data, false);
        match self.automatic.publish(&[event], None) {
            Ok(_) => self.counters.published(1),
            Err(error) => tracing::warn!(%error, topic, "an event of the daemon is lost"),
        }
    }

    /// A node in an event: its address, or the beginning of its key.
    pub(crate) fn label(&self, node: NodeId) -> String {
        let card = self.overlay.get().and_then(|overlay| overlay.card(&node));
        let address = card.and_then(|card| card.address).map(|address| address.to_string());
        address.unwrap_or_else(|| node.short())
    }

    fn note_topics(&self, events: &[NewEvent<'_>], topics: &[&str]) {
        let now = clock::now().as_millis();
        for topic in topics {
            let count = events.iter().filter(|event| event.topic == *topic).count();
            self.topics.note(topic, self.me, count as u64, now);
        }
    }

    /// A stream that this node keeps.
    fn kept(&self, stream: Stream) -> &Arc<KeptStream> {
        match stream {
            Stream::Own => &self.own,
            Stream::Automatic => &self.automatic,
            Stream::Relayed => &self.relayed,
        }
    }

    /// The values that are kept of the topics of a stream.
    const fn values_of(&self, stream: Stream) -> Option<&Arc<Retained>> {
        match stream {
            Stream::Own => Some(&self.retained),
            Stream::Automatic | Stream::Relayed => None,
        }
    }

    fn remote(&self, peer: NodeId) -> Arc<Remote> {
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(remotes.entry(peer).or_insert_with(|| Arc::new(Remote::new(peer))))
    }

    /// Lets the drivers of all peers look whether something is to be told or heard.
    fn wake_links(self: &Arc<Self>) {
        let Some(overlay) = self.overlay.get() else { return };
        for peer in self.trust.mutual() {
            if self.wants.owes(&peer) || self.remote(peer).since.borrow().is_some() {
                self.links.wake(self, overlay, peer);
            }
        }
    }

    /// Writes what a peer will fetch when it returns. If it is lost, the peer
    /// tells it again.
    async fn keep_interest(&self, peer: NodeId, durable: &[TopicFilter]) {
        if self.interests.set_durable(peer, durable) {
            let mut batch = self.store.batch();
            rows::put_interest(&mut batch, peer, durable);
            // One at a time of each peer, however often it changes its mind.
            drop(self.store.commit(batch).await);
        }
    }

    /// Acknowledges what was read by a name; on disk when this returns.
    pub(crate) async fn acknowledge(
        &self,
        name: &str,
        places: &[(StreamOf, pilot_proto::Position)],
    ) -> Result<(), CursorError> {
        Ok(self.cursors.acknowledge(name, places, &self.store)?.await?)
    }

    pub(crate) fn all_cursors(&self) -> Vec<(String, DurableCursor)> {
        self.cursors.all()
    }

    /// How many events of this node it has not acknowledged, at the most.
    pub(crate) fn behind(&self, cursor: &DurableCursor) -> u64 {
        let own = cursor.places.get(&(self.me, Stream::Own));
        own.map_or(0, |at| self.own.feed.head().seq.saturating_sub(at.seq))
    }

    /// Forgets a name, and keeps nothing for it any more.
    pub(crate) async fn remove_cursor(self: &Arc<Self>, name: &str) -> Result<(), CursorError> {
        self.cursors.remove(name, &self.store)?.await?;
        self.wants.set_durable(name, None);
        self.wake_links();
        Ok(())
    }

    /// What was published about lately, by whom.
    pub(crate) fn all_topics(&self) -> Vec<(String, NodeId, Traffic)> {
        self.topics.all()
    }

    /// The topics of this node with a value that is kept, and since when.
    pub(crate) fn values(&self) -> Vec<(String, u64)> {
        self.retained.topics()
    }

    /// What peers want to hear, and whether each listens now.
    pub(crate) fn listening_peers(&self) -> Vec<(NodeId, Vec<TopicFilter>, bool)> {
        self.interests.peers()
    }

    /// How many subscribers there are on this node.
    pub(crate) fn listeners(&self) -> usize {
        self.wants.listeners()
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }
}
