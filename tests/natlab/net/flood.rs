//! Garbage at a rate, some of it nearly right.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use crate::lab::{Lab, Site};

/// Packets a second.
pub(crate) const RATE: u32 = 50_000;

/// Time between two bursts.
const TICK: Duration = Duration::from_millis(1);

/// Sockets it comes from, one after the other.
const SOCKETS: usize = 16;

/// How packets begin, and their lengths; the rest of each is random.
const SHAPES: [(&[u8], usize); 12] = [
    (b"", 1),
    (b"", 64),
    (b"", 1200),
    // A binding request of STUN, whole and cut short.
    (&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], 20),
    (&[0, 1, 0, 80, 0x21, 0x12, 0xa4, 0x42], 30),
    // A probe, a hello, a bind, an alive, and a type that is none.
    (b"\xa9plt\x01", 100),
    (b"\xa9plt\x02", 128),
    (b"\xa9plt\x04", 150),
    (b"\xa9plt\x06", 60),
    (b"\xa9plt\xff", 60),
    // A packet to be relayed.
    (b"\xa9plr", 500),
    // The first packet of a QUIC handshake.
    (&[0xc3, 0, 0, 0, 1, 8], 1200),
];

/// A flood that goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Flood {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
    start: Instant,
}

impl Flood {
    /// Starts it from `site`.
    pub(crate) fn start(lab: &Lab, site: Site, to: SocketAddr) -> anyhow::Result<Self> {
        let sockets = (0..SOCKETS)
            .map(|_| lab.udp(site, (Ipv4Addr::UNSPECIFIED, 0)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let work = move || flood(&sockets, to, &stop);
        let thread = thread::Builder::new().name("flood".to_owned()).spawn(work)?;
        Ok(Self { over, thread: Some(thread), start: Instant::now() })
    }

    /// Stops it; how many packets a second it has sent.
    pub(crate) fn stop(mut self) -> anyhow::Result<f64> {
        self.over.store(true, Ordering::SeqCst);
        let thread = self.thread.take().context("stopped already")?;
        let sent = thread.join().map_err(|_| anyhow!("the flood panicked"))?;
        let sent = u32::try_from(sent).context("a very long flood")?;
        Ok(f64::from(sent) / self.start.elapsed().as_secs_f64())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Keeps the rate as well as it can; how many packets were sent.
fn flood(sockets: &[UdpSocket], to: SocketAddr, over: &AtomicBool) -> u64 {
    let start = Instant::now();
    let (mut sent, mut state) = (0_u64, 0x2545_f491_4f6c_dd1d_u64);
    let mut packet = [0; 1200];
    while !over.load(Ordering::SeqCst) {
        let due = start.elapsed().as_micros() * u128::from(RATE) / 1_000_000;
        while u128::from(sent) < due {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let (Some(socket), Some((begin, length))) =
                (pick(sockets, state), pick(&SHAPES, state >> 16))
            else {
                return sent;
            };
            // Eight fresh bytes after the beginning make each packet another one.
            let fresh = state.to_be_bytes();
            for (to, from) in packet.iter_mut().zip(begin.iter().chain(&fresh)) {
                *to = *from;
            }
            // A full buffer or an ICMP error loses one of very many.
            drop(socket.send_to(packet.get(..*length).unwrap_or_default(), to));
            sent += 1;
        }
        thread::park_timeout(TICK);
    }
    sent
}

fn pick<T>(list: &[T], number: u64) -> Option<&T> {
    let index = usize::try_from(number).ok()?.checked_rem(list.len())?;
    list.get(index)
}
