//! What waits to go over a carrier, and the way of its packets to the beacon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::place::CarrierId;

/// Datagrams that may wait for a carrier; further ones are dropped.
const MAX_DATAGRAMS: usize = 1024;

/// Bytes that may wait for a carrier; what is more is dropped. A connection of
/// 20 Mbit/s sends them in a tenth of a second.
const MAX_BYTES: usize = 256 * 1024;

/// What a carrier tells the beacon.
#[derive(Debug)]
pub enum FromCarrier {
    /// A carrier is there.
    Opened {
        /// Its number.
        id: CarrierId,
        /// Its other end.
        remote: SocketAddr,
        /// Where what goes over it is queued.
        outbox: Outbox,
    },
    /// A datagram came over it.
    Packet {
        /// Over which.
        id: CarrierId,
        /// All of it.
        packet: Vec<u8>,
    },
    /// It is there no more.
    Ended {
        /// Which.
        id: CarrierId,
    },
}

/// The end of a bounded queue of datagrams for one carrier, at which they are
/// put in. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct Outbox {
    datagrams: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// The other end.
#[derive(Debug)]
pub struct Outgoing {
    datagrams: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// A queue for one carrier.
#[must_use]
pub fn outbox() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(MAX_DATAGRAMS);
    let waiting = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox { datagrams: sender, waiting: Arc::clone(&waiting) };
    (outbox, Outgoing { datagrams: receiver, waiting })
}

impl Outbox {
    /// Queues a datagram; says whether there was room.
    #[must_use]
    pub fn push(&self, datagram: Bytes) -> bool {
        let len = datagram.len();
        let waiting = self.waiting.fetch_add(len, Ordering::Relaxed);
        let pushed = waiting + len <= MAX_BYTES && self.datagrams.try_send(datagram).is_ok();
        if !pushed {
            self.waiting.fetch_sub(len, Ordering::Relaxed);
        }
        pushed
    }
}

impl Outgoing {
    /// The next datagram; `None` once nobody can queue any.
    ///
    /// Cancel safe: none is lost.
    pub async fn next(&mut self) -> Option<Bytes> {
        let datagram = self.datagrams.recv().await;
        self.taken(datagram)
    }

    /// The next datagram, if there is one already.
    pub fn try_next(&mut self) -> Option<Bytes> {
        let datagram = self.datagrams.try_recv().ok();
        self.taken(datagram)
    }

    fn taken(&self, datagram: Option<Bytes>) -> Option<Bytes> {
        let datagram = datagram?;
        self.waiting.fetch_sub(datagram.len(), Ordering::Relaxed);
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_bytes_and_in_number() {
        let (outbox, mut outgoing) = outbox();
        let large = Bytes::from(vec![0; 1472]);
        let pushed = (0..1_000).filter(|_| outbox.push(large.clone())).count();
        assert_eq!(pushed, MAX_BYTES / 1472);
        assert!(outgoing.try_next().is_some());
        assert!(outbox.push(large));

        while outgoing.try_next().is_some() {}
        let small = Bytes::from_static(b"x");
        let pushed = (0..5_000).filter(|_| outbox.push(small.clone())).count();
        assert_eq!(pushed, MAX_DATAGRAMS);
    }

    #[test]
    fn nothing_is_queued_for_a_carrier_that_is_gone() {
        let (outbox, outgoing) = outbox();
        drop(outgoing);

        assert!((0..1_000).all(|_| !outbox.push(Bytes::from(vec![0; 1000]))));
    }
}
