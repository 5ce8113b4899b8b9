//! The machines of the beacon, with a clock of their own.

mod binding;
mod relaying;
mod stun;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, NodeKey, PairKey, Ticket, Timestamp};
use pilot_proto::beacon::{
    self, Alive, Bind, CONTEXT, COOKIE_BYTES, FromBeacon, RelayId, Services, Told,
};
use zeroize::Zeroizing;

use super::*;

/// The beacon's key, and that of the rendezvous whose tickets it takes.
const BEACON: u8 = 200;
const RENDEZVOUS: u8 = 201;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn id(seed: u8) -> RelayId {
    RelayId::of(&key(seed).id())
}

fn pair(seed: u8) -> PairKey {
    PairKey::new(&key(seed), &key(BEACON).id(), CONTEXT).unwrap()
}

/// A port of some machine that is not this one.
fn at(port: u16) -> Place {
    Place::udp(([192, 0, 2, 1], port).into(), None)
}

fn carrier(number: u64) -> Place {
    Place::Carrier { id: CarrierId(number), remote: ([192, 0, 2, 1], 443).into() }
}

fn settings() -> RelaySettings {
    RelaySettings {
        services: Services::ALL,
        admission: Admission::Tickets(vec![key(BEACON).id(), key(RENDEZVOUS).id()]),
        stun: vec!["0.0.0.0:9002".parse().unwrap()],
        max_clients: NonZeroU32::new(100).unwrap(),
        client_rate: ByteRate(0),
        pair_rate: ByteRate(0),
        binds_per_second: NonZeroU32::new(100).unwrap(),
        limit_loopback: true,
    }
}

/// What a node reads out of an answer.
#[derive(Debug, PartialEq)]
enum Heard {
    Challenge([u8; COOKIE_BYTES]),
    Told(Told),
    Unknown,
    /// Sealed for somebody else.
    Nothing,
}

struct World {
    relay: Relay,
    now: Instant,
    wall: Timestamp,
    seq: u64,
}

impl World {
    fn new(settings: RelaySettings) -> Self {
        let now = Instant::now();
        let relay = Relay::new(Arc::new(key(BEACON)), settings, [3; 32], now);
        Self { relay, now, wall: Timestamp::from_millis(1_000_000), seq: 0 }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, wall: self.wall }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall = self.wall.saturating_add(time);
        self.relay.handle_timeout(self.now);
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Sends one control packet; gives where the answer went, and it.
    fn send(&mut self, from: Place, packet: &[u8]) -> Option<(Place, Vec<u8>)> {
        let mut sorted = Sorted::default();
        let at = self.moment();
        self.relay.handle_batch(from, &mut packet.to_vec(), packet.len(), at, &mut sorted);
        assert_eq!(sorted.runs, []);
        let Answer { to, packet } = self.relay.poll_answer()?;
        assert_eq!(self.relay.poll_answer(), None, "an input has one answer at most");
        Some((to, packet))
    }

    /// What node `seed` hears at `from` after sending from there.
    fn ask(&mut self, seed: u8, from: Place, packet: &[u8]) -> Option<Heard> {
        let (to, answer) = self.send(from, packet)?;
        assert_eq!(to, from);
        Some(heard(seed, &answer))
    }

    fn cookie(&mut self, seed: u8, from: Place) -> [u8; COOKIE_BYTES] {
        let heard = self.ask(seed, from, &beacon::hello(&key(seed).id()));
        let Some(Heard::Challenge(cookie)) = heard else { panic!("{heard:?}") };
        cookie
    }

    fn ticket(&self, issuer: u8, node: u8) -> pilot_identity::SignedTicket {
        let expires = self.wall.saturating_add(Duration::from_hours(1));
        Ticket { node: key(node).id(), expires }.sign(&key(issuer))
    }

    fn bind_packet(&mut self, seed: u8, from: Place) -> Vec<u8> {
        let (cookie, seq) = (self.cookie(seed, from), self.next_seq());
        let bind = Bind { seq, ticket: Some(self.ticket(RENDEZVOUS, seed)) };
        bind_packet(seed, &cookie, &bind)
    }

    fn bind(&mut self, seed: u8, from: Place) {
        let packet = self.bind_packet(seed, from);
        let heard = self.ask(seed, from, &packet);
        let Some(Heard::Told(Told::Bound { seq, observed, .. })) = heard else {
            panic!("{heard:?}")
        };
        assert_eq!((seq, observed), (self.seq, from.observed()));
    }

    fn alive_packet(&mut self, seed: u8) -> Vec<u8> {
        let seq = self.next_seq();
        beacon::alive(id(seed), &pair(seed), [1; 12], &Alive { seq })
    }

    /// Sends a batch of relayed datagrams; gives what went on, where, and whose turn it was.
    fn relay(
        &mut self,
        from: Place,
        batch: &[u8],
        stride: usize,
    ) -> Vec<(RelayId, Place, Vec<u8>)> {
        let (mut batch, mut sorted) = (batch.to_vec(), Sorted::default());
        let at = self.moment();
        self.relay.handle_batch(from, &mut batch, stride, at, &mut sorted);
        let runs = sorted.runs.into_iter();
        runs.map(|run| (run.sender, run.to, batch[run.range].to_vec())).collect()
    }

    fn answers(&mut self) -> Vec<Answer> {
        std::iter::from_fn(|| self.relay.poll_answer()).collect()
    }
}

fn bind_packet(seed: u8, cookie: &[u8; COOKIE_BYTES], bind: &Bind) -> Vec<u8> {
    beacon::bind(&key(seed).id(), cookie, &pair(seed), [1; 12], bind)
}

fn heard(seed: u8, answer: &[u8]) -> Heard {
    match FromBeacon::decode(answer).unwrap() {
        FromBeacon::Challenge { beacon, cookie } => {
            assert_eq!(NodeId::from_bytes(beacon), Ok(key(BEACON).id()));
            Heard::Challenge(cookie)
        }
        FromBeacon::Told(sealed) => sealed.open(&pair(seed)).map_or(Heard::Nothing, Heard::Told),
        FromBeacon::Unknown => Heard::Unknown,
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
