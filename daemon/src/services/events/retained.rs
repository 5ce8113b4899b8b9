//! The last value of each topic for which it is kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pilot_proto::Position;
use pilot_proto::events::{Record, Records};
use pilot_store::{Commit, ReadError, Store};

use super::chunk::{Chunk, Sieve};
use super::stream::{NewEvent, PublishError, Published};
use crate::clock;
use crate::store::events as rows;

/// Topics with a value that is kept, and bytes of all of them. Beyond it
/// publishing one is refused.
pub(crate) const MAX_RETAINED: usize = 4096;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A value that says that there is none any more.
const NONE: &str = "null";

/// The values of this node's own topics.
#[derive(Default)]
pub(crate) struct Retained(Mutex<BTreeMap<String, Value>>);

/// A value, as the event that it came with.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) epoch: u64,
    pub(crate) record: Bytes,
}

impl Value {
    fn event(&self) -> Option<Record<'_>> {
        Some(Records::of(&self.record).next()?.ok()?.0)
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: self.event().map_or(0, |event| event.seq) }
    }
}

impl Retained {
    pub(super) fn load(store: &Store) -> Result<Self, ReadError> {
        Ok(Self(Mutex::new(store.read(rows::retained)?.into_iter().collect())))
    }

    /// Whether there would be room for the values of these events.
    pub(super) fn has_room(&self, events: &[NewEvent<'_>]) -> Result<(), PublishError> {
        let values = self.lock();
        let kept = || events.iter().filter(|event| event.retained && event.data != NONE);
        let new = kept().filter(|event| !values.contains_key(event.topic)).count();
        let bytes: usize = values.values().map(|value| value.record.len()).sum();
        let more: usize = kept().map(|event| event.topic.len() + event.data.len()).sum();
        let is_too_much = new > 0 && new + values.len() > MAX_RETAINED;
        if is_too_much || more > 0 && more + bytes > MAX_BYTES {
            return Err(PublishError::TooManyRetained);
        }
        Ok(())
    }

    /// Keeps the values of those events that ask for it; `null` ends that.
    pub(super) fn keep(
        &self,
        events: &[NewEvent<'_>],
        at: Published,
        store: &Store,
    ) -> Option<Commit> {
        let now = clock::now().as_millis();
        let mut batch = store.batch();
        // Committed under the lock, so that the rows change in its order.
        let mut values = self.lock();
        for (event, seq) in events.iter().zip(at.first.seq..) {
            let position = Position { epoch: at.last.epoch, seq };
            let is_newer = values.get(event.topic).is_none_or(|value| value.position() < position);
            if !event.retained || !is_newer {
                continue;
            }
            let topic = event.topic.to_owned();
            if event.data == NONE {
                values.remove(&topic);
                rows::remove_retained(&mut batch, topic);
                continue;
            }
            let mut bytes = Vec::new();
            let NewEvent { topic: about, data, .. } = *event;
            Record { seq, at: now, retained: true, topic: about, data, origin: None }
                .encode(&mut bytes);
            let value = Value { epoch: position.epoch, record: bytes.into() };
            values.insert(topic.clone(), value.clone());
            rows::put_retained(&mut batch, topic, value);
        }
        (!batch.is_empty()).then(|| store.commit(batch))
    }

    /// The values that are wanted, in the order in which they were published.
    pub(super) fn chunks(&self, sieve: &Sieve) -> Vec<Chunk> {
        let mut found = Vec::new();
        for value in self.lock().values() {
            let after = Position::START;
            for (record, _) in sieve.sift(value.epoch, after, &value.record) {
                let position = Position { epoch: value.epoch, seq: record.seq };
                let records = value.record.clone();
                found.push((position, Chunk::Events { epoch: value.epoch, after, records }));
            }
        }
        found.sort_by_key(|(position, _)| *position);
        found.into_iter().map(|(_, chunk)| chunk).collect()
    }

    /// The topics that have one.
    pub(crate) fn topics(&self) -> Vec<(String, u64)> {
        let at = |value: &Value| value.event().map_or(0, |event| event.at);
        self.lock().iter().map(|(topic, value)| (topic.clone(), at(value))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
