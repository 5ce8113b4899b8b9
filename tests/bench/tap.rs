//! Counts the datagrams between processes: a relay that they are told to use.
//!
//! The kernel counts datagrams of the whole machine; the relay counts exactly
//! those of the measure, and needs no privilege.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How often the threads look whether they should end.
const LOOK: Duration = Duration::from_millis(200);

/// Larger than any datagram of ours.
const BUFFER: usize = 2048;

/// A relay in front of one socket.
pub(crate) struct Tap {
    addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    target: SocketAddr,
    passed: AtomicU64,
    over: AtomicBool,
}

impl Tap {
    /// In front of `target`, which need not be there yet.
    pub(crate) fn before(target: SocketAddr) -> io::Result<Self> {
        let front = socket()?;
        let addr = front.local_addr()?;
        let state =
            Arc::new(State { target, passed: AtomicU64::new(0), over: AtomicBool::new(false) });
        let shared = Arc::clone(&state);
        thread::spawn(move || shared.inward(&front));
        Ok(Self { addr, state })
    }

    /// What others are told to send to.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Datagrams that passed, both ways.
    pub(crate) fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
    }
}

impl State {
    /// Passes on what comes to the front, from each sender by a socket of its own.
    fn inward(self: Arc<Self>, front: &UdpSocket) {
        let mut backs: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
        self.pass(front, |from, bytes| {
            if let Some(back) = backs.get(&from) {
                return back.send_to(bytes, self.target).map(drop);
            }
            let (back, front) = (socket()?, front.try_clone()?);
            back.send_to(bytes, self.target)?;
            backs.insert(from, back.try_clone()?);
            let state = Arc::clone(&self);
            thread::spawn(move || {
                state.pass(&back, |_, bytes| front.send_to(bytes, from).map(drop));
            });
            Ok(())
        });
    }

    fn pass(&self, from: &UdpSocket, mut on: impl FnMut(SocketAddr, &[u8]) -> io::Result<()>) {
        let mut buffer = [0; BUFFER];
        while !self.over.load(Ordering::Relaxed) {
            let Ok((len, sender)) = from.recv_from(&mut buffer) else { continue };
            let Some(bytes) = buffer.get(..len) else { continue };
            self.passed.fetch_add(1, Ordering::Relaxed);
            // One that is lost is sent again, as on any network.
            drop(on(sender, bytes));
        }
    }
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}
