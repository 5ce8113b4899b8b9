//! Tells peers what is published here, and what was.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_events::Filters;
use pilot_identity::{NodeId, Scope};
use pilot_proto::events::{
    EventsRequest, Fetch, Interest, MAX_EVENTS_FRAME, MAX_INTEREST_FRAME, MAX_RECORDS, MAX_SIGNED,
    Origin, Record, Records, Stream, Told,
};
use pilot_proto::{Position, TopicFilter, close};
use pilot_transport::{Framed, FramedError, SendStream, next_frame, send_frame};
use tokio::sync::watch;
use tokio::time::timeout;

use super::EventsService;
use super::chunk::{Chunk, Sieve};
use super::past::PastReader;
use super::reader::{OnLag, Reader};

/// How long a peer may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of records of a frame from which on it is sent.
const FRAME: usize = 128 * 1024;

/// Signed events of a frame: half of what its reader takes.
const SIGNED: usize = MAX_SIGNED / 2;

/// Bytes of events in an answer to a fetch from which on the rest has to be
/// asked for, and parts of the stream that are looked through for it.
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_PARTS: usize = 256;

/// How long an answer may take, with the wait for its turn.
const PAGE_PATIENCE: Duration = Duration::from_secs(20);

/// How far a peer that follows may be behind before it hears of events that
/// it does not want: so far it would look again after a broken connection.
const SILENCE: u64 = 10_000;

impl EventsService {
    pub(crate) async fn serve(self: &Arc<Self>, peer: NodeId, mut framed: Framed) {
        if !self.trust.allows(peer, Scope::Events) {
            return framed.refuse(close::NOT_ALLOWED);
        }
        let request = timeout(PATIENCE, framed.expect::<EventsRequest>(MAX_INTEREST_FRAME)).await;
        let served = match request {
            Ok(Ok(EventsRequest::Follow(interest))) => self.tell(peer, interest, framed).await,
            Ok(Ok(EventsRequest::Fetch(fetch))) => self.tell_past(peer, fetch, framed).await,
            Ok(Err(_)) | Err(_) => return framed.refuse(close::PROTOCOL),
        };
        if let Err(error) = served {
            tracing::debug!(peer = %peer.short(), %error, "a stream of events broke off");
        }
    }

    /// Until the peer wants no more.
    async fn tell(
        self: &Arc<Self>,
        peer: NodeId,
        first: Interest,
        framed: Framed,
    ) -> Result<(), FramedError> {
        let Framed { mut send, mut recv } = framed;
        // It counts as a listener from here on, and so hears all from here on.
        let listening = self.interests.connect(peer, &first);
        let readers = self.readers(&first);
        self.keep_interest(peer, &first.durable).await;
        let (change, changed) = watch::channel(first);
        let hearing = async {
            while let Some(interest) = next_frame::<Interest>(&mut recv, MAX_INTEREST_FRAME).await?
            {
                listening.change(&interest);
                self.keep_interest(peer, &interest.durable).await;
                change.send_replace(interest);
            }
            Ok(())
        };
        let telling = self.tell_on(peer, readers, changed, &mut send);
        let allowed = self.while_allowed(peer);
        let told = tokio::select! {
            heard = hearing => heard,
            told = telling => told,
            () = allowed => Err(FramedError::Closed),
            // It follows anew.
            () = listening.replaced() => Err(FramedError::Closed),
        };
        if told.is_ok() {
            // It may have been reset.
            drop(send.finish());
        }
        told
    }

    /// Where a peer begins: where it was, or at the newest.
    fn readers(&self, first: &Interest) -> (Reader, Reader) {
        let begun = |stream, asked: Option<Position>| {
            let kept = self.kept(stream);
            let head = kept.feed.head();
            let position = asked.filter(|asked| *asked <= head).unwrap_or(head);
            Reader::new(Arc::clone(kept), position, OnLag::CatchUp)
        };
        (begun(Stream::Own, first.own), begun(Stream::Relayed, first.relayed))
    }

    /// Resolves when the peer may not hear of events any more.
    async fn while_allowed(&self, peer: NodeId) {
        let mut standings = self.standings.subscribe();
        while self.trust.allows(peer, Scope::Events) {
            if standings.changed().await.is_err() {
                return;
            }
        }
    }

    async fn tell_on(
        self: &Arc<Self>,
        peer: NodeId,
        (mut own, mut relayed): (Reader, Reader),
        mut changed: watch::Receiver<Interest>,
        send: &mut SendStream,
    ) -> Result<(), FramedError> {
        let first = changed.borrow().clone();
        let mut teller = Teller::new(self, peer, &first.live, &first.signed);
        let mut is_new = true;
        loop {
            if is_new {
                let interest = changed.borrow_and_update().clone();
                let (own, relayed) = (own.position(), relayed.position());
                let told = Told::From { serial: interest.serial, own, relayed };
                teller = Teller::new(self, peer, &interest.live, &interest.signed);
                send_frame(send, &told, MAX_EVENTS_FRAME).await?;
            }
            let mut is_idle = true;
            for (stream, reader) in [(Stream::Own, &mut own), (Stream::Relayed, &mut relayed)] {
                if let Some(chunk) = reader.ready().await {
                    teller.tell(stream, chunk, send).await?;
                    is_idle = false;
                }
            }
            // What is new holds for what comes next.
            is_new = changed.has_changed().unwrap_or(false);
            if is_idle && !is_new {
                tokio::select! {
                    () = own.changed() => {}
                    () = relayed.changed() => {}
                    change = changed.changed() => match change {
                        Ok(()) => is_new = true,
                        Err(_) => return Ok(()),
                    }
                }
            }
        }
    }

    /// What a peer missed.
    async fn tell_past(
        self: &Arc<Self>,
        peer: NodeId,
        fetch: Fetch,
        mut framed: Framed,
    ) -> Result<(), FramedError> {
        if fetch.stream == Stream::Automatic {
            framed.refuse(close::NOT_ALLOWED);
            return Ok(());
        }
        let turns = self.fetches.of(peer);
        let telling = async {
            let Some(_turn) = turns.take().await else { return Err(FramedError::Closed) };
            self.tell_page(peer, fetch, &mut framed.send).await
        };
        let told = tokio::select! {
            told = timeout(PAGE_PATIENCE, telling) => told.unwrap_or(Err(FramedError::Stalled)),
            () = self.while_allowed(peer) => Err(FramedError::Closed),
        };
        match told {
            Ok(()) => framed.finish(),
            Err(error) => {
                framed.refuse(close::NOT_ALLOWED);
                Err(error)
            }
        }
    }

    /// A part of what a peer missed: it reads it whole before it goes on, so
    /// that nobody's slow reader holds a turn or the line.
    async fn tell_page(
        &self,
        peer: NodeId,
        fetch: Fetch,
        send: &mut SendStream,
    ) -> Result<(), FramedError> {
        let Fetch { stream, filters, past, until, signed } = fetch;
        let kept = Arc::clone(self.kept(stream));
        let sieve = Sieve::of(Filters::of(filters.iter().chain(&signed)));
        let mut past = PastReader::new(kept, self.values_of(stream), sieve, past, until);
        let mut teller = Teller::new(self, peer, &filters, &signed);
        let (mut bytes, mut parts) = (0, 0);
        let last = loop {
            let Some(chunk) = past.next().await else { break Told::Done };
            bytes += teller.tell(stream, chunk, send).await?;
            parts += 1;
            if let Some(after) = past.rest()
                && (bytes > PAGE_BYTES || parts > PAGE_PARTS)
            {
                break Told::More { after };
            }
        };
        send_frame(send, &last, MAX_EVENTS_FRAME).await
    }
}

/// Says to one peer what it wants, and may have.
struct Teller<'a> {
    service: &'a EventsService,
    peer: NodeId,
    wanted: Sieve,
    signed: Filters,
    /// Up to which event of its own it was told.
    told: u64,
}

impl<'a> Teller<'a> {
    fn new(
        service: &'a EventsService,
        peer: NodeId,
        live: &[TopicFilter],
        signed: &[TopicFilter],
    ) -> Self {
        let wanted = Sieve::of(Filters::of(live.iter().chain(signed)));
        Self { service, peer, wanted, signed: Filters::of(signed), told: 0 }
    }

    /// How many bytes of events that were.
    async fn tell(
        &mut self,
        stream: Stream,
        chunk: Chunk,
        send: &mut SendStream,
    ) -> Result<usize, FramedError> {
        let (epoch, after, records) = match chunk {
            Chunk::Gap { .. } if stream == Stream::Relayed && !self.may_have_any() => return Ok(0),
            Chunk::Gap { count, through } => {
                let told = Told::Gap { stream, count, through };
                send_frame(send, &told, MAX_EVENTS_FRAME).await?;
                return Ok(0);
            }
            Chunk::Events { epoch, after, records } => (epoch, after, records),
        };
        let mut frames = self.frames(stream, epoch, after, &records);
        let last = frames.last().map_or(0, |frame| frame.through);
        if stream == Stream::Own {
            let is_empty = frames.iter().all(|frame| frame.records.is_empty());
            if is_empty && last < self.told + SILENCE {
                return Ok(0);
            }
            self.told = last;
        } else {
            frames.retain(|frame| !frame.records.is_empty());
        }
        let mut bytes = 0;
        for Frame { through, records } in frames {
            let signs = stream == Stream::Own && !self.signed.is_empty();
            let records = if signs { self.signed(epoch, &records) } else { records };
            bytes += records.len();
            let told = Told::Events { stream, epoch, through, records };
            send_frame(send, &told, MAX_EVENTS_FRAME).await?;
            if signs {
                // Signing takes its time, and others have the thread, too.
                tokio::task::yield_now().await;
            }
        }
        Ok(bytes)
    }

    /// What goes to the peer of some events.
    fn frames(&self, stream: Stream, epoch: u64, after: Position, records: &Bytes) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut wanted = Vec::new();
        let (mut through, mut all, mut count) = (0, 0, 0);
        let most =
            if self.signed.is_empty() && stream == Stream::Own { usize::MAX } else { SIGNED };
        for (record, bytes) in self.wanted.sift(epoch, after, records) {
            if stream == Stream::Relayed && !self.may_have(&record) {
                continue;
            }
            all += bytes.len();
            if count == most || wanted.len() + bytes.len() > FRAME && !wanted.is_empty() {
                frames.push(Frame { through, records: std::mem::take(&mut wanted).into() });
                count = 0;
            }
            through = record.seq;
            count += 1;
            wanted.extend_from_slice(bytes);
        }
        // All of it as it is, if it is for the peer and fits: most of it is.
        if all == records.len() && most == usize::MAX && all <= MAX_RECORDS {
            return vec![Frame { through, records: records.clone() }];
        }
        let last = last_of(records).unwrap_or(through);
        frames.push(Frame { through: last, records: wanted.into() });
        frames
    }

    /// The same events, those signed that the peer hands on.
    fn signed(&self, epoch: u64, records: &[u8]) -> Bytes {
        let mut out = Vec::new();
        for (record, bytes) in Records::of(records).map_while(Result::ok) {
            if !self.signed.matches(record.topic) {
                out.extend_from_slice(bytes);
                continue;
            }
            let position = Position { epoch, seq: record.seq };
            let signature = record.statement(position).sign(&self.service.key);
            let publisher = self.service.me;
            let origin = Some(Origin { publisher, position, signature });
            Record { origin, ..record }.encode(&mut out);
        }
        out.into()
    }

    /// Whether there is a rule by which the peer hears of others at all.
    fn may_have_any(&self) -> bool {
        self.service.relay.is_for(&self.peer)
    }

    /// Whether the rules let the peer have an event of another.
    fn may_have(&self, record: &Record<'_>) -> bool {
        record.origin.is_some_and(|origin| {
            origin.publisher != self.peer
                && self.service.relay.allows(&origin.publisher, &self.peer, record.topic)
        })
    }
}

struct Frame {
    through: u64,
    records: Bytes,
}

/// The number of the last event.
fn last_of(records: &[u8]) -> Option<u64> {
    Records::of(records).map_while(Result::ok).last().map(|(record, _)| record.seq)
}
