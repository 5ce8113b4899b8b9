//! The events service: what happens at one node, told to those who want to hear it.
//!
//! Whoever wants events of a peer opens a stream to it and *follows* it; what it
//! missed it *fetches* on a stream of its own:
//!
//! ```text
//! follow: EventsRequest::Follow(Interest) ->
//!                                          <-  Told::From    (from where on it holds)
//!                                          <-  Told::Events, Told::Gap, …
//!         Interest                         ->                (changed)
//!                                          <-  Told::From
//! fetch:  EventsRequest::Fetch(Fetch)      ->
//!                                          <-  Told::Events, Told::Gap, …, Told::More or Done
//! ```
//!
//! A peer gets each event once, however many subscribers it has. Nothing is
//! acknowledged: a publisher keeps its events for a time, whoever reads them
//! knows how far it came, and asks again from there.

mod id;
mod record;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use id::{EventId, EventIdError, EventIds};
pub use record::{MAX_EVENT_DATA, MAX_RECORD, Origin, Record, RecordError, Records};

use crate::{Position, TopicFilter, list};

/// Filters in one interest: a daemon with more subscribers than that asks for
/// everything, and chooses itself.
pub const MAX_FILTERS: usize = 256;
/// Bytes of a frame to a publisher: both lists of filters, all of them long.
pub const MAX_INTEREST_FRAME: usize = 256 * 1024;
/// Bytes of records in one frame: some, or one long one.
pub const MAX_RECORDS: usize = 512 * 1024;
/// Signed events in one frame: each costs its reader a verification.
pub const MAX_SIGNED: usize = 256;
/// Bytes of a frame from a publisher.
pub const MAX_EVENTS_FRAME: usize = MAX_RECORDS + 64;

/// Numbers of events, and counts of those that are lost, are below it: an id
/// has no more bits for them.
pub const SEQ_END: u64 = 1 << 40;
/// Epochs are below it: milliseconds until the year 10889.
pub const EPOCH_END: u64 = 1 << 48;

/// One of a node's streams of events; each has [`Position`]s of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stream {
    /// What was published there.
    Own,
    /// What the node hands on for others, as far as it lets this peer have it.
    Relayed,
    /// What its daemon says of tasks and peers. Never leaves the node.
    Automatic,
}

/// The first frame of a stream of this service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventsRequest {
    /// Tell what is published from now on.
    Follow(Interest),
    /// Tell what was published.
    Fetch(Fetch),
}

/// What one node wants to hear from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// Answered by [`Told::From`] with the same.
    pub serial: u64,
    /// What is wanted at once.
    #[serde(deserialize_with = "list::at_most::<MAX_FILTERS, _, _>")]
    pub live: Vec<TopicFilter>,
    /// What will be fetched by subscribers who are away, also after a
    /// restart: lets a publisher say for how many nodes it keeps an event.
    #[serde(deserialize_with = "list::at_most::<MAX_FILTERS, _, _>")]
    pub durable: Vec<TopicFilter>,
    /// What of it is handed on to others, and so must come signed.
    #[serde(deserialize_with = "list::at_most::<MAX_FILTERS, _, _>")]
    pub signed: Vec<TopicFilter>,
    /// How far the own events were heard before the connection broke. Only in
    /// the first of a stream.
    pub own: Option<Position>,
    /// The same of those that are handed on.
    pub relayed: Option<Position>,
}

/// What was missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Of which stream.
    pub stream: Stream,
    /// About what.
    #[serde(deserialize_with = "list::at_most::<MAX_FILTERS, _, _>")]
    pub filters: Vec<TopicFilter>,
    /// Which of those.
    pub past: Past,
    /// Up to this one.
    pub until: Position,
    /// What of it is handed on to others, as in an [`Interest`].
    #[serde(deserialize_with = "list::at_most::<MAX_FILTERS, _, _>")]
    pub signed: Vec<TopicFilter>,
}

/// What part of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Past {
    /// All after this one.
    After(Position),
    /// All of the last so many milliseconds.
    Within(u64),
    /// The last so many.
    Last(u32),
    /// The last value of each topic for which it was kept.
    Retained,
}

impl Told {
    /// Whether its numbers are such that events can have.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        const fn is(position: Position) -> bool {
            position.epoch < EPOCH_END && position.seq < SEQ_END
        }
        match self {
            Self::From { own, relayed, .. } => is(*own) && is(*relayed),
            Self::Events { epoch, through, .. } => *epoch < EPOCH_END && *through < SEQ_END,
            Self::Gap { count, through, .. } => *count < SEQ_END && is(*through),
            Self::More { after } => is(*after),
            Self::Done => true,
        }
    }
}

/// What a publisher says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// The interest of this serial holds for all events after these.
    From {
        /// Of the interest.
        serial: u64,
        /// Of the own events.
        own: Position,
        /// Of those that are handed on.
        relayed: Position,
    },
    /// Some of what is wanted.
    Events {
        /// Of which stream.
        stream: Stream,
        /// The epoch of all of them.
        epoch: u64,
        /// There is nothing else that is wanted up to this number.
        through: u64,
        /// [`Records`].
        records: Bytes,
    },
    /// Events that might have been wanted are not kept any more.
    Gap {
        /// Of which stream.
        stream: Stream,
        /// How many at the most.
        count: u64,
        /// Up to this one.
        through: Position,
    },
    /// There is more of it, to be asked for.
    More {
        /// After this one.
        after: Position,
    },
    /// It was all, and from here on the stream of those who follow goes on.
    Done,
}
