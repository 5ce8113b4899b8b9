//! Relayed packets: whole batches, with the ids rewritten where they are.
//!
//! ```text
//! in:   a9 'p' 'l' 'r'  receiver's id  inner      from the sender's place
//! out:  a9 'p' 'l' 'r'  sender's id    inner      to the receiver's place
//! ```
//!
//! A batch is what the kernel gathered (GRO): datagrams of one size and one
//! source, the last one possibly shorter. It is cut into runs of one receiver,
//! each of which goes on as one batch again (GSO).

use core::ops::Range;
use std::sync::Arc;

use pilot_proto::beacon::{
    MARK, RELAY_HEADER, RelayId, Services, Told, relay_header, split_relayed,
};
use pilot_stun::looks_like_stun;

use super::counters::count;
use super::place::Place;
use super::rate::ByteRate;
use super::relay::{Moment, Relay};

/// The longest datagram that is passed on, in bytes: what nodes take. A longer
/// one would pass on no way out of here.
pub const MAX_DATAGRAM: usize = 1472;

/// The longest probe that is passed on where nothing else is, in bytes.
const MAX_PROBE: usize = 1200;

/// Probes a second of one client through a beacon that passes nothing else on.
const PROBE_RATE: ByteRate = ByteRate(50);

/// How often a second one client is told of those who are not here.
const ABSENCE_RATE: ByteRate = ByteRate(10);

/// Datagrams of one batch that go to one place, with the sender's id in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Who sent them: whose turn it takes to send them on.
    pub sender: RelayId,
    /// Where they go.
    pub to: Place,
    /// Where in the batch they are.
    pub range: Range<usize>,
}

/// What a received batch came to.
#[derive(Debug, Default)]
pub struct Sorted {
    /// To be sent on.
    pub runs: Vec<Run>,
    /// STUN messages, for the STUN server.
    pub stun: Vec<Range<usize>>,
}

impl Sorted {
    /// Makes room for the next batch.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.stun.clear();
    }
}

/// What one datagram is.
enum Kind {
    Relayed(RelayId),
    Control,
    Stun,
    Garbage,
}

fn classify(datagram: &[u8]) -> Kind {
    if datagram.len() > MAX_DATAGRAM {
        // Clients that try whether fragments pass; STUN has a limit of its own.
        return if looks_like_stun(datagram) { Kind::Stun } else { Kind::Garbage };
    }
    match split_relayed(datagram) {
        Some((id, [_, ..])) => return Kind::Relayed(id),
        // A header and nothing behind it.
        Some((_, [])) => return Kind::Garbage,
        None => {}
    }
    if datagram.starts_with(&MARK) {
        Kind::Control
    } else if looks_like_stun(datagram) {
        Kind::Stun
    } else {
        Kind::Garbage
    }
}

impl Relay {
    /// A batch of datagrams of `stride` bytes came from `from`. Relayed ones
    /// are rewritten in place and named in `sorted`, which is empty before.
    pub fn handle_batch(
        &mut self,
        from: Place,
        batch: &mut [u8],
        stride: usize,
        at: Moment,
        sorted: &mut Sorted,
    ) {
        let stride = stride.max(1);
        let mut start = 0;
        while start < batch.len() {
            let mut end = start.saturating_add(stride).min(batch.len());
            let datagram = batch.get(start..end).unwrap_or_default();
            match classify(datagram) {
                Kind::Relayed(receiver) => {
                    end = start + run_len(batch.get(start..).unwrap_or_default(), stride);
                    let run = batch.get_mut(start..end).unwrap_or_default();
                    if let Some((sender, to)) = self.on_run(from, receiver, run, stride, at) {
                        sorted.runs.push(Run { sender, to, range: start..end });
                    }
                }
                Kind::Control => self.handle_control(from, datagram, at),
                Kind::Stun => sorted.stun.push(start..end),
                Kind::Garbage => count(&mut self.counters.garbage, 1),
            }
            start = end;
        }
    }

    /// Whose the datagrams are and where they go, if they do; then they say so, too.
    fn on_run(
        &mut self,
        from: Place,
        receiver: RelayId,
        run: &mut [u8],
        stride: usize,
        at: Moment,
    ) -> Option<(RelayId, Place)> {
        let datagrams = run.len().div_ceil(stride);
        let Some(sender) = self.clients.id_at(&from) else {
            count(&mut self.counters.from_strangers, datagrams);
            self.tell_stranger(from, at.now);
            return None;
        };
        let to = self.clients.get(&receiver).map(|client| client.place);
        let exempt = self.is_exempt(&from);
        let client = self.clients.get_mut(&sender)?;
        client.heard = at.now;
        let Some(to) = to else {
            count(&mut self.counters.absent, datagrams);
            self.tell_absent(sender, receiver, at);
            return None;
        };
        let services = self.settings.services;
        let served = services.contains(Services::RELAY)
            || (services.contains(Services::PUNCH)
                && run.chunks(stride).all(is_probe)
                && client.probes.take(PROBE_RATE, datagrams, at.now));
        if !served {
            count(&mut self.counters.not_served, datagrams);
            return None;
        }
        let rates = (self.settings.client_rate, self.settings.pair_rate);
        if !exempt && !client.may_send(receiver, run.len(), rates, at.now) {
            count(&mut self.counters.over_rate, datagrams);
            return None;
        }
        let header = relay_header(sender);
        for datagram in run.chunks_mut(stride) {
            if let Some(place) = datagram.first_chunk_mut() {
                *place = header;
            }
        }
        count(&mut self.counters.forwarded, datagrams);
        count(&mut self.counters.forwarded_bytes, run.len());
        Some((sender, to))
    }

    fn tell_absent(&mut self, sender: RelayId, absent: RelayId, at: Moment) {
        let Some(client) = self.clients.get_mut(&sender) else { return };
        if client.absences.take(ABSENCE_RATE, 1, at.now) {
            let (to, key) = (client.place, Arc::clone(&client.key));
            self.tell(to, &key, &Told::Absent { id: absent });
        }
    }
}

/// How many bytes from the start on are for the receiver of the first datagram.
fn run_len(batch: &[u8], stride: usize) -> usize {
    let header = batch.get(..RELAY_HEADER).unwrap_or_default();
    batch
        .chunks(stride)
        .take_while(|datagram| datagram.len() > RELAY_HEADER && datagram.starts_with(header))
        .map(<[u8]>::len)
        .sum()
}

/// Whether what is inside is a control packet of nodes, and no QUIC.
fn is_probe(relayed: &[u8]) -> bool {
    let inner = relayed.get(RELAY_HEADER..).unwrap_or_default();
    inner.starts_with(&MARK) && inner.len() <= MAX_PROBE
}
