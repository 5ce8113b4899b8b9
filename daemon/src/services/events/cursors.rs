//! Named subscriptions: how far each came in each stream, on disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pilot_identity::NodeId;
use pilot_proto::events::Stream;
use pilot_proto::{Position, TopicFilter};
use pilot_store::{Commit, ReadError, Store};

use super::subscription::Subscribe;
use super::wants::WantedOf;
use crate::store::events as rows;

/// Named subscriptions of a node.
pub(crate) const MAX_CURSORS: usize = 1000;

/// Bytes of a name.
pub(crate) const MAX_NAME: usize = 64;

/// One stream of one node.
pub(crate) type StreamOf = (NodeId, Stream);

#[derive(Default)]
pub(super) struct Cursors(Mutex<BTreeMap<String, DurableCursor>>);

/// One of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct DurableCursor {
    pub(crate) filters: Vec<TopicFilter>,
    /// Of whom; none: of everybody.
    pub(crate) from: Option<NodeId>,
    pub(crate) places: BTreeMap<StreamOf, Position>,
    /// Somebody reads by it now.
    pub(crate) is_used: bool,
}

/// Why nobody can read by a cursor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CursorError {
    #[error("somebody reads as {0:?} already")]
    Used(String),
    #[error("there are {MAX_CURSORS} named subscriptions, the most there may be")]
    TooMany,
    #[error("{0:?} is no name: 1 to {MAX_NAME} letters, digits, dots, dashes and underscores")]
    Name(String),
    #[error("there is no named subscription {0:?}")]
    Unknown(String),
    #[error("it could not be written")]
    Commit(#[from] pilot_store::CommitError),
}

impl Cursors {
    pub(super) fn load(store: &Store) -> Result<Self, ReadError> {
        let (names, places) =
            store.read(|connection| Ok((rows::cursors(connection)?, rows::places(connection)?)))?;
        let mut cursors: BTreeMap<String, DurableCursor> = names
            .into_iter()
            .map(|(name, filters, from)| {
                (name, DurableCursor { filters, from, ..DurableCursor::default() })
            })
            .collect();
        for (name, (place, position)) in places {
            if let Some(cursor) = cursors.get_mut(&name) {
                cursor.places.insert(place, position);
            }
        }
        Ok(Self(Mutex::new(cursors)))
    }

    /// Lets one subscriber read by it, from where it is; makes it if need be.
    /// In a stream that this node keeps a new one begins at `heads`.
    pub(super) fn use_by(
        &self,
        name: &str,
        subscribe: &Subscribe,
        heads: &[(StreamOf, Position)],
        store: &Store,
    ) -> Result<(DurableCursor, Commit), CursorError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(CursorError::Name(name.to_owned()));
        }
        let mut cursors = self.lock();
        if cursors.len() >= MAX_CURSORS && !cursors.contains_key(name) {
            return Err(CursorError::TooMany);
        }
        let cursor = cursors.entry(name.to_owned()).or_default();
        if cursor.is_used {
            return Err(CursorError::Used(name.to_owned()));
        }
        cursor.is_used = true;
        cursor.filters.clone_from(&subscribe.filters);
        cursor.from = subscribe.from;
        let mut batch = store.batch();
        rows::put_cursor(&mut batch, name.to_owned(), &subscribe.filters, subscribe.from);
        for (place, position) in heads {
            if !cursor.places.contains_key(place) {
                cursor.places.insert(*place, *position);
                rows::put_place(&mut batch, name.to_owned(), *place, *position);
            }
        }
        Ok((cursor.clone(), store.commit(batch)))
    }

    pub(super) fn release(&self, name: &str) {
        if let Some(cursor) = self.lock().get_mut(name) {
            cursor.is_used = false;
        }
    }

    /// A cursor comes to a stream: if it did not know it, nothing is missed from
    /// `position` on. If that is lost, it begins a little later. Where it is.
    pub(super) fn begin(
        &self,
        name: &str,
        place: StreamOf,
        position: Position,
        store: &Store,
    ) -> Position {
        let mut cursors = self.lock();
        let Some(cursor) = cursors.get_mut(name) else { return position };
        *cursor.places.entry(place).or_insert_with(|| {
            let mut batch = store.batch();
            rows::put_place(&mut batch, name.to_owned(), place, position);
            drop(store.commit(batch));
            position
        })
    }

    /// Everything up to these was read.
    pub(super) fn acknowledge(
        &self,
        name: &str,
        places: &[(StreamOf, Position)],
        store: &Store,
    ) -> Result<Commit, CursorError> {
        let mut cursors = self.lock();
        let cursor = cursors.get_mut(name).ok_or_else(|| CursorError::Unknown(name.to_owned()))?;
        let mut batch = store.batch();
        for (place, position) in places {
            // Of a stream that it never read nothing is acknowledged.
            let Some(known) = cursor.places.get_mut(place) else { continue };
            // Also again: what was written before may not have been.
            if *position >= *known {
                *known = *position;
                rows::put_place(&mut batch, name.to_owned(), *place, *position);
            }
        }
        Ok(store.commit(batch))
    }

    pub(super) fn remove(&self, name: &str, store: &Store) -> Result<Commit, CursorError> {
        let mut cursors = self.lock();
        match cursors.get(name) {
            None => return Err(CursorError::Unknown(name.to_owned())),
            Some(cursor) if cursor.is_used => return Err(CursorError::Used(name.to_owned())),
            Some(_) => cursors.remove(name),
        };
        let mut batch = store.batch();
        rows::remove_cursor(&mut batch, name.to_owned());
        Ok(store.commit(batch))
    }

    pub(super) fn all(&self) -> Vec<(String, DurableCursor)> {
        self.lock().iter().map(|(name, cursor)| (name.clone(), cursor.clone())).collect()
    }

    /// What each name wants, and of whom.
    pub(super) fn wanted(&self) -> BTreeMap<String, WantedOf> {
        let cursors = self.lock();
        let wanted = |cursor: &DurableCursor| (cursor.filters.clone(), cursor.from);
        cursors.iter().map(|(name, cursor)| (name.clone(), wanted(cursor))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, DurableCursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
