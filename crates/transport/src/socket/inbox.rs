//! Datagrams for QUIC that did not come straight from a socket: over carriers,
//! or mixed into another sender's batch.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn::udp::RecvMeta;

/// Datagrams that may wait; the newest is lost beyond. A carrier's buffers of
/// the kernel hold about as much.
const MAX_WAITING: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<VecDeque<(SocketAddr, Bytes)>>);

impl Inbox {
    /// True if there was room.
    pub(crate) fn push(&self, source: SocketAddr, datagram: Bytes) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.len() < MAX_WAITING;
        if has_room {
            waiting.push_back((source, datagram));
        }
        has_room
    }

    /// Fills buffers with one datagram each; how many.
    pub(crate) fn pop_into(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut waiting = self.lock();
        let mut taken = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta) {
            let Some((source, datagram)) = waiting.pop_front() else { break };
            let len = datagram.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..len), datagram.get(..len)) {
                to.copy_from_slice(from);
            }
            *meta = RecvMeta { addr: source, len, stride: len, ..RecvMeta::default() };
            taken += 1;
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(SocketAddr, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_in_order_and_the_newest_is_lost_beyond_the_bound() {
        let inbox = Inbox::default();
        let source = |n: usize| SocketAddr::from(([192, 0, 2, 1], u16::try_from(n).unwrap()));

        let kept = (1..=2000).filter(|n| inbox.push(source(*n), vec![1; *n].into())).count();

        assert_eq!(kept, MAX_WAITING);
        let mut buffers = [[0; 1500]; 2];
        let mut metas = [RecvMeta::default(); 2];
        let mut seen = Vec::new();
        loop {
            let mut bufs = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            let taken = inbox.pop_into(&mut bufs, &mut metas);
            if taken == 0 {
                break;
            }
            seen.extend(metas[..taken].iter().map(|meta| (meta.addr, meta.len)));
        }
        let expected: Vec<_> = (1..=MAX_WAITING).map(|n| (source(n), n)).collect();
        assert_eq!(seen, expected);
    }
}
