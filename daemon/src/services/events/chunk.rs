//! Events as they are read from a stream, and what a reader wants of them.

use bytes::Bytes;
use pilot_events::{Filters, Item};
use pilot_proto::Position;
use pilot_proto::events::{Record, Records};

/// Bytes that a reader takes at once.
pub(super) const PAGE: usize = 128 * 1024;

/// Some of a stream, in order.
#[derive(Debug, Clone)]
pub(crate) enum Chunk {
    Events {
        epoch: u64,
        /// Those up to it are known to the reader already.
        after: Position,
        records: Bytes,
    },
    /// So many events, at the most, are lost, and where it goes on after.
    Gap { count: u64, through: Position },
}

impl Chunk {
    pub(super) fn of(item: Item, after: Position) -> Self {
        match item {
            Item::Events { epoch, records } => Self::Events { epoch, after, records },
            Item::Gap { count, through } => Self::Gap { count, through },
        }
    }
}

/// Which events a reader wants.
#[derive(Debug, Clone)]
pub(crate) struct Sieve {
    pub(crate) filters: Filters,
    /// Those published before, in milliseconds since 1970, are too old.
    pub(super) since: u64,
    /// Those after it come by another way.
    pub(super) until: Option<Position>,
}

impl Sieve {
    pub(super) const fn of(filters: Filters) -> Self {
        Self { filters, since: 0, until: None }
    }

    /// Those that are wanted, with their bytes. Bytes that are no events end it;
    /// they were checked when they came.
    pub(crate) fn sift<'a>(
        &'a self,
        epoch: u64,
        after: Position,
        records: &'a [u8],
    ) -> impl Iterator<Item = (Record<'a>, &'a [u8])> {
        let mut matcher = self.filters.matcher();
        Records::of(records).map_while(Result::ok).filter(move |(record, _)| {
            let position = Position { epoch, seq: record.seq };
            position > after
                && record.at >= self.since
                && self.until.is_none_or(|until| position <= until)
                && matcher.matches(record.topic)
        })
    }
}
