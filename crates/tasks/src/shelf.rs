//! The records in memory, what of them is on disk, and when each is due.
//!
//! Decides nothing about tasks; both machines keep theirs here.

use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::Timestamp;
use pilot_proto::TaskId;

/// What a machine's record tells the shelf.
pub(crate) trait Record {
    fn id(&self) -> TaskId;
    fn revision(&self) -> u64;
    fn bump(&mut self);
    /// When time alone changes it.
    fn due(&self) -> Option<Timestamp>;
}

#[derive(Debug)]
pub(crate) struct Shelf<R> {
    entries: BTreeMap<TaskId, Entry<R>>,
    timers: BTreeSet<(Timestamp, TaskId)>,
}

#[derive(Debug)]
struct Entry<R> {
    record: R,
    /// The newest revision known to be on disk; 0 for none.
    persisted: u64,
    timer: Option<Timestamp>,
}

impl<R> Default for Shelf<R> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), timers: BTreeSet::new() }
    }
}

impl<R: Record> Shelf<R> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains(&self, id: &TaskId) -> bool {
        self.entries.contains_key(id)
    }

    pub(crate) fn get(&self, id: &TaskId) -> Option<&R> {
        self.entries.get(id).map(|entry| &entry.record)
    }

    /// Whoever changes the record calls [`Shelf::changed`] afterwards.
    pub(crate) fn get_mut(&mut self, id: &TaskId) -> Option<&mut R> {
        self.entries.get_mut(id).map(|entry| &mut entry.record)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        self.entries.values().map(|entry| &entry.record)
    }

    /// Puts in a record that is not on disk yet.
    pub(crate) fn insert(&mut self, record: R) {
        self.put(record, 0);
    }

    /// Puts in a record as it is on disk.
    pub(crate) fn restore(&mut self, record: R) {
        let revision = record.revision();
        self.put(record, revision);
    }

    fn put(&mut self, record: R, persisted: u64) {
        let id = record.id();
        self.remove(&id);
        let timer = record.due();
        self.timers.extend(timer.map(|due| (due, id)));
        self.entries.insert(id, Entry { record, persisted, timer });
    }

    pub(crate) fn remove(&mut self, id: &TaskId) {
        if let Some(Entry { timer: Some(due), .. }) = self.entries.remove(id) {
            self.timers.remove(&(due, *id));
        }
    }

    /// Gives a record that was changed its next revision and its new timer.
    pub(crate) fn changed(&mut self, id: &TaskId) -> Option<&R> {
        let entry = self.entries.get_mut(id)?;
        entry.record.bump();
        let due = entry.record.due();
        if due != entry.timer {
            if let Some(old) = entry.timer {
                self.timers.remove(&(old, *id));
            }
            self.timers.extend(due.map(|due| (due, *id)));
            entry.timer = due;
        }
        Some(&entry.record)
    }

    pub(crate) fn persisted(&mut self, id: &TaskId, revision: u64) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.persisted = entry.persisted.max(revision);
        }
    }

    /// Whether the newest revision is on disk.
    pub(crate) fn is_durable(&self, id: &TaskId) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.persisted >= entry.record.revision())
    }

    pub(crate) fn first_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// At most `max` tasks that are due, earliest first.
    pub(crate) fn due(&self, now: Timestamp, max: usize) -> Vec<TaskId> {
        self.timers.iter().take_while(|(due, _)| *due <= now).take(max).map(|(_, id)| *id).collect()
    }
}
