//! A node, as a beacon sees it over UDP.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use pilot_identity::{NodeId, NodeKey, PairKey, SignedTicket};
use pilot_proto::beacon::{
    self, Alive, Bind, BindRefusal, CONTEXT, COOKIE_BYTES, FromBeacon, RelayId, Told, relay_header,
    split_relayed,
};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// After which a packet that was waited for does not come any more.
const DEADLINE: Duration = Duration::from_secs(10);

/// What came, of the packets that a node takes.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Challenge([u8; COOKIE_BYTES]),
    Told(Told),
    Unknown,
    Relayed { from: RelayId, inner: Vec<u8> },
}

pub(crate) struct Relayed {
    pub(crate) socket: UdpSocket,
    state: UdpSocketState,
    key: NodeKey,
    pair: PairKey,
    pub(crate) beacon: SocketAddr,
}

pub(crate) fn key(seed: u16) -> NodeKey {
    let mut bytes = Zeroizing::new([7; 32]);
    bytes[..2].copy_from_slice(&seed.to_be_bytes());
    NodeKey::from_seed(&bytes)
}

pub(crate) fn id(seed: u16) -> RelayId {
    RelayId::of(&key(seed).id())
}

impl Relayed {
    /// A node on a port of its own, that has said nothing yet.
    pub(crate) fn new(seed: u16, beacon: SocketAddr, beacon_id: NodeId) -> Self {
        let socket = socket2::Socket::new(Domain::for_address(beacon), Type::DGRAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_recv_buffer_size(4 << 20).unwrap();
        let loopback: IpAddr = match beacon {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        socket.bind(&SocketAddr::new(loopback, 0).into()).unwrap();
        let socket: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        let key = key(seed);
        let pair = PairKey::new(&key, &beacon_id, CONTEXT).unwrap();
        Self { socket: UdpSocket::from_std(socket).unwrap(), state, key, pair, beacon }
    }

    /// The same node at another port, which the beacon does not know of.
    pub(crate) fn roam(&self, beacon_id: NodeId) -> Self {
        let seed = self.key.seed();
        Self::new(u16::from_be_bytes([seed[0], seed[1]]), self.beacon, beacon_id)
    }

    pub(crate) async fn bound(seed: u16, beacon: SocketAddr, beacon_id: NodeId) -> Self {
        let node = Self::new(seed, beacon, beacon_id);
        assert!(matches!(node.bind(None).await, Ok(Told::Bound { .. })));
        node
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) async fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.beacon).await.unwrap();
    }

    pub(crate) async fn cookie(&self) -> [u8; COOKIE_BYTES] {
        self.send(&beacon::hello(&self.key.id())).await;
        match self.next().await {
            Heard::Challenge(cookie) => cookie,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn bind_packet(
        &self,
        cookie: &[u8; COOKIE_BYTES],
        ticket: Option<SignedTicket>,
    ) -> Vec<u8> {
        let bind = Bind { seq: micros(), ticket };
        beacon::bind(&self.key.id(), cookie, &self.pair, [9; 12], &bind)
    }

    pub(crate) async fn bind(&self, ticket: Option<SignedTicket>) -> Result<Told, BindRefusal> {
        let cookie = self.cookie().await;
        self.send(&self.bind_packet(&cookie, ticket)).await;
        match self.next().await {
            Heard::Told(Told::Refused { code, .. }) => Err(code),
            Heard::Told(told) => Ok(told),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn alive_packet(&self) -> Vec<u8> {
        let id = RelayId::of(&self.key.id());
        beacon::alive(id, &self.pair, [9; 12], &Alive { seq: micros() })
    }

    pub(crate) fn relayed(to: RelayId, inner: &[u8]) -> Vec<u8> {
        [relay_header(to).as_slice(), inner].concat()
    }

    /// Sends datagrams of `stride` bytes at once; says whether the kernel took them.
    pub(crate) async fn send_batch(&self, contents: &[u8], stride: usize) {
        loop {
            self.socket.writable().await.unwrap();
            let transmit = Transmit {
                destination: self.beacon,
                ecn: None,
                contents,
                segment_size: (contents.len() > stride).then_some(stride),
                src_ip: None,
            };
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                self.state.try_send((&self.socket).into(), &transmit)
            });
            match sent {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Receives one batch; gives its bytes and their stride.
    pub(crate) async fn receive_batch(&self, buffer: &mut [u8]) -> (usize, usize) {
        loop {
            self.socket.readable().await.unwrap();
            let mut meta = [RecvMeta::default()];
            let received = self.socket.try_io(Interest::READABLE, || {
                self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta)
            });
            match received {
                Ok(_) => return (meta[0].len, meta[0].stride),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next packet, which must come soon.
    pub(crate) async fn next(&self) -> Heard {
        self.next_within(DEADLINE).await.expect("no packet came")
    }

    pub(crate) async fn next_within(&self, time: Duration) -> Option<Heard> {
        let mut buffer = [0; 2048];
        let received = timeout(time, self.socket.recv_from(&mut buffer)).await.ok()?;
        let (len, from) = received.unwrap();
        assert_eq!(from, self.beacon);
        let packet = &buffer[..len];
        if let Some((from, inner)) = split_relayed(packet) {
            return Some(Heard::Relayed { from, inner: inner.to_vec() });
        }
        Some(match FromBeacon::decode(packet).unwrap() {
            FromBeacon::Challenge { cookie, .. } => Heard::Challenge(cookie),
            FromBeacon::Told(sealed) => Heard::Told(sealed.open(&self.pair).unwrap()),
            FromBeacon::Unknown => Heard::Unknown,
        })
    }
}

/// The wall clock, as nodes number their packets.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}
