//! A network between processes of one machine: it takes time, loses what it is
//! told to, and can be cut.
//!
//! Stands in front of one socket like a NAT: whoever sends to its address
//! reaches the socket from an address of its own, to which only that socket
//! can answer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

/// How often the threads look whether they should end.
const LOOK: Duration = Duration::from_millis(200);

/// Largest datagram of an ordinary path: Ethernet's 1,500 bytes without the
/// headers of IPv4 and UDP.
const ORDINARY: usize = 1472;

/// Larger than any datagram.
const BUFFER: usize = 65_536;

/// Datagrams on their way; the newest is lost beyond, as in any router.
const MAX_ON_THE_WAY: usize = 4096;

/// Bytes of each buffer of a socket: the link itself loses nothing.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// A link in front of one socket.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    /// Each way.
    takes: Duration,
    /// Of so many datagrams, each way; 0 to 1.
    loses: f64,
    /// Longer datagrams are lost.
    largest: usize,
    is_cut: AtomicBool,
    over: AtomicBool,
}

impl Link {
    /// In front of `target`, which is so much time away; of jumbo frames, as
    /// loopback itself.
    ///
    /// # Errors
    ///
    /// If there is no socket to be had.
    pub fn before(target: SocketAddr, takes: Duration) -> io::Result<Self> {
        Self::of(target, takes, 0.0, BUFFER)
    }

    /// One that loses this part of all datagrams each way, one by one, and all
    /// that are larger than Ethernet takes.
    ///
    /// # Errors
    ///
    /// If there is no socket to be had.
    pub fn losing(target: SocketAddr, takes: Duration, loses: f64) -> io::Result<Self> {
        Self::of(target, takes, loses, ORDINARY)
    }

    fn of(target: SocketAddr, takes: Duration, loses: f64, largest: usize) -> io::Result<Self> {
        let front = socket()?;
        let addr = front.local_addr()?;
        let state = Arc::new(State {
            target,
            takes,
            loses,
            largest,
            is_cut: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || shared.inward(&front));
        Ok(Self { addr, state })
    }

    /// Where the socket behind it is found.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Loses everything from now on, or nothing any more.
    pub fn cut(&self, is_cut: bool) {
        self.state.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
    }
}

impl State {
    /// Brings what comes to the front to the target, from each sender by a
    /// socket of its own.
    fn inward(self: &Arc<Self>, front: &UdpSocket) {
        let mut backs: BTreeMap<SocketAddr, Way> = BTreeMap::new();
        self.take(front, |from, bytes| {
            let way = match backs.entry(from) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.way_of(from, front)?),
            };
            way.bring(bytes);
            Ok(())
        });
    }

    /// The way of what `from` sends; its answers come out of the front.
    fn way_of(self: &Arc<Self>, from: SocketAddr, front: &UdpSocket) -> io::Result<Way> {
        let back = socket()?;
        back.connect(self.target)?;
        let outward = Way::by(front.try_clone()?, Some(from), self.takes);
        let inward = Way::by(back.try_clone()?, None, self.takes);
        let state = Arc::clone(self);
        thread::spawn(move || {
            state.take(&back, |_, bytes| {
                outward.bring(bytes);
                Ok(())
            });
        });
        Ok(inward)
    }

    fn take(&self, from: &UdpSocket, mut on: impl FnMut(SocketAddr, &[u8]) -> io::Result<()>) {
        let mut buffer = vec![0; BUFFER];
        while !self.over.load(Ordering::Relaxed) {
            let Ok((len, sender)) = from.recv_from(&mut buffer) else { continue };
            let Some(bytes) = buffer.get(..len) else { continue };
            let is_lost = len > self.largest || self.loses > 0.0 && fastrand::f64() < self.loses;
            if !is_lost && !self.is_cut.load(Ordering::Relaxed) {
                // One that is lost is sent again, as on any network.
                drop(on(sender, bytes));
            }
        }
    }
}

/// A datagram, and when it arrives.
type Due = (Instant, Vec<u8>);

/// Of datagrams to one address.
struct Way {
    by: UdpSocket,
    /// None if the socket has one address only.
    to: Option<SocketAddr>,
    later: Option<(Duration, SyncSender<Due>)>,
}

impl Way {
    fn by(by: UdpSocket, to: Option<SocketAddr>, takes: Duration) -> Self {
        if takes.is_zero() {
            return Self { by, to, later: None };
        }
        let (later, waiting) = sync_channel::<Due>(MAX_ON_THE_WAY);
        if let Ok(by) = by.try_clone() {
            thread::spawn(move || {
                for (due, bytes) in waiting {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    send(&by, to, &bytes);
                }
            });
        }
        Self { by, to, later: Some((takes, later)) }
    }

    fn bring(&self, bytes: &[u8]) {
        let Some((takes, later)) = &self.later else { return send(&self.by, self.to, bytes) };
        match later.try_send((Instant::now() + *takes, bytes.to_vec())) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn send(by: &UdpSocket, to: Option<SocketAddr>, bytes: &[u8]) {
    let sent = match to {
        Some(to) => by.send_to(bytes, to),
        None => by.send(bytes),
    };
    // One that is lost is sent again, as on any network.
    drop(sent);
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.set_read_timeout(Some(LOOK))?;
    set_socket_recv_buffer_size(&socket, SOCKET_BUFFER)?;
    set_socket_send_buffer_size(&socket, SOCKET_BUFFER)?;
    Ok(socket)
}
