//! A path between two daemons that the test can watch and abuse.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Datagrams kept from the beginning, the handshake among them, to be replayed.
const KEPT: usize = 32;

/// Every so many datagrams one of the kept ones is replayed.
const REPLAY_EVERY: u64 = 4;

/// Carries datagrams between one daemon that it stands for and one that dials it.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Where it is dialled.
    near: UdpSocket,
    /// From where it speaks to the daemon it stands for.
    far: UdpSocket,
    target: Mutex<Option<SocketAddr>>,
    dialler: Mutex<Option<SocketAddr>>,
    carried: AtomicU64,
    abusive: AtomicBool,
}

impl Proxy {
    /// One that carries nothing until it [has](Self::stand_for) a target.
    pub(super) fn start() -> anyhow::Result<Self> {
        let socket = || UdpSocket::bind("127.0.0.1:0");
        let state = Arc::new(State {
            near: socket()?,
            far: socket()?,
            target: Mutex::new(None),
            dialler: Mutex::new(None),
            carried: AtomicU64::new(0),
            abusive: AtomicBool::new(false),
        });
        let there = Arc::clone(&state);
        thread::spawn(move || {
            there.carry(&there.near, &there.far, &there.target, Some(&there.dialler))
        });
        let back = Arc::clone(&state);
        thread::spawn(move || back.carry(&back.far, &back.near, &back.dialler, None));
        Ok(Self { state })
    }

    /// Where to dial it.
    pub(super) fn addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.state.near.local_addr()?)
    }

    /// From now on it brings everything to `target`.
    pub(super) fn stand_for(&self, target: SocketAddr) {
        *self.state.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// From now on it also sends copies, altered, cut and old ones.
    pub(super) fn abuse(&self) {
        self.state.abusive.store(true, Ordering::Relaxed);
    }

    /// How many datagrams came to it.
    pub(super) fn carried(&self) -> u64 {
        self.state.carried.load(Ordering::Relaxed)
    }
}

impl State {
    fn carry(
        &self,
        from: &UdpSocket,
        by: &UdpSocket,
        to: &Mutex<Option<SocketAddr>>,
        remember: Option<&Mutex<Option<SocketAddr>>>,
    ) {
        let mut buffer = vec![0; 65_536];
        let mut kept: Vec<Vec<u8>> = Vec::new();
        while let Ok((len, source)) = from.recv_from(&mut buffer) {
            if let Some(dialler) = remember {
                *dialler.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
            }
            let number = self.carried.fetch_add(1, Ordering::Relaxed);
            let target = *to.lock().unwrap_or_else(PoisonError::into_inner);
            let (Some(datagram), Some(target)) = (buffer.get(..len), target) else { continue };
            let send = |bytes: &[u8]| drop(by.send_to(bytes, target));
            if self.abusive.load(Ordering::Relaxed) {
                // The forgeries come first, so that they are not merely late.
                forgeries(datagram).iter().for_each(|forged| send(forged));
                if number.is_multiple_of(REPLAY_EVERY) {
                    kept.iter().for_each(|old| send(old));
                }
            }
            send(datagram);
            if self.abusive.load(Ordering::Relaxed) {
                send(datagram);
            }
            if kept.len() < KEPT {
                kept.push(datagram.to_vec());
            }
        }
    }
}

/// The datagram with another header, another counter, another body, another
/// end, and cut short.
fn forgeries(datagram: &[u8]) -> Vec<Vec<u8>> {
    let altered = |at: usize, len: usize| {
        let mut forged = datagram.to_vec();
        forged.iter_mut().skip(at).take(len).for_each(|byte| *byte ^= 0xff);
        forged
    };
    let half = datagram.len() / 2;
    vec![
        altered(0, 1),
        // A short header is one byte and eight of the connection's id; then
        // comes the counter.
        altered(9, 4),
        altered(half, 1),
        altered(datagram.len().saturating_sub(1), 1),
        datagram.get(..half).unwrap_or_default().to_vec(),
        [datagram, &[0; 7]].concat(),
    ]
}
