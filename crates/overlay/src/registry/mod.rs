//! The line to the rendezvous: kept up, re-registered by itself, asked over.

mod beacons;
mod line;
mod status;

use core::convert::Infallible;
use core::time::Duration;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::Endpoints;
use pilot_proto::close;
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{Answer, Push, Refusal, Register, Request};
use pilot_transport::{CloseReason, Connection, HostPort, Priority};
use pilot_transport::{Framed, FramedError};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::backoff::{Backoff, chance};
use crate::book::Card;
use crate::host::RegistryEvent;
use crate::overlay::Inner;
use crate::registry_addr::RegistryAddr;
use status::LineError;
pub use status::{RegistryStatus, RegistryTrouble, RegistryWay};

/// How long the rendezvous may take to answer anything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// First and longest pause before the line is tried again. Nodes must be
/// back within 5 s of the return of their rendezvous.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Pause after another daemon with the same key took the line over.
const REPLACED_PAUSE: Duration = Duration::from_secs(10);

/// Shortest time between two registrations that new endpoints bring about.
const REGISTER_PAUSE: Duration = Duration::from_millis(500);

/// Pause between two tickets, each of which is valid for a day.
const TICKET_PAUSE: Duration = Duration::from_secs(12 * 3600);

/// Why the rendezvous did not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// No rendezvous is configured.
    #[error("no rendezvous is configured")]
    NotConfigured,
    /// There is no line to it at the moment.
    #[error("the rendezvous is not reachable")]
    NotConnected,
    /// It did not answer in time.
    #[error("the rendezvous did not answer in time")]
    TimedOut,
    /// The line broke during the exchange.
    #[error("the line to the rendezvous broke")]
    Line(#[from] FramedError),
    /// It refused.
    #[error("the rendezvous refused: {}", .0.message.as_str())]
    Refused(Refusal),
    /// It answered something else than was asked.
    #[error("the rendezvous answered something else than was asked")]
    Confused,
}

/// The line to one rendezvous.
#[derive(Debug)]
pub struct RegistryClient {
    addr: RegistryAddr,
    register: Register,
    /// Where the operator says that beacons are.
    beacons: Vec<HostPort>,
    line: watch::Sender<Option<Arc<Connection>>>,
    status: Mutex<RegistryStatus>,
}

impl RegistryClient {
    pub(crate) fn new(
        addr: RegistryAddr,
        pinned: Option<NodeId>,
        register: Register,
        beacons: Vec<HostPort>,
    ) -> Self {
        let status = RegistryStatus { key: pinned, ..RegistryStatus::default() };
        Self { addr, register, beacons, line: watch::Sender::new(None), status: Mutex::new(status) }
    }

    /// Where it is.
    #[must_use]
    pub const fn addr(&self) -> &RegistryAddr {
        &self.addr
    }

    /// How the line stands.
    #[must_use]
    pub fn status(&self) -> RegistryStatus {
        self.lock().clone()
    }

    /// Asks one thing; at most 5 s.
    ///
    /// Cancel safe for the caller; the rendezvous may have done it.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; a refusal is [`RegistryError::Refused`].
    pub async fn ask(&self, request: &Request) -> Result<Answer, RegistryError> {
        let line = self.line.borrow().clone().ok_or(RegistryError::NotConnected)?;
        ask_on(&line, request).await
    }

    /// Waits until the line is up, or `patience` is over; true if it is up.
    pub async fn up(&self, patience: Duration) -> bool {
        let mut line = self.line.subscribe();
        timeout(patience, line.wait_for(Option::is_some)).await.is_ok_and(|waited| waited.is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, RegistryStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the line up until the node stops.
    pub(crate) async fn run(self: Arc<Self>, inner: Arc<Inner>) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let ended = tokio::select! {
                () = inner.stop.cancelled() => return,
                ended = self.hold(&inner, &mut backoff) => ended,
            };
            let was_up = self.line.send_replace(None).is_some();
            let trouble = ended.trouble();
            let replaced = trouble == RegistryTrouble::Replaced;
            {
                let mut status = self.lock();
                if was_up || status.since.is_none() {
                    status.since = Some(now());
                }
                status.connected = false;
                status.last_error = Some(ended.to_string());
                status.trouble = Some(trouble);
                if replaced {
                    status.replaced = Some(now());
                }
            }
            if matches!(ended, LineError::UdpAgain) {
                tracing::info!(rendezvous = %self.addr.at, "UDP works again");
            } else if was_up {
                tracing::warn!(rendezvous = %self.addr.at, error = %ended, "rendezvous lost");
                Arc::clone(&inner.host).registry(RegistryEvent::Lost).await;
            } else {
                tracing::debug!(rendezvous = %self.addr.at, error = %ended, "rendezvous not reached");
            }
            let pause = if replaced { REPLACED_PAUSE } else { backoff.pause(chance()) };
            tokio::select! {
                () = inner.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Connects, registers, and takes pushes until the line breaks.
    async fn hold(&self, inner: &Arc<Inner>, backoff: &mut Backoff) -> LineError {
        let held = async {
            let pinned = self.lock().key;
            let (line, carried) = line::open(&inner.endpoint, &self.addr, pinned).await?;
            let way = match &carried {
                None => RegistryWay::Udp,
                Some(carried) if carried.carrier.is_by_proxy() => RegistryWay::TcpByProxy,
                Some(_) => RegistryWay::Tcp,
            };
            let held = self.hold_line(inner, backoff, line, way);
            match carried {
                None => held.await,
                Some(carried) => {
                    // Dropped at the end, it closes the carrier.
                    let _open = carried.carrier;
                    tokio::select! {
                        ended = held => ended,
                        () = carried.pump => Err(LineError::CarrierEnded),
                        () = line::udp_again(&inner.endpoint, &self.addr, pinned) => {
                            Err(LineError::UdpAgain)
                        }
                    }
                }
            }
        };
        match held.await {
            Ok(()) => LineError::Silent,
            Err(error) => error,
        }
    }

    /// Registers over `line`, and takes pushes until it breaks.
    async fn hold_line(
        &self,
        inner: &Arc<Inner>,
        backoff: &mut Backoff,
        line: Connection,
        way: RegistryWay,
    ) -> Result<(), LineError> {
        let line = Arc::new(line);
        let mut candidates = inner.endpoint.reach().candidates();
        let register = self.register_at(candidates.borrow_and_update().as_slice());
        let Answer::Registered(registered) = ask_on(&line, &Request::Register(register)).await?
        else {
            return Err(RegistryError::Confused.into());
        };
        backoff.reset();
        tracing::info!(rendezvous = %self.addr.at, address = %registered.address, "registered");
        {
            let mut status = self.lock();
            *status = RegistryStatus {
                registered: Some(registered.clone()),
                key: Some(line.peer()),
                since: Some(now()),
                connected: true,
                last_error: None,
                trouble: None,
                way: Some(way),
                replaced: status.replaced,
            };
        }
        self.line.send_replace(Some(Arc::clone(&line)));
        let event = RegistryEvent::Connected { key: line.peer(), registered };
        Arc::clone(&inner.host).registry(event).await;
        let broken = tokio::select! {
            broken = self.take_pushes(inner, &line) => broken,
            never = self.keep_told(&line, candidates) => match never {},
            never = self.keep_beacons(inner, &line) => match never {},
        };
        Err(match line.close_reason() {
            Some(reason) => closed(&reason),
            None => {
                line.close(close::PROTOCOL, "pushes broke off");
                LineError::Exchange(broken.into())
            }
        })
    }

    /// What this node registers with when it may be reached at `candidates`.
    fn register_at(&self, candidates: &[SocketAddr]) -> Register {
        let mut register = self.register.clone();
        if !register.fixed && !candidates.is_empty() {
            register.endpoints = Endpoints::new(candidates.iter().copied());
        }
        register
    }

    /// Registers again whenever this node may be reached elsewhere.
    async fn keep_told(
        &self,
        line: &Connection,
        mut candidates: watch::Receiver<Vec<SocketAddr>>,
    ) -> Infallible {
        loop {
            if self.register.fixed || candidates.changed().await.is_err() {
                return pending().await;
            }
            let register = self.register_at(candidates.borrow_and_update().as_slice());
            if let Err(error) = ask_on(line, &Request::Register(register)).await {
                tracing::debug!(%error, "the rendezvous was not told of new endpoints");
            }
            // Several things change at once when a network does.
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
    }

    /// Asks for the beacons and a ticket, now and when half of its time is over.
    async fn keep_beacons(&self, inner: &Inner, line: &Connection) -> Infallible {
        loop {
            match ask_on(line, &Request::Beacons).await {
                Ok(Answer::Beacons { beacons, ticket }) => {
                    let list = beacons::list(&self.beacons, &self.addr.at, &beacons);
                    inner.endpoint.reach().set_beacons(list, Some(ticket));
                }
                Ok(_) => tracing::debug!("the rendezvous answered something else than beacons"),
                Err(error) => tracing::debug!(%error, "the rendezvous tells no beacons"),
            }
            tokio::time::sleep(TICKET_PAUSE).await;
        }
    }

    async fn take_pushes(&self, inner: &Arc<Inner>, line: &Connection) -> FramedError {
        let pushes = async {
            let (send, recv) = line.open_bi(Priority::Control).await?;
            let mut framed = Framed { send, recv };
            framed.send(&Request::Watch, MAX_SMALL_FRAME).await?;
            framed.finish()?;
            while let Some(push) = framed.next::<Push>(MAX_SMALL_FRAME).await? {
                note(inner, &push);
                Arc::clone(&inner.host).registry(RegistryEvent::Push(push)).await;
            }
            Ok(())
        };
        pushes.await.err().unwrap_or(FramedError::Ended)
    }
}

/// Keeps the cards of peers as the rendezvous tells of them; of keys that
/// nobody here has asked for nothing is kept.
fn note(inner: &Arc<Inner>, push: &Push) {
    if let Push::Peer(record) = push
        && inner.host.knows(&record.id)
    {
        inner.learn(record.id, Card::from(record.clone()));
    }
}

fn closed(reason: &CloseReason) -> LineError {
    match reason {
        CloseReason::PeerClosed { code, reason } if *code == close::REPLACED => {
            let text = format!("another daemon with the same key registered ({reason})");
            LineError::Closed(text, true)
        }
        CloseReason::PeerClosed { code, .. } => {
            LineError::Closed(close::meaning(*code).to_owned(), false)
        }
        CloseReason::TimedOut => LineError::Closed("it went silent".to_owned(), false),
        CloseReason::Reset => LineError::Closed("it restarted".to_owned(), false),
        CloseReason::LocallyClosed | CloseReason::Other(_) => {
            LineError::Closed("the line was closed".to_owned(), false)
        }
    }
}

async fn ask_on(line: &Connection, request: &Request) -> Result<Answer, RegistryError> {
    let exchange = async {
        let (send, recv) = line.open_bi(Priority::Control).await?;
        let mut framed = Framed { send, recv };
        framed.send(request, MAX_SMALL_FRAME).await?;
        framed.finish()?;
        framed.expect(MAX_SMALL_FRAME).await
    };
    match timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(Ok(Answer::Refused(refusal))) => Err(RegistryError::Refused(refusal)),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(RegistryError::TimedOut),
    }
}

fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    Timestamp::from_millis(millis)
}
