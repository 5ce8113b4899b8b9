//! What is published about: the topics that were heard of lately.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pilot_identity::NodeId;
use pilot_proto::events::Records;

/// Topics that are remembered. Of more the one is forgotten about which
/// nothing was published for the longest time.
const MOST: usize = 1000;

#[derive(Default)]
pub(super) struct Topics(Mutex<BTreeMap<(String, NodeId), Traffic>>);

/// Changes of the topic that are noted in one frame of a peer.
const RUNS: u32 = 64;

/// What was published about a topic by one node since this daemon's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    pub(crate) count: u64,
    /// When the last of it was, in milliseconds since 1970.
    pub(crate) last_at: u64,
}

impl Topics {
    /// Notes `count` events about a topic.
    pub(super) fn note(&self, topic: &str, publisher: NodeId, count: u64, at: u64) {
        let mut topics = self.lock();
        let key = (topic.to_owned(), publisher);
        if !topics.contains_key(&key) && topics.len() >= MOST {
            let oldest = topics.iter().min_by_key(|(_, traffic)| traffic.last_at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                topics.remove(&oldest);
            }
        }
        let traffic = topics.entry(key).or_default();
        traffic.count += count;
        traffic.last_at = traffic.last_at.max(at);
    }

    /// Notes events that came from a peer: those that follow each other are
    /// mostly about the same.
    pub(super) fn note_all(&self, publisher: NodeId, records: &[u8], now: u64) {
        let mut noted = 0;
        let mut run: Option<(&str, u64)> = None;
        for (record, _) in Records::of(records).map_while(Result::ok) {
            match &mut run {
                Some((topic, count)) if *topic == record.topic => *count += 1,
                Some((topic, count)) => {
                    self.note(topic, publisher, *count, now);
                    noted += 1;
                    // To look for the oldest takes its time.
                    if noted == RUNS {
                        return;
                    }
                    run = Some((record.topic, 1));
                }
                None => run = Some((record.topic, 1)),
            }
        }
        if let Some((topic, count)) = run {
            self.note(topic, publisher, count, now);
        }
    }

    pub(super) fn all(&self) -> Vec<(String, NodeId, Traffic)> {
        let topics = self.lock();
        let all = topics.iter();
        all.map(|((topic, publisher), traffic)| (topic.clone(), *publisher, *traffic)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, NodeId), Traffic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
