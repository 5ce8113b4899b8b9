//! Decides what becomes of each packet of a node, as a pure machine.
//!
//! A node that knows a cookie for its place and holds its key is *bound*: what
//! others send to its id goes to its place, and what comes from its place is
//! from it. Packets from elsewhere under its name change nothing. Control
//! packets are handled here, relayed ones in [`forward`](super::forward).
//!
//! Keeps state for bound clients alone, and buckets for sources that are busy.
//! It never reads or changes what is inside a relayed packet.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, NodeKey, PairKey, Timestamp};
use pilot_proto::beacon::{self, Alive, FromNode, RelayId, Sealed, Services, Told, UNKNOWN};
use pilot_transport::Limiter;

use super::clients::Clients;
use super::cookie::Cookies;
use super::counters::{Counters, count};
use super::nonces::Nonces;
use super::place::{CarrierId, Place};
use super::rate::ByteRate;

/// Pause between two searches for clients to forget.
const SWEEP: Duration = Duration::from_secs(5);

/// Sources that may be busy at once; see [`Limiter`].
const MAX_SOURCES: usize = 65_536;

/// How often one source is told that it is not bound. A node needs it once.
const UNKNOWN_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Anybody.
    Open,
    /// Who shows a ticket of one of these rendezvous.
    Tickets(Vec<NodeId>),
}

/// What a relay is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// What it does.
    pub services: Services,
    /// Who is let in.
    pub admission: Admission,
    /// What its clients are told of further STUN addresses.
    pub stun: Vec<SocketAddr>,
    /// Clients at once; further ones are refused.
    pub max_clients: NonZeroU32,
    /// Bytes a second that one client may send; more is dropped.
    pub client_rate: ByteRate,
    /// The same for what one client sends to one other.
    pub pair_rate: ByteRate,
    /// Hellos and binds a second of one source, each; more are dropped.
    pub binds_per_second: NonZeroU32,
    /// Whether the rates also hold for nodes on this machine.
    pub limit_loopback: bool,
}

/// The circumstances under which an input is handled.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For all deadlines and rates.
    pub now: Instant,
    /// For tickets.
    pub wall: Timestamp,
}

/// A packet of the beacon itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where it goes.
    pub to: Place,
    /// All of it.
    pub packet: Vec<u8>,
}

/// See the module.
pub struct Relay {
    pub(super) key: Arc<NodeKey>,
    id: NodeId,
    pub(super) settings: RelaySettings,
    pub(super) clients: Clients,
    pub(super) counters: Counters,
    pub(super) cookies: Cookies,
    nonces: Nonces,
    hellos: Limiter<IpAddr>,
    pub(super) binds: Limiter<IpAddr>,
    unknown: Limiter<IpAddr>,
    sweep: Instant,
    /// At most one for each input; drained after each batch.
    answers: VecDeque<Answer>,
}

impl Relay {
    /// A relay without clients. `seed` is drawn at random at each start.
    #[must_use]
    pub fn new(key: Arc<NodeKey>, settings: RelaySettings, seed: [u8; 32], now: Instant) -> Self {
        let derive = |purpose| blake3::derive_key(purpose, &seed);
        let per_source = settings.binds_per_second;
        Self {
            id: key.id(),
            key,
            clients: Clients::default(),
            counters: Counters::default(),
            cookies: Cookies::new(derive("pilot/1 beacon cookies"), now),
            nonces: Nonces::new(derive("pilot/1 beacon nonces")),
            hellos: Limiter::new(per_source, MAX_SOURCES),
            binds: Limiter::new(per_source, MAX_SOURCES),
            unknown: Limiter::new(UNKNOWN_PER_SECOND, MAX_SOURCES),
            sweep: now + SWEEP,
            answers: VecDeque::new(),
            settings,
        }
    }

    /// A control packet came from `from`.
    pub fn handle_control(&mut self, from: Place, packet: &[u8], at: Moment) {
        match FromNode::decode(packet) {
            Ok(FromNode::Hello { client }) => self.on_hello(from, &client, at.now),
            Ok(FromNode::Bind { client, cookie, sealed }) => {
                self.on_bind(from, client, &cookie, &sealed, at);
            }
            Ok(FromNode::Alive { id, sealed }) => self.on_alive(from, id, &sealed, at.now),
            Err(error) => {
                tracing::trace!(?from, %error, "not a packet of a node");
                count(&mut self.counters.garbage, 1);
            }
        }
    }

    /// A carrier has ended, and who was bound over it is not any more.
    pub fn handle_ended(&mut self, carrier: CarrierId) {
        self.clients.end(carrier);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.sweep {
            self.sweep = now + SWEEP;
            self.clients.expire(now);
        }
    }

    /// When [`Relay::handle_timeout`] is due.
    #[must_use]
    pub const fn next_deadline(&self) -> Instant {
        self.sweep
    }

    /// What the beacon itself has to say.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let clients = u64::try_from(self.clients.len()).unwrap_or(u64::MAX);
        Counters { clients, ..self.counters }
    }

    pub(super) fn answer(&mut self, to: Place, packet: Vec<u8>) {
        if to.is_reachable() {
            self.answers.push_back(Answer { to, packet });
        }
    }

    /// Seals `told` for a node and sends it to where it is.
    pub(super) fn tell(&mut self, to: Place, key: &PairKey, told: &Told) {
        let packet = beacon::told(key, self.nonces.next(), told);
        self.answer(to, packet);
    }

    /// "You are not bound here."
    pub(super) fn tell_stranger(&mut self, from: Place, now: Instant) {
        if self.unknown.take(from.source(), now).is_ok() {
            self.answer(from, UNKNOWN.to_vec());
        }
    }

    /// Whether the rates hold for who is there.
    pub(super) fn is_exempt(&self, place: &Place) -> bool {
        !self.settings.limit_loopback && place.is_loopback()
    }

    fn on_hello(&mut self, from: Place, client: &[u8; 32], now: Instant) {
        if !self.is_exempt(&from) && self.hellos.take(from.source(), now).is_err() {
            return count(&mut self.counters.limited, 1);
        }
        self.challenge(from, client, now);
    }

    fn challenge(&mut self, to: Place, client: &[u8; 32], now: Instant) {
        let cookie = self.cookies.make(to, client, now);
        let packet = beacon::challenge(&self.id, &cookie).to_vec();
        count(&mut self.counters.challenged, 1);
        self.answer(to, packet);
    }

    fn on_alive(&mut self, from: Place, id: RelayId, sealed: &Sealed<'_>, now: Instant) {
        let Some(client) = self.clients.get_mut(&id) else {
            return self.tell_stranger(from, now);
        };
        let Ok(Alive { seq }) = sealed.open(&client.key) else {
            return count(&mut self.counters.forged, 1);
        };
        // Whoever recorded it and sends it again gets no answer, and moves nothing.
        if seq <= client.seq {
            return count(&mut self.counters.forged, 1);
        }
        client.seq = seq;
        if client.place != from {
            let node = *client.node.as_bytes();
            return self.challenge(from, &node, now);
        }
        client.heard = now;
        let key = Arc::clone(&client.key);
        count(&mut self.counters.alive, 1);
        self.tell(from, &key, &Told::Alive { seq, observed: from.observed() });
    }
}

impl core::fmt::Debug for Relay {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Relay").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
