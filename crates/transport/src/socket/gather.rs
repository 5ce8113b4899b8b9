//! Successive batches for one destination, gathered into larger ones.
//!
//! QUIC hands over at most 10 datagrams at a time; the kernel takes 64 of one
//! size at once, of up to 64 KiB together. A stream over loopback moves 1.36
//! times as much at two thirds of the processor's time when full batches of 1,436
//! bytes are gathered; ten of the largest fill a batch by themselves. Only full batches
//! announce bulk: whatever else is sent goes out at once, after what waits for
//! the same destination. What is gathered waits until the tasks that are ready
//! have run, never for a clock.
//!
//! The socket drives it: [`Gather::poll_flush`] is called by the one task that
//! also receives.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use quinn::udp::{EcnCodepoint, Transmit};

use super::io::Io;

/// Datagrams in a batch of QUIC that announces bulk; quinn hands over 10.
const BULK: usize = 8;

/// Most datagrams the kernel takes at once (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;

/// Most bytes of one send: 65,535 without the headers of IPv6 and UDP.
const MAX_BYTES: usize = 65_487;

/// Destinations gathered for at once; for a further one, the first is flushed.
const MAX_PENDING: usize = 8;

/// What goes out: datagrams of `segment` bytes, the last possibly shorter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) from: Option<IpAddr>,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) contents: &'a [u8],
    /// `None` for a single datagram.
    pub(crate) segment: Option<usize>,
    /// Put before each datagram.
    pub(crate) header: &'a [u8],
}

#[derive(Debug, Default)]
pub(crate) struct Gather {
    pending: Mutex<Vec<Pending>>,
}

#[derive(Debug)]
struct Pending {
    io: Arc<Io>,
    to: SocketAddr,
    from: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    /// Bytes of a datagram, header included.
    segment: usize,
    bytes: Vec<u8>,
    /// How much there was when it was looked at last.
    seen: usize,
}

/// What became of an [`Outgoing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The kernel has it.
    Sent,
    /// It waits; somebody must flush.
    Waits,
}

impl Gather {
    /// Sends or keeps `out`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`]: nothing of `out` was taken.
    pub(crate) fn send(&self, io: &Arc<Io>, out: &Outgoing<'_>) -> io::Result<Taken> {
        let mut pending = self.lock();
        let at = pending.iter().position(|p| p.to == out.to && Arc::ptr_eq(&p.io, io));
        if let Some(waiting) = at.and_then(|at| pending.get_mut(at)) {
            if waiting.takes(out) {
                waiting.append(out);
                return match waiting.is_full() {
                    true => Ok(flushed_or_waits(&mut pending, at)),
                    false => Ok(Taken::Waits),
                };
            }
            waiting.flush()?;
            if let Some(at) = at {
                drop(pending.swap_remove(at));
            }
        }
        let segment = out.segment.unwrap_or(out.contents.len());
        let is_bulk = out.segment.is_some() && out.contents.len() >= BULK * segment;
        if !is_bulk || 2 * out.contents.len() > MAX_BYTES {
            drop(pending);
            return send_now(io, out).map(|()| Taken::Sent);
        }
        if pending.len() >= MAX_PENDING
            && let Some(first) = pending.first_mut()
        {
            first.flush()?;
            drop(pending.swap_remove(0));
        }
        let mut fresh = Pending::new(Arc::clone(io), out);
        fresh.append(out);
        pending.push(fresh);
        Ok(Taken::Waits)
    }

    /// Flushes what has not grown since the last look. `Pending` with the
    /// waker registered, or woken at once, while anything waits; otherwise ready.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pending = self.lock();
        let mut again = false;
        pending.retain_mut(|waiting| {
            if waiting.seen != waiting.bytes.len() {
                waiting.seen = waiting.bytes.len();
                again = true;
                return true;
            }
            loop {
                match waiting.flush() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        match waiting.io.poll_writable(cx) {
                            // Writable again meanwhile.
                            Poll::Ready(Ok(())) => {}
                            Poll::Ready(Err(_)) => return false,
                            Poll::Pending => return true,
                        }
                    }
                    Ok(()) | Err(_) => return false,
                }
            }
        });
        if again {
            cx.waker().wake_by_ref();
        }
        if pending.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A full batch was taken already: if the kernel has no room for it now, it
/// waits like one that is not full.
fn flushed_or_waits(pending: &mut Vec<Pending>, at: Option<usize>) -> Taken {
    let Some(at) = at else { return Taken::Waits };
    match pending.get_mut(at).map(Pending::flush) {
        Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Taken::Waits,
        Some(Ok(()) | Err(_)) => {
            drop(pending.swap_remove(at));
            Taken::Sent
        }
        None => Taken::Waits,
    }
}

fn send_now(io: &Io, out: &Outgoing<'_>) -> io::Result<()> {
    let with_headers;
    let contents = if out.header.is_empty() {
        out.contents
    } else {
        with_headers = headed(out);
        &with_headers
    };
    io.try_send(&Transmit {
        destination: out.to,
        ecn: out.ecn,
        contents,
        segment_size: out.segment.map(|segment| segment + out.header.len()),
        src_ip: out.from,
    })
}

fn headed(out: &Outgoing<'_>) -> Vec<u8> {
    let segment = out.segment.unwrap_or(out.contents.len()).max(1);
    let count = out.contents.len().div_ceil(segment);
    let mut bytes = Vec::with_capacity(out.contents.len() + count * out.header.len());
    append_headed(&mut bytes, out, segment);
    bytes
}

fn append_headed(bytes: &mut Vec<u8>, out: &Outgoing<'_>, segment: usize) {
    for datagram in out.contents.chunks(segment.max(1)) {
        bytes.extend_from_slice(out.header);
        bytes.extend_from_slice(datagram);
    }
}

impl Pending {
    fn new(io: Arc<Io>, out: &Outgoing<'_>) -> Self {
        let segment = out.segment.unwrap_or(out.contents.len()) + out.header.len();
        let bytes = Vec::with_capacity(most(segment));
        Self { io, to: out.to, from: out.from, ecn: out.ecn, segment, bytes, seen: 0 }
    }

    /// Whether `out` can be put behind what waits.
    fn takes(&self, out: &Outgoing<'_>) -> bool {
        let header = out.header.len();
        let segment = out.segment.unwrap_or(out.contents.len());
        let count = out.contents.len().div_ceil(segment.max(1));
        let bytes = out.contents.len() + count * header;
        let same_size = segment + header == self.segment;
        let last_and_shorter = out.segment.is_none() && segment + header < self.segment;
        (same_size || last_and_shorter)
            && self.bytes.len().is_multiple_of(self.segment)
            && out.ecn == self.ecn
            && out.from == self.from
            && self.bytes.len() + bytes <= most(self.segment)
    }

    fn append(&mut self, out: &Outgoing<'_>) {
        let segment = out.segment.unwrap_or(out.contents.len());
        append_headed(&mut self.bytes, out, segment);
    }

    /// Whether nothing more can follow: no room, or the last one was shorter.
    fn is_full(&self) -> bool {
        !self.bytes.len().is_multiple_of(self.segment)
            || self.bytes.len() + 10 * self.segment > most(self.segment)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let segment = (self.bytes.len() > self.segment).then_some(self.segment);
        self.io.try_send(&Transmit {
            destination: self.to,
            ecn: self.ecn,
            contents: &self.bytes,
            segment_size: segment,
            src_ip: self.from,
        })?;
        self.bytes.clear();
        Ok(())
    }
}

/// Most bytes of a batch of `segment`-sized datagrams.
const fn most(segment: usize) -> usize {
    let segment = if segment == 0 { 1 } else { segment };
    let fit = MAX_BYTES / segment;
    (if fit < MAX_SEGMENTS { fit } else { MAX_SEGMENTS }) * segment
}
