//! Runs the machines of the beacon on its sockets, in one task.
//!
//! A turn receives up to four batches and sends what waits. If all four were
//! filled there is probably more: then only half as much is sent, so that what
//! is too much is dropped here, where it is known whose it is, and not by the
//! kernel, which would drop everybody's alike.
//!
//! Bulk that is through is followed by more within microseconds. Whoever sends
//! it may share this core: it is let run before the driver goes to sleep, which
//! saves the sleep and gives it several batches at once. Between two processes
//! on the same two cores that moves 1.2 times as much, at 0.26 instead of 0.5
//! CPU seconds per GB.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pilot_proto::beacon::RelayId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::backlog::Backlog;
use super::carried::FromCarrier;
use super::counters::{Counters, count};
use super::forward::Sorted;
use super::place::{CarrierId, Place};
use super::relay::{Answer, Moment, Relay};
use super::slots::{Parcel, SLOTS, Slots};
use super::socket::{Batch, Sent, Socket};
use super::stun::{Arrival, SocketIndex, StunAnswer, StunServer};
use crate::keeper;

/// Bytes that may wait to be sent, in all.
const MAX_BACKLOG: usize = 16 * 1024 * 1024;

/// Turns in a row before anything else has its turn.
const TURNS: usize = 16;

/// Bytes passed on since the last look that make bulk: no small talk does, and
/// half a batch of QUIC's does.
const BULK: u64 = 8 * 1024;

/// Batches sent in a turn that has filled all its slots.
const SENDS_UNDER_PRESSURE: usize = SLOTS / 2;

/// Errors in a row after which receiving fails for good. Single ones are the
/// leftovers of earlier sends and mean nothing.
const MAX_RECEIVE_ERRORS: usize = 16;

/// Pause between two looks at the beacon as a whole: what it has done is logged
/// if it did something, and segmentation offload is tried again if it was lost.
const REVIEW_PAUSE: Duration = Duration::from_secs(60);

/// Packets of carriers handled in a row.
const MAX_PACKETS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Driver {
    main: Socket,
    /// Those that answer STUN alone.
    others: Vec<(SocketIndex, Socket)>,
    relay: Relay,
    /// None where STUN is not served.
    stun: Option<StunServer>,
    carriers: mpsc::Receiver<FromCarrier>,
    lines: BTreeMap<CarrierId, (SocketAddr, mpsc::Sender<Bytes>)>,
    published: Arc<Mutex<Counters>>,
    slots: Slots,
    sorted: Sorted,
    backlog: Backlog<RelayId, Parcel>,
    overflowed: u64,
    errors: usize,
    review: Instant,
    /// As of the last review.
    logged: Counters,
}

/// How a turn ended.
enum Turn {
    /// There is more to receive.
    More,
    /// Nothing is left for now.
    Idle,
}

impl Driver {
    pub(super) fn new(
        main: Socket,
        others: Vec<(SocketIndex, Socket)>,
        relay: Relay,
        stun: Option<StunServer>,
        carriers: mpsc::Receiver<FromCarrier>,
        published: Arc<Mutex<Counters>>,
    ) -> Self {
        Self {
            main,
            others,
            relay,
            stun,
            carriers,
            lines: BTreeMap::new(),
            published,
            slots: Slots::new(),
            sorted: Sorted::default(),
            backlog: Backlog::new(MAX_BACKLOG),
            overflowed: 0,
            errors: 0,
            review: Instant::now() + REVIEW_PAUSE,
            logged: Counters::default(),
        }
    }

    /// Runs until `stop` is cancelled.
    ///
    /// # Errors
    ///
    /// If a socket fails for good.
    pub(super) async fn run(mut self, stop: CancellationToken) -> io::Result<()> {
        while !stop.is_cancelled() {
            let mut turns = 0;
            let before = self.relay.counters().forwarded_bytes;
            while turns < TURNS && matches!(self.turn()?, Turn::More) {
                turns += 1;
            }
            self.other_sockets();
            self.on_packets();
            self.handle_timeout();
            self.publish();
            if turns == TURNS {
                tokio::task::yield_now().await;
            } else if self.relay.counters().forwarded_bytes >= before + BULK {
                std::thread::yield_now();
            } else {
                self.wait(&stop).await?;
            }
        }
        Ok(())
    }

    /// Waits until there is something to do. Cancel safe.
    async fn wait(&mut self, stop: &CancellationToken) -> io::Result<()> {
        let others = async {
            let mut waiting: FuturesUnordered<_> =
                self.others.iter().map(|(_, socket)| socket.readable()).collect();
            match waiting.next().await {
                Some(ready) => ready,
                None => pending().await,
            }
        };
        let deadline = self.relay.next_deadline().min(self.review);
        let packet = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ready = self.main.readable() => return ready,
            ready = self.main.writable(), if !self.backlog.is_empty() => return ready,
            ready = others => return ready,
            packet = self.carriers.recv(), if !self.carriers.is_closed() => packet,
            () = sleep_until(deadline.into()) => return Ok(()),
        };
        if let Some(packet) = packet {
            self.on_carrier(packet);
        }
        Ok(())
    }

    /// Receives what is there, and sends what waits.
    fn turn(&mut self) -> io::Result<Turn> {
        let filled = match self.slots.receive(&self.main) {
            Ok(filled) => filled,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if self.errors >= MAX_RECEIVE_ERRORS => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "receiving failed");
                self.errors += 1;
                return Ok(Turn::More);
            }
        };
        self.errors = 0;
        let at = moment();
        for slot in 0..filled {
            self.on_filled(slot, at);
        }
        if filled == SLOTS {
            self.send_waiting(SENDS_UNDER_PRESSURE);
            return Ok(Turn::More);
        }
        self.send_waiting(usize::MAX);
        Ok(Turn::Idle)
    }

    fn on_filled(&mut self, slot: usize, at: Moment) {
        let Some((batch, meta)) = self.slots.filled(slot) else { return };
        let from = Place::udp(meta.addr, meta.dst_ip);
        self.sorted.clear();
        self.relay.handle_batch(from, batch, meta.stride, at, &mut self.sorted);
        for range in std::mem::take(&mut self.sorted.stun) {
            let message = batch.get(range).unwrap_or_default();
            let arrival =
                Arrival { from: from.observed(), socket: SocketIndex::MAIN, local_ip: meta.dst_ip };
            if let Some(stun) = &mut self.stun
                && let Some(answer) = stun.handle(arrival, message, at.now)
            {
                send_stun(&self.main, &self.others, &answer);
            }
        }
        self.send_answers();
        let runs = std::mem::take(&mut self.sorted.runs);
        let last = runs.len().saturating_sub(1);
        for (number, run) in runs.iter().enumerate() {
            if let Some(parcel) = self.slots.take(slot, run.range.clone(), number == last, run.to) {
                self.hand_on(run.sender, parcel);
            }
        }
        // Given back, so that the next batch needs no memory of its own.
        self.sorted.runs = runs;
    }

    fn hand_on(&mut self, sender: RelayId, parcel: Parcel) {
        match parcel.to {
            Place::Udp { .. } => {
                let cost = parcel.cost();
                if let Err(parcel) = self.backlog.push(sender, cost, parcel) {
                    count(&mut self.overflowed, datagrams(&parcel));
                    self.slots.give_back(parcel);
                }
            }
            Place::Carrier { id, .. } => {
                let out = self.lines.get(&id).map(|(_, out)| out);
                let lost = parcel
                    .bytes()
                    .chunks(parcel.stride.max(1))
                    .filter(|datagram| {
                        let datagram = Bytes::copy_from_slice(datagram);
                        out.is_none_or(|out| out.try_send(datagram).is_err())
                    })
                    .count();
                count(&mut self.overflowed, lost);
                self.slots.give_back(parcel);
            }
        }
    }

    /// Sends up to so many parcels, as long as the kernel takes them.
    fn send_waiting(&mut self, most: usize) {
        for _ in 0..most {
            let Some((sender, mut parcel)) = self.backlog.next() else { return };
            let Place::Udp { remote, local } = parcel.to else {
                self.slots.give_back(parcel);
                continue;
            };
            let batch = Batch {
                to: remote,
                from: local,
                ecn: parcel.ecn,
                bytes: parcel.bytes(),
                stride: parcel.stride,
            };
            match self.main.send(&batch) {
                Sent::Done => self.slots.give_back(parcel),
                Sent::Blocked { after } => {
                    parcel.advance(after);
                    let cost = parcel.cost();
                    return self.backlog.put_back(sender, cost, parcel);
                }
            }
        }
    }

    /// What the relay itself says is short, goes at once, and is lost if it cannot.
    fn send_answers(&mut self) {
        while let Some(Answer { to, packet }) = self.relay.poll_answer() {
            match to {
                Place::Udp { remote, local } => {
                    let stride = packet.len();
                    let batch =
                        Batch { to: remote, from: local, ecn: None, bytes: &packet, stride };
                    if self.main.send(&batch) != Sent::Done {
                        count(&mut self.overflowed, 1);
                    }
                }
                Place::Carrier { id, .. } => {
                    let line = self.lines.get(&id);
                    let sent = line.is_some_and(|(_, out)| out.try_send(packet.into()).is_ok());
                    count(&mut self.overflowed, usize::from(!sent));
                }
            }
        }
    }

    fn on_carrier(&mut self, said: FromCarrier) {
        match said {
            FromCarrier::Opened { id, remote, out } => {
                self.lines.insert(id, (remote, out));
            }
            FromCarrier::Ended { id } => {
                self.lines.remove(&id);
                self.relay.handle_ended(id);
            }
            FromCarrier::Packet { id, mut packet } => {
                let Some((remote, _)) = self.lines.get(&id) else { return };
                let from = Place::Carrier { id, remote: *remote };
                let stride = packet.len();
                self.sorted.clear();
                self.relay.handle_batch(from, &mut packet, stride, moment(), &mut self.sorted);
                self.send_answers();
                if let Some(run) = self.sorted.runs.pop() {
                    self.hand_on(run.sender, Parcel::of(packet, run.to));
                }
            }
        }
    }

    fn on_packets(&mut self) {
        for _ in 0..MAX_PACKETS {
            match self.carriers.try_recv() {
                Ok(packet) => self.on_carrier(packet),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.send_waiting(MAX_PACKETS);
    }

    /// Answers what came to the sockets for STUN alone.
    fn other_sockets(&mut self) {
        let at = moment();
        for (index, socket) in &self.others {
            let Ok(filled) = self.slots.receive(socket) else { continue };
            for slot in 0..filled {
                let Some((batch, meta)) = self.slots.filled(slot) else { continue };
                let from = Place::udp(meta.addr, None).observed();
                let arrival = Arrival { from, socket: *index, local_ip: meta.dst_ip };
                for message in batch.chunks(meta.stride.max(1)) {
                    if let Some(stun) = &mut self.stun
                        && let Some(answer) = stun.handle(arrival, message, at.now)
                    {
                        send_stun(&self.main, &self.others, &answer);
                    }
                }
            }
        }
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        self.relay.handle_timeout(now);
        if now >= self.review {
            self.review = now + REVIEW_PAUSE;
            self.main.restore_offload();
            let counters = self.counters();
            if counters != self.logged {
                tracing::debug!(?counters, "the beacon so far");
                self.logged = counters;
            }
        }
    }

    fn counters(&self) -> Counters {
        let (stun, stun_limited) = self.stun.as_ref().map_or((0, 0), StunServer::counts);
        Counters { stun, stun_limited, overflowed: self.overflowed, ..self.relay.counters() }
    }

    fn publish(&self) {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = self.counters();
    }
}

fn send_stun(main: &Socket, others: &[(SocketIndex, Socket)], answer: &StunAnswer) {
    let other = others.iter().find(|(index, _)| *index == answer.socket);
    let socket = match other {
        Some((_, socket)) => socket,
        None if answer.socket == SocketIndex::MAIN => main,
        None => return,
    };
    let (bytes, stride) = (answer.message.as_slice(), answer.message.len());
    let batch = Batch { to: answer.to, from: answer.local_ip, ecn: None, bytes, stride };
    if socket.send(&batch) != Sent::Done {
        tracing::trace!(to = %answer.to, "a STUN answer was not sent");
    }
}

fn datagrams(parcel: &Parcel) -> usize {
    parcel.bytes().len().div_ceil(parcel.stride.max(1))
}

fn moment() -> Moment {
    Moment { now: Instant::now(), wall: keeper::now() }
}
