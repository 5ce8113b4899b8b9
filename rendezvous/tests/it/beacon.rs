//! A beacon in this process, asked over loopback.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, Ticket, Timestamp};
use pilot_proto::beacon::{BindRefusal, MARK, RELAY_MARK, Services, Told, UNKNOWN};
use pilot_rendezvous::beacon::{
    Admission, Beacon, BeaconSettings, ByteRate, Counters, StartBeaconError,
};
use pilot_stun::{AnswerFrom, Mapped, Outcome, Request, Response, TransactionId};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::client::within;
use crate::relayed::{Heard, Relayed, id, key, micros};

/// How long nothing must come for it to count as nothing.
const SILENCE: Duration = Duration::from_millis(200);

const BEACON: u16 = 60_000;

pub(crate) fn settings() -> BeaconSettings {
    BeaconSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        alternate: None,
        services: Services::ALL,
        admission: Admission::Open,
        max_clients: NonZeroU32::new(100).unwrap(),
        client_rate: ByteRate(0),
        pair_rate: ByteRate(0),
        binds_per_second: NonZeroU32::new(100).unwrap(),
        stun_per_second: NonZeroU32::new(100).unwrap(),
        limit_loopback: false,
    }
}

struct Running {
    beacon: Beacon,
    addr: SocketAddr,
    id: NodeId,
}

impl Running {
    fn start(settings: &BeaconSettings) -> Self {
        let key = key(BEACON);
        let id = key.id();
        let beacon = Beacon::start(Arc::new(key), settings).unwrap();
        let addr = beacon.local_addr();
        Self { beacon, addr, id }
    }

    async fn node(&self, seed: u16) -> Relayed {
        Relayed::bound(seed, self.addr, self.id).await
    }

    fn stranger(&self, seed: u16) -> Relayed {
        Relayed::new(seed, self.addr, self.id)
    }

    /// Waits until its counters are as wanted.
    async fn counters(&self, are: impl Fn(&Counters) -> bool) -> Counters {
        let waiting = async {
            loop {
                let counters = self.beacon.counters();
                if are(&counters) {
                    return counters;
                }
                tokio::task::yield_now().await;
            }
        };
        let reached = timeout(Duration::from_secs(10), waiting).await;
        reached.unwrap_or_else(|_| panic!("{:?}", self.beacon.counters()))
    }
}

async fn stun(from: &UdpSocket, server: SocketAddr, request: Request) -> (SocketAddr, Outcome) {
    from.send_to(&request.encode(), server).await.unwrap();
    stun_answer(from, request.transaction).await
}

async fn stun_answer(at: &UdpSocket, transaction: TransactionId) -> (SocketAddr, Outcome) {
    let mut buffer = [0; 2048];
    let (len, from) = within(at.recv_from(&mut buffer)).await.unwrap();
    let response = Response::decode(&buffer[..len]).unwrap();
    assert_eq!(response.transaction, transaction);
    (from, response.outcome)
}

fn question(number: u8) -> Request {
    Request::new(TransactionId([number; 12]))
}

#[tokio::test]
async fn stun_says_where_a_client_is() {
    let running = Running::start(&settings());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();

    let (from, outcome) = stun(&client, running.addr, question(1)).await;

    let mapped = Mapped { origin: Some(running.addr), ..Mapped::new(client.local_addr().unwrap()) };
    assert_eq!((from, outcome), (running.addr, Outcome::Mapped(mapped)));
    running.beacon.stop().await;
}

#[tokio::test]
async fn four_sockets_answer_for_each_other() {
    let running =
        Running::start(&BeaconSettings { alternate: Some(at("127.0.0.2:0")), ..settings() });
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_, outcome) = stun(&client, running.addr, question(1)).await;
    let Outcome::Mapped(Mapped { other: Some(other), .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(other.ip(), at("127.0.0.2:0").ip());
    assert_ne!(other.port(), running.addr.port());
    let all = [
        running.addr,
        SocketAddr::new(running.addr.ip(), other.port()),
        SocketAddr::new(other.ip(), running.addr.port()),
        other,
    ];
    let changes =
        [AnswerFrom::Same, AnswerFrom::OtherPort, AnswerFrom::OtherAddress, AnswerFrom::Other];
    for (asked, server) in all.into_iter().enumerate() {
        for (bits, answer_from) in changes.into_iter().enumerate() {
            let request = Request { answer_from, ..question(2) };
            let (from, outcome) = stun(&client, server, request).await;
            let Outcome::Mapped(mapped) = outcome else { panic!("{outcome:?}") };
            let expected = Mapped {
                plain: Some(client.local_addr().unwrap()),
                origin: Some(all[asked ^ bits]),
                other: Some(all[asked ^ 3]),
                ..Mapped::new(client.local_addr().unwrap())
            };
            assert_eq!((from, mapped), (all[asked ^ bits], expected));
        }
    }
    let node = running.stranger(1);
    let Ok(Told::Bound { stun, .. }) = node.bind(None).await else { panic!() };
    assert_eq!(stun, [SocketAddr::new([0, 0, 0, 0].into(), other.port()), all[2], all[3]]);
}

#[tokio::test]
async fn an_answer_goes_to_another_port_if_asked() {
    let running = Running::start(&settings());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();

    let request = Request { response_port: Some(port), ..question(3) };
    client.send_to(&request.encode(), running.addr).await.unwrap();

    let (_, outcome) = stun_answer(&other, request.transaction).await;
    let Outcome::Mapped(mapped) = outcome else { panic!("{outcome:?}") };
    assert_eq!(mapped.address, client.local_addr().unwrap());
}

#[tokio::test]
async fn a_beacon_says_what_it_cannot_be_and_why() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let busy = BeaconSettings { listen: taken.local_addr().unwrap(), ..settings() };
    let busy = Beacon::start(Arc::new(key(BEACON)), &busy).err();
    assert!(matches!(busy, Some(StartBeaconError::Bind { .. })), "{busy:?}");
    for (listen, alternate) in
        [("0.0.0.0:0", "127.0.0.2:0"), ("127.0.0.1:0", "[::1]:0"), ("127.0.0.1:0", "0.0.0.0:0")]
    {
        let settings =
            BeaconSettings { listen: at(listen), alternate: Some(at(alternate)), ..settings() };
        let unusable = Beacon::start(Arc::new(key(BEACON)), &settings).err();
        let unusable = unusable.as_ref();
        assert!(matches!(unusable, Some(StartBeaconError::Alternate { .. })), "{unusable:?}");
    }
}

#[tokio::test]
async fn what_one_node_sends_another_gets_in_whole_batches() {
    let running = Running::start(&settings());
    let (one, two) = (running.node(1).await, running.node(2).await);

    one.send(&Relayed::relayed(id(2), b"there")).await;
    assert_eq!(two.next().await, Heard::Relayed { from: id(1), inner: b"there".to_vec() });
    two.send(&Relayed::relayed(id(1), b"and back")).await;
    assert_eq!(one.next().await, Heard::Relayed { from: id(2), inner: b"and back".to_vec() });

    // 44 whole datagrams and a shorter one, told apart by their contents.
    let datagrams: Vec<Vec<u8>> =
        (0..45_u8).map(|number| vec![number; if number == 44 { 100 } else { 1436 }]).collect();
    let sent: Vec<u8> = datagrams.iter().flat_map(|inner| Relayed::relayed(id(2), inner)).collect();
    one.send_batch(&sent, 1452).await;

    let mut buffer = vec![0; 65_536];
    let (len, stride) = within(two.receive_batch(&mut buffer)).await;
    let expected: Vec<u8> =
        datagrams.iter().flat_map(|inner| Relayed::relayed(id(1), inner)).collect();
    assert_eq!((len, stride), (expected.len(), 1452), "one batch in, one batch out");
    assert!(buffer[..len] == expected);
    running.beacon.stop().await;
}

#[tokio::test]
async fn a_batch_for_several_nodes_reaches_each_of_them() {
    let running = Running::start(&settings());
    let (one, two, three) = (running.node(1).await, running.node(2).await, running.node(3).await);
    let mixed: Vec<u8> = (0..12_u8)
        .flat_map(|number| Relayed::relayed(id(2 + u16::from(number / 3 % 2)), &[number; 1000]))
        .collect();

    one.send_batch(&mixed, 1016).await;

    for (node, expected) in [(&two, [0, 1, 2, 6, 7, 8]), (&three, [3, 4, 5, 9, 10, 11])] {
        let (mut buffer, mut arrived) = (vec![0; 65_536], Vec::new());
        while arrived.len() < 6 * 1016 {
            let (len, stride) = within(node.receive_batch(&mut buffer)).await;
            assert_eq!(stride, 1016);
            arrived.extend_from_slice(&buffer[..len]);
        }
        let wanted: Vec<u8> =
            expected.iter().flat_map(|number| Relayed::relayed(id(1), &[*number; 1000])).collect();
        assert!(arrived == wanted);
    }
}

#[tokio::test]
async fn one_socket_serves_both_families() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        return crate::coturn::skip("this machine has no IPv6");
    }
    let running = Running::start(&BeaconSettings { listen: at("[::]:0"), ..settings() });
    let port = running.addr.port();
    let v4 = Relayed::new(1, SocketAddr::new([127, 0, 0, 1].into(), port), running.id);
    let v6 = Relayed::new(2, SocketAddr::new(at("[::1]:0").ip(), port), running.id);
    for node in [&v4, &v6] {
        let bound = node.bind(None).await;
        let Ok(Told::Bound { observed, .. }) = bound else { panic!("{bound:?}") };
        assert_eq!(observed, node.local(), "IPv4 is not disguised");
        let (from, outcome) = stun(&node.socket, node.beacon, question(1)).await;
        let Outcome::Mapped(mapped) = outcome else { panic!("{outcome:?}") };
        let expected = (node.beacon, node.local(), Some(node.beacon));
        assert_eq!((from, mapped.address, mapped.origin), expected);
    }

    v4.send(&Relayed::relayed(id(2), b"up")).await;
    assert_eq!(v6.next().await, Heard::Relayed { from: id(1), inner: b"up".to_vec() });
    v6.send(&Relayed::relayed(id(1), b"down")).await;
    assert_eq!(v4.next().await, Heard::Relayed { from: id(2), inner: b"down".to_vec() });
}

#[tokio::test]
async fn strangers_and_liars_get_nowhere() {
    let running = Running::start(&settings());
    let (one, two) = (running.node(1).await, running.node(2).await);
    let stranger = running.stranger(3);

    // Not bound at all.
    let packet = Relayed::relayed(id(2), b"");
    stranger.send(&Relayed::relayed(id(2), b"x")).await;
    assert_eq!(stranger.next().await, Heard::Unknown);
    assert!(UNKNOWN.len() < packet.len());
    // Bound, but not from this port.
    let roamed = one.roam(running.id);
    roamed.send(&Relayed::relayed(id(2), b"x")).await;
    assert_eq!(roamed.next().await, Heard::Unknown);
    running.counters(|counters| counters.from_strangers == 2).await;
    // Nobody there.
    one.send(&Relayed::relayed(id(9), b"x")).await;
    assert_eq!(one.next().await, Heard::Told(Told::Absent { id: id(9) }));

    assert_eq!(two.next_within(SILENCE).await, None, "none of it arrived");
    one.send(&Relayed::relayed(id(2), b"real")).await;
    assert_eq!(two.next().await, Heard::Relayed { from: id(1), inner: b"real".to_vec() });
}

#[tokio::test]
async fn a_forged_bind_moves_nobody() {
    let running = Running::start(&settings());
    let (one, two) = (running.node(1).await, running.node(2).await);
    let thief = running.stranger(3);
    let of_the_thief = thief.cookie().await;
    let elsewhere = one.roam(running.id);
    let real = elsewhere.cookie().await;

    // Under node 1's key, with a cookie of the thief's own.
    thief.send(&one.bind_packet(&of_the_thief, None)).await;
    // Node 1's own bind for its new place, sent by the thief from its own.
    thief.send(&one.bind_packet(&real, None)).await;
    // A cookie made up.
    thief.send(&one.bind_packet(&[0; 16], None)).await;

    running.counters(|counters| counters.forged == 3).await;
    assert_eq!(thief.next_within(SILENCE).await, None);
    two.send(&Relayed::relayed(id(1), b"still here")).await;
    assert_eq!(one.next().await, Heard::Relayed { from: id(2), inner: b"still here".to_vec() });
}

#[tokio::test]
async fn recorded_packets_move_nobody() {
    let running = Running::start(&settings());
    let two = running.node(2).await;
    let first = running.stranger(1);
    let cookie = first.cookie().await;
    let bind = first.bind_packet(&cookie, None);
    first.send(&bind).await;
    assert!(matches!(first.next().await, Heard::Told(Told::Bound { .. })));
    let alive = first.alive_packet();
    // The node goes elsewhere.
    let moved = first.roam(running.id);
    assert!(moved.bind(None).await.is_ok());

    // From where it was, byte for byte.
    first.send(&bind).await;
    let heard = first.next().await;
    let Heard::Told(Told::Refused { code: BindRefusal::Stale, .. }) = heard else {
        panic!("{heard:?}")
    };
    first.send(&alive).await;
    running.counters(|counters| counters.forged == 1).await;
    assert_eq!(first.next_within(SILENCE).await, None);

    two.send(&Relayed::relayed(id(1), b"x")).await;
    assert_eq!(moved.next().await, Heard::Relayed { from: id(2), inner: b"x".to_vec() });
}

#[tokio::test]
async fn a_node_that_roams_is_challenged_and_bound_anew() {
    let running = Running::start(&settings());
    let (one, two) = (running.node(1).await, running.node(2).await);
    one.send(&one.alive_packet()).await;
    let Heard::Told(Told::Alive { observed, .. }) = one.next().await else { panic!() };
    assert_eq!(observed, one.local());

    let moved = one.roam(running.id);
    moved.send(&moved.alive_packet()).await;
    let Heard::Challenge(cookie) = moved.next().await else { panic!() };
    moved.send(&moved.bind_packet(&cookie, None)).await;
    let Heard::Told(Told::Bound { observed, .. }) = moved.next().await else { panic!() };
    assert_eq!(observed, moved.local());

    two.send(&Relayed::relayed(id(1), b"x")).await;
    assert_eq!(moved.next().await, Heard::Relayed { from: id(2), inner: b"x".to_vec() });
}

#[tokio::test]
async fn tickets_let_nodes_in_and_nothing_else_does() {
    let rendezvous = key(50_000);
    let admission = Admission::Tickets(vec![rendezvous.id()]);
    let running = Running::start(&BeaconSettings { admission, ..settings() });
    let at = |millis| Timestamp::from_millis(millis);
    let ticket = |seed, expires| Some(Ticket { node: key(seed).id(), expires }.sign(&rendezvous));
    let one = running.stranger(1);

    assert_eq!(one.bind(None).await, Err(BindRefusal::NoTicket));
    assert_eq!(one.bind(ticket(2, at(u64::MAX))).await, Err(BindRefusal::BadTicket));
    assert_eq!(one.bind(ticket(1, at(micros() / 1000))).await, Err(BindRefusal::Expired));
    let soon = at(micros() / 1000 + 60_000);
    assert!(matches!(one.bind(ticket(1, soon)).await, Ok(Told::Bound { .. })));
}

#[tokio::test]
async fn a_greedy_client_is_held_to_its_rate_and_leaves_the_others_their_share() {
    let rate = 100_000_000;
    let limited =
        BeaconSettings { client_rate: ByteRate(rate), limit_loopback: true, ..settings() };
    let running = Running::start(&limited);
    let (one, two) = (running.node(1).await, running.node(2).await);
    let stop = Arc::new(AtomicBool::new(false));
    let (addr, beacon_id, until) = (running.addr, running.id, Arc::clone(&stop));
    // Sends six times its rate to a third node, from a thread of its own.
    let flood = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _sink = Relayed::bound(4, addr, beacon_id).await;
            let greedy = Relayed::bound(3, addr, beacon_id).await;
            let batch = Relayed::relayed(id(4), &[0x40; 1436]).repeat(45);
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            while !until.load(Ordering::Relaxed) {
                tick.tick().await;
                for _ in 0..9 {
                    greedy.send_batch(&batch, 1452).await;
                }
            }
        });
    });
    running.counters(|counters| counters.over_rate > 1_000).await;

    // As large as the flood's own, and altogether within the rate.
    let batch = Relayed::relayed(id(2), &[0x40; 1436]).repeat(45);
    let (mut buffer, mut arrived) = (vec![0; 65_536], 0);
    let (start, before) = (Instant::now(), running.beacon.counters());
    for _ in 0..300 {
        one.send_batch(&batch, 1452).await;
        let there = timeout(Duration::from_millis(200), two.receive_batch(&mut buffer)).await;
        arrived += u32::from(there.is_ok());
    }
    let (took, after) = (start.elapsed(), running.beacon.counters());
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();

    assert!(arrived >= 270, "{arrived} of 300 batches arrived");
    let own = u64::from(arrived) * 45 * 1452;
    let greedy = (after.forwarded_bytes - before.forwarded_bytes).saturating_sub(own);
    let share = u64::try_from(took.as_micros()).unwrap() * rate / 1_000_000 + rate / 2;
    assert!(greedy <= share, "{greedy} bytes in {took:?} are more than its rate");
}

#[tokio::test]
async fn a_flood_of_garbage_does_not_stop_it() {
    let running = Running::start(&settings());
    let (one, two) = (running.node(1).await, running.node(2).await);
    let garbage: [Vec<u8>; 5] = [
        vec![0x80; 100],
        [MARK.as_slice(), &[4; 200]].concat(),
        [RELAY_MARK.as_slice(), &[7; 60]].concat(),
        [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[9; 40]].concat(),
        vec![0x40; 1200],
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let (addr, until) = (running.addr, Arc::clone(&stop));
    let flood = std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (start, mut sent) = (Instant::now(), 0_u32);
        // 50,000 a second.
        while !until.load(Ordering::Relaxed) {
            if Duration::from_micros(20) * sent > start.elapsed() {
                std::thread::yield_now();
                continue;
            }
            let packet = &garbage[usize::try_from(sent).unwrap() % garbage.len()];
            socket.send_to(packet, addr).unwrap();
            sent += 1;
        }
        sent
    });
    running.counters(|counters| counters.garbage > 1_000).await;

    let mut back = 0;
    let start = Instant::now();
    for number in 0..2_000_u32 {
        one.send(&Relayed::relayed(id(2), &number.to_be_bytes())).await;
        let there = two.next_within(Duration::from_millis(200)).await;
        back += u32::from(matches!(there, Some(Heard::Relayed { .. })));
    }
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);

    let sent = flood.join().unwrap();
    assert!(back >= 1_600, "{back} of 2000 arrived in {took:?} beside {sent} packets of garbage");
    assert_eq!(running.beacon.counters().clients, 2);
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
