//! Hears what a peer publishes, as long as somebody here wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pilot_events::Block;
use pilot_identity::{NodeId, Scope};
use pilot_overlay::Session;
use pilot_proto::events::{
    EventsRequest, Interest, MAX_EVENTS_FRAME, MAX_INTEREST_FRAME, MAX_SIGNED, Records, Stream,
    Told,
};
use pilot_proto::{Position, Service, close, is_reserved_topic};
use pilot_transport::{Framed, FramedError, RecvStream, next_frame, send_frame};
use serde::de::IgnoredAny;
use tokio::sync::{Notify, watch};

use super::EventsService;
use super::feed::Feed;
use crate::clock;
use crate::services::links::{AFTER_FAILURE, Owing};

/// Pause before a peer is asked again that does not tell its events; doubles with
/// each time. At first it may only not know yet that it is trusted.
const REFUSED: Duration = Duration::from_millis(500);
const MAX_REFUSED: Duration = Duration::from_secs(30);

/// Bytes of a peer's newest events that are in memory, of each of its streams.
const TAIL: usize = 4 * 1024 * 1024;

/// What is heard of one peer.
pub(super) struct Remote {
    pub(super) peer: NodeId,
    pub(super) own: Feed,
    pub(super) relayed: Feed,
    /// Since when which interest holds; none before the peer was first heard.
    pub(super) since: watch::Sender<Option<Since>>,
    /// How often it did not tell its events, one time after the other.
    refusals: AtomicU32,
}

/// An interest holds for all events after these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) serial: u64,
    pub(super) own: Position,
    pub(super) relayed: Position,
}

impl Since {
    pub(super) const fn of(&self, stream: Stream) -> Position {
        match stream {
            Stream::Relayed => self.relayed,
            Stream::Own | Stream::Automatic => self.own,
        }
    }
}

/// What a peer must not say.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeardError {
    #[error(transparent)]
    Framed(#[from] FramedError),
    #[error("what came is no event")]
    Record(#[from] pilot_proto::events::RecordError),
    #[error("the data of an event is no JSON")]
    Json,
    #[error("only daemons publish about this, and do not tell others")]
    Reserved,
    #[error("an event is not in the order of its stream")]
    Order,
    #[error("an event is not signed by whom it is said to be from")]
    Signature,
    #[error("it answers what was not asked")]
    Unasked,
    #[error("a number that no event has")]
    Number,
    #[error("the peer may not send events here")]
    NotAllowed,
}

impl Remote {
    pub(super) fn new(peer: NodeId) -> Self {
        let feed = || Feed::new(Position::START, TAIL);
        let (since, refusals) = (watch::Sender::new(None), AtomicU32::new(0));
        Self { peer, own: feed(), relayed: feed(), since, refusals }
    }

    pub(super) const fn feed(&self, stream: Stream) -> &Feed {
        match stream {
            Stream::Relayed => &self.relayed,
            Stream::Own | Stream::Automatic => &self.own,
        }
    }

    /// Where to go on after a connection broke.
    fn resume(&self) -> (Option<Position>, Option<Position>) {
        match *self.since.borrow() {
            Some(_) => (Some(self.own.head()), Some(self.relayed.head())),
            None => (None, None),
        }
    }

    /// The first answer on a stream: a memory that does not go on where it
    /// ended begins anew.
    fn begin(&self, asked: (Option<Position>, Option<Position>), since: Since) {
        for (feed, asked, from) in
            [(&self.own, asked.0, since.own), (&self.relayed, asked.1, since.relayed)]
        {
            if asked != Some(from) {
                feed.change(|tail| tail.restart(from));
            }
        }
        self.since.send_replace(Some(since));
        self.refusals.store(0, Ordering::Relaxed);
    }
}

impl Owing for EventsService {
    const WHAT: &'static str = "events";

    fn has_owed(&self, peer: &NodeId) -> bool {
        self.trust.allows(*peer, Scope::Events) && self.wants.owes(peer)
    }

    async fn use_link(self: &Arc<Self>, peer: NodeId, session: &Session, wake: &Notify) -> usize {
        let followed = tokio::select! {
            () = self.stop.cancelled() => return 0,
            followed = self.follow(peer, session, wake) => followed,
        };
        match followed {
            Ok(()) => 1,
            Err(HeardError::Framed(FramedError::Stopped {
                code: code @ (close::UNKNOWN_SERVICE | close::NOT_ALLOWED),
            })) => {
                let reason = close::meaning(code);
                tracing::info!(peer = %peer.short(), reason, "a peer does not tell its events");
                let times = self.remote(peer).refusals.fetch_add(1, Ordering::Relaxed);
                let pause = REFUSED.saturating_mul(1 << times.min(6)).min(MAX_REFUSED);
                tokio::select! {
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                    () = wake.notified() => {}
                }
                0
            }
            Err(error) => {
                tracing::debug!(peer = %peer.short(), %error, "a peer is not heard any more");
                if !session.connection().is_closed() {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
                0
            }
        }
    }
}

impl EventsService {
    /// Until nothing is wanted of the peer.
    async fn follow(
        &self,
        peer: NodeId,
        session: &Session,
        wake: &Notify,
    ) -> Result<(), HeardError> {
        let remote = self.remote(peer);
        let asked = remote.resume();
        let first = Interest { own: asked.0, relayed: asked.1, ..self.wants.of_peer(&peer) };
        let mut framed = session.open(Service::Events).await?;
        framed.send(&EventsRequest::Follow(first.clone()), MAX_INTEREST_FRAME).await?;
        let Framed { mut send, mut recv } = framed;
        let confirmed = Notify::new();
        let latest = std::sync::Mutex::new(first);

        let hearing = async {
            self.hear_first(&remote, asked, &mut recv).await?;
            confirmed.notify_one();
            while let Some(told) = next_frame::<Told>(&mut recv, MAX_EVENTS_FRAME).await? {
                if !told.is_valid() {
                    return Err(HeardError::Number);
                }
                match told {
                    Told::From { serial, own, relayed } => {
                        self.begin_names(remote.peer, own, relayed);
                        remote.since.send_replace(Some(Since { serial, own, relayed }));
                        confirmed.notify_one();
                    }
                    other @ (Told::Events { .. }
                    | Told::Gap { .. }
                    | Told::More { .. }
                    | Told::Done) => {
                        self.heard(&remote, other)?;
                    }
                }
            }
            Ok(())
        };
        let telling = async {
            loop {
                tokio::select! {
                    () = wake.notified() => {}
                    () = confirmed.notified() => {
                        let latest = lock(&latest).clone();
                        if remote.since.borrow().is_some_and(|since| since.serial == latest.serial) {
                            self.wants.note_told(peer, &latest);
                        }
                    }
                }
                if !self.trust.allows(peer, Scope::Events) {
                    return Err(HeardError::NotAllowed);
                }
                let now = self.wants.of_peer(&peer);
                let is_new = now.serial != lock(&latest).serial;
                if !is_new && !self.wants.owes(&peer) {
                    // Nobody listens any more, and the peer knows it: whoever comes
                    // next begins then, and not where the last one left.
                    remote.since.send_replace(None);
                    return Ok(());
                }
                if is_new {
                    send_frame(&mut send, &now, MAX_INTEREST_FRAME).await?;
                    *lock(&latest) = now;
                }
            }
        };
        tokio::select! {
            heard = hearing => heard,
            told = telling => told,
        }
    }

    async fn hear_first(
        &self,
        remote: &Remote,
        asked: (Option<Position>, Option<Position>),
        recv: &mut RecvStream,
    ) -> Result<(), HeardError> {
        match next_frame::<Told>(recv, MAX_EVENTS_FRAME).await?.filter(Told::is_valid) {
            Some(Told::From { serial, own, relayed }) => {
                self.begin_names(remote.peer, own, relayed);
                remote.begin(asked, Since { serial, own, relayed });
                Ok(())
            }
            Some(Told::Events { .. } | Told::Gap { .. } | Told::More { .. } | Told::Done) => {
                Err(HeardError::Unasked)
            }
            None => Err(FramedError::Ended.into()),
        }
    }

    /// From here on names miss nothing of a peer that they did not hear yet,
    /// also those by which nobody reads just now.
    fn begin_names(&self, peer: NodeId, own: Position, relayed: Position) {
        for (name, cursor) in self.cursors.all() {
            if cursor.from.is_none_or(|from| from == peer) {
                self.cursors.begin(&name, (peer, Stream::Own), own, &self.store);
                self.cursors.begin(&name, (peer, Stream::Relayed), relayed, &self.store);
            }
        }
    }

    fn heard(&self, remote: &Remote, told: Told) -> Result<(), HeardError> {
        match told {
            Told::Events { stream, epoch, through, records } => {
                let found = self.checked(remote.peer, stream, epoch, through, &records)?;
                let records = self.unknown(stream, records);
                self.data.give_way();
                self.counters.heard(found.count);
                self.topics.note_all(remote.peer, &records, clock::now().as_millis());
                let feed = remote.feed(stream);
                feed.change(|tail| {
                    tail.push(Block { epoch, last: found.last, count: found.count, records });
                    tail.advance(Position { epoch, seq: through });
                });
                Ok(())
            }
            Told::Gap { stream, count, through } => {
                remote.feed(stream).change(|tail| tail.push_gap(count, through));
                Ok(())
            }
            Told::From { .. } | Told::More { .. } | Told::Done => Err(HeardError::Unasked),
        }
    }
}

fn lock(interest: &std::sync::Mutex<Interest>) -> std::sync::MutexGuard<'_, Interest> {
    interest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(super) struct Checked {
    pub(super) last: u64,
    pub(super) count: u64,
}

impl EventsService {
    /// Checks what a peer says: its events are in order, each is a line of JSON
    /// about what a node may publish, and what it hands on is signed.
    pub(super) fn checked(
        &self,
        peer: NodeId,
        stream: Stream,
        epoch: u64,
        through: u64,
        records: &Bytes,
    ) -> Result<Checked, HeardError> {
        let mut found = Checked { last: 0, count: 0 };
        let mut proofs = 0;
        for record in Records::of(records) {
            let (record, _) = record?;
            if record.seq <= found.last || record.seq > through {
                return Err(HeardError::Order);
            }
            if is_reserved_topic(record.topic) {
                return Err(HeardError::Reserved);
            }
            serde_json::from_str::<IgnoredAny>(record.data).map_err(|_| HeardError::Json)?;
            proofs += usize::from(record.origin.is_some());
            if proofs > MAX_SIGNED {
                return Err(HeardError::Signature);
            }
            match (stream, &record.origin) {
                (Stream::Own, None) => {}
                (Stream::Own, Some(origin)) => {
                    let position = Position { epoch, seq: record.seq };
                    if origin.publisher != peer
                        || origin.position != position
                        || !self.relay.hands_on(&peer)
                    {
                        return Err(HeardError::Signature);
                    }
                    signed(&record)?;
                }
                (Stream::Relayed, Some(origin)) if origin.publisher != self.me => signed(&record)?,
                (Stream::Relayed, Some(_) | None) => return Err(HeardError::Signature),
                (Stream::Automatic, _) => return Err(HeardError::Unasked),
            }
            found = Checked { last: record.seq, count: found.count + 1 };
        }
        Ok(found)
    }

    /// Those of some events that are handed on which do not come here from
    /// their publisher itself.
    pub(super) fn unknown(&self, stream: Stream, records: Bytes) -> Bytes {
        if stream != Stream::Relayed {
            return records;
        }
        let mut unknown = Vec::new();
        for (record, bytes) in Records::of(&records).map_while(Result::ok) {
            let publisher = record.origin.map(|origin| origin.publisher);
            let is_known = publisher.is_some_and(|publisher| {
                self.trust.is_mutual(&publisher) && self.trust.allows(publisher, Scope::Events)
            });
            if !is_known {
                unknown.extend_from_slice(bytes);
            }
        }
        if unknown.len() == records.len() { records } else { unknown.into() }
    }
}

fn signed(record: &pilot_proto::events::Record<'_>) -> Result<(), HeardError> {
    let Some(origin) = &record.origin else { return Err(HeardError::Signature) };
    let statement = record.statement(origin.position);
    statement.verify(&origin.publisher, &origin.signature).map_err(|_| HeardError::Signature)
}
