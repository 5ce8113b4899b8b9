//! What the local API asks about messages to this node.

use std::time::{Duration, Instant};

use pilot_messages::Filter;
use pilot_proto::MessageId;
use pilot_store::{CommitError, ReadError};

use super::MessagesService;
use crate::store::inbox::{self, InboxRow};

/// Bytes of text that are given out at once; the rest is there for the next call.
///
/// As JSON they may be six times as long, which must fit into one answer.
const MAX_TEXT: u64 = 8 * 1024 * 1024;

/// Which messages are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) filter: Filter,
    /// At most so many.
    pub(crate) limit: usize,
}

/// Why messages are not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AckError {
    #[error("there is no message {0} in the inbox")]
    Unknown(MessageId),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("messages cannot be read")]
    Read(#[from] ReadError),
}

impl MessagesService {
    /// The messages that are wanted and not acknowledged, oldest first; waits for
    /// at least one up to `patience`. None if the node stops meanwhile.
    ///
    /// Cancel safe: looking changes nothing.
    pub(crate) async fn look(
        &self,
        wanted: Wanted,
        patience: Duration,
    ) -> Result<Vec<InboxRow>, ReadError> {
        let deadline = Instant::now() + patience;
        loop {
            // Rings from here on are heard, also those before the look below.
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            let found = self.look_now(wanted)?;
            if !found.is_empty() {
                return Ok(found);
            }
            tokio::select! {
                () = arrived => {}
                () = self.stop.cancelled() => return Ok(found),
                () = tokio::time::sleep_until(deadline.into()) => return Ok(found),
            }
        }
    }

    fn look_now(&self, Wanted { filter, limit }: Wanted) -> Result<Vec<InboxRow>, ReadError> {
        let orders: Vec<u64> = {
            let desk = self.desk();
            let mut bytes = 0;
            let mut fits = |length: u32| {
                bytes += u64::from(length);
                bytes <= MAX_TEXT
            };
            let found = desk.inbox.look(filter).take(limit);
            found.take_while(|kept| fits(kept.bytes)).map(|kept| kept.order).collect()
        };
        self.store.read(|connection| {
            let rows = orders.iter().filter_map(|order| inbox::get(connection, *order).transpose());
            rows.collect()
        })
    }

    /// They have been shown to somebody; their senders will be told.
    pub(crate) async fn mark_read(&self, rows: &mut [InboxRow]) -> Result<(), CommitError> {
        let orders: Vec<u64> =
            rows.iter().filter(|row| row.read.is_none()).map(|row| row.order).collect();
        if orders.is_empty() {
            return Ok(());
        }
        let now = self
            .turn(|desk, _, now| {
                desk.inbox.read(&orders, now);
                now
            })
            .await?;
        for row in rows {
            row.read.get_or_insert(now);
        }
        Ok(())
    }

    /// Somebody is done with them: all of them or, if one is not here, none. One
    /// that was acknowledged before stays so. How many there were.
    pub(crate) async fn ack(&self, ids: &[MessageId]) -> Result<usize, AckError> {
        self.turn(|desk, _, now| {
            let mut orders = Vec::new();
            for id in ids {
                let found = desk.inbox.find(*id);
                let known = !found.is_empty()
                    || self.store.read(|connection| inbox::is_history(connection, *id))?;
                if !known {
                    return Err(AckError::Unknown(*id));
                }
                orders.extend(found);
            }
            orders.sort_unstable();
            orders.dedup();
            desk.inbox.ack(&orders, now);
            Ok(orders.len())
        })
        .await?
    }

    /// Somebody is done with everything that can be read now. How many there were.
    pub(crate) async fn ack_all(&self, filter: Filter) -> Result<usize, CommitError> {
        self.turn(|desk, _, now| {
            let orders: Vec<u64> = desk.inbox.look(filter).map(|kept| kept.order).collect();
            desk.inbox.ack(&orders, now);
            orders.len()
        })
        .await
    }
}
