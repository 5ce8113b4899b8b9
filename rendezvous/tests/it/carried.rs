//! Nodes that reach the beacon over TLS alone, and others that try to.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pilot_identity::{NodeId, NodeKey, PairKey};
use pilot_proto::beacon::{self, Bind, CONTEXT, FromBeacon, RelayId, Told, split_relayed};
use pilot_rendezvous::beacon::Beacon;
use pilot_rendezvous::carriers::{
    ALPN, CarrierSettings, Carriers, ListenAt, Need, QuicDoor, QuicWay, StartCarriersError, Ways,
};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::beacon::settings;
use crate::client::within;
use crate::relayed::{Heard, Relayed, id, key, micros};

const SERVER: u16 = 61_000;

fn limits() -> CarrierSettings {
    CarrierSettings {
        max: NonZeroU32::new(100).unwrap(),
        max_of_one: NonZeroU32::new(100).unwrap(),
        per_second: NonZeroU32::new(100).unwrap(),
        limit_loopback: false,
    }
}

struct Running {
    beacon: Beacon,
    carriers: Carriers,
    id: NodeId,
}

impl Running {
    fn start(limits: &CarrierSettings, registry: Option<Arc<dyn QuicDoor>>) -> Self {
        let key = Arc::new(key(SERVER));
        let beacon = Beacon::start(Arc::clone(&key), &settings()).unwrap();
        let ways = Ways { registry, beacon: Some(beacon.carriers()) };
        let at = ListenAt { addr: ([127, 0, 0, 1], 0).into(), need: Need::Required };
        let id = key.id();
        let carriers = Carriers::start(key, &[at], limits, ways).unwrap();
        Self { beacon, carriers, id }
    }

    fn addr(&self) -> SocketAddr {
        self.carriers.local_addrs()[0]
    }

    async fn carrier(&self) -> Carrier {
        Carrier::open(self.addr(), self.id, ALPN).await.unwrap()
    }

    async fn clients(&self, wanted: u64) {
        within(async {
            while self.beacon.counters().clients != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A carrier, as a node has it.
struct Carrier(TlsStream<TcpStream>);

impl Carrier {
    async fn open(addr: SocketAddr, server: NodeId, alpn: &[u8]) -> io::Result<Self> {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier(server)))
                .with_client_cert_resolver(Arc::new(NoKey));
        config.enable_sni = false;
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(addr).await?;
        let name = ServerName::try_from("node.invalid").unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.map(Self)
    }

    async fn send(&mut self, datagram: &[u8]) {
        let len = u16::try_from(datagram.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&len, datagram].concat()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn next(&mut self) -> Vec<u8> {
        within(async {
            let len = self.0.read_u16().await.unwrap();
            let mut datagram = vec![0; len.into()];
            self.0.read_exact(&mut datagram).await.unwrap();
            datagram
        })
        .await
    }

    /// Whether the server has ended it.
    async fn has_ended(&mut self) -> bool {
        let read = within(self.0.read_u8()).await;
        read.is_err()
    }

    /// Binds node `seed` at the beacon behind it.
    async fn bind(&mut self, seed: u16, server: NodeId) -> Told {
        let key = key(seed);
        let pair = PairKey::new(&key, &server, CONTEXT).unwrap();
        self.send(&beacon::hello(&key.id())).await;
        let answer = self.next().await;
        let Ok(FromBeacon::Challenge { cookie, .. }) = FromBeacon::decode(&answer) else {
            panic!("{answer:?}")
        };
        let bind = Bind { seq: micros(), ticket: None };
        self.send(&beacon::bind(&key.id(), &cookie, &pair, [1; 12], &bind)).await;
        let answer = self.next().await;
        let Ok(FromBeacon::Told(sealed)) = FromBeacon::decode(&answer) else {
            panic!("{answer:?}")
        };
        sealed.open(&pair).unwrap()
    }
}

/// Takes one key, shown raw and proved.
#[derive(Debug)]
struct Verifier(NodeId);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // RFC 8410 §4: twelve bytes of header, and the key.
        assert_eq!((shown.len(), &shown[12..]), (44, self.0.as_bytes().as_slice()));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        panic!("TLS 1.2")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Ok(bytes) = signature.signature().try_into() else { panic!("no Ed25519 signature") };
        assert!(self.0.verifies(message, bytes));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// As nodes do: raw keys if any, and none to show.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn relayed(packet: &[u8]) -> (RelayId, Vec<u8>) {
    let (from, inner) = split_relayed(packet).unwrap();
    (from, inner.to_vec())
}

#[tokio::test]
async fn nodes_meet_over_tls_and_over_udp() {
    let running = Running::start(&limits(), None);
    let (mut one, mut two) = (running.carrier().await, running.carrier().await);
    let local = one.0.get_ref().0.local_addr().unwrap();
    let told = one.bind(1, running.id).await;
    let Told::Bound { observed, .. } = told else { panic!("{told:?}") };
    assert_eq!(observed, local);
    two.bind(2, running.id).await;
    let three = Relayed::bound(3, running.beacon.local_addr(), running.id).await;

    one.send(&Relayed::relayed(id(2), b"tls to tls")).await;
    assert_eq!(relayed(&two.next().await), (id(1), b"tls to tls".to_vec()));
    one.send(&Relayed::relayed(id(3), b"tls to udp")).await;
    let heard = Heard::Relayed { from: id(1), inner: b"tls to udp".to_vec() };
    assert_eq!(three.next().await, heard);
    // A whole batch of the kernel, as datagrams in a stream.
    let batch: Vec<u8> =
        (0..20_u8).flat_map(|number| Relayed::relayed(id(1), &[number; 1400])).collect();
    three.send_batch(&batch, 1416).await;
    for number in 0..20 {
        assert_eq!(relayed(&one.next().await), (id(3), vec![number; 1400]));
    }
    running.carriers.stop().await;
    assert!(one.has_ended().await);
}

#[tokio::test]
async fn with_its_carrier_a_client_goes() {
    let running = Running::start(&limits(), None);
    let mut one = running.carrier().await;
    one.bind(1, running.id).await;
    running.clients(1).await;

    drop(one);

    running.clients(0).await;
}

#[tokio::test]
async fn a_client_over_a_carrier_is_not_moved_by_who_has_no_key() {
    let running = Running::start(&limits(), None);
    let (mut one, mut thief) = (running.carrier().await, running.carrier().await);
    one.bind(1, running.id).await;
    let two = Relayed::bound(2, running.beacon.local_addr(), running.id).await;

    // A relayed packet of somebody who is bound nowhere.
    thief.send(&Relayed::relayed(id(2), b"x")).await;
    assert_eq!(thief.next().await, beacon::UNKNOWN);
    two.send(&Relayed::relayed(id(1), b"for one")).await;

    assert_eq!(relayed(&one.next().await), (id(2), b"for one".to_vec()));
}

/// Sends back what comes, and notes from where.
#[derive(Default)]
struct Echo(Mutex<Vec<SocketAddr>>);

struct EchoWay(mpsc::Sender<Bytes>);

impl QuicDoor for Echo {
    fn open(&self, from: SocketAddr, out: mpsc::Sender<Bytes>) -> Box<dyn QuicWay> {
        self.0.lock().unwrap().push(from);
        Box::new(EchoWay(out))
    }
}

impl QuicWay for EchoWay {
    fn receive(&self, datagram: Bytes) {
        self.0.try_send(datagram).unwrap();
    }
}

#[tokio::test]
async fn quic_goes_to_the_registry_and_comes_back() {
    let echo = Arc::new(Echo::default());
    let running = Running::start(&limits(), Some(echo.clone()));
    let mut carrier = running.carrier().await;

    for datagram in [[0x40; 30].as_slice(), &[0xc3; 1200], &[0x7f; 2048]] {
        carrier.send(datagram).await;
        assert_eq!(carrier.next().await, datagram);
    }
    // Neither QUIC nor ours: dropped, and the carrier lives on.
    carrier.send(b"\x00garbage").await;
    carrier.send(&[0x41]).await;
    assert_eq!(carrier.next().await, [0x41]);
    let local = carrier.0.get_ref().0.local_addr().unwrap();
    assert_eq!(*echo.0.lock().unwrap(), [local], "one place for each carrier");
}

#[tokio::test]
async fn what_is_no_carrier_is_ended() {
    let running = Running::start(&limits(), None);
    let other = Carrier::open(running.addr(), running.id, b"h2").await;
    assert!(other.is_err(), "another protocol");
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0x16, 3, 1, 0xff, 0xff]] {
        let mut stream = TcpStream::connect(running.addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = within(stream.read_to_end(&mut answer)).await;
        assert!(read.is_err() || answer.len() < 100, "{answer:?}");
    }
    for length in [[0, 0], [0x08, 0x01], [0xff, 0xff]] {
        let mut carrier = running.carrier().await;
        carrier.0.write_all(&length).await.unwrap();
        carrier.0.flush().await.unwrap();
        assert!(carrier.has_ended().await, "{length:?}");
    }
    running.carrier().await.bind(1, running.id).await;
}

#[tokio::test]
async fn a_source_has_so_many_carriers_and_no_more() {
    let max_of_one = NonZeroU32::new(2).unwrap();
    let running = Running::start(&CarrierSettings { max_of_one, ..limits() }, None);
    let (first, mut second) = (running.carrier().await, running.carrier().await);

    let third = Carrier::open(running.addr(), running.id, ALPN).await;
    assert!(third.is_err());
    second.bind(2, running.id).await;
    drop(first);

    // The server notices the end of the first a moment later.
    within(async { while Carrier::open(running.addr(), running.id, ALPN).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_source_may_not_knock_without_end() {
    let limited = CarrierSettings { per_second: NonZeroU32::MIN, limit_loopback: true, ..limits() };
    let running = Running::start(&limited, None);

    let mut opened = 0;
    while Carrier::open(running.addr(), running.id, ALPN).await.is_ok() {
        opened += 1;
    }

    assert!((4..10).contains(&opened), "{opened}");
}

#[tokio::test]
async fn a_required_address_is_required_and_another_is_not() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let start = |need| {
        let key: Arc<NodeKey> = Arc::new(key(SERVER));
        Carriers::start(key, &[ListenAt { addr, need }], &limits(), Ways::default())
    };

    let required = start(Need::Required).unwrap_err();
    assert!(matches!(required, StartCarriersError::Bind { .. }), "{required:?}");
    let wanted = start(Need::Wanted).unwrap();
    assert_eq!(wanted.local_addrs(), []);
    let ended = tokio::time::timeout(Duration::from_millis(50), wanted.ended()).await;
    assert!(ended.is_err(), "nothing to do is no failure");
    wanted.stop().await;
}
