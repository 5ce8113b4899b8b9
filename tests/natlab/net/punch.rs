//! Plain UDP hole punching, as simple as it can be: both sides learn their
//! public endpoint from a third host, are told the other's at the same moment,
//! and send to it. It says what a NAT lets through, whatever Pilot does.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use crate::lab::nat::Kind;
use crate::lab::{Lab, RDV, Site};

/// Time between two probes of one side.
const EVERY: Duration = Duration::from_millis(50);

/// How long an answer of the third host may take in a lab.
const NEAR: Duration = Duration::from_millis(300);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Punched {
    /// Both sides had a probe answered, the slower one after this time.
    Direct(Duration),
    /// One of them had none.
    Failed,
    /// One of them does not even reach the third host.
    NoUdp,
}

/// A socket behind a NAT, and where the third host sees it.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) socket: UdpSocket,
    pub(crate) observed: SocketAddr,
}

/// Whether plain punching can work between hosts behind two routers.
pub(crate) const fn can_work(one: Kind, other: Kind) -> bool {
    match (one, other) {
        (Kind::UdpBlocked, _) | (_, Kind::UdpBlocked) => false,
        (Kind::Symmetric, Kind::PortRestricted | Kind::Symmetric)
        | (Kind::PortRestricted, Kind::Symmetric) => false,
        (Kind::Cone | Kind::Restricted, _)
        | (_, Kind::Cone | Kind::Restricted)
        | (Kind::PortRestricted, Kind::PortRestricted) => true,
    }
}

impl Side {
    /// Opens a socket in `site` and shows it to the rendezvous' host; none if
    /// it is not seen there.
    pub(crate) fn open(lab: &Lab, site: Site) -> anyhow::Result<Option<Self>> {
        let third = lab.udp(Site::Rdv, (RDV, 0))?;
        let socket = lab.udp(site, (Ipv4Addr::UNSPECIFIED, 0))?;
        let observed = observe(&socket, &third)?;
        Ok(observed.map(|observed| Self { socket, observed }))
    }
}

/// Where `third` sees `socket`.
pub(crate) fn observe(socket: &UdpSocket, third: &UdpSocket) -> anyhow::Result<Option<SocketAddr>> {
    static HELLO: AtomicU32 = AtomicU32::new(0);
    let hello = HELLO.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // A router that says no by ICMP is one that does not let it through.
    drop(socket.send_to(&hello, third.local_addr()?));
    third.set_read_timeout(Some(NEAR))?;
    let mut buffer = [0; 64];
    loop {
        match third.recv_from(&mut buffer) {
            Ok((length, from)) if buffer.get(..length) == Some(&hello) => return Ok(Some(from)),
            Ok(_) => {}
            // A socket with a timeout is not taken up again after a signal.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(error.kind()) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Punches between two sites; `late` is how much later the second one begins.
pub(crate) fn punch(
    lab: &Lab,
    one: Site,
    other: Site,
    late: Duration,
    patience: Duration,
) -> anyhow::Result<Punched> {
    let (Some(one), Some(other)) = (Side::open(lab, one)?, Side::open(lab, other)?) else {
        return Ok(Punched::NoUdp);
    };
    let start = Instant::now();
    let end = start + late + patience;
    let times = thread::scope(|scope| {
        let first = scope.spawn(|| probe(&one.socket, other.observed, start, end));
        let second = scope.spawn(|| probe(&other.socket, one.observed, start + late, end));
        [first.join(), second.join()]
    });
    let mut slower = Duration::ZERO;
    for time in times {
        match time.map_err(|_| anyhow!("a punching thread panicked"))?? {
            Some(time) => slower = slower.max(time.saturating_duration_since(start)),
            None => return Ok(Punched::Failed),
        }
    }
    Ok(Punched::Direct(slower))
}

const PROBE: &[u8] = b"probe";
const ANSWER: &[u8] = b"answer";
/// For how long a side that has succeeded goes on for the other's sake.
const AFTERWARDS: Duration = Duration::from_millis(150);

/// When a probe of `socket` was answered. Each probe that comes is answered to
/// where it came from, and that address is probed as well.
fn probe(
    socket: &UdpSocket,
    told: SocketAddr,
    start: Instant,
    end: Instant,
) -> anyhow::Result<Option<Instant>> {
    let mut targets = BTreeSet::from([told]);
    let mut next = start;
    let mut end = end;
    let mut answered = None;
    let mut buffer = [0; 64];
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(answered);
        }
        if now >= next {
            next = now + EVERY;
            for target in &targets {
                // Refused by an ICMP error, perhaps; the next one may get through.
                drop(socket.send_to(PROBE, target));
            }
        }
        let wait = next.min(end).saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(wait.max(Duration::from_micros(100))))?;
        match socket.recv_from(&mut buffer) {
            // Whoever has not begun takes no notice.
            Ok(_) if Instant::now() < start => {}
            Ok((length, from)) => match buffer.get(..length).context("a longer datagram")? {
                PROBE => {
                    drop(socket.send_to(ANSWER, from));
                    targets.insert(from);
                }
                ANSWER if answered.is_none() => {
                    let now = Instant::now();
                    answered = Some(now);
                    end = end.min(now + AFTERWARDS);
                }
                _ => {}
            },
            Err(error)
                if is_timeout(error.kind())
                    || matches!(
                        error.kind(),
                        ErrorKind::ConnectionRefused | ErrorKind::Interrupted
                    ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
