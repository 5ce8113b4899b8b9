//! Tells peers what is published here, and what was.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_events::Filters;
use pilot_identity::{NodeId, Scope};
use pilot_proto::events::{
    EventsRequest, Fetch, Interest, MAX_EVENTS_FRAME, MAX_INTEREST_FRAME, MAX_RECORDS, Origin,
    Record, Stream, Told,
};
use pilot_proto::{Position, close};
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
        let listening = self.interests.connect(peer, &first);
        self.keep_interest(peer, &first.durable);
        let (change, changed) = watch::channel(first);
        let hearing = async {
            while let Some(interest) = next_frame::<Interest>(&mut recv, MAX_INTEREST_FRAME).await?
            {
                listening.change(&interest);
                self.keep_interest(peer, &interest.durable);
                change.send_replace(interest);
            }
            Ok(())
        };
        let telling = self.tell_on(peer, changed, &mut send);
        let allowed = self.while_allowed(peer);
        let told = tokio::select! {
            heard = hearing => heard,
            told = telling => told,
            () = allowed => Err(FramedError::Closed),
        };
        if told.is_ok() {
            // It may have been reset.
            drop(send.finish());
        }
        told
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
        mut changed: watch::Receiver<Interest>,
        send: &mut SendStream,
    ) -> Result<(), FramedError> {
        let first = changed.borrow().clone();
        let start = |asked: Option<Position>, head: Position| match asked {
            Some(asked) if asked <= head => asked,
            Some(_) | None => head,
        };
        let begun = |stream, asked| {
            let kept = self.kept(stream);
            let position = start(asked, kept.feed.head());
            Reader::new(Arc::clone(kept), position, OnLag::CatchUp)
        };
        let mut own = begun(Stream::Own, first.own);
        let mut relayed = begun(Stream::Relayed, first.relayed);
        let mut teller = Teller::new(self, peer, Interest { serial: 0, ..first.clone() });
        let mut is_new = true;
        loop {
            if is_new {
                let interest = changed.borrow_and_update().clone();
                let (own, relayed) = (own.position(), relayed.position());
                let told = Told::From { serial: interest.serial, own, relayed };
                teller = Teller::new(self, peer, interest);
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
        let Fetch { stream, filters, past, until } = fetch;
        if stream == Stream::Automatic {
            framed.refuse(close::NOT_ALLOWED);
            return Ok(());
        }
        let Ok(_turn) = self.fetches.acquire().await else { return Ok(()) };
        let interest = self.interests.signed(&peer, filters);
        let teller_filters = Filters::of(&interest.live);
        let kept = Arc::clone(self.kept(stream));
        let sieve = Sieve::of(teller_filters);
        let mut past = PastReader::new(kept, self.values_of(stream), sieve, past, until);
        let mut teller = Teller::new(self, peer, interest);
        while let Some(chunk) = past.next().await {
            teller.tell(stream, chunk, &mut framed.send).await?;
        }
        framed.send(&Told::Done, MAX_EVENTS_FRAME).await?;
        framed.finish()
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
    fn new(service: &'a EventsService, peer: NodeId, interest: Interest) -> Self {
        let both: Vec<_> = interest.live.iter().chain(&interest.signed).cloned().collect();
        let wanted = Sieve::of(Filters::of(&both));
        Self { service, peer, wanted, signed: Filters::of(&interest.signed), told: 0 }
    }

    async fn tell(
        &mut self,
        stream: Stream,
        chunk: Chunk,
        send: &mut SendStream,
    ) -> Result<(), FramedError> {
        let (epoch, after, records) = match chunk {
            Chunk::Gap { count, through } => {
                let told = Told::Gap { stream, count, through };
                return send_frame(send, &told, MAX_EVENTS_FRAME).await;
            }
            Chunk::Events { epoch, after, records } => (epoch, after, records),
        };
        let mut frames = self.frames(stream, epoch, after, &records);
        let last = frames.last().map_or(0, |frame| frame.through);
        if stream == Stream::Own {
            let is_empty = frames.iter().all(|frame| frame.records.is_empty());
            if is_empty && last < self.told + SILENCE {
                return Ok(());
            }
            self.told = last;
        } else {
            frames.retain(|frame| !frame.records.is_empty());
        }
        for Frame { through, records } in frames {
            let told = Told::Events { stream, epoch, through, records };
            send_frame(send, &told, MAX_EVENTS_FRAME).await?;
        }
        Ok(())
    }

    /// What goes to the peer of some events.
    fn frames(&self, stream: Stream, epoch: u64, after: Position, records: &Bytes) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut wanted = Vec::new();
        let mut through = 0;
        let mut all = 0;
        for (record, bytes) in self.wanted.sift(epoch, after, records) {
            if stream == Stream::Relayed && !self.may_have(&record) {
                continue;
            }
            all += bytes.len();
            if wanted.len() + bytes.len() > FRAME && !wanted.is_empty() {
                frames.push(Frame { through, records: std::mem::take(&mut wanted).into() });
            }
            through = record.seq;
            self.add(stream, epoch, &record, bytes, &mut wanted);
        }
        // All of it as it is, if it is for the peer and fits: most of it is.
        let as_it_is = all == records.len() && self.signed.is_empty() && all <= MAX_RECORDS;
        if as_it_is {
            return vec![Frame { through, records: records.clone() }];
        }
        let last = last_of(records).unwrap_or(through);
        frames.push(Frame { through: last, records: wanted.into() });
        frames
    }

    /// Adds an event, signed if the peer hands it on.
    fn add(
        &self,
        stream: Stream,
        epoch: u64,
        record: &Record<'_>,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) {
        if stream == Stream::Own && self.signed.matches(record.topic) {
            let position = Position { epoch, seq: record.seq };
            let signature = record.statement(position).sign(&self.service.key);
            let publisher = self.service.me;
            let origin = Some(Origin { publisher, position, signature });
            Record { origin, ..*record }.encode(out);
        } else {
            out.extend_from_slice(bytes);
        }
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
    pilot_proto::events::Records::of(records)
        .map_while(Result::ok)
        .last()
        .map(|(record, _)| record.seq)
}
