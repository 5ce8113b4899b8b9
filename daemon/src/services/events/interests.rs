//! What peers want to hear of this node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilot_events::Filters;
use pilot_identity::NodeId;
use pilot_proto::TopicFilter;
use pilot_proto::events::Interest;
use tokio_util::sync::CancellationToken;

/// What each peer wants: those that are connected, and those that will fetch
/// what they want when they return.
#[derive(Default, Clone)]
pub(super) struct Interests(Arc<Mutex<BTreeMap<NodeId, Wanted>>>);

#[derive(Default)]
struct Wanted {
    /// Of each stream by which it follows, by its number.
    live: BTreeMap<u64, Filters>,
    streams: u64,
    /// Ends the stream before.
    newest: CancellationToken,
    durable: Vec<TopicFilter>,
}

/// A peer that follows; ends when dropped.
pub(super) struct Listening {
    interests: Interests,
    peer: NodeId,
    stream: u64,
    newer: CancellationToken,
}

impl Interests {
    pub(super) fn of(durable: impl IntoIterator<Item = (NodeId, Vec<TopicFilter>)>) -> Self {
        let wanted = |durable| Wanted { durable, ..Wanted::default() };
        let all = durable.into_iter().map(|(peer, filters)| (peer, wanted(filters)));
        Self(Arc::new(Mutex::new(all.collect())))
    }

    /// A peer begins to follow.
    pub(super) fn connect(&self, peer: NodeId, interest: &Interest) -> Listening {
        let (stream, newer) = {
            let mut all = self.lock();
            let wanted = all.entry(peer).or_default();
            wanted.streams += 1;
            wanted.newest.cancel();
            wanted.newest = CancellationToken::new();
            (wanted.streams, wanted.newest.clone())
        };
        let listening = Listening { interests: self.clone(), peer, stream, newer };
        listening.change(interest);
        listening
    }

    /// What a peer will fetch; whether that is new.
    pub(super) fn set_durable(&self, peer: NodeId, filters: &[TopicFilter]) -> bool {
        let mut all = self.lock();
        let wanted = all.entry(peer).or_default();
        let is_new = wanted.durable != filters;
        wanted.durable = filters.to_vec();
        is_new
    }

    /// The peers for which an event about any of `topics` is.
    pub(super) fn of_topics(&self, topics: &[&str]) -> Vec<NodeId> {
        let all = self.lock();
        let wants = |wanted: &Wanted, topic: &&str| {
            wanted.live.values().any(|filters| filters.matches(topic))
                || wanted.durable.iter().any(|filter| filter.matches(topic))
        };
        let wanting =
            all.iter().filter(|(_, wanted)| topics.iter().any(|topic| wants(wanted, topic)));
        wanting.map(|(peer, _)| *peer).collect()
    }

    /// Each peer that wants something, and whether it follows.
    pub(super) fn peers(&self) -> Vec<(NodeId, Vec<TopicFilter>, bool)> {
        let all = self.lock();
        let described = all.iter().map(|(peer, wanted)| {
            let live = wanted.live.values().flat_map(Filters::as_slice);
            let filters = Filters::of(live.chain(&wanted.durable));
            (*peer, filters.as_slice().to_vec(), !wanted.live.is_empty())
        });
        described.filter(|(_, filters, _)| !filters.is_empty()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Wanted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Resolves when the peer follows by another stream.
    pub(super) async fn replaced(&self) {
        self.newer.cancelled().await;
    }

    /// It wants something else.
    pub(super) fn change(&self, interest: &Interest) {
        if let Some(wanted) = self.interests.lock().get_mut(&self.peer) {
            let filters = Filters::of(interest.live.iter().chain(&interest.signed));
            wanted.live.insert(self.stream, filters);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(wanted) = self.interests.lock().get_mut(&self.peer) {
            wanted.live.remove(&self.stream);
        }
    }
}
