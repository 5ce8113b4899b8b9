//! Room for what is received, and for what waits to be sent.

use std::io::{self, IoSliceMut};

use quinn_udp::{EcnCodepoint, RecvMeta};

use super::place::Place;
use super::socket::Socket;

/// Batches received at once. Four of them stay in the cache of one core until
/// they are sent on.
pub(super) const SLOTS: usize = 4;

/// Bytes of a slot: the largest batch there is.
const SLOT: usize = 64 * 1024;

/// From so many bytes on a batch is handed on in its slot and not copied.
const WORTH_A_SLOT: usize = SLOT / 32;

/// Slots that are kept for the next flood; more are given back.
const MAX_SPARE: usize = 32;

/// Datagrams on their way to one place.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) to: Place,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) stride: usize,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Parcel {
    /// One datagram.
    pub(super) fn of(datagram: Vec<u8>, to: Place) -> Self {
        let len = datagram.len();
        Self { to, ecn: None, stride: len, buffer: datagram, start: 0, end: len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The first bytes are on their way.
    pub(super) fn advance(&mut self, by: usize) {
        self.start = self.start.saturating_add(by).min(self.end);
    }

    /// What this takes of memory while it waits.
    pub(super) const fn cost(&self) -> usize {
        self.buffer.len()
    }
}

#[derive(Debug)]
pub(super) struct Slots {
    slots: [Vec<u8>; SLOTS],
    pub(super) meta: [RecvMeta; SLOTS],
    spare: Vec<Vec<u8>>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| vec![0; SLOT]),
            meta: [RecvMeta::default(); SLOTS],
            spare: Vec::new(),
        }
    }

    /// Receives into the slots; gives how many were filled.
    ///
    /// # Errors
    ///
    /// As [`Socket::receive`].
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        let mut buffers = self.slots.each_mut().map(|slot| IoSliceMut::new(slot));
        socket.receive(&mut buffers, &mut self.meta)
    }

    /// What was received into a slot, and how.
    pub(super) fn filled(&mut self, slot: usize) -> Option<(&mut [u8], RecvMeta)> {
        let meta = *self.meta.get(slot)?;
        Some((self.slots.get_mut(slot)?.get_mut(..meta.len)?, meta))
    }

    /// Takes the datagrams at `range` of a slot to be sent on. If that is most
    /// of it, and all that is left of it, the slot itself goes.
    pub(super) fn take(
        &mut self,
        slot: usize,
        range: core::ops::Range<usize>,
        is_last: bool,
        to: Place,
    ) -> Option<Parcel> {
        let meta = *self.meta.get(slot)?;
        let whole = self.slots.get_mut(slot)?;
        let (buffer, start) = if is_last && range.len() >= WORTH_A_SLOT {
            let fresh = self.spare.pop().unwrap_or_else(|| vec![0; SLOT]);
            (std::mem::replace(whole, fresh), range.start)
        } else {
            (whole.get(range.clone())?.to_vec(), 0)
        };
        let end = start + range.len();
        Some(Parcel { to, ecn: meta.ecn, stride: meta.stride, buffer, start, end })
    }

    /// Takes back what is not needed any more.
    pub(super) fn give_back(&mut self, parcel: Parcel) {
        if parcel.buffer.len() == SLOT && self.spare.len() < MAX_SPARE {
            self.spare.push(parcel.buffer);
        }
    }
}
